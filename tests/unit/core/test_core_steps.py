"""An alarm keeps the steps of its last write; older ones go into segments, and a counter stands for them."""

from __future__ import annotations

from collections import Counter
from itertools import count

import msgspec
from core_samples import NOW, act, alarm_after, check

from canopsis.core.alarm import SYSTEM, Alarm, Step
from canopsis.core.event_types.cancel import Cancel
from canopsis.core.steps import KEPT, MOST, Name, Segment, folded, parts, unfolded


def flapping(steps: int) -> Alarm:
    """Return an alarm of so many steps."""
    return alarm_after(*[check(at % 2 + 1, at, f"e{at}") for at in range(steps - 1)])


def whole(alarm: Alarm, segments: list[Segment]) -> list[Step]:
    """Return all steps of an alarm, by the way that a reader takes."""
    there = {segment.id: segment for segment in segments}
    found, older = parts(alarm.steps)[1], alarm.older
    while older:
        found, older = there[older].steps + found, there[older].older
    return found


def names() -> Name:
    """Return what gives segments their ids: s0, s1 and so on."""
    numbers = count()
    return lambda _steps: f"s{next(numbers)}"


def test_b5_a_change_without_steps_leaves_an_alarm_alone() -> None:
    alarm = flapping(30)
    assert folded(alarm, 0, names()) == (alarm, [])
    assert folded(alarm, 0, names())[0] is alarm


def test_b5_the_steps_of_the_last_write_stay_and_all_others_go() -> None:
    alarm = flapping(51)
    after, (segment,) = folded(alarm, 3, names())
    assert (segment.alarm_id, segment.older, segment.steps) == (alarm.id, "", alarm.steps[:-3])
    counter, *kept = after.steps
    assert kept == alarm.steps[-3:]
    counts = {"stateinc": 24, "statedec": 23, "statusinc": 1, "state1": 24, "state2": 23}
    assert counter == Step("statecounter", alarm.steps[-4].t, SYSTEM, "", 48, "", counts)
    assert after.older == segment.id
    assert len(alarm.steps) == 51, "never changed in place"


def test_b5_of_a_write_of_many_steps_the_newest_stay() -> None:
    alarm = flapping(2001)
    after, segments = folded(alarm, 2001, names())
    assert after.steps[1:] == alarm.steps[-KEPT:]
    assert [len(segment.steps) for segment in segments] == [MOST] * 19 + [91]
    assert whole(after, segments) == alarm.steps
    assert after.steps[0].value == 1991


def test_b5_folded_again_the_counter_goes_on_and_the_segments_are_a_chain() -> None:
    events, name = [check(at % 2 + 1, at, f"e{at}") for at in range(500)], names()
    alarm, segments = alarm_after(events[0]), list[Segment]()
    for event in events[1:]:
        alarm, more = folded(alarm_after(event, alarm=alarm), 1, name)
        segments += more
        assert [step.type for step in alarm.steps][:-1] == ["statecounter"]
    assert whole(alarm, segments) == alarm_after(*events).steps
    assert [segment.older for segment in segments] == ["", *[segment.id for segment in segments[:-1]]]
    counts = Counter(step.type for segment in segments for step in segment.steps)
    assert alarm.steps[0].counts == dict(counts) | {"state1": 250, "state2": 249}


def test_b5_the_steps_of_one_event_stay_together() -> None:
    alarm = alarm_after(act(Cancel, 60, "c1"), alarm=flapping(50))
    assert [step.e for step in alarm.steps[-2:]] == ["c1", "c1"]
    after, _ = folded(alarm, 2, names())
    assert [step.e for step in after.steps[1:]] == ["c1", "c1"]
    alarm = alarm_after(*[check(at % 2 + 1, 70 + at, f"f{at}") for at in range(KEPT - 1)], alarm=alarm)
    after, (segment,) = folded(alarm, KEPT, names())
    assert {step.e for step in segment.steps} & {step.e for step in after.steps} == set()


def test_b5_a_counter_survives_the_database() -> None:
    after, (segment,) = folded(flapping(30), 2, names())
    assert msgspec.convert(msgspec.to_builtins(after), Alarm) == after
    assert msgspec.convert(msgspec.to_builtins(segment), Segment) == segment
    assert after.steps[0].t >= NOW


def test_b5_older_steps_are_put_back_and_the_counter_counts_the_others() -> None:
    alarm = flapping(151)
    after, segments = folded(alarm, 2, names())
    assert unfolded(after.steps, whole(after, segments)[:-2]) == alarm.steps
    counter, *shown = unfolded(after.steps, segments[-1].steps)
    assert shown == alarm.steps[100:]
    assert counter.value == 100
    assert counter.counts == {"stateinc": 50, "statedec": 49, "statusinc": 1, "state1": 50, "state2": 49}
    assert unfolded(alarm.steps, []) == alarm.steps
