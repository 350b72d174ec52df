"""What must come of events, written out by hand; and what is told when something else came of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import reduce

import pytest
from prove_fakes import Event, check, event, told, with_steps

from canopsis.ops.prove import compare, model
from canopsis.ops.prove.model import Alarm, Delays, Entity, Mark, Step

NAME = "component:a"


def after(*events: Event) -> Entity:
    return reduce(Entity.take, events, Entity())


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
    assert replace(found.alarms[0], steps=()) == Alarm(True, 3, 1, "lost", created=1.0, updated=4.0)


def test_ok_opens_nothing_and_actions_need_an_alarm() -> None:
    found = after(check(1, 0), *(event(kind, 2, author="x") for kind in model.ACTIONS))
    assert found.alarms == ()


def test_a_repeat_leaves_no_step_and_other_words_are_kept() -> None:
    found = after(check(1, 2), check(2, 2), check(3, 2, "worse"))
    assert len(found.steps) == 2
    assert (found.alarms[0].output, found.alarms[0].updated) == ("worse", 1.0)


def test_a_late_check_changes_nothing() -> None:
    found = after(check(5, 2), check(9, 1), check(7, 0, "late"))
    assert [step[3] for step in told(found)] == ["e5", "e5", "e9"]
    assert found.alarms[0].output == "o"


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
    assert [t for t in (8, 9, 13, 14) if model.may_resolve(alarm, t, Delays(ok=10.0, cancelled=7.0))] == may


# --- where the site resolved


def seen_of(events: Sequence[Event], resolved_before: int) -> list[Alarm]:
    """Return the alarms when the site resolves before event number ``resolved_before``."""
    entity = after(*events[:resolved_before])
    entity = model.resolved(entity, resolve(events[resolved_before - 1]["timestamp"], entity.alarms[-1].state))
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
    assert model.explain(events, seen, Delays()).alarms == tuple(seen)
    assert not compare.of_alarms(NAME, events, seen, Delays())


def test_a_resolve_too_early_or_of_a_problem_is_wrong() -> None:
    events = SCRIPTS["opens anew"]
    assert compare.of_alarms(NAME, events, seen_of(events, 2), Delays(ok=60.0))
    assert compare.of_alarms(NAME, events, seen_of(events, 1), Delays())


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
    assert not compare.of_alarms(NAME, EVENTS, after(*EVENTS).alarms, Delays())


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_of_steps_is_seen_and_named(fault: str) -> None:
    change, count, text = FAULTS[fault]
    found = compare.of_alarms(NAME, EVENTS, with_steps(after(*EVENTS), change).alarms, Delays())
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
    ],
)
def test_a_fault_of_the_alarm_itself_is_seen(fields: dict[str, object]) -> None:
    (alarm,) = after(*EVENTS).alarms
    found = compare.of_alarms(NAME, EVENTS, [replace(alarm, **fields)], Delays())
    assert found.wrong == 1
    assert next(iter(fields)) in found.texts[0]


def test_an_alarm_too_many_is_seen() -> None:
    alarms = after(*EVENTS).alarms
    assert compare.of_alarms(NAME, EVENTS, [*alarms, replace(alarms[0], steps=())], Delays()).wrong == 1
    assert compare.of_alarms(NAME, EVENTS, [*alarms, *alarms], Delays()).doubled == 7
    assert compare.of_alarms(NAME, EVENTS, [], Delays()).lost == 7


def test_a_step_in_another_alarm_is_out_of_order() -> None:
    (alarm,) = after(*EVENTS).alarms
    seen = [replace(alarm, steps=alarm.steps[:4]), replace(alarm, steps=alarm.steps[4:])]
    assert compare.of_alarms(NAME, EVENTS, seen, Delays()).disordered == 1


# --- the event log


def logged(*events: Event) -> list[Event]:
    return [{**each, "_id": each["event_id"]} for each in events]


def test_each_event_is_logged_once() -> None:
    resolves = {**event("resolve", 9), "_id": "r"}
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


def test_differences_add_up_and_their_texts_end() -> None:
    one = compare.Differences(1, 2, 3, 4, tuple("abcdefghijkl"))
    assert one + one == compare.Differences(2, 4, 6, 8, tuple("abcdefghijklabcdefgh"))
    assert not compare.Differences()
