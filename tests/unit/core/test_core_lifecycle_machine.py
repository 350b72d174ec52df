"""Any interleaving of events and clock keeps what must hold of alarms."""

from __future__ import annotations

from itertools import pairwise

from core_samples import NOW, TYPES, act, apply, check
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from canopsis.core.alarm import Alarm
from canopsis.core.change import Change, LifecycleRules
from canopsis.core.event import Event
from canopsis.core.event_types.changestate import ChangeState
from canopsis.core.event_types.check import Check
from canopsis.core.event_types.resolve import resolve_due
from canopsis.core.status import status_of

ACTIONS = [kind for kind in TYPES if kind is not Check]
DELAYS = st.sampled_from([0.0, 5.0, 60.0])


class AlarmMachine(RuleBasedStateMachine):
    """One entity, as the alarm engine keeps it: its open alarm, those that were, and what is stored of each.

    ``stored`` is what a database would hold if it were given the fields and steps of each change
    alone, with one more revision a write.
    """

    def __init__(self) -> None:
        super().__init__()
        self.alarm: Alarm | None = None
        self.stored: dict[str, Alarm] = {}
        self.applied: list[Event] = []
        self.now = 0.0
        self.events = 0
        self.worst_checked = 0.0

    @initialize(resolve=DELAYS, cancelled=DELAYS)
    def begin(self, resolve: float, cancelled: float) -> None:
        self.limits = LifecycleRules(resolve, cancelled)

    @rule(seconds=st.sampled_from([0.0, 0.5, 1.0, 10.0, 100.0]))
    def wait(self, seconds: float) -> None:
        self.now += seconds

    @rule(state=st.integers(0, 3), late=st.sampled_from([0.0, 0.0, 0.0, 3.0, 50.0]), text=st.sampled_from(["", "x"]))
    def source_checks(self, state: int, late: float, text: str) -> None:
        self._take(check(state, self.now - late, self._id(), text))

    @rule(kind=st.sampled_from(ACTIONS), author=st.sampled_from(["ann", "bob", ""]), skew=st.sampled_from([0.0, -7.0]))
    def operator_acts(self, kind: type[Event], author: str, skew: float) -> None:
        self._take(act(kind, self.now + skew, self._id(), author, "text"))

    @precondition(lambda self: self.applied)
    @rule(data=st.data())
    def broker_delivers_again(self, data: st.DataObject) -> None:
        """What comes again finds the alarm that remembers it, or one that it can do nothing to."""
        event = data.draw(st.sampled_from(self.applied))
        if self.alarm is None or all(step.e != event.event_id for step in self.alarm.steps):
            return
        before = self.alarm
        change = apply(event, before, self.limits)
        assert change is not None
        assert change.kind == "repeat"
        assert change.alarm is before
        assert change.fields == frozenset()
        assert all(step.e == event.event_id for step in change.steps)

    @precondition(lambda self: self.alarm is not None)
    @rule()
    def process_starts_again(self) -> None:
        """Another worker takes over with what is stored: at most ``last_event`` is behind."""
        assert self.alarm is not None
        stored = self.stored[self.alarm.id]
        assert stored.last_event <= self.alarm.last_event
        self.alarm = stored

    def _id(self) -> str:
        self.events += 1
        return f"e{self.events}"

    def _take(self, event: Event) -> None:
        before = self.alarm
        change = apply(event, before, self.limits)
        if change is None:
            assert before is not None or type(event) is not Check or event.state == 0
            return
        self.applied.append(event)
        self._check_change(event, before, change)
        if change.kind != "seen":
            self._store(change)
        self.alarm = change.alarm if change.alarm.open else None

    def _check_change(self, event: Event, before: Alarm | None, change: Change) -> None:
        alarm = change.alarm
        assert all(step.e == event.event_id for step in change.steps)
        if before is None:
            assert change.kind == "opened"
            assert type(event) is Check
            assert event.state > 0
            return
        assert change.kind in {"changed", "seen", "resolved"}
        assert alarm.id == before.id
        assert alarm.created == before.created
        assert alarm.steps == [*before.steps, *change.steps]
        assert alarm.last_event >= before.last_event
        assert alarm.updated >= before.updated
        assert change.steps or change.fields
        if type(event) is Check:
            assert event.timestamp >= before.last_event
            locked = before.state_lock is not None and event.state != 0
            assert alarm.state == (before.state if locked else event.state)
        else:
            assert alarm.state == (event.state if isinstance(event, ChangeState) else before.state)
            assert alarm.last_event == before.last_event
        if change.kind == "seen":
            assert change.fields == {"last_event", "events_count"}
        if change.kind == "resolved":
            due = resolve_due(before, self.limits)
            assert due is not None
            assert due <= event.timestamp

    def _store(self, change: Change) -> None:
        """Keep the change as the database does: an insert, or a guarded update of fields and steps."""
        alarm = change.alarm
        old = self.stored.get(alarm.id)
        if old is None:
            self.stored[alarm.id] = alarm
            return
        values = {name: getattr(old, name) for name in Alarm.__struct_fields__}
        values |= {name: getattr(alarm, name) for name in change.fields}
        values["steps"] = [*old.steps, *change.steps]
        values["rev"] = old.rev + 1
        self.stored[alarm.id] = Alarm(**values)
        assert self.stored[alarm.id].rev > old.rev
        alarm.rev = old.rev + 1

    @invariant()
    def at_most_one_alarm_is_open(self) -> None:
        open_ids = [alarm.id for alarm in self.stored.values() if alarm.open]
        assert open_ids == ([] if self.alarm is None else [self.alarm.id])

    @invariant()
    def what_is_stored_is_what_is_remembered(self) -> None:
        if self.alarm is not None:
            stored = self.stored[self.alarm.id]
            for name in Alarm.__struct_fields__:
                if name not in ("last_event", "events_count"):
                    assert getattr(stored, name) == getattr(self.alarm, name), name

    @invariant()
    def the_status_follows_from_state_and_cancel(self) -> None:
        for alarm in self.stored.values():
            assert alarm.status == status_of(alarm.state, alarm.cancel is not None)
            assert 0 <= alarm.state <= 3

    @invariant()
    def steps_are_in_order_and_tell_the_whole_story(self) -> None:
        for alarm in self.stored.values():
            times = [step.t for step in alarm.steps]
            assert times == sorted(times)
            assert alarm.steps[0].type == "stateinc"
            assert alarm.created == times[0]
            states = [step.value for step in alarm.steps if step.type in {"stateinc", "statedec", "changestate"}]
            statuses = [step.value for step in alarm.steps if step.type in {"statusinc", "statusdec"}]
            assert (states[-1], statuses[-1]) == (alarm.state, alarm.status)
            moved = [step.value for step in alarm.steps if step.type in {"stateinc", "statedec"}]
            assert states != moved or all(one != next_ for one, next_ in pairwise(states))

    @invariant()
    def only_what_is_resolved_is_closed(self) -> None:
        for alarm in self.stored.values():
            resolving = [step.t for step in alarm.steps if step.type == "resolve"]
            assert resolving == ([] if alarm.open else [alarm.resolved])
            assert alarm.open or alarm.cancel is not None or alarm.state == 0

    @invariant()
    def marks_are_there_as_their_last_step_says(self) -> None:
        for alarm in self.stored.values():
            acks = [step for step in alarm.steps if step.type in {"ack", "ackremove"}]
            cancels = [step for step in alarm.steps if step.type in {"cancel", "uncancel"}]
            assert (alarm.ack is not None) == (acks[-1:] != [] and acks[-1].type == "ack")
            assert (alarm.cancel is not None) == (cancels[-1:] != [] and cancels[-1].type == "cancel")

    @invariant()
    def no_time_is_ahead(self) -> None:
        for alarm in self.stored.values():
            assert max(alarm.updated, alarm.last_event, alarm.steps[-1].t) <= NOW + self.now


AlarmMachine.TestCase.settings = settings(max_examples=200, stateful_step_count=40, deadline=None, database=None)
TestAlarms = AlarmMachine.TestCase
