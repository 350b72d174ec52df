"""What engines count by source: events with warnings, refused ones, late ones, repeats.

A source that sends badly is found by it: ``connector/connector_name``. How many are told apart is bounded.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping
from typing import Any, Literal

from canopsis.core.event import Event
from canopsis.core.text import name_of
from canopsis.store.operations import Document

Kind = Literal["warnings", "refused", "late", "repeated"]
"""What is counted, in events. ``warnings``: something of it was left out or mended."""

Counts = dict[tuple[str, Kind], int]

MOST_SOURCES = 1000
OTHER = "other"
"""All sources after the first thousand."""

UNKNOWN = "unknown"
"""The source of an event that does not say it in a way that can be read."""

SHOWN = 50
"""Sources in the document of an instance, those with most counts first: it is written every two seconds."""

_MAX_BYTES = 120
"""Of a source's name: it becomes a part of a routing key."""


def source_of(event: Event) -> str:
    """Return the name under which the source of ``event`` is counted."""
    return _cut(f"{event.connector}/{event.connector_name}")


def source_of_raw(raw: Mapping[str, Any]) -> str:
    """Return the name under which the source of a refused event is counted."""
    connector, name = _readable(raw.get("connector")), _readable(raw.get("connector_name"))
    return _cut(f"{connector}/{name}") if connector and name else UNKNOWN


def _readable(value: object) -> str:
    return name_of(value) if type(value) is str else ""


def _cut(name: str) -> str:
    encoded = name.encode("utf-8", "replace")
    return name if len(encoded) <= _MAX_BYTES else encoded[: _MAX_BYTES - 3].decode("utf-8", "ignore") + "…"


def add(counts: Counts, more: Mapping[tuple[str, Kind], int]) -> None:
    """Add ``more`` to ``counts``."""
    for key, number in more.items():
        counts[key] = counts.get(key, 0) + number


class SourceCounts:
    """The counts of a process since it began. Any thread may use it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._counts: dict[str, dict[Kind, int]] = {}
        self._told: dict[str, dict[Kind, int]] = {}

    def add(self, counts: Mapping[tuple[str, Kind], int]) -> None:
        """Count a batch in, once it is acknowledged."""
        with self._lock:
            for (source, kind), number in counts.items():
                known = source in self._counts or len(self._counts) < MOST_SOURCES
                name = source if known else OTHER
                own = self._counts.setdefault(name, {})
                own[kind] = own.get(kind, 0) + number

    def untold(self) -> dict[str, dict[Kind, int]]:
        """Return the counts of each source that differ from those that were told."""
        with self._lock:
            return {name: dict(counts) for name, counts in self._counts.items() if self._told.get(name) != counts}

    def tell(self, counts: Mapping[str, dict[Kind, int]]) -> None:
        """Note that ``counts``, as ``untold`` returned them, are published."""
        with self._lock:
            self._told |= counts

    def documents(self) -> list[Document]:
        """Return the counts as the database and the API show them: ``{source, <kind>: n}``, the most first."""
        with self._lock:
            most = sorted(self._counts.items(), key=lambda item: (-sum(item[1].values()), item[0]))
            return [
                {"source": name} | {str(kind): number for kind, number in own.items()} for name, own in most[:SHOWN]
            ]
