"""What must come of events, written out by hand; and what is told when something else came of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import reduce

import pytest
from prove_fakes import Event, check, event, told, with_steps

from canopsis.ops.prove import compare, explain
from canopsis.ops.prove.acts import ACTS
from canopsis.ops.prove.alarm import Alarm, Count, Mark, Snooze, Step, Ticket
from canopsis.ops.prove.explain import Delays
from canopsis.ops.prove.model import Entity

NAME = "component:a"


def after(*events: Event) -> Entity:
    return reduce(Entity.take, events, Entity())


def differences(events: Sequence[Event], seen: Sequence[Alarm], delays: Delays) -> compare.Differences:
    return compare.of_alarms(NAME, explain.explain(events, seen, delays), seen)


def resolve(t: float, value: int = 0) -> Step:
    return Step("resolve", value, "canopsis", "", t, "r")


def test_a_problem_opens_changes_and_ends() -> None:
    found = after(check(1, 1, "warm"), check(2, 2, "hot"), check(3, 0, "fine"), check(4, 3, "lost"))
    assert told(found) == [
        (0, "stateinc", 1, "e1"),
        (0, "statusinc", 1, "e1"),
        (0, "stateinc", 2, "e2"),
        (0, "statedec", 0, "e3"),
        (0, "statusdec", 0, "e3"),
        (0, "stateinc", 3, "e4"),
        (0, "statusinc", 1, "e4"),
    ]
    assert found.alarms[0].steps[0] == Step("stateinc", 1, "c.n", "warm", 1.0, "e1")
    alarm = Alarm(True, 3, 1, "lost", created=1.0, updated=4.0, initial_output="warm", count=Count(4, 4))
    assert replace(found.alarms[0], steps=()) == alarm


def test_ok_opens_nothing_and_actions_need_an_alarm() -> None:
    found = after(check(1, 0), *(event(kind, 2, author="x") for kind in ACTS))
    assert found.alarms == ()


def test_a_repeat_leaves_no_step_and_other_words_are_kept() -> None:
    found = after(check(1, 2), check(2, 2), check(3, 2, "worse"))
    assert len(found.steps) == 2
    assert (found.alarms[0].output, found.alarms[0].updated) == ("worse", 1.0)


def test_a_late_check_changes_nothing() -> None:
    found = after(check(5, 2), check(9, 1), check(7, 0, "late"))
    assert [step[3] for step in told(found)] == ["e5", "e5", "e9"]
    assert found.alarms[0].output == "o"


def test_checks_are_counted_though_repeats_may_be_lost() -> None:
    again = check(3, 2, "worse")
    found = after(check(1, 2), check(2, 2), again, again, check(0, 1, "late"))
    assert found.alarms[0].count == Count(2, 5)
    assert [Count(n, n) for n in range(13) if found.alarms[0].count.allows(Count(n, n))] == [
        Count(n, n) for n in range(2, 11)
    ]


def test_an_event_counts_once() -> None:
    first, second = check(1, 2), event("comment", 2, output="hm", author="x")
    assert after(first, second, first, second, first).steps == after(first, second).steps


def test_operators_act() -> None:
    words = {"author": "alice", "output": "looking"}
    events = (check(1, 2), event("ack", 2, **words), event("ack", 3, **words), event("ack", 4, author="bob"))
    found = after(*events, event("ackremove", 5, author="bob"), event("ackremove", 6, author="bob"))
    assert told(found)[2:] == [(0, "ack", 2, "e2"), (0, "ack", 2, "e4"), (0, "ackremove", 2, "e5")]
    assert after(*events).alarms[0].ack == Mark("bob", "", 4.0)
    assert found.alarms[0].ack is None


def test_a_cancelled_alarm_stays_so_until_it_is_not() -> None:
    found = after(
        check(1, 2), event("cancel", 2, author="x", output="no"), event("cancel", 3), check(4, 0), check(5, 1)
    )
    assert told(found)[2:] == [
        (0, "cancel", 2, "e2"),
        (0, "statusinc", 4, "e2"),
        (0, "statedec", 0, "e4"),
        (0, "stateinc", 1, "e5"),
    ]
    assert found.alarms[0].cancel == Mark("x", "no", 2.0)
    found = found.take(event("uncancel", 6, author="x"))
    assert told(found)[6:] == [(0, "uncancel", 1, "e6"), (0, "statusdec", 1, "e6")]
    assert found.alarms[0].cancel is None


def test_an_operator_sets_the_state_until_a_check_is_ok() -> None:
    minor = event("changestate", 2, author="x", state=1, output="minor")
    found = after(check(1, 2), minor, event("changestate", 3, author="y", state=1), check(4, 3, "bad"))
    assert told(found)[2:] == [(0, "changestate", 1, "e2")]
    alarm = found.alarms[0]
    assert (alarm.state, alarm.updated, alarm.output, alarm.lock) == (1, 2.0, "bad", Mark("x", "minor", 2.0))
    found = found.take(check(5, 0)).take(check(6, 3))
    assert told(found)[3:] == [
        (0, "statedec", 0, "e5"),
        (0, "statusdec", 0, "e5"),
        (0, "stateinc", 3, "e6"),
        (0, "statusinc", 1, "e6"),
    ]
    assert found.alarms[0].lock is None


def test_a_state_that_was_set_to_ok_is_off_whatever_checks_say() -> None:
    found = after(check(1, 2), event("changestate", 2, state=0), check(3, 2), event("changestate", 4, state=1))
    assert told(found)[2:] == [(0, "changestate", 0, "e2"), (0, "statusdec", 0, "e2")]
    assert (found.alarms[0].state, found.alarms[0].status) == (0, 0)


def test_a_snooze_ends_by_an_operator() -> None:
    snooze = event("snooze", 2, author="x", output="later", duration=600.5)
    found = after(check(1, 2), event("unsnooze", 1.5), snooze, event("snooze", 3, duration=9.0))
    assert told(found)[2:] == [(0, "snooze", 602, "e2")]
    assert found.alarms[0].snooze == Snooze("x", "later", 2.0, 602.5)
    found = found.take(event("unsnooze", 4))
    assert told(found)[3:] == [(0, "unsnooze", 2, "e4")]
    assert found.alarms[0].snooze is None


def test_tickets_and_comments_are_kept() -> None:
    declared = event("declareticket", 2, author="x", output="told them", ticket="", ticket_system="desk")
    known = event("assocticket", 3, author="x", output="here", ticket="T-1", ticket_url="https://desk.example/1")
    found = after(check(1, 2), declared, known, event("comment", 4, author="y", output="hm"))
    assert [(step.type, step.message) for _, step in found.steps[2:]] == [
        ("declareticket", "told them"),
        ("assocticket", "T-1: here"),
        ("comment", "hm"),
    ]
    alarm = found.alarms[0]
    tickets = (
        Ticket("x", "told them", 2.0, system="desk"),
        Ticket("x", "here", 3.0, "T-1", url="https://desk.example/1"),
    )
    assert (alarm.tickets, alarm.ticket, alarm.last_comment) == (tickets, tickets[1], Mark("y", "hm", 4.0))
    many = [event("assocticket", 10 + number, ticket=f"T-{number}") for number in range(21)]
    assert [each.number for each in after(check(1, 2), *many).alarms[0].tickets] == [f"T-{n}" for n in range(1, 21)]


def test_an_action_on_another_alarm_does_nothing() -> None:
    found = replace(after(check(1, 2)), ids=("one", "two"))
    assert len(found.take(event("comment", 2, output="?", alarm_id="two")).steps) == 2
    named = found.take(event("comment", 2, output="!", alarm_id="one"))
    assert (len(named.steps), named.applied) == (3, {"e2"})


def test_nothing_is_done_before_what_was_done_already() -> None:
    found = after(check(5, 2), event("comment", 9, output="from a clock ahead"), event("ack", 7), check(8, 3))
    assert [step.t for _, step in found.steps[2:]] == [9.0, 9.0, 9.0]
    assert found.alarms[0].ack == Mark("c.n", "", 9.0)


@pytest.mark.parametrize(
    ("events", "may"),
    [
        ([check(1, 2)], []),
        ([check(1, 2), check(4, 0)], [14]),
        ([check(1, 2), event("cancel", 2)], [9, 13, 14]),
    ],
)
def test_an_alarm_is_resolved_when_it_is_over_for_long_enough(events: list[Event], may: list[int]) -> None:
    (alarm,) = after(*events).alarms
    assert [t for t in (8, 9, 13, 14) if explain.may_resolve(alarm, t, Delays(ok=10.0, cancelled=7.0))] == may


# --- where the site resolved


def seen_of(events: Sequence[Event], resolved_before: int) -> list[Alarm]:
    """Return the alarms when the site resolves before event number ``resolved_before``."""
    entity = after(*events[:resolved_before])
    entity = explain.resolved(entity, resolve(events[resolved_before - 1]["timestamp"], entity.alarms[-1].state))
    return list(reduce(Entity.take, events[resolved_before:], entity).alarms)


SCRIPTS: dict[str, list[Event]] = {
    "opens anew": [check(1, 2), check(2, 0), check(3, 1), check(4, 0)],
    "words after the end": [check(1, 2), check(2, 0), check(3, 0, "still fine"), check(4, 0, "fine again")],
    "a comment on none": [check(1, 2), check(2, 0), event("comment", 3, output="?"), check(4, 1)],
    "cancelled": [check(1, 2), event("cancel", 2), check(3, 2), event("comment", 4, output="?"), check(5, 2)],
}


PLACES = {
    "opens anew": (2, 4),
    "words after the end": (2, 3, 4),
    "a comment on none": (2, 3),
    "cancelled": (2, 3, 4, 5),
}


@pytest.mark.parametrize(("script", "before"), [(name, place) for name in SCRIPTS for place in PLACES[name]])
def test_wherever_the_site_resolved_it_is_found(script: str, before: int) -> None:
    events = SCRIPTS[script]
    seen = seen_of(events, before)
    assert explain.explain(events, seen, Delays()).alarms == tuple(seen)
    assert not differences(events, seen, Delays())


def test_a_resolve_too_early_or_of_a_problem_is_wrong() -> None:
    events = SCRIPTS["opens anew"]
    assert differences(events, seen_of(events, 2), Delays(ok=60.0))
    assert differences(events, seen_of(events, 1), Delays())


SNOOZED = [check(1, 2), event("snooze", 2, duration=3.0), event("comment", 4, output="?"), check(9, 1)]


def slept(ends: float, before: int, value: int = 2) -> list[Alarm]:
    """Return the alarms when the site ends the snooze of ``SNOOZED`` at ``ends``, before that event."""
    entity = after(*SNOOZED[:before])
    entity = explain.awake(entity, Step("unsnooze", value, "canopsis", "", ends, "u"))
    return list(reduce(Entity.take, SNOOZED[before:], entity).alarms)


@pytest.mark.parametrize("before", [2, 3])
def test_wherever_the_site_ended_a_snooze_it_is_found(before: int) -> None:
    seen = slept(6.0, before)
    assert not differences(SNOOZED, seen, Delays())
    assert seen[0].snooze is None


def test_a_snooze_that_ends_too_early_or_twice_is_wrong() -> None:
    assert differences(SNOOZED, slept(4.9, 3), Delays()).wrong == 1
    (alarm,) = slept(6.0, 3)
    twice = replace(alarm, steps=(*alarm.steps, alarm.steps[4]._replace(e="u2", value=1)))
    assert differences(SNOOZED, [twice], Delays()).wrong == 1


def test_a_snooze_and_the_alarm_may_end_one_after_the_other() -> None:
    events = [*SNOOZED[:2], check(3, 0)]
    entity = explain.awake(after(*events), Step("unsnooze", 0, "canopsis", "", 6.0, "u"))
    seen = explain.resolved(entity, resolve(7.0)).alarms
    assert not differences(events, seen, Delays())


def test_a_snooze_that_does_not_end_is_seen() -> None:
    seen = after(*SNOOZED).alarms
    assert not compare.of_snoozes(NAME, seen, Delays(wake=60.0), now=65.0)
    assert compare.of_snoozes(NAME, seen, Delays(wake=60.0), now=65.1).lost == 1
    assert not compare.of_snoozes(NAME, slept(6.0, 3), Delays(wake=60.0), now=65.1)


# --- what is told

EVENTS = [check(1, 2), event("comment", 2, output="one"), event("comment", 3, output="two"), check(4, 3), check(5, 0)]

FAULTS: dict[str, tuple[Callable[[list[Step]], Sequence[Step]], str, str]] = {
    "a lost step": (lambda s: s[:2] + s[3:], "lost", "step comment of event e2 is missing"),
    "a lost event": (lambda s: s[2:], "lost", "step stateinc of event e1 is missing"),
    "a doubled step": (lambda s: [*s[:3], *s[2:]], "doubled", "step comment of event e2 is there 1 times too often"),
    "a swapped order": (lambda s: [*s[:2], s[3], s[2], *s[4:]], "disordered", "step 2 is comment of event e3"),
    "a step of nobody": (lambda s: [*s, s[0]._replace(e="x")], "wrong", "step stateinc of event x is there 1 times"),
    "another value": (lambda s: [*s[:-1], s[-1]._replace(value=3)], "wrong", "a step of alarm 0 is"),
    "another author": (lambda s: [s[0]._replace(author="x"), *s[1:]], "wrong", "a step of alarm 0 is"),
    "another time": (lambda s: [s[0]._replace(t=9.0), *s[1:]], "wrong", "a step of alarm 0 is"),
}


def test_what_is_as_it_must_be_differs_in_nothing() -> None:
    assert not differences(EVENTS, after(*EVENTS).alarms, Delays())


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_of_steps_is_seen_and_named(fault: str) -> None:
    change, count, text = FAULTS[fault]
    found = differences(EVENTS, with_steps(after(*EVENTS), change).alarms, Delays())
    assert {name: getattr(found, name) for name in compare.COUNTS if getattr(found, name)} == (
        {"lost": 2} if fault == "a lost event" else {count: 1}
    )
    assert text in found.texts[0]


@pytest.mark.parametrize(
    "fields",
    [
        {"open": False},
        {"state": 1},
        {"status": 1},
        {"output": "x"},
        {"created": 0.0},
        {"updated": 9.0},
        {"ack": Mark("x", "", 1.0)},
        {"cancel": Mark("x", "", 1.0)},
        {"snooze": Snooze("x", "", 1.0, 9.0)},
        {"lock": Mark("x", "", 1.0)},
        {"last_comment": None},
        {"tickets": (Ticket("x", "", 1.0),)},
        {"initial_output": "x"},
        {"count": Count(1, 1)},
        {"count": Count(7, 7)},
    ],
)
def test_a_fault_of_the_alarm_itself_is_seen(fields: dict[str, object]) -> None:
    (alarm,) = after(*EVENTS).alarms
    found = differences(EVENTS, [replace(alarm, **fields)], Delays())
    assert found.wrong == 1
    assert next(iter(fields)) in found.texts[0]


def test_an_alarm_too_many_is_seen() -> None:
    alarms = after(*EVENTS).alarms
    assert differences(EVENTS, [*alarms, replace(alarms[0], steps=())], Delays()).wrong == 1
    assert differences(EVENTS, [*alarms, *alarms], Delays()).doubled == 7
    assert differences(EVENTS, [], Delays()).lost == 7


def test_a_step_in_another_alarm_is_out_of_order() -> None:
    (alarm,) = after(*EVENTS).alarms
    seen = [replace(alarm, steps=alarm.steps[:4]), replace(alarm, steps=alarm.steps[4:])]
    assert differences(EVENTS, seen, Delays()).disordered == 1


# --- the event log


def logged(*events: Event) -> list[Event]:
    return [{**each, "_id": each["event_id"]} for each in events]


def test_each_event_is_logged_once() -> None:
    resolves = {**event("resolve", 9), "_id": "r", "author": "canopsis"}
    assert not compare.of_log(NAME, [*EVENTS, EVENTS[0]], [*logged(*EVENTS), resolves])


@pytest.mark.parametrize(
    ("seen", "count", "text"),
    [
        (EVENTS[1:], "lost", "event e1 is not in the log"),
        ([*EVENTS, EVENTS[3]], "doubled", "event e4 is in the log 2 times"),
        ([*EVENTS, check(7, 1)], "wrong", "event e7 in the log was never sent"),
        ([{**EVENTS[0], "state": 1}, *EVENTS[1:]], "wrong", "state of event e1 is 1 in the log, was 2"),
    ],
)
def test_a_fault_of_the_log_is_seen(seen: list[Event], count: str, text: str) -> None:
    found = compare.of_log(NAME, EVENTS, logged(*seen))
    assert {name: getattr(found, name) for name in compare.COUNTS if getattr(found, name)} == {count: 1}
    assert text in found.texts[0]


def test_an_outcome_that_does_not_say_what_became_of_an_action_is_seen() -> None:
    events = [check(1, 2), event("ack", 2), event("ack", 3)]
    must = explain.explain(events, [], Delays())
    told = logged(events[0], {**events[1], "outcome": "applied"}, {**events[2], "outcome": "acknowledged already"})
    assert not compare.of_outcomes(NAME, must, told)
    found = compare.of_outcomes(NAME, must, [told[0], told[1] | {"outcome": "?"}, told[2] | {"outcome": "applied"}])
    assert found.texts == (
        f"{NAME}: outcome of event e2 is '?', it changed the alarm",
        f"{NAME}: outcome of event e3 is 'applied', it did not change the alarm",
    )


def test_differences_add_up_and_their_texts_end() -> None:
    one = compare.Differences(1, 2, 3, 4, tuple("abcdefghijkl"))
    assert one + one == compare.Differences(2, 4, 6, 8, tuple("abcdefghijklabcdefgh"))
    assert not compare.Differences()
