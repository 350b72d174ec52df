"""Whole stories: events as sources send them, through every part of core, to what subscribers hear."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from core_samples import NOW, RULES, act, apply, check, raw_check, run, steps_of
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from canopsis.core.alarm import Alarm
from canopsis.core.alert import alert_body
from canopsis.core.change import LifecycleRules
from canopsis.core.envelope import decode_batch
from canopsis.core.event import Event
from canopsis.core.event_types.comment import Comment
from canopsis.core.normalise import decode, normalise
from canopsis.core.plugin import parse_output

START = int(NOW) - 10_000


class Chain:
    """Core alone as a chain: decode, normalise, hop, life cycle, alert."""

    def __init__(self, rules: LifecycleRules = RULES) -> None:
        self.rules = rules
        self.alarm: Alarm | None = None
        self.alerts: list[dict[str, Any]] = []
        self.count = 0

    def send(self, at: float, **changes: Any) -> None:
        """Send an event ``at`` seconds after the start of the story."""
        self.count += 1
        raw = raw_check(timestamp=START + at, event_id=f"e{self.count}", **changes)
        (decoded,) = decode(msgspec.json.encode(raw))
        event = normalise(decoded, START + at)
        self.hear(decode_batch(msgspec.json.encode([event]))[0])

    def hear(self, event: Event) -> None:
        change = apply(event, self.alarm, self.rules)
        if change is None:
            return
        self.alarm = change.alarm if change.alarm.open else None
        if change.kind != "seen":
            self.alerts.append(alert_body(change, event))

    def told(self) -> list[tuple[str, int, int]]:
        """Return kind, state and status of each alert."""
        return [(alert["kind"], alert["state"], alert["status"]) for alert in self.alerts]


def test_the_tour_of_the_first_command() -> None:
    chain = Chain()
    output = parse_output("CRITICAL - load average: 0.4 | load1=0.4;0;0;0 load5=0.3;0;0;0\n")
    chain.send(0, state=2, output=output.output, perf_data=output.perf_data)
    chain.send(30, state=0, output="OK - load average: 0.4")
    chain.send(60, event_type="resolve", state=None)
    chain.send(90, event_type="resolve", state=None)
    assert chain.told() == [("opened", 2, 1), ("changed", 0, 0), ("resolved", 0, 0)]
    assert chain.alarm is None


def test_an_operator_takes_care_of_a_problem() -> None:
    chain = Chain()
    chain.send(0, state=2)
    chain.send(10, event_type="ack", author="ann", output="on it", state=None)
    chain.send(20, event_type="comment", author="ann", output="a fan is broken", state=None)
    chain.send(30, state=1, output="DISK WARNING")
    chain.send(40, state=0, output="DISK OK")
    assert [alert["event_type"] for alert in chain.alerts] == ["check", "ack", "comment", "check", "check"]
    assert chain.alarm is not None
    assert [step.type for step in chain.alarm.steps] == [
        "stateinc",
        "statusinc",
        "ack",
        "comment",
        "statedec",
        "statedec",
        "statusdec",
    ]
    assert chain.alarm.output == "DISK OK"
    assert chain.alarm.initial_output == "DISK CRITICAL"


def test_a_false_alarm_is_cancelled_and_comes_back() -> None:
    chain = Chain()
    chain.send(0, state=2)
    chain.send(10, event_type="cancel", author="ann", output="a test", state=None)
    chain.send(20, state=3)
    chain.send(30, event_type="uncancel", author="ann", output="no test", state=None)
    assert chain.told() == [("opened", 2, 1), ("changed", 2, 4), ("changed", 3, 4), ("changed", 3, 1)]


def test_a_cancelled_alarm_is_resolved_after_its_delay_and_the_next_problem_is_another() -> None:
    chain = Chain()
    chain.send(0, state=2)
    chain.send(10, event_type="cancel", author="ann", output="a test", state=None)
    chain.send(3000, event_type="resolve", state=None)
    chain.send(3700, event_type="resolve", state=None)
    chain.send(3800, state=2)
    assert chain.told() == [("opened", 2, 1), ("changed", 2, 4), ("resolved", 2, 4), ("opened", 2, 1)]
    assert chain.alerts[0]["alarm_id"] != chain.alerts[-1]["alarm_id"]


def test_operators_who_come_too_late_change_nothing() -> None:
    chain = Chain()
    for name in ("ack", "ackremove", "cancel", "uncancel", "comment", "resolve"):
        chain.send(0, event_type=name, author="ann", output="x", state=None)
    assert chain.alerts == []


def test_levels_without_an_ok_in_between_are_one_problem() -> None:
    chain = Chain()
    for at, state in enumerate([1, 2, 3]):
        chain.send(at, state=state)
    assert [(alert["state"], alert["status"]) for alert in chain.alerts] == [(1, 1), (2, 1), (3, 1)]
    assert len({alert["alarm_id"] for alert in chain.alerts}) == 1


def test_nothing_is_told_of_what_stays_as_it_is() -> None:
    chain = Chain()
    for at in range(0, 600, 60):
        chain.send(at, state=2)
    assert chain.told() == [("opened", 2, 1)]
    assert chain.alarm is not None
    assert chain.alarm.last_event == START + 540


@pytest.mark.parametrize(
    ("states", "statuses"),
    [
        ([0], []),
        ([0, 0, 0], []),
        ([1, 0], [1, 0]),
        ([0, 1], [1]),
        ([0, 1, 0, 1], [1, 0, 1]),
        ([1, 0, 0, 1], [1, 0, 1]),
        ([1, 2, 3], [1, 1, 1]),
        ([1, 0] * 5, [1, 0] * 5),
    ],
)
def test_the_status_after_each_change(states: list[int], statuses: list[int]) -> None:
    changes = run(*[check(state, at, f"e{at}") for at, state in enumerate(states)])
    assert [change.alarm.status for change in changes if change is not None and change.kind != "seen"] == statuses


events_of_a_story = st.lists(
    st.tuples(st.sampled_from(["check", "check", "check", "comment"]), st.integers(0, 3), st.sampled_from(["", "x"])),
    min_size=1,
    max_size=25,
).map(
    lambda parts: [
        check(state, at, f"e{at}", text) if kind == "check" else act(Comment, at, f"e{at}", output=text)
        for at, (kind, state, text) in enumerate(parts)
    ]
)


@given(events_of_a_story, st.data())
def test_what_is_delivered_again_changes_nothing(events: list[Event], data: st.DataObject) -> None:
    """A broker gives back what was not acknowledged: the end of the story again, in its order."""
    after = [change for change in run(*events) if change is not None]
    if not after:
        return
    alarm = after[-1].alarm
    again = events[data.draw(st.integers(0, len(events) - 1)) :]
    # What came before the alarm was open is no story of this alarm.
    again = [event for event in again if event.timestamp >= alarm.created]
    for change in run(*again, alarm=alarm):
        assert change is None or change.kind in {"repeat", "seen"}
        assert change is None or replace(change.alarm, events_count=0) == replace(alarm, events_count=0)


@given(events_of_a_story)
def test_batches_of_any_size_give_the_same_alarm(events: list[Event]) -> None:
    at_once = [change.alarm for change in run(*events) if change is not None][-1:]
    alarm: Alarm | None = None
    for event in events:
        for change in run(event, alarm=alarm):
            alarm = alarm if change is None else change.alarm
    assert at_once == ([] if alarm is None else [alarm])


@given(events_of_a_story)
def test_every_step_is_told_once(events: list[Event]) -> None:
    chain = Chain()
    for event in events:
        chain.hear(event)
    told = [(step["type"], step["value"]) for alert in chain.alerts for step in alert["steps"]]
    assert told == ([] if chain.alarm is None else steps_of(chain.alarm))
