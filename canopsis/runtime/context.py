"""What engines read, answered by the database."""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable
from typing import Concatenate, ParamSpec, TypeVar

from canopsis.store.client import Store

P = ParamSpec("P")
R = TypeVar("R")


class StoreContext:
    """The ``Context`` of one batch."""

    def __init__(self, db: Store, now: float | None = None) -> None:
        self._db = db
        self.now = time.time() if now is None else now

    def new_id(self) -> str:
        """Return a random id."""
        return uuid.uuid4().hex

    def ask(self, function: Callable[Concatenate[Store, P], R], *args: P.args, **kwargs: P.kwargs) -> R:
        """Return what the database says. Raises StoreError when it does not answer."""
        return function(self._db, *args, **kwargs)
