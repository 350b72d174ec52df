"""The event log in tests: what stands in it, and putting something in."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from canopsis.core.event import Event
from canopsis.core.normalise import normalise
from canopsis.store import event_log, metrics, segments
from canopsis.store.client import Store
from canopsis.store.operations import Document
from canopsis.store.write import apply


def logged(db: Store, **fields: object) -> list[Document]:
    """Return the events of the log whose fields are these, oldest first."""
    found = [
        event_log.shown(event, group)
        for segment in db[event_log.COLLECTION].find().sort("_id", 1)
        for group in segments.raw_groups(segment)
        for event in segments.events(group)
    ]
    return [each for each in found if all(each.get(name) == value for name, value in fields.items())]


def log(db: Store, events: Sequence[Event], received: float) -> None:
    """Put events into the log that were received together, and make their metrics known."""
    names = {(each.entity_id, item.metric, item.unit) for each in events for item in each.perf_data_array}
    known: Any = [metrics.name(*name) for name in names]
    apply(db, {event_log.COLLECTION: [*event_log.inserts(events, {}, received)], metrics.NAMES: known})


def made(event_id: str, timestamp: float, **fields: Any) -> Event:
    """Return an event as it is stored."""
    raw = {"connector": "nagios", "connector_name": "n1", "event_id": event_id, "timestamp": timestamp}
    if fields.get("event_type", "check") == "check":
        raw["state"] = 0
    return normalise(raw | fields, max(timestamp, 2e9))
