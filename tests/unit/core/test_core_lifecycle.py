"""The life cycle of an alarm, one rule a test."""

from __future__ import annotations

import copy
from typing import Any

import msgspec
import pytest
from core_samples import LATER, NOW, RULES, act, alarm_after, apply, check, steps_of

from canopsis.core.alarm import Alarm, Mark, Step
from canopsis.core.change import MAX_MESSAGE, Change, LifecycleRules, alarm_id
from canopsis.core.event import Action, Event
from canopsis.core.event_types import ACTIONS
from canopsis.core.event_types.ack import Ack, AckRemove
from canopsis.core.event_types.cancel import Cancel, Uncancel
from canopsis.core.event_types.check import Check
from canopsis.core.event_types.comment import Comment
from canopsis.core.event_types.log import Log
from canopsis.core.event_types.perf import Perf
from canopsis.core.event_types.resolve import Resolve
from canopsis.core.lifecycle import is_quiet, kind_of, outcome_of
from canopsis.core.status import CANCELLED, OFF, ONGOING, status_of
from canopsis.core.timers import due_events, next_wake, woken

SOFT = LifecycleRules(resolve_delay=60, cancel_resolve_delay=3600, soft_states=True)


def changed(
    event: Event,
    alarm: Alarm | None,
    rules: LifecycleRules = RULES,
    now: float = LATER,
    newest: float | None = None,
) -> Change:
    change = apply(event, alarm, rules, now, newest)
    assert change is not None
    return change


@pytest.mark.parametrize(
    ("state", "cancelled", "expected"),
    [(0, False, OFF), (1, False, ONGOING), (3, False, ONGOING), (0, True, CANCELLED), (2, True, CANCELLED)],
)
def test_the_status_follows_from_state_and_cancel(state: int, cancelled: bool, expected: int) -> None:
    assert status_of(state, cancelled) == expected


@pytest.mark.parametrize("event", [check(0, 0, "e1"), *(act(kind, 0, "e1") for kind in (Log, Perf))])
def test_without_an_alarm_what_is_quiet_does_nothing(event: Event) -> None:
    assert apply(event, None, RULES) is None


@pytest.mark.parametrize("kind", [Ack, AckRemove, Cancel, Uncancel, Comment, Resolve])
def test_without_an_alarm_operators_do_nothing(kind: type[Event]) -> None:
    assert apply(act(kind, 0, "e1", output="x"), None, RULES) is None


@pytest.mark.parametrize("kind", [Log, Perf])
def test_measures_and_lines_do_nothing_to_an_alarm(kind: type[Event]) -> None:
    assert apply(act(kind, 1, "e2"), alarm_after(check(2, 0, "e1")), RULES) is None


def test_the_first_check_that_is_not_ok_opens_an_alarm() -> None:
    event = check(2, 0, "e1", "too hot", long_output="90 °C", tags=["fan"])
    change = changed(event, None)
    steps = [
        Step("stateinc", NOW, "nagios.nag1", "too hot", 2, "e1"),
        Step("statusinc", NOW, "nagios.nag1", "too hot", ONGOING, "e1"),
    ]
    assert change.kind == "opened"
    assert change.steps == tuple(steps)
    assert change.alarm == Alarm(
        id=alarm_id("component:srv1", "e1"),
        display_name="NIAJ-HVES",
        entity_id="component:srv1",
        source_type="component",
        connector="nagios",
        connector_name="nag1",
        component="srv1",
        resource=None,
        state=2,
        status=ONGOING,
        output="too hot",
        long_output="90 °C",
        initial_output="too hot",
        created=NOW,
        updated=NOW,
        last_event=NOW,
        events_count=1,
        tags=["fan"],
        steps=steps,
    )
    assert {"state", "status", "open", "created"} <= change.fields
    assert "steps" not in change.fields


def test_the_id_of_an_alarm_is_the_same_when_its_event_comes_again() -> None:
    assert changed(check(2, 0, "e1"), None).alarm.id == changed(check(2, 0, "e1"), None).alarm.id
    assert changed(check(2, 0, "e1"), None).alarm.id != changed(check(2, 0, "e2"), None).alarm.id
    assert len(alarm_id("component:srv1", "e1")) == 32


def test_ids_of_entity_and_event_do_not_run_together() -> None:
    assert alarm_id("component:a", "b") != alarm_id("component:ab", "")


@pytest.mark.parametrize(
    ("states", "expected"),
    [
        ([1], [("stateinc", 1), ("statusinc", 1)]),
        ([1, 3], [("stateinc", 1), ("statusinc", 1), ("stateinc", 3)]),
        ([3, 1], [("stateinc", 3), ("statusinc", 1), ("statedec", 1)]),
        ([1, 2, 3], [("stateinc", 1), ("statusinc", 1), ("stateinc", 2), ("stateinc", 3)]),
        ([2, 0], [("stateinc", 2), ("statusinc", 1), ("statedec", 0), ("statusdec", 0)]),
        (
            [2, 0, 1],
            [
                ("stateinc", 2),
                ("statusinc", 1),
                ("statedec", 0),
                ("statusdec", 0),
                ("stateinc", 1),
                ("statusinc", 1),
            ],
        ),
        ([2, 2, 2], [("stateinc", 2), ("statusinc", 1)]),
        ([2, 0, 0], [("stateinc", 2), ("statusinc", 1), ("statedec", 0), ("statusdec", 0)]),
    ],
)
def test_each_change_of_state_or_status_is_a_step(states: list[int], expected: list[tuple[str, int]]) -> None:
    alarm = alarm_after(*[check(state, at, f"e{at}") for at, state in enumerate(states)])
    assert steps_of(alarm) == expected
    assert alarm.state == states[-1]
    assert alarm.status == (ONGOING if states[-1] else OFF)


def test_back_to_ok_the_alarm_stays_open_and_the_next_problem_reopens_it() -> None:
    first = alarm_after(check(2, 0, "e1"), check(0, 10, "e2"))
    assert (first.open, first.status) == (True, OFF)
    again = changed(check(1, 20, "e3"), first).alarm
    assert (again.id, again.status, again.created) == (first.id, ONGOING, NOW)


def test_a_change_says_which_fields_changed() -> None:
    change = changed(check(0, 10, "e2", "all is well"), alarm_after(check(2, 0, "e1", "too hot")))
    assert change.kind == "changed"
    assert change.fields == {"state", "status", "updated", "last_event", "output", "events_count", "wake_at"}
    assert change.alarm.output == "all is well"
    assert change.alarm.initial_output == "too hot"


def test_another_text_is_a_change_without_a_step() -> None:
    change = changed(check(2, 10, "e2", "91 °C"), alarm_after(check(2, 0, "e1", "90 °C")))
    assert change.fields == {"output", "last_event", "events_count"}
    assert change.steps == ()
    assert change.alarm.updated == NOW


def test_another_long_text_is_a_change_too() -> None:
    change = changed(check(2, 10, "e2", long_output="new"), alarm_after(check(2, 0, "e1")))
    assert change.fields == {"long_output", "last_event", "events_count"}


def test_a_plain_repeat_is_seen_and_not_to_be_written() -> None:
    change = changed(check(2, 10, "e2"), alarm_after(check(2, 0, "e1")))
    assert change.kind == "seen"
    assert change.fields == {"last_event", "events_count"}
    assert change.steps == ()
    assert change.alarm.last_event == NOW + 10


def test_another_check_of_the_same_second_is_counted() -> None:
    change = changed(check(2, 0, "e2"), alarm_after(check(2, 0, "e1")))
    assert (change.kind, change.alarm.events_count, change.alarm.last_event) == ("seen", 2, NOW)


def test_an_event_whose_id_is_in_a_step_is_a_repeat() -> None:
    first = changed(check(2, 0, "e1"), None)
    again = changed(check(2, 0, "e1"), first.alarm)
    assert again.kind == "repeat"
    assert again.steps == first.steps
    assert again.fields == frozenset()
    assert again.alarm is first.alarm


def test_an_old_event_that_comes_again_much_later_is_still_a_repeat() -> None:
    events = [check(at % 2 + 1, at, f"e{at}") for at in range(50)]
    alarm = alarm_after(*events)
    for event in events:
        assert changed(event, alarm).kind == "repeat"


@pytest.mark.parametrize("kind", [Ack, Cancel, Comment])
def test_an_operators_event_that_comes_again_is_a_repeat(kind: type[Event]) -> None:
    event = act(kind, 5, "a1", output="mine")
    alarm = alarm_after(check(2, 0, "e1"), event)
    change = changed(event, alarm)
    assert (change.kind, [step.type for step in change.steps][:1]) == ("repeat", [event.__struct_config__.tag])


def test_an_event_without_an_id_is_never_a_repeat() -> None:
    alarm = alarm_after(check(2, 0, ""))
    assert changed(check(1, 1, ""), alarm).kind == "changed"


def test_the_event_that_resolved_an_alarm_is_a_repeat_to_the_resolved_one() -> None:
    event = act(Resolve, 100, "r1")
    alarm = alarm_after(check(2, 0, "e1"), check(0, 1, "e2"), event)
    assert not alarm.open
    assert changed(event, alarm).kind == "repeat"


def test_a_resolved_alarm_is_left_alone_and_the_next_problem_opens_another() -> None:
    alarm = alarm_after(check(2, 0, "e1"), check(0, 1, "e2"), act(Resolve, 100, "r1"))
    assert apply(act(Ack, 101, "a1"), alarm, RULES) is None
    assert apply(check(0, 102, "e3"), alarm, RULES) is None
    change = changed(check(1, 103, "e4"), alarm)
    assert change.kind == "opened"
    assert change.alarm.id != alarm.id


def test_a_late_check_changes_nothing() -> None:
    alarm = alarm_after(check(1, 0, "e1"), check(2, 10, "e2"))
    assert apply(check(0, 9, "e3"), alarm, RULES) is None
    assert apply(check(3, 9.999, "e4", "worse"), alarm, RULES) is None


def test_a_check_older_than_a_plain_repeat_is_late_too() -> None:
    alarm = alarm_after(check(2, 0, "e1"), check(2, 20, "e2"))
    assert apply(check(0, 15, "e3"), alarm, RULES) is None


def test_a_check_of_the_same_time_is_not_late() -> None:
    assert changed(check(0, 0, "e2"), alarm_after(check(2, 0, "e1"))).alarm.state == 0


def test_an_operators_clock_does_not_make_checks_late() -> None:
    alarm = alarm_after(check(2, 0, "e1"), act(Ack, 30, "a1"), check(0, 10, "e2"))
    assert alarm.state == 0
    assert [step.t - NOW for step in alarm.steps] == [0, 0, 30, 30, 30]
    assert alarm.last_event == NOW + 10


def test_an_operator_whose_clock_is_behind_is_heard() -> None:
    alarm = alarm_after(check(2, 0, "e1"), act(Ack, -30, "a1"))
    assert alarm.ack == Mark("ann", "", NOW)


def test_an_acknowledge_is_a_mark_and_a_step() -> None:
    change = changed(act(Ack, 5, "a1", output="on it"), alarm_after(check(2, 0, "e1")))
    assert change.alarm.ack == Mark("ann", "on it", NOW + 5)
    assert change.steps == (Step("ack", NOW + 5, "ann", "on it", 2, "a1"),)
    assert change.fields == {"ack"}
    assert change.alarm.updated == NOW


def test_an_action_without_an_author_is_its_connectors() -> None:
    alarm = alarm_after(check(2, 0, "e1"), act(Ack, 5, "a1", author=""))
    assert alarm.ack is not None
    assert alarm.ack.author == "canopsis.api"


def test_the_same_acknowledge_again_is_no_change() -> None:
    alarm = alarm_after(check(2, 0, "e1"), act(Ack, 5, "a1", output="on it"))
    assert apply(act(Ack, 6, "a2", output="on it"), alarm, RULES) is None


@pytest.mark.parametrize(("author", "output"), [("bob", "on it"), ("ann", "still on it")])
def test_another_acknowledge_takes_over(author: str, output: str) -> None:
    alarm = alarm_after(check(2, 0, "e1"), act(Ack, 5, "a1", output="on it"))
    change = changed(act(Ack, 6, "a2", author=author, output=output), alarm)
    assert change.alarm.ack == Mark(author, output, NOW + 6)
    assert steps_of(change.alarm)[-2:] == [("ack", 2), ("ack", 2)]


def test_an_acknowledge_stays_while_the_alarm_is_open() -> None:
    alarm = alarm_after(check(2, 0, "e1"), act(Ack, 5, "a1"), check(0, 10, "e2"), check(3, 20, "e3"))
    assert alarm.ack is not None


def test_an_acknowledge_can_be_taken_back_once() -> None:
    alarm = alarm_after(check(2, 0, "e1"), act(Ack, 5, "a1"))
    change = changed(act(AckRemove, 6, "a2", author="bob", output="sorry"), alarm)
    assert change.alarm.ack is None
    assert change.steps == (Step("ackremove", NOW + 6, "bob", "sorry", 2, "a2"),)
    assert change.fields == {"ack"}
    assert apply(act(AckRemove, 7, "a3"), change.alarm, RULES) is None


def test_a_cancelled_alarm_has_a_mark_and_the_status() -> None:
    change = changed(act(Cancel, 5, "c1", output="a test"), alarm_after(check(2, 0, "e1")))
    assert change.alarm.cancel == Mark("ann", "a test", NOW + 5)
    assert change.alarm.status == CANCELLED
    assert [(step.type, step.value, step.author) for step in change.steps] == [
        ("cancel", 2, "ann"),
        ("statusinc", CANCELLED, "ann"),
    ]
    assert change.fields == {"cancel", "status", "updated", "wake_at"}
    assert apply(act(Cancel, 6, "c2"), change.alarm, RULES) is None


def test_a_cancelled_alarm_stays_so_whatever_its_source_says() -> None:
    alarm = alarm_after(check(2, 0, "e1"), act(Cancel, 5, "c1"), check(3, 10, "e2"), check(0, 20, "e3"))
    assert (alarm.state, alarm.status) == (0, CANCELLED)
    assert steps_of(alarm)[-2:] == [("stateinc", 3), ("statedec", 0)]


@pytest.mark.parametrize(("last", "status"), [(2, ONGOING), (0, OFF)])
def test_the_undo_of_a_cancel_gives_the_status_that_the_state_has(last: int, status: int) -> None:
    alarm = alarm_after(check(1, 0, "e1"), act(Cancel, 5, "c1"), check(last, 6, "e2"))
    change = changed(act(Uncancel, 7, "c2", output="no test"), alarm)
    assert change.alarm.cancel is None
    assert change.alarm.status == status
    assert [(step.type, step.value) for step in change.steps] == [("uncancel", last), ("statusdec", status)]
    assert apply(act(Uncancel, 8, "c3"), change.alarm, RULES) is None


def test_a_cancel_does_not_touch_the_acknowledge() -> None:
    alarm = alarm_after(check(2, 0, "e1"), act(Cancel, 5, "c1"), act(Uncancel, 6, "c2"))
    assert alarm.ack is None


def test_comments_are_steps_and_the_last_one_is_told() -> None:
    alarm = alarm_after(check(2, 0, "e1"))
    change = changed(act(Comment, 5, "k1", output="look at the fan"), alarm)
    assert change.steps == (Step("comment", NOW + 5, "ann", "look at the fan", 2, "k1"),)
    assert change.fields == {"last_comment"}
    assert change.alarm.last_comment == Mark("ann", "look at the fan", NOW + 5)
    assert changed(act(Comment, 5, "k2", output="look at the fan"), change.alarm).kind == "changed"


@pytest.mark.parametrize(
    ("events", "at", "due"),
    [
        ([check(2, 0, "e1")], 10_000, False),
        ([check(2, 0, "e1"), check(0, 10, "e2")], 69.9, False),
        ([check(2, 0, "e1"), check(0, 10, "e2")], 70, True),
        ([check(2, 0, "e1"), check(0, 10, "e2"), check(0, 60, "e3", "fine")], 70, True),
        ([check(2, 0, "e1"), check(0, 10, "e2"), act(Comment, 60, "k1")], 70, True),
        ([check(2, 0, "e1"), check(0, 10, "e2"), check(1, 20, "e3")], 1000, False),
        ([check(2, 0, "e1"), check(0, 10, "e2"), check(1, 20, "e3"), check(0, 30, "e4")], 89, False),
        ([check(2, 0, "e1"), act(Cancel, 10, "c1")], 3609, False),
        ([check(2, 0, "e1"), act(Cancel, 10, "c1")], 3610, True),
        ([check(2, 0, "e1"), act(Cancel, 10, "c1"), check(3, 3000, "e2")], 3610, True),
        ([check(2, 0, "e1"), act(Cancel, 10, "c1"), check(0, 20, "e2")], 80, True),
        ([check(2, 0, "e1"), act(Cancel, 10, "c1"), act(Uncancel, 20, "c2")], 9999, False),
        ([check(2, 0, "e1"), act(Cancel, 10, "c1"), check(0, 20, "e2"), act(Uncancel, 50, "c2")], 109, False),
    ],
)
def test_when_an_alarm_is_resolved(events: list[Event], at: float, due: bool) -> None:
    alarm = alarm_after(*events)
    assert [type(event) for event in due_events(alarm, RULES, NOW + at)] == ([Resolve] if due else [])
    assert (apply(act(Resolve, at, "r1"), alarm, RULES) is not None) is due


def test_a_resolved_alarm_is_closed_and_says_when() -> None:
    alarm = alarm_after(check(2, 0, "e1"), check(0, 10, "e2"))
    change = changed(act(Resolve, 100, "r1", author=""), alarm)
    assert change.kind == "resolved"
    assert (change.alarm.open, change.alarm.resolved) == (False, NOW + 100)
    assert change.steps == (Step("resolve", NOW + 100, "canopsis", "", 0, "r1"),)
    assert change.fields == {"open", "resolved", "wake_at"}


def test_with_no_delay_an_alarm_is_resolved_at_once() -> None:
    rules = LifecycleRules(resolve_delay=0, cancel_resolve_delay=0)
    assert not alarm_after(check(2, 0, "e1"), check(0, 1, "e2"), act(Resolve, 1, "r1"), rules=rules).open
    assert not alarm_after(check(2, 0, "e1"), act(Cancel, 1, "c1"), act(Resolve, 1, "r1"), rules=rules).open


def test_b1_a_late_check_does_nothing_with_none_open() -> None:
    assert apply(check(2, -600, "e2"), None, newest=NOW) is None
    assert apply(check(2, 0, "e2"), None, newest=NOW) is not None


def test_b1_a_late_check_does_nothing_to_an_alarm_that_knows_less() -> None:
    alarm = alarm_after(check(2, 0, "e1"))
    assert apply(check(0, 50, "e2"), alarm, newest=NOW + 100) is None
    assert changed(check(0, 100, "e2"), alarm, newest=NOW + 100).alarm.state == 0


def test_b2_a_check_counts_at_once_when_a_clock_that_was_ahead_is_put_right() -> None:
    ahead = alarm_after(check(2, 10_000, "e1"))
    change = changed(check(0, 5, "e2"), ahead, now=NOW + 6, newest=NOW + 10_000)
    alarm = change.alarm
    assert (alarm.state, alarm.last_event, alarm.updated, alarm.created) == (0, NOW + 5, NOW + 5, NOW + 5)
    assert [step.t - NOW for step in change.steps] == [5, 5]
    assert list(due_events(alarm, RULES, NOW + 65))


def test_b2_the_same_check_puts_the_times_right_too() -> None:
    ahead = alarm_after(check(2, 10_000, "e1"), act(Cancel, 10_001, "c1", output="a test"))
    event = check(2, 5, "e2")
    assert not is_quiet(event, ahead, RULES, NOW + 6)
    change = changed(event, ahead, now=NOW + 6)
    assert (change.kind, change.steps) == ("changed", ())
    assert change.fields == {"created", "updated", "last_event", "cancel", "events_count", "wake_at"}
    assert change.alarm.cancel == Mark("ann", "a test", NOW + 5)
    assert change.alarm.updated == NOW + 5
    assert is_quiet(check(2, 7, "e3"), change.alarm, RULES, NOW + 8)


def test_b2_only_the_time_that_is_ahead_is_put_right() -> None:
    ahead = alarm_after(check(2, 0, "e1"), act(Cancel, 10_001, "c1"))
    change = changed(check(2, 5, "e2"), msgspec.structs.replace(ahead, updated=NOW), now=NOW + 6)
    assert change.fields == {"last_event", "cancel", "events_count", "wake_at"}
    first = changed(check(2, 5, "e2"), alarm_after(check(2, 10_000, "e1")), now=NOW + 6)
    assert first.alarm.cancel is None


@pytest.mark.parametrize("kind", [Ack, Cancel, Comment])
def test_b2_operators_stamp_nothing_ahead(kind: type[Event]) -> None:
    ahead = alarm_after(check(2, 10_000, "e1"))
    change = changed(act(kind, 5, "a1", output="x"), ahead, now=NOW + 6)
    assert {step.t for step in change.steps} == {NOW + 5}


def test_b2_an_event_that_is_ahead_itself_is_stamped_with_the_present() -> None:
    opened = changed(check(2, 900, "e1"), None, now=NOW + 6).alarm
    assert (opened.created, opened.updated, opened.last_event, opened.steps[0].t) == (NOW + 6,) * 4
    later = changed(check(1, 900, "e2"), opened, now=NOW + 7).alarm
    assert (later.updated, later.last_event, later.steps[-1].t) == (NOW + 7,) * 3
    over = alarm_after(check(2, 0, "e1"), check(0, 1, "e2"))
    assert apply(act(Resolve, 900, "r1"), over, now=NOW + 6) is None


def test_b5_every_change_of_state_leaves_a_step() -> None:
    alarm = alarm_after(*[check(at % 2 + 1, at, f"e{at}") for at in range(3000)])
    assert len(alarm.steps) == 3001


@pytest.mark.parametrize(
    ("text", "kept"), [("x" * 1024, "x" * 1024), ("x" * 1025, "x" * 1021 + "…"), ("…" * 300, None)]
)
def test_b5_the_message_of_a_step_is_bounded_in_bytes(text: str, kept: str | None) -> None:
    alarm = alarm_after(check(2, 0, "e1", text), check(0, 1, "e2", text))
    assert {step.message for step in alarm.steps} == {kept or text}
    assert alarm.output == alarm.initial_output == text


def test_b5_a_message_is_not_cut_within_a_character() -> None:
    message = alarm_after(check(2, 0, "e1", "大" * 4096)).steps[0].message
    assert message == "大" * 340 + "…"
    assert len(message.encode()) <= MAX_MESSAGE


def test_b5_what_an_operator_says_is_kept_whole() -> None:
    alarm = alarm_after(check(2, 0, "e1"), act(Comment, 1, "k1", output="大" * 4096))
    assert alarm.steps[-1].message == "大" * 4096


def test_b9_soft_states_do_not_open_move_or_close() -> None:
    assert apply(check(2, 0, "e1", state_type=0), None) is None
    alarm = alarm_after(check(2, 0, "e1"))
    assert apply(check(0, 1, "e2", state_type=0), alarm) is None
    assert apply(check(3, 1, "e2", "new", state_type=0), alarm) is None
    assert is_quiet(check(3, 1, "e2", state_type=0), None, RULES, LATER)


def test_b9_soft_states_count_where_the_rules_say_so() -> None:
    alarm = changed(check(2, 0, "e1", state_type=0), None, SOFT).alarm
    assert changed(check(0, 1, "e2", state_type=0), alarm, SOFT).alarm.state == 0
    assert not is_quiet(check(3, 1, "e2", state_type=0), None, SOFT, LATER)


def test_what_is_quiet() -> None:
    alarm = alarm_after(check(2, 0, "e1", "x", long_output="y"))
    same = check(2, 1, "e2", "x", long_output="y")
    assert is_quiet(same, alarm, RULES, LATER)
    assert not is_quiet(same, msgspec.structs.replace(alarm, written_by=["e2"]), RULES, LATER)
    for event in (check(1, 1, "e2", "x", long_output="y"), check(2, 1, "e2", "z"), check(2, 1, "e2", "x")):
        assert not is_quiet(event, alarm, RULES, LATER)
    assert is_quiet(check(0, 1, "e2"), None, RULES, LATER)
    assert not is_quiet(check(1, 1, "e2"), None, RULES, LATER)
    assert is_quiet(act(Ack, 1, "a1"), None, RULES, LATER)
    assert not is_quiet(act(Ack, 1, "a1"), alarm, RULES, LATER)
    assert not is_quiet(act(Resolve, 1, "r1"), None, RULES, LATER)


@pytest.mark.parametrize(
    "event",
    [
        check(0, 20, "e9"),
        check(2, 20, "e9"),
        check(3, 20, "e9", "new"),
        act(Ack, 20, "e9", output="other"),
        act(AckRemove, 20, "e9"),
        act(Cancel, 20, "e9"),
        act(Comment, 20, "e9"),
        act(Resolve, 20, "e9"),
    ],
)
def test_alarms_are_never_changed_in_place(event: Event) -> None:
    alarm = alarm_after(check(2, 0, "e1", tags=["a"]), act(Ack, 5, "a1"))
    before = copy.deepcopy(alarm)
    change = apply(event, alarm, RULES)
    assert alarm == before
    if change is not None and change.kind != "repeat":
        assert change.alarm is not alarm


def test_the_same_event_and_alarm_always_give_the_same() -> None:
    alarm = alarm_after(check(2, 0, "e1"))
    assert apply(check(0, 1, "e2"), alarm, RULES) == apply(check(0, 1, "e2"), alarm, RULES)


def test_an_alarm_without_steps_is_no_trouble() -> None:
    bare = msgspec.structs.replace(alarm_after(check(2, 0, "e1")), steps=[])
    assert steps_of(changed(check(0, 1, "e2"), bare).alarm) == [("statedec", 0), ("statusdec", 0)]


def test_an_alarm_comes_back_from_the_database_the_same() -> None:
    alarm = alarm_after(check(2, 0, "e1", tags=["a"]), act(Ack, 5, "a1"), act(Cancel, 6, "c1"))
    document: dict[str, Any] = msgspec.to_builtins(alarm)
    assert document["_id"] == alarm.id
    assert msgspec.convert(document, Alarm) == alarm


def test_what_an_event_made_of_an_alarm_is_told_from_its_steps() -> None:
    alarm = alarm_after(check(2, 0, "e1"), check(0, 1, "e2"), act(Resolve, 100, "r1"))
    kinds = {
        event: kind_of(tuple(step for step in alarm.steps if step.e == event), alarm) for event in ("e1", "e2", "r1")
    }
    assert kinds == {"e1": "opened", "e2": "changed", "r1": "resolved"}


def test_the_fields_of_a_change_are_those_that_differ() -> None:
    alarm = alarm_after(check(2, 0, "e1"))
    for event in (check(0, 1, "e2", "x"), act(Ack, 1, "e2"), act(Cancel, 1, "e2"), check(2, 9, "e2")):
        change = changed(event, alarm)
        differing = {
            name
            for name in Alarm.__struct_fields__
            if name != "steps" and getattr(alarm, name) != getattr(change.alarm, name)
        }
        assert change.fields == differing
        assert change.alarm.steps == [*alarm.steps, *change.steps]


def test_a_check_of_a_resource_opens_an_alarm_of_the_resource() -> None:
    event = Check(
        connector="nagios",
        connector_name="nag1",
        component="srv1",
        resource="disk",
        source_type="resource",
        entity_id="resource:srv1/disk",
        timestamp=NOW,
        event_id="e1",
        state=1,
    )
    alarm = changed(event, None).alarm
    assert (alarm.source_type, alarm.component, alarm.resource) == ("resource", "srv1", "disk")
    assert alarm.entity_id == "resource:srv1/disk"


class TestOutcome:
    """What became of an action, for who asks by its event id."""

    ALARM = alarm_after(check(2, 0, "e1"))

    def outcome(self, alarm: Alarm | None, **fields: Any) -> str:
        event = act(Ack, 5, "a1")
        event = msgspec.structs.replace(event, **fields)
        return outcome_of(event, alarm, apply(event, alarm))

    def test_it_is_applied(self) -> None:
        assert self.outcome(self.ALARM) == "applied"
        assert self.outcome(self.ALARM, alarm_id=self.ALARM.id) == "applied"

    def test_an_action_for_another_alarm_does_not_touch_the_one_that_is_open(self) -> None:
        assert self.outcome(self.ALARM, alarm_id="before") == "alarm before is not open any more"
        assert self.outcome(None, alarm_id="before") == "alarm before is not open any more"

    def test_why_it_had_no_effect(self) -> None:
        assert self.outcome(None) == "the entity has no open alarm"

    @pytest.mark.parametrize(
        ("before", "kind", "why"),
        [
            ([act(Ack, 1, "a0")], Ack, "ann acknowledged it already"),
            ([], AckRemove, "it is not acknowledged"),
            ([act(Cancel, 1, "c0")], Cancel, "ann cancelled it already"),
            ([], Uncancel, "it is not cancelled"),
        ],
    )
    def test_an_action_that_makes_no_sense(self, before: list[Event], kind: type[Action], why: str) -> None:
        alarm = alarm_after(*before, alarm=self.ALARM) if before else self.ALARM
        event = act(kind, 5, "a1")
        assert outcome_of(event, alarm, apply(event, alarm)) == why

    def test_an_action_makes_sense_again_when_it_was_taken_back(self) -> None:
        alarm = alarm_after(act(Ack, 1, "a0"), act(AckRemove, 2, "a1"), alarm=self.ALARM)
        assert [ACTIONS[kind].objection(alarm) for kind in ("ack", "cancel", "comment")] == ["", "", ""]


class TestWakeAt:
    """When an alarm is to be looked at again."""

    def test_it_follows_from_what_is_next(self) -> None:
        alarm = alarm_after(check(2, 0, "e1"))
        assert alarm.wake_at is None
        alarm = alarm_after(act(Cancel, 10, "c1"), alarm=alarm)
        assert alarm.wake_at == NOW + 10 + RULES.cancel_resolve_delay
        alarm = alarm_after(check(0, 20, "e2"), alarm=alarm)
        assert alarm.wake_at == NOW + 20 + RULES.resolve_delay
        assert alarm_after(act(Resolve, 80, "r1"), alarm=alarm).wake_at is None

    def test_an_alarm_that_is_woken_by_a_delay_of_before_gets_the_one_of_now(self) -> None:
        alarm = alarm_after(check(2, 0, "e1"), check(0, 10, "e2"))
        longer = LifecycleRules(resolve_delay=600, cancel_resolve_delay=3600)
        (event,) = due_events(alarm, RULES, NOW + 70)
        change = changed(event, alarm, longer)
        assert (change.kind, change.steps, change.fields) == ("changed", (), {"wake_at"})
        assert change.alarm.wake_at == next_wake(change.alarm, longer) == NOW + 610
        assert apply(event, change.alarm, longer) is None

    def test_a_time_that_is_too_early_stays_until_it_comes(self) -> None:
        alarm = alarm_after(check(2, 0, "e1"), check(0, 10, "e2"))
        early = NOW + 10 + RULES.resolve_delay
        for number, state in ((20, 2), (30, 0), (40, 2), (50, 0)):
            change = changed(check(state, number, f"f{number}"), alarm)
            assert "wake_at" not in change.fields
            alarm = change.alarm
        assert alarm.wake_at == early
        (event,) = woken(alarm, RULES, early)
        change = changed(event, alarm)
        assert (change.steps, change.fields) == ((), {"wake_at"})
        assert change.alarm.wake_at == NOW + 50 + RULES.resolve_delay

    def test_a_time_that_is_too_early_goes_where_none_is_left(self) -> None:
        alarm = alarm_after(check(2, 0, "e1"), check(0, 10, "e2"), check(2, 20, "e3"))
        (event,) = woken(alarm, RULES, NOW + 70)
        assert changed(event, alarm).alarm.wake_at is None

    def test_a_resolved_alarm_is_never_woken(self) -> None:
        alarm = alarm_after(check(2, 0, "e1"), check(0, 10, "e2"), act(Resolve, 80, "r1"))
        assert next_wake(alarm, RULES) is None
