"""The rules of a kind as they are in force: as new as a second ago, read when they changed."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from typing import Any, Concatenate, Generic, ParamSpec, Protocol, TypeVar

from canopsis.core.rules import table
from canopsis.core.rules.kernel import Kind, RuleSet, make
from canopsis.core.rules.rule import Rule
from canopsis.store import rules
from canopsis.store.client import Store

P = ParamSpec("P")
T = TypeVar("T")
R = TypeVar("R", bound=Rule)
A = TypeVar("A")

LOOK_SECONDS = 1.0
"""How often the database is asked whether there are others: a change is in force two seconds later at most."""

_LOG = logging.getLogger(__name__)


class Asking(Protocol):
    """Who may ask the database, and what time it is there: an engine's context, a call of the API."""

    @property
    def now(self) -> float:
        """Seconds since the epoch."""
        ...

    def ask(self, function: Callable[Concatenate[Store, P], T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Return what a function of ``store`` answers. Raises StoreError."""
        ...


class LiveRules(Generic[R, A]):
    """The rules of one kind. Any thread may ask: one reads, and the others go on with those that were in force."""

    def __init__(self, kind: Kind[R, A]) -> None:
        self._kind = kind
        self._rules: RuleSet[R, A] = RuleSet()
        self._versions: dict[str, int] = {}
        self._looked: float | None = None
        self._lock = threading.Lock()

    def current(self, asking: Asking) -> RuleSet[R, A]:
        """Return the rules that are in force. Raises StoreError."""
        if self._is_due(asking.now) and self._lock.acquire(blocking=self._looked is None):
            try:
                if self._is_due(asking.now):
                    self._look(asking)
            finally:
                self._lock.release()
        return self._rules

    def _is_due(self, now: float) -> bool:
        return self._looked is None or not 0 <= now - self._looked < LOOK_SECONDS

    def _look(self, asking: Asking) -> None:
        name, tables = self._kind.name, table.KIND.name
        found = asking.ask(rules.changed, (name, tables), self._versions)
        if found is not None:
            self._rules = make(self._kind, found.of_kind[name], table.tables_of(found.of_kind[tables]))
            self._versions = dict(found.versions)
            _LOG.info("%s: %s rules are in force", name, len(self._rules.rules))
            for error in self._rules.refused:
                _LOG.warning("%s: left out: %s", name, error)
        self._looked = asking.now


class LiveKinds:
    """The rules of the kinds that a process uses, each read once for all who ask."""

    def __init__(self) -> None:
        self._kinds: dict[str, LiveRules[Any, Any]] = {}

    def current(self, kind: Kind[R, A], asking: Asking) -> RuleSet[R, A]:
        """Return the rules of ``kind`` that are in force. Raises StoreError."""
        live: LiveRules[R, A] = self._kinds.setdefault(kind.name, LiveRules(kind))
        return live.current(asking)
