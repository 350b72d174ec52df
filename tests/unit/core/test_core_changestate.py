"""Change state: an operator says how bad it is, until the source says OK."""

from __future__ import annotations

import pytest
from core_samples import NOW, RULES, act, alarm_after, apply, check, steps_of

from canopsis.core.alarm import Mark
from canopsis.core.event_types.changestate import ChangeState
from canopsis.core.lifecycle import is_quiet, outcome_of

ALARM = alarm_after(check(1, 0, "e1"))
LOCKED = alarm_after(act(ChangeState, 5, "s1", output="it is worse", state=2), alarm=ALARM)


def test_case_19_checks_do_not_move_a_state_that_was_set() -> None:
    after = alarm_after(check(3, 10, "e2", "new"), alarm=LOCKED)
    assert (after.state, after.status, after.output) == (2, 1, "new")
    assert steps_of(after) == [("stateinc", 1), ("statusinc", 1), ("changestate", 2)]
    assert LOCKED.state_lock == Mark("ann", "it is worse", NOW + 5)
    assert LOCKED.updated == NOW + 5


def test_case_20_the_same_state_locks_it_too() -> None:
    same = alarm_after(act(ChangeState, 5, "s1", state=1), check(3, 10, "e2"), alarm=ALARM)
    assert steps_of(same) == [("stateinc", 1), ("statusinc", 1), ("changestate", 1)]
    assert same.state == 1


def test_b07_an_ok_of_the_source_unlocks_it() -> None:
    cured = alarm_after(check(2, 10, "e2"), check(0, 20, "e3"), alarm=LOCKED)
    assert (cured.state, cured.status, cured.state_lock) == (0, 0, None)
    assert steps_of(cured)[-2:] == [("statedec", 0), ("statusdec", 0)]
    assert alarm_after(check(3, 30, "e4"), alarm=cured).state == 3


def test_a_check_that_would_move_it_is_quiet() -> None:
    assert is_quiet(check(3, 10, "e2"), LOCKED, RULES, NOW + 10)
    assert not is_quiet(check(0, 10, "e2"), LOCKED, RULES, NOW + 10)


def test_set_to_ok_the_alarm_is_over_and_stays_so() -> None:
    over = alarm_after(act(ChangeState, 5, "s1", state=0), check(2, 10, "e2"), alarm=ALARM)
    assert (over.state, over.status) == (0, 0)
    assert over.wake_at == NOW + 5 + RULES.resolve_delay


@pytest.mark.parametrize("state", [2, 3])
def test_it_is_no_change_where_it_makes_no_sense(state: int) -> None:
    cured = alarm_after(check(0, 1, "e2"), alarm=ALARM)
    event = act(ChangeState, 5, "s1", state=state)
    assert apply(event, cured) is None
    assert outcome_of(event, cured, None) == "it is back to OK"
    assert apply(act(ChangeState, 6, "s2", state=2), LOCKED) is None


def test_another_state_moves_a_lock() -> None:
    assert alarm_after(act(ChangeState, 6, "s2", state=3), alarm=LOCKED).state == 3
