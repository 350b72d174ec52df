"""How many events of a benchmark are in the log: the engines' own ones, and others, are stored meanwhile too."""

from __future__ import annotations

import time

from canopsis.store import event_log, segments
from canopsis.store.client import Store


class OwnEvents:
    """Counts the events of one connector that are stored from now on."""

    def __init__(self, db: Store, connector: str) -> None:
        self._log = db[event_log.COLLECTION]
        self._needle = segments.needle("connector", connector)
        self._begin = segments.position(time.time() - 1.0)
        self._read: set[int] = set()
        self._found = 0

    def count(self) -> int:
        """Return how many there are.

        A segment is read once, only the list of them again. Merging may go on: it keeps the newest ``_id``, and waits
        until the hour is over.
        """
        listed = {segment["_id"] for segment in self._log.find({"_id": {"$gte": self._begin}}, {"_id": 1})}
        new = listed - self._read
        for segment in self._log.find({"_id": {"$in": list(new)}}, {"z": 1}):
            self._found += sum(self._needle in bytes(raw) for g in segments.raw_groups(segment) for raw in g.events)
        self._read |= new
        return self._found
