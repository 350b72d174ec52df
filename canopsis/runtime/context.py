"""What engines read, answered by the database."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Concatenate, ParamSpec, TypeVar

from canopsis.ids import new_id
from canopsis.store.client import Store

P = ParamSpec("P")
R = TypeVar("R")


class StoreContext:
    """The ``Context`` of one batch."""

    def __init__(self, db: Store, now: float | None = None) -> None:
        self._db = db
        self.now = time.time() if now is None else now

    def new_id(self) -> str:
        """Return an id that nobody else has."""
        return new_id()

    def ask(self, function: Callable[Concatenate[Store, P], R], *args: P.args, **kwargs: P.kwargs) -> R:
        """Return what the database says. Raises StoreError when it does not answer."""
        return function(self._db, *args, **kwargs)
