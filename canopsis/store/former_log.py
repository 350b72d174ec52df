"""The event log of earlier releases: a document an event, and one for its values. It moves to ``event_log``."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import groupby

import msgspec
from pymongo import DESCENDING

from canopsis.core.event import Event
from canopsis.core.event_types import AnyEvent
from canopsis.store import segments
from canopsis.store.client import Store, store_errors
from canopsis.store.keys import unescaped
from canopsis.store.operations import Document, Insert

EVENTS, METRICS = "events", "metrics"

_FIRST_MS, _LAST_MS = -62_135_596_800_000, 253_402_300_800_000
"""What a date can be: the years 1 to 9999."""

_NOT_SENT = frozenset({"_id", "received", "trail"})


def newest_events(db: Store, most: int) -> list[Document]:
    """Return the events that were received last and did not move yet. Raises StoreError."""
    with store_errors("reading events"):
        return list(db[EVENTS].find().sort("received", DESCENDING).limit(most))


def raw_metrics(db: Store, most: int) -> list[Document]:
    """Return values of events that are not in hourly documents yet. Raises StoreError."""
    with store_errors("reading metrics"):
        return list(db[METRICS].find().limit(most))


def is_readable(document: Document) -> bool:
    """Tell whether stored values say of which entity, when and what."""
    key, values = document["_id"], document.get("v")
    if not isinstance(key, dict) or not isinstance(values, dict) or not isinstance(key.get("e"), str):
        return False
    moment = key.get("t")
    return isinstance(moment, int) and _FIRST_MS <= moment < _LAST_MS


def read(documents: Sequence[Document]) -> tuple[list[tuple[float, Event]], list[tuple[Document, str]]]:
    """Return when each was received, and the event; and those that cannot be read, with the reason."""
    found, unreadable = [], []
    for document in documents:
        fields = {name: value for name, value in document.items() if name not in _NOT_SENT}
        fields |= {"event_id": document["_id"], "extra": unescaped(document.get("extra", {}))}
        try:
            event: Event = msgspec.convert(fields, AnyEvent)
            found.append((document["received"].timestamp(), event))
        except (msgspec.ValidationError, LookupError, AttributeError) as error:
            unreadable.append((document, str(error)))
    return found, unreadable


def inserts(read: Sequence[tuple[float, Event]]) -> Iterator[Insert]:
    """Yield the segments of events, at the places where they would be; the same for the same events."""
    for received, group in groupby(sorted(read, key=lambda each: each[0]), key=lambda each: each[0]):
        for document in segments.pack([event for _, event in group], {}, received):
            # Their values are in hourly documents.
            yield Insert(document | {"v": b""})
