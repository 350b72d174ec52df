"""The rules of a kind as an engine uses them, as new as a second ago, read when they changed; and what they did."""

from __future__ import annotations

import logging
import threading
from typing import Generic, TypeVar

from canopsis.core.rules.kernel import Kind, RuleSet, make
from canopsis.core.rules.rule import Rule
from canopsis.core.rules.table import tables_of
from canopsis.runtime.contract import Context
from canopsis.store import rules
from canopsis.store.rules import TABLES, Counts, RuleCount

R = TypeVar("R", bound=Rule)
A = TypeVar("A")

LOOK_SECONDS = 1.0
"""How often the database is asked whether there are others: a change is in force two seconds later at most."""

_LOG = logging.getLogger(__name__)


class LiveRules(Generic[R, A]):
    """The rules of one kind. For one thread."""

    def __init__(self, kind: Kind[R, A]) -> None:
        self._kind = kind
        self._rules: RuleSet[R, A] = RuleSet()
        self._versions: dict[str, int] = {}
        self._looked: float | None = None

    def current(self, ctx: Context) -> RuleSet[R, A]:
        """Return the rules that are in force. Raises StoreError."""
        if self._looked is None or not 0 <= ctx.now - self._looked < LOOK_SECONDS:
            found = ctx.ask(rules.changed, (self._kind.name, TABLES), self._versions)
            if found is not None:
                self._rules = make(self._kind, found.of_kind[self._kind.name], tables_of(found.of_kind[TABLES]))
                self._versions = dict(found.versions)
                _LOG.info("%s: %s rules are in force", self._kind.name, len(self._rules.rules))
                for error in self._rules.refused:
                    _LOG.warning("%s: left out: %s", self._kind.name, error)
            self._looked = ctx.now
        return self._rules


class RuleCounts:
    """What the rules of a process did and is not written yet. Any thread may use it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._counts: Counts = {}

    def add(self, counts: Counts) -> None:
        """Count a batch in, once it is acknowledged."""
        with self._lock:
            merge(self._counts, counts)

    def take(self) -> Counts:
        """Return what is not written, and take it for written; give it back with ``add`` when it was not."""
        with self._lock:
            counts, self._counts = self._counts, {}
            return counts


def merge(counts: Counts, more: Counts) -> None:
    """Add ``more`` to ``counts``."""
    for name, count in more.items():
        counts.setdefault(name, RuleCount()).add(count)
