"""Snooze: an alarm is put off, and comes back."""

from __future__ import annotations

import pytest
from core_samples import NOW, RULES, act, alarm_after, apply, check, good, steps_of
from msgspec.structs import replace

from canopsis.core.alarm import Snoozed
from canopsis.core.event import Event
from canopsis.core.event_types.comment import Comment
from canopsis.core.event_types.snooze import Snooze, Unsnooze
from canopsis.core.lifecycle import outcome_of
from canopsis.core.timers import due_events
from canopsis.errors import InvalidEvent

ALARM = alarm_after(check(2, 0, "e1"))


def test_case_22_a_snooze_says_until_when_and_moves_nothing_else() -> None:
    alarm = alarm_after(act(Snooze, 5, "s1", output="lunch", duration=3600.0), alarm=ALARM)
    assert alarm.snooze == Snoozed("ann", "lunch", NOW + 5, NOW + 3605)
    assert steps_of(alarm)[-1] == ("snooze", NOW + 3605)
    assert (alarm.updated, alarm.state, alarm.status) == (ALARM.updated, ALARM.state, ALARM.status)


def test_by_default_it_is_five_minutes() -> None:
    alarm = alarm_after(act(Snooze, 0, "s1"), alarm=ALARM)
    assert alarm.snooze is not None
    assert alarm.snooze.until == NOW + 300


def test_a_second_one_has_no_effect() -> None:
    alarm = alarm_after(act(Snooze, 0, "s1"), alarm=ALARM)
    again = act(Snooze, 10, "s2", "bob")
    assert apply(again, alarm) is None
    assert outcome_of(again, alarm, None) == "ann snoozed it already"


@pytest.mark.parametrize(("given", "kept"), [(60, 60.0), (0.5, 0.5), ("90", 90.0), (None, 300.0)])
def test_a_duration_is_in_seconds(given: object, kept: float) -> None:
    event: Event = good(event_type="snooze", state=None, duration=given)
    assert isinstance(event, Snooze)
    assert event.duration == kept


@pytest.mark.parametrize("given", [0, -1, "soon", True, 366 * 86_400 + 1, float("nan"), [5]])
def test_anything_else_is_refused(given: object) -> None:
    with pytest.raises(InvalidEvent, match=r"duration.*seconds, more than 0"):
        good(event_type="snooze", state=None, duration=given)


def test_a_snooze_by_a_clock_that_was_ahead_is_as_long_as_it_should_be() -> None:
    ahead = act(Snooze, 7200, "s1", duration=600.0)
    change = apply(ahead, ALARM, now=NOW + 7200)
    assert change is not None
    right = apply(check(3, 60, "e2"), change.alarm, now=NOW + 60)
    assert right is not None
    assert right.alarm.snooze == Snoozed("ann", "", NOW + 60, NOW + 660)


def test_what_operators_say_puts_no_time_right() -> None:
    alarm = alarm_after(act(Snooze, 5, "s1"), act(Comment, 6, "c1", output="x"), alarm=ALARM)
    assert alarm.snooze is not None
    assert alarm.snooze.t == NOW + 5


def test_case_23_when_its_time_is_over_the_alarm_comes_back() -> None:
    alarm = alarm_after(act(Snooze, 0, "s1", duration=3.0), alarm=ALARM)
    assert alarm.wake_at == NOW + 3
    assert list(due_events(alarm, RULES, NOW + 2.9)) == []
    (event,) = due_events(alarm, RULES, NOW + 3)
    back = alarm_after(replace(event, event_id="u1"), alarm=alarm)
    assert (back.snooze, back.wake_at) == (None, None)
    assert steps_of(back)[-1] == ("unsnooze", 2)
    assert back.steps[-1].author == "canopsis"


def test_an_operator_brings_it_back_before() -> None:
    alarm = alarm_after(act(Snooze, 0, "s1"), act(Unsnooze, 10, "u1"), alarm=ALARM)
    assert alarm.snooze is None
    assert apply(act(Unsnooze, 11, "u2"), alarm) is None
    assert outcome_of(act(Unsnooze, 11, "u2"), alarm, None) == "it is not snoozed"


def test_the_end_of_one_snooze_does_not_end_the_next() -> None:
    alarm = alarm_after(act(Snooze, 0, "s1", duration=3.0), alarm=ALARM)
    (over,) = due_events(alarm, RULES, NOW + 3)
    again = alarm_after(act(Unsnooze, 4, "u1"), act(Snooze, 5, "s2"), alarm=alarm)
    change = apply(replace(over, event_id="u2"), again)
    assert change is not None
    assert (change.steps, change.fields, change.alarm.snooze) == ((), {"wake_at"}, again.snooze)
