"""Cases of the life cycle with their values, as users of earlier releases and of others know them.

Where this release differs on purpose the test says so.
"""

from __future__ import annotations

from collections import Counter

import msgspec
import pytest
from core_samples import LATER, NOW, RULES, act, alarm_after, apply, check, good, run, steps_of

from canopsis.core.alarm import Mark
from canopsis.core.change import LifecycleRules
from canopsis.core.event_types.ack import Ack, AckRemove
from canopsis.core.event_types.cancel import Cancel, Uncancel
from canopsis.core.event_types.changestate import ChangeState
from canopsis.core.event_types.comment import Comment
from canopsis.core.event_types.resolve import Resolve
from canopsis.core.event_types.snooze import Snooze
from canopsis.core.event_types.ticket import AssocTicket
from canopsis.core.timers import due_events
from canopsis.errors import InvalidEvent


class TestChecks:
    def test_case_1_the_first_bad_check(self) -> None:
        alarm = alarm_after(check(2, -10, "e1", "o", long_output="l"))
        assert steps_of(alarm) == [("stateinc", 2), ("statusinc", 1)]
        assert {(step.author, step.message, step.t) for step in alarm.steps} == {("nagios.nag1", "o", NOW - 10)}
        assert (alarm.state, alarm.status, alarm.updated, alarm.events_count) == (2, 1, NOW - 10, 1)
        assert (alarm.initial_output, alarm.output, alarm.long_output) == ("o", "o", "l")

    def test_case_2_it_gets_worse(self) -> None:
        alarm = alarm_after(check(2, -10, "e1", "o"), check(3, -5, "e2", "o2"))
        assert steps_of(alarm) == [("stateinc", 2), ("statusinc", 1), ("stateinc", 3)]
        assert (alarm.updated, alarm.steps[1].t, alarm.events_count) == (NOW - 5, NOW - 10, 2)
        assert (alarm.initial_output, alarm.output) == ("o", "o2")

    def test_case_4_an_ok_of_a_new_entity_opens_nothing(self) -> None:
        assert apply(check(0, 0, "e1"), None) is None

    def test_case_5_back_to_ok_it_is_still_open(self) -> None:
        alarm = alarm_after(check(2, 0, "e1"), check(0, 1, "e2"))
        assert steps_of(alarm)[-2:] == [("statedec", 0), ("statusdec", 0)]
        assert (alarm.open, alarm.status) == (True, 0)

    def test_case_7_after_its_end_the_next_problem_is_another_alarm(self) -> None:
        events = [check(2, 0, "e1"), check(0, 1, "e2"), act(Resolve, 61, "r1")]
        first = alarm_after(*events)
        assert (first.resolved, first.updated) == (NOW + 61, NOW + 1)
        second = apply(check(2, 70, "e3"), None)
        assert second is not None
        assert (second.alarm.entity_id, second.alarm.id != first.id) == (first.entity_id, True)

    def test_case_8_it_ends_by_itself_when_its_delay_is_over(self) -> None:
        rules = LifecycleRules(resolve_delay=2, cancel_resolve_delay=3600)
        alarm = alarm_after(check(2, 0, "e1"), check(0, 1, "e2"), rules=rules)
        (event,) = due_events(alarm, rules, NOW + 3)
        ended = apply(msgspec.structs.replace(event, event_id="r1"), alarm, rules)
        assert ended is not None
        names = [kind for kind, _ in steps_of(ended.alarm)]
        assert names == ["stateinc", "statusinc", "statedec", "statusdec", "resolve"]

    def test_a01_one_ok_is_no_alarm(self) -> None:
        assert run(check(0, 0, "e1"), check(0, 5, "e2")) == [None, None]

    def test_a04_a_problem_between_two_oks_is_off(self) -> None:
        assert alarm_after(*(check(state, 5 * at, f"e{at}") for at, state in enumerate((0, 2, 0)))).status == 0

    def test_a07_the_second_problem_is_ongoing(self) -> None:
        alarm = alarm_after(*(check(state, 4 * at, f"e{at}") for at, state in enumerate((0, 2, 0, 2))))
        assert (alarm.status, alarm.events_count) == (1, 3)
        assert steps_of(alarm)[-2:] == [("stateinc", 2), ("statusinc", 1)]

    def test_case_25_each_move_of_the_state_is_a_step(self) -> None:
        alarm = alarm_after(*(check(state, at, f"e{at}") for at, state in enumerate((1, 2, 3, 2, 3))))
        moves = [("stateinc", 2), ("stateinc", 3), ("statedec", 2), ("stateinc", 3)]
        assert steps_of(alarm) == [("stateinc", 1), ("statusinc", 1), *moves]

    def test_case_26_thirty_moves_are_all_in_sight(self) -> None:
        # Others fold what is beyond 20 moves; here older ones stand beside the alarm, and all can be read.
        states = (1, 2, 3, 2) * 8
        alarm = alarm_after(*(check(state, at, f"e{at}") for at, state in enumerate(states[:30])))
        assert Counter(step.type for step in alarm.steps) == {"stateinc": 16, "statusinc": 1, "statedec": 14}

    def test_a02_a22_levels_without_an_ok_are_one_problem(self) -> None:
        assert run(*[check(0, at, f"e{at}") for at in range(5)]) == [None] * 5
        alarm = alarm_after(*[check(state, state, f"e{state}") for state in (1, 2, 3)])
        assert (alarm.status, [value for kind, value in steps_of(alarm) if kind == "stateinc"]) == (1, [1, 2, 3])

    def test_case_28_long_texts_are_kept_further_than_elsewhere(self) -> None:
        # Others cut at 255 and 1,024: there the cause is often what is cut off.
        event = good(output="o" * 300, long_output="l" * 2000)
        assert (len(event.output), len(event.long_output)) == (300, 2000)

    def test_case_29_an_old_time_is_believed(self) -> None:
        # Others take the time of receipt: a source that was cut off for a weekend would tell a wrong story.
        assert good(timestamp=NOW - 3 * 86_400).timestamp == NOW - 3 * 86_400

    def test_case_61_what_a_check_must_have(self) -> None:
        # Others take an empty text for a number in a text, and refuse an event without a type.
        assert good(long_output=7, event_type=None).long_output == "7"
        for state in ("abc", None):
            with pytest.raises(InvalidEvent, match="state"):
                good(state=state)


class TestActions:
    ALARM = alarm_after(check(1, 0, "e1"))

    def test_b01_b05_case_10_acknowledged_and_not_any_more(self) -> None:
        acked = alarm_after(act(Ack, 5, "a1", "canopsis_unit_test"), alarm=self.ALARM)
        assert acked.ack == Mark("canopsis_unit_test", "", NOW + 5)
        free = alarm_after(act(AckRemove, 9, "a2"), alarm=acked)
        assert free.ack is None
        assert [kind for kind, _ in steps_of(free)[-2:]] == ["ack", "ackremove"]

    def test_b05_tickets_outlive_the_acknowledge(self) -> None:
        # In 2015 they went with it: the ticket is still open in its system.
        ticket = act(AssocTicket, 6, "t1", ticket="INC-7")
        alarm = alarm_after(act(Ack, 5, "a1"), ticket, act(AckRemove, 9, "a2"), alarm=self.ALARM)
        assert alarm.ticket is not None

    def test_b02_b04_an_acknowledged_alarm_ends_with_its_acknowledge(self) -> None:
        acked = alarm_after(act(Ack, 5, "a1"), check(0, 10, "e2"), act(Resolve, 80, "r1"), alarm=self.ALARM)
        assert (acked.open, acked.status, acked.ack) == (False, 0, Mark("ann", "", NOW + 5))
        after = apply(check(1, 90, "e3"), None, RULES, LATER)
        assert after is not None
        assert after.alarm.ack is None

    def test_case_11_the_second_acknowledge_takes_over(self) -> None:
        alarm = alarm_after(act(Ack, 5, "a1"), act(Ack, 6, "a2", "bob", "mine"), alarm=self.ALARM)
        assert [kind for kind, _ in steps_of(alarm)].count("ack") == 2
        assert alarm.ack == Mark("bob", "mine", NOW + 6)

    def test_case_13_a_cancelled_alarm(self) -> None:
        alarm = alarm_after(act(Cancel, 5, "c1"), alarm=self.ALARM)
        assert steps_of(alarm) == [("stateinc", 1), ("statusinc", 1), ("cancel", 1), ("statusinc", 4)]
        assert (alarm.status, alarm.updated) == (4, NOW + 5)

    def test_case_14_a_cancel_that_is_taken_back(self) -> None:
        alarm = alarm_after(act(Cancel, 5, "c1"), act(Uncancel, 6, "c2"), alarm=self.ALARM)
        assert (alarm.cancel, alarm.status, steps_of(alarm)[-1]) == (None, 1, ("statusdec", 1))

    def test_a19_a_cancelled_alarm_stays_so_until_it_is_resolved(self) -> None:
        # In 2015 an OK ended the cancel: a false alarm that flaps would come back each time.
        alarm = alarm_after(act(Cancel, 5, "c1"), check(3, 6, "e2"), check(0, 7, "e3"), alarm=self.ALARM)
        assert (alarm.status, alarm.state) == (4, 0)

    def test_b07_a_state_that_was_set_stays_until_an_ok(self) -> None:
        alarm = alarm_after(check(2, 0, "e1"), act(ChangeState, 5, "s1", state=1), check(2, 6, "e2"))
        assert (alarm.state, alarm.state_lock) == (1, Mark("ann", "", NOW + 5))
        alarm = alarm_after(check(0, 7, "e3"), alarm=alarm)
        assert (alarm.state, alarm.status, alarm.state_lock) == (0, 0, None)

    def test_b10_a_snooze_of_300_seconds(self) -> None:
        alarm = alarm_after(act(Snooze, 5, "z1", duration=300.0), alarm=self.ALARM)
        assert list(due_events(alarm, RULES, NOW + 304.9)) == []
        (event,) = due_events(alarm, RULES, NOW + 305)
        assert alarm_after(msgspec.structs.replace(event, event_id="z2"), alarm=alarm).snooze is None

    def test_case_16_the_last_comment(self) -> None:
        first, second = (act(Comment, at, f"k{at}", output=str(at)) for at in (5, 6))
        alarm = alarm_after(first, second, alarm=self.ALARM)
        assert alarm.last_comment == Mark("ann", "6", NOW + 6)
        assert [kind for kind, _ in steps_of(alarm)].count("comment") == 2
        assert alarm.updated == self.ALARM.updated

    def test_case_59_several_actions_keep_their_order(self) -> None:
        ticket, state = act(AssocTicket, 5, "t1", ticket="INC-7"), act(ChangeState, 5, "s1", state=3)
        alarm = alarm_after(ticket, act(Ack, 5, "a1"), state, alarm=self.ALARM)
        assert [kind for kind, _ in steps_of(alarm)] == ["stateinc", "statusinc", "assocticket", "ack", "changestate"]
