"""Alerts: the alarm as it is, the event, and what it did."""

from __future__ import annotations

import msgspec
from core_samples import NOW, RULES, act, alarm_after, apply, check, run

from canopsis.core.alert import alert_body, alert_routing_key, facts_of
from canopsis.core.change import Change
from canopsis.core.event import Event
from canopsis.core.event_types.ack import Ack
from canopsis.core.event_types.resolve import Resolve


def last_change(*events: Event) -> Change:
    change = run(*events)[-1]
    assert change is not None
    return change


def test_the_alert_of_a_new_alarm() -> None:
    event = check(2, 0, "e1", "too hot", tags=["fan"])
    change = last_change(event)
    assert alert_body(change, event) == facts_of(change.alarm) | {
        "kind": "opened",
        "alarm_id": change.alarm.id,
        "display_name": "NIAJ-HVES",
        "event_id": "e1",
        "event_type": "check",
        "timestamp": NOW,
        "entity_id": "component:srv1",
        "source_type": "component",
        "connector": "nagios",
        "connector_name": "nag1",
        "component": "srv1",
        "resource": None,
        "open": True,
        "state": 2,
        "status": 1,
        "output": "too hot",
        "long_output": "",
        "created": NOW,
        "updated": NOW,
        "resolved": None,
        "ack": None,
        "cancel": None,
        "snooze": None,
        "state_lock": None,
        "last_comment": None,
        "ticket": None,
        "tickets": [],
        "tags": ["fan"],
        "steps": [
            {"type": "stateinc", "t": NOW, "author": "nagios.nag1", "message": "too hot", "value": 2, "e": "e1"},
            {"type": "statusinc", "t": NOW, "author": "nagios.nag1", "message": "too hot", "value": 1, "e": "e1"},
        ],
    }


def test_an_alert_tells_the_steps_of_its_event_alone() -> None:
    events = [check(2, 0, "e1"), act(Ack, 5, "a1", output="on it")]
    body = alert_body(last_change(*events), events[-1])
    assert (body["kind"], body["event_type"]) == ("changed", "ack")
    assert [step["type"] for step in body["steps"]] == ["ack"]
    assert body["ack"] == {"author": "ann", "message": "on it", "t": NOW + 5}


def test_a_repeat_is_told_as_it_was_the_first_time() -> None:
    event = check(2, 0, "e1", "too hot")
    first = last_change(event)
    again = apply(event, first.alarm, RULES)
    assert again is not None
    assert again.kind == "repeat"
    assert alert_body(again, event) == alert_body(first, event)


def test_a_repeat_of_a_later_event_is_told_as_it_was() -> None:
    events = [check(2, 0, "e1"), check(0, 1, "e2"), act(Resolve, 100, "r1")]
    alarm = alarm_after(*events)
    for event, kind in zip(events, ["opened", "changed", "resolved"], strict=True):
        again = apply(event, alarm, RULES)
        assert again is not None
        body = alert_body(again, event)
        assert body["kind"] == kind
        assert {step["e"] for step in body["steps"]} == {event.event_id}


def test_a_resolved_alarm_says_when() -> None:
    event = act(Resolve, 100, "r1")
    body = alert_body(last_change(check(2, 0, "e1"), check(0, 1, "e2"), event), event)
    assert (body["kind"], body["open"], body["resolved"]) == ("resolved", False, NOW + 100)


def test_an_alert_is_json() -> None:
    event = check(2, 0, "e1", "é")
    body = alert_body(last_change(event), event)
    assert msgspec.json.decode(msgspec.json.encode(body)) == body


def test_the_routing_key_says_who_did_what_to_whom() -> None:
    event = check(2, 0, "e1")
    change = last_change(event)
    assert alert_routing_key(change, event) == "nagios.nag1.check.component.srv1"
    assert alert_routing_key(change, act(Ack, 1, "a1")) == "canopsis.api.ack.component.srv1"
