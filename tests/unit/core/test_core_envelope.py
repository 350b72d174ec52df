"""What travels with events: each engine adds, and another process reads it as well."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from canopsis.core.envelope import MOST_DECISIONS, Decision, Envelope, KnownEntity, Suppression, decode_batch
from canopsis.core.event import Event
from canopsis.core.normalise import normalise
from canopsis.errors import InvalidEvent

KNOWN = KnownEntity({"site": "Lyon"}, enabled=False, category="network", impact=3)
QUIET = Suppression("maintenance", "weekly", "patches", 1_700_000_600.0)
DROPPED = Decision("event_filter", "enriched", "by-site", "the site of the host")


def check(component: str, **fields: Any) -> Event:
    raw = {"connector": "c", "connector_name": "n", "event_type": "check", "component": component, "state": 2}
    return normalise(raw | {"event_id": f"id-{component}"} | fields, 1_700_000_000.0)


def full(event: Event) -> Envelope:
    return Envelope({event.entity_id: KNOWN}, {event.entity_id: (QUIET,)}, {event.event_id: (DROPPED,)})


def test_an_event_travels_with_all_that_is_known_of_it() -> None:
    event, known = check("web"), Envelope()
    assert decode_batch(b"[" + full(event).seal(event) + b"]", known) == [event]
    assert known == full(event)


@pytest.mark.parametrize("part", ["entities", "suppressed", "trail"])
def test_each_part_travels_by_itself(part: str) -> None:
    event, known, one = check("web"), Envelope(), Envelope()
    setattr(one, part, getattr(full(event), part))
    decode_batch(b"[" + one.seal(event) + b"]", known)
    assert known == one


def test_an_event_of_which_nothing_is_known_travels_bare_and_old_messages_are_read() -> None:
    event, other, known = check("web"), check("db"), Envelope()
    assert full(event).seal(other) == msgspec.json.encode(other)
    message = b"[" + msgspec.json.encode(other) + b"," + full(event).seal(event) + b"]"
    assert decode_batch(message, known) == [other, event]
    assert known == full(event)


def test_a_sealed_event_that_is_none_is_refused_by_field() -> None:
    with pytest.raises(InvalidEvent, match="state"):
        decode_batch(full(check("web")).seal(check("web")).replace(b'"state":2', b'"state":"x"').join((b"[", b"]")))


def test_an_entity_of_which_nothing_special_is_known_is_as_its_defaults() -> None:
    event = check("web")
    assert full(event).entity(event.entity_id) == KNOWN
    assert Envelope().entity(event.entity_id) == KnownEntity()


def test_what_an_engine_adds_replaces_entities_and_lengthens_trails() -> None:
    event, added, later = check("web"), Envelope(), Decision("alarm", "opened")
    known = full(event)
    added.note(event, later)
    added.entities[event.entity_id] = KnownEntity(category="power")
    added.suppressed[event.entity_id] = ()
    known.add(added)
    assert known.entity(event.entity_id).category == "power"
    assert known.suppressed[event.entity_id] == ()
    assert known.trail == {event.event_id: (DROPPED, later)}


def test_a_trail_has_an_end() -> None:
    event, known = check("web"), Envelope()
    for number in range(MOST_DECISIONS + 5):
        known.note(event, Decision("event_filter", "enriched", str(number)))
    known.add(known)
    assert [each.rule for each in known.trail[event.event_id]] == [str(number) for number in range(MOST_DECISIONS)]


def test_what_became_of_an_alarm_travels_with_its_event() -> None:
    event, known = check("web"), Envelope()
    envelope = Envelope(alerts={event.event_id: {"kind": "opened"}})
    assert decode_batch(b"[" + envelope.seal(event) + b"]", known) == [event]
    assert known.alerts == envelope.alerts
