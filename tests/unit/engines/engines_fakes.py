"""A context that tests hand in: what engines read, without a database."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from canopsis.core.alarm import Alarm, Step
from canopsis.core.event import Event
from canopsis.core.event_types.check import Check
from canopsis.core.identity import Content, content_of
from canopsis.core.normalise import normalise
from canopsis.core.steps import Segment
from canopsis.errors import StoreError
from canopsis.runtime.contract import Message
from canopsis.store import alarm_steps, alarms, entities, event_log, former_log, notifications, rules
from canopsis.store.event_log import Progress
from canopsis.store.operations import Document

NOW = 1_700_000_000.0

ANSWERS: dict[Callable[..., Any], str] = {
    alarms.open_alarms: "open_alarms",
    alarms.latest: "latest_alarms",
    alarms.by_ids: "alarms_of_ids",
    alarms.due: "due_alarms",
    alarms.perhaps_mistimed: "mistimed_alarms",
    alarm_steps.made_by: "older_steps",
    event_log.contents: "stored_events",
    event_log.newest_checks: "newest_checks",
    event_log.progress: "log_progress",
    event_log.values_behind: "log_behind",
    event_log.whole_behind: "log_behind",
    former_log.raw_metrics: "former_metrics",
    former_log.newest_events: "former_events",
    entities.known: "known_entities",
    rules.changed: "changed_rules",
    notifications.told: "told_alarms",
}
"""What answers for each function of the store that engines ask."""


@dataclass
class FakeContext:
    """Answers from dictionaries; ``reads`` names what was asked; ``away`` makes every read fail."""

    now: float = NOW
    alarms: dict[str, Alarm] = field(default_factory=dict)
    resolved: list[Alarm] = field(default_factory=list)
    due: list[Alarm] = field(default_factory=list)
    entities: dict[str, Document] = field(default_factory=dict)
    rules_of: dict[str, list[Document]] = field(default_factory=dict)
    told: set[tuple[str, str]] = field(default_factory=set)
    version: int = 1
    log_segments: list[Document] = field(default_factory=list)
    progress: dict[str, Progress] = field(default_factory=dict)
    former: dict[str, list[Document]] = field(default_factory=dict)
    log: list[Event] = field(default_factory=list)
    segments: dict[str, Segment] = field(default_factory=dict)
    reads: list[tuple[Any, ...]] = field(default_factory=list)
    away: bool = False
    ids: int = 0

    def new_id(self) -> str:
        self.ids += 1
        return f"new-{self.ids}"

    def ask(self, read: Callable[..., Any], *args: Any) -> Any:
        """Answer for a function of the store."""
        return getattr(self, ANSWERS[read])(*args)

    def open_alarms(self, entity_ids: Sequence[str]) -> dict[str, Alarm]:
        self._read("open_alarms", *entity_ids)
        return {entity: self.alarms[entity] for entity in entity_ids if entity in self.alarms}

    def latest_alarms(self, entity_ids: Sequence[str]) -> list[Alarm]:
        self._read("latest_alarms", *entity_ids)
        known = [*self.alarms.values(), *self.resolved]
        return sorted((each for each in known if each.entity_id in entity_ids), key=lambda each: -each.created)

    def alarms_of_ids(self, alarm_ids: Sequence[str]) -> list[Alarm]:
        self._read("alarms_of_ids", *alarm_ids)
        known = {alarm.id: alarm for alarm in (*self.alarms.values(), *self.resolved)}
        return [known[alarm_id] for alarm_id in alarm_ids if alarm_id in known]

    def older_steps(self, newest: str, event_ids: Collection[str]) -> list[Step]:
        self._read("older_steps", newest, *sorted(event_ids))
        found: list[Step] = []
        while newest:
            segment = self.segments[newest]
            own = [step for step in segment.steps if step.e in event_ids]
            found, newest = own + found, segment.older if own else ""
        return found

    def stored_events(self, named: Collection[tuple[str, float]]) -> dict[str, Content]:
        ids = {event_id for event_id, _ in named}
        self._read("stored_events", *sorted(ids))
        return {each.event_id: content_of(each) for each in self.log if each.event_id in ids}

    def log_progress(self, work: str) -> Progress:
        self._read("progress", work)
        return self.progress.get(work, Progress())

    def log_behind(self, done: int, before: int, most: int) -> list[Document]:
        self._read("behind", done, before)
        return [each for each in self.log_segments if done < each["_id"] < before][:most]

    def former_metrics(self, most: int) -> list[Document]:
        return self.former.get("metrics", [])[:most]

    def former_events(self, most: int) -> list[Document]:
        return self.former.get("events", [])[:most]

    def newest_checks(self, entity_ids: Mapping[str, float], _now: float) -> dict[str, float]:
        self._read("newest_checks", *sorted(entity_ids))
        checks = [each for each in self.log if isinstance(each, Check) and each.timestamp <= self.now]
        checks = sorted((each for each in checks if each.entity_id in entity_ids), key=lambda each: each.timestamp)
        return {each.entity_id: each.timestamp for each in checks}

    def due_alarms(self, now: float, _limit: int) -> list[Alarm]:
        self._read("due_alarms", now)
        return list(self.due)

    def mistimed_alarms(self, _limit: int) -> list[Alarm]:
        self._read("mistimed_alarms")
        return list(self.alarms.values())

    def known_entities(self, entity_ids: Sequence[str]) -> dict[str, Document]:
        self._read("known_entities", *sorted(entity_ids))
        return {entity: self.entities[entity] for entity in entity_ids if entity in self.entities}

    def changed_rules(self, kinds: Collection[str], known: Mapping[str, int]) -> rules.Rules | None:
        self._read("rules", *kinds)
        if known == dict.fromkeys(kinds, self.version):
            return None
        stored = {kind: self.rules_of.get(kind, []) for kind in kinds}
        return rules.Rules(dict.fromkeys(kinds, self.version), stored)

    def told_alarms(self, alarm_ids: Collection[str]) -> set[tuple[str, str]]:
        self._read("told_alarms", *sorted(alarm_ids))
        return {pair for pair in self.told if pair[0] in alarm_ids}

    def _read(self, *what: Any) -> None:
        self.reads.append(what)
        if self.away:
            raise StoreError("away")


def event(component: str = "web", **fields: Any) -> Event:
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
