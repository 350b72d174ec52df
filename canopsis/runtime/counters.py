"""What each engine took in and what became of it."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import dataclass

from canopsis.runtime.bysource import SourceCounts
from canopsis.store.rule_counts import RuleCounts


@dataclass(slots=True)
class Tally:
    """Events of one engine since the process began; ``incoming = forwarded + dropped + dead``.

    ``seconds`` is time spent in the engine; ``latency`` is the longest time, in seconds, that a
    message had waited since the broker took it, since the latency was last asked for.
    """

    incoming: int = 0
    forwarded: int = 0
    dropped: int = 0
    dead: int = 0
    seconds: float = 0.0
    latency: float = 0.0

    def add(self, other: Tally) -> None:
        """Count ``other`` in."""
        self.incoming += other.incoming
        self.forwarded += other.forwarded
        self.dropped += other.dropped
        self.dead += other.dead
        self.seconds += other.seconds
        self.latency = max(self.latency, other.latency)

    def document(self) -> dict[str, float]:
        """Return the tally as the database and the API show it."""
        return {
            "in": self.incoming,
            "forwarded": self.forwarded,
            "dropped": self.dropped,
            "dead": self.dead,
            "seconds": round(self.seconds, 6),
        }


class Counters:
    """The tallies of a process. Any thread may read; a reader always sees them balanced.

    ``sources`` are its counts by source, ``rules`` what its rules did.
    """

    def __init__(self, names: tuple[str, ...]) -> None:
        self._lock = threading.Lock()
        self.sources = SourceCounts()
        self.rules = RuleCounts()
        self._tallies = {name: Tally() for name in names}

    def add(self, tallies: Mapping[str, Tally]) -> None:
        """Count a batch in, once it is acknowledged."""
        with self._lock:
            for name, tally in tallies.items():
                self._tallies[name].add(tally)

    def read(self, name: str) -> Tally:
        """Return a copy of an engine's tally, and begin a new search for its longest latency."""
        with self._lock:
            tally = self._tallies[name]
            copy = Tally()
            copy.add(tally)
            tally.latency = 0.0
            return copy

    def documents(self) -> dict[str, dict[str, float]]:
        """Return all tallies, by engine, as the database shows them."""
        with self._lock:
            return {name: tally.document() for name, tally in self._tallies.items()}
