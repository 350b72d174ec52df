"""What the rules of a process did and is not written yet."""

from __future__ import annotations

import threading

from canopsis.store.rules import Counts, RuleCount


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
