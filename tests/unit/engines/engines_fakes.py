"""A context that tests hand in: what engines read, without a database."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from canopsis.core.alarm import Alarm
from canopsis.core.event import AnyEvent, normalise
from canopsis.errors import StoreError
from canopsis.runtime.contract import Message
from canopsis.store.operations import Document

NOW = 1_700_000_000.0


@dataclass
class FakeContext:
    """Answers from dictionaries; ``reads`` names what was asked; ``away`` makes every read fail."""

    now: float = NOW
    alarms: dict[str, Alarm] = field(default_factory=dict)
    resolved: list[Alarm] = field(default_factory=list)
    due: list[Alarm] = field(default_factory=list)
    entities: dict[str, Document] = field(default_factory=dict)
    rules: list[Document] = field(default_factory=list)
    metrics: list[Document] = field(default_factory=list)
    reads: list[tuple[Any, ...]] = field(default_factory=list)
    away: bool = False

    def new_id(self) -> str:
        self.reads.append(("new_id",))
        return f"new-{len(self.reads)}"

    def open_alarms(self, entity_ids: Sequence[str]) -> dict[str, Alarm]:
        self._read("open_alarms", *entity_ids)
        return {entity: self.alarms[entity] for entity in entity_ids if entity in self.alarms}

    def latest_alarms(self, entity_ids: Sequence[str]) -> dict[str, Alarm]:
        self._read("latest_alarms", *entity_ids)
        known = self.alarms | {alarm.entity_id: alarm for alarm in self.resolved}
        return {entity: known[entity] for entity in entity_ids if entity in known}

    def due_alarms(self, resolve_before: float, cancelled_before: float) -> list[Alarm]:
        self._read("due_alarms", resolve_before, cancelled_before)
        return self.due

    def known_entities(self, entity_ids: Sequence[str]) -> dict[str, Document]:
        self._read("known_entities", *sorted(entity_ids))
        return {entity: self.entities[entity] for entity in entity_ids if entity in self.entities}

    def filter_rules(self) -> list[Document]:
        self._read("filter_rules")
        return self.rules

    def compactable_metrics(self, before: float, limit: int, after: Document | None = None) -> list[Document]:
        self._read("compactable_metrics", before, limit, after)
        return self.metrics[:limit]

    def _read(self, *what: Any) -> None:
        self.reads.append(what)
        if self.away:
            raise StoreError("away")


def event(component: str = "web", **fields: Any) -> AnyEvent:
    """Return a normalised event with an id, a quiet check by default."""
    raw = {
        "connector": "nagios",
        "connector_name": "central",
        "event_type": "check",
        "component": component,
        "timestamp": NOW,
        "event_id": "e1",
    }
    if fields.get("event_type", "check") == "check":
        raw["state"] = 0
    return normalise(raw | fields, NOW)


def message(body: bytes, **fields: Any) -> Message:
    """Return a raw message as the broker delivers it."""
    return Message(body, **({"exchange": "canopsis.events", "routing_key": "a.key"} | fields))
