"""An alarm keeps its newest steps; older ones go into segments, and a counter stands for them."""

from __future__ import annotations

from collections import Counter

import msgspec
from core_samples import NOW, act, alarm_after, check
from hypothesis import given
from hypothesis import strategies as st
from msgspec import structs

from canopsis.core.alarm import SYSTEM, Alarm, Step
from canopsis.core.event_types.cancel import Cancel
from canopsis.core.steps import KEPT, MOST, Segment, folded, parts


def flapping(count: int) -> Alarm:
    """Return an alarm of ``count`` steps."""
    return alarm_after(*[check(at % 2 + 1, at, f"e{at}") for at in range(count - 1)])


def whole(alarm: Alarm, segments: list[Segment]) -> list[Step]:
    """Return all steps of an alarm, by the way that a reader takes."""
    there = {segment.id: segment for segment in segments}
    found, older = parts(alarm.steps)[1], alarm.older
    while older:
        found, older = there[older].steps + found, there[older].older
    return found


def test_b5_a_young_alarm_is_left_alone() -> None:
    alarm = flapping(MOST)
    assert folded(alarm) == (alarm, [])
    assert folded(alarm)[0] is alarm


def test_b5_one_step_too_many_and_all_but_the_newest_go() -> None:
    alarm = flapping(MOST + 1)
    after, (segment,) = folded(alarm)
    assert (segment.alarm_id, segment.older, segment.steps) == (alarm.id, "", alarm.steps[:-KEPT])
    counter, *kept = after.steps
    assert kept == alarm.steps[-KEPT:]
    assert counter == Step(
        "statecounter",
        alarm.steps[-KEPT - 1].t,
        SYSTEM,
        "",
        51,
        "",
        {"stateinc": 26, "statedec": 24, "statusinc": 1, "state1": 25, "state2": 25},
    )
    assert after.older == segment.id
    assert len(alarm.steps) == MOST + 1, "never changed in place"


def test_b5_folded_again_the_counter_goes_on_and_the_segments_are_a_chain() -> None:
    events = [check(at % 2 + 1, at, f"e{at}") for at in range(500)]
    alarm, segments = alarm_after(events[0]), list[Segment]()
    for event in events[1:]:
        alarm = alarm_after(event, alarm=alarm)
        alarm, more = folded(alarm)
        segments += more
        assert len(alarm.steps) <= MOST + 1
    assert whole(alarm, segments) == alarm_after(*events).steps
    assert [segment.older for segment in segments] == ["", *[segment.id for segment in segments[:-1]]]
    counts = Counter(step.type for segment in segments for step in segment.steps)
    assert alarm.steps[0].counts == dict(counts) | {"state1": 178, "state2": 178}


def test_b5_an_alarm_that_grew_before_is_cut_into_segments_of_a_hundred() -> None:
    alarm = flapping(2001)
    after, segments = folded(alarm)
    assert [len(segment.steps) for segment in segments] == [KEPT] * 19 + [1]
    assert whole(after, segments) == alarm.steps
    assert after.steps[0].value == 1901


def test_b5_the_steps_of_one_event_stay_together() -> None:
    alarm = flapping(50)
    alarm = alarm_after(act(Cancel, 60, "c1"), alarm=alarm)
    for at in range(100):
        alarm = alarm_after(check(at % 2 + 1, 70 + at, f"f{at}"), alarm=alarm)
    after, (segment,) = folded(structs.replace(alarm, steps=alarm.steps[: 50 + 1 + KEPT]))
    assert {step.e for step in segment.steps} & {step.e for step in after.steps} == set()
    assert [step.e for step in segment.steps[-2:]] == ["c1", "c1"]


@given(st.integers(0, 400))
def test_b5_the_same_work_again_makes_the_same_segments(count: int) -> None:
    alarm = flapping(count + 2)
    assert folded(alarm) == folded(structs.replace(alarm))
    other = structs.replace(alarm, id="another")
    assert {one.id for one in folded(alarm)[1]} & {one.id for one in folded(other)[1]} == set()


def test_b5_a_counter_survives_the_database() -> None:
    after, (segment,) = folded(flapping(MOST + 1))
    assert msgspec.convert(msgspec.to_builtins(after), Alarm) == after
    assert msgspec.convert(msgspec.to_builtins(segment), Segment) == segment
    assert after.steps[0].t >= NOW
