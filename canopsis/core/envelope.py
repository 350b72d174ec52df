"""What travels with events from engine to engine: the entities they speak of, what suppresses them, what was decided,
and what became of their alarms.

Each engine adds; none asks the database for what an earlier one knew. An envelope holds all events of a batch, for
most of them say the same of one entity; between processes each event travels in its own, or bare where there is nothing
to say beside it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import msgspec

from canopsis.core.event import Event
from canopsis.core.event_types import AnyEvent
from canopsis.core.identity import Content
from canopsis.core.normalise import decode_typed

MOST_DECISIONS = 100
"""Decisions in the trail of one event; later ones are left out."""


class KnownEntity(msgspec.Struct, frozen=True, omit_defaults=True):
    """An entity as it is known now. ``infos`` are what rules and people noted of it; ``impact`` is 1 to 10."""

    infos: dict[str, Any] = msgspec.field(default_factory=dict)
    enabled: bool = True
    category: str = ""
    impact: int = 1


class Suppression(msgspec.Struct, frozen=True, omit_defaults=True):
    """What keeps an entity quiet now: of which ``kind`` (``maintenance``, ``disabled``), by which rule, until when."""

    kind: str
    rule: str = ""
    reason: str = ""
    until: float | None = None


class Decision(msgspec.Struct, frozen=True, omit_defaults=True):
    """What an engine decided about an event, by which rule, and why."""

    engine: str
    what: str
    rule: str = ""
    reason: str = ""


@dataclass(slots=True)
class Envelope:
    """What is known of the events of a batch: ``entities`` and ``suppressed`` by entity id, ``trail`` by event id.

    ``alerts`` is what an event changed in its alarm, as it is told to others (``core.alert``), by event id.
    ``logged`` is what the event log has under ids that an engine asked it for, None for nothing; it goes to no other
    process, where it may be wrong by then.

    An engine reads that of its batch and returns what it adds as one of its own.
    """

    entities: dict[str, KnownEntity] = field(default_factory=dict)
    suppressed: dict[str, tuple[Suppression, ...]] = field(default_factory=dict)
    trail: dict[str, tuple[Decision, ...]] = field(default_factory=dict)
    alerts: dict[str, dict[str, Any]] = field(default_factory=dict)
    logged: dict[str, Content | None] = field(default_factory=dict)

    def entity(self, entity_id: str) -> KnownEntity:
        """Return what is known of an entity; one of which nothing special is known is as its defaults."""
        return self.entities.get(entity_id, _ANY)

    def note(self, event: Event, decision: Decision) -> None:
        """Add ``decision`` to the trail of ``event``."""
        self.trail[event.event_id] = (*self.trail.get(event.event_id, ()), decision)[:MOST_DECISIONS]

    def add(self, more: Envelope) -> None:
        """Take in what an engine adds: it replaces what was known of an entity, and lengthens trails."""
        self.entities.update(more.entities)
        self.suppressed.update(more.suppressed)
        self.alerts.update(more.alerts)
        self.logged.update(more.logged)
        for event_id, decisions in more.trail.items():
            self.trail[event_id] = (*self.trail.get(event_id, ()), *decisions)[:MOST_DECISIONS]

    def seal(self, event: Event) -> bytes:
        """Return ``event`` as it travels to another process."""
        entity = self.entities.get(event.entity_id)
        suppressed, trail = self.suppressed.get(event.entity_id, ()), self.trail.get(event.event_id, ())
        alert = self.alerts.get(event.event_id)
        if entity is None and not suppressed and not trail and alert is None:
            return _ENCODER.encode(event)
        return _ENCODER.encode(Sealed(event, entity, suppressed, trail, alert))

    def open(self, sealed: Sealed) -> Event:
        """Return the event of ``sealed``, and take in what is known of it."""
        event = sealed.event
        if sealed.entity is not None:
            self.entities[event.entity_id] = sealed.entity
        if sealed.suppressed:
            self.suppressed[event.entity_id] = sealed.suppressed
        if sealed.trail:
            self.trail[event.event_id] = sealed.trail
        if sealed.alert is not None:
            self.alerts[event.event_id] = sealed.alert
        return event


class Sealed(msgspec.Struct, frozen=True, omit_defaults=True, tag_field="event_type", tag="envelope"):
    """One event and what is known of it, on its way to another process."""

    event: AnyEvent
    entity: KnownEntity | None = None
    suppressed: tuple[Suppression, ...] = ()
    trail: tuple[Decision, ...] = ()
    alert: dict[str, Any] | None = None


_ANY = KnownEntity()
_ENCODER = msgspec.json.Encoder()
_DECODER: msgspec.json.Decoder[list[Event | Sealed]] = msgspec.json.Decoder(list[AnyEvent | Sealed])


def decode_batch(body: bytes, envelope: Envelope | None = None) -> list[Event]:
    """Return the events of a message between engines, and put what is known of them into ``envelope``.

    A message is an array of normalised events, each sealed or bare. Raises InvalidEvent.
    """
    known = Envelope() if envelope is None else envelope
    return [known.open(part) if isinstance(part, Sealed) else part for part in decode_typed(_DECODER, body)]
