"""The life cycle: event x alarm -> what changes. Alarms are never changed in place.

A check that is not OK opens an alarm. Back to OK it stays open, with status off, until it is
resolved; a check that is not OK again before that reopens it (a ``statusinc`` step). A late check
(older than the last one) changes nothing. Operators act on an open alarm only: an action that has
nothing to act on is no change.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any, Literal

from msgspec import structs

from canopsis.core.alarm import Alarm, Mark, Step, StepType
from canopsis.core.event import (
    Ack,
    AckRemove,
    AnyEvent,
    Cancel,
    Check,
    Comment,
    Resolve,
    Uncancel,
)
from canopsis.core.status import status_of

STEP_LIMIT = 2000
"""Steps of an alarm after which changes of state leave none; resolving and operators always do."""

SYSTEM = "canopsis"
"""Author of what no operator and no source did."""

Kind = Literal["opened", "changed", "seen", "repeat", "resolved"]


@dataclass(frozen=True, slots=True)
class LifecycleRules:
    """Seconds an alarm stays open once it is back to OK, or cancelled."""

    resolve_delay: float
    cancel_resolve_delay: float
    step_limit: int = STEP_LIMIT


@dataclass(frozen=True, slots=True)
class Change:
    """What an event did to ``alarm`` (the new one). ``fields`` are the names of what changed but steps.

    ``steps`` are new ones. Two kinds are not to be written: ``seen`` (only ``last_event`` moved:
    keep it in memory so that late checks are known, tell nobody) and ``repeat`` (the event came
    before: ``steps`` are those it made then, tell again).
    """

    kind: Kind
    alarm: Alarm
    steps: tuple[Step, ...]
    fields: frozenset[str]


def apply(event: AnyEvent, alarm: Alarm | None, rules: LifecycleRules) -> Change | None:
    """Return what ``event`` does to the open alarm of its entity, or None when it does nothing."""
    act = _ACTS.get(type(event))
    if act is None:
        return None
    if alarm is not None:
        made = tuple([step for step in alarm.steps if step.e == event.event_id]) if event.event_id else ()
        if made:
            return Change("repeat", alarm, made, frozenset())
        if alarm.open:
            return act(event, alarm, rules)
    return _open(event) if type(event) is Check and event.state else None


def alarm_id(entity_id: str, event_id: str) -> str:
    """Return the id of the alarm that the event opens: the same one when the event comes again."""
    return blake2b(f"{entity_id}\0{event_id}".encode(), digest_size=16).hexdigest()


def is_due(alarm: Alarm, now: float, rules: LifecycleRules) -> bool:
    """Tell whether an open alarm is to be resolved: OK, or cancelled, for long enough."""
    if alarm.state == 0 and now >= alarm.updated + rules.resolve_delay:
        return True
    return alarm.cancel is not None and now >= alarm.cancel.t + rules.cancel_resolve_delay


def kind_of(steps: tuple[Step, ...], alarm: Alarm) -> Kind:
    """Return what ``steps`` of ``alarm`` amount to: ``opened``, ``resolved`` or ``changed``."""
    if steps[:1] == tuple(alarm.steps[:1]):
        return "opened"
    return "resolved" if any(step.type == "resolve" for step in steps) else "changed"


class _Draft:
    """Collects what one event changes in an alarm."""

    def __init__(self, event: AnyEvent, alarm: Alarm, rules: LifecycleRules) -> None:
        self.event = event
        self.alarm = alarm
        self.limit = rules.step_limit
        # Clocks differ: nothing happens before what it follows. A change beyond the limit left no step.
        self.t = max([event.timestamp, alarm.updated, *(step.t for step in alarm.steps[-1:])])
        self.fields: dict[str, Any] = {}
        self.steps: list[Step] = []

    def set(self, **fields: object) -> None:
        """Set those ``fields`` that differ."""
        alarm = self.alarm
        for name, value in fields.items():
            if getattr(alarm, name) != value:
                self.fields[name] = value

    def step(self, kind: StepType, author: str, value: int) -> None:
        """Add a step that has its place however many there are."""
        self.steps.append(Step(kind, self.t, author, self.event.output, value, self.event.event_id))

    def move(self, name: Literal["state", "status"], value: int) -> None:
        """Set the state or the status; leave a step while there is room."""
        old: int = getattr(self.alarm, name)
        if value == old:
            return
        self.set(updated=self.t, **{name: value})
        if len(self.alarm.steps) + len(self.steps) < self.limit:
            self.step(_MOVES[name, value > old], _speaker(self.event), value)
        else:
            self._note()

    def _note(self) -> None:
        note = f"{self.limit} steps: changes of state and status leave no more of them"
        if not any(step.author == SYSTEM and step.message == note for step in (*self.alarm.steps, *self.steps)):
            self.steps.append(Step("comment", self.t, SYSTEM, note, self.alarm.state, self.event.event_id))

    def change(self, kind: Kind = "changed") -> Change:
        """Return the change."""
        fields = self.fields
        steps = self.alarm.steps + self.steps if self.steps else self.alarm.steps
        alarm = structs.replace(self.alarm, steps=steps, **fields)
        return Change(kind, alarm, tuple(self.steps), frozenset(fields))


_MOVES: dict[tuple[str, bool], StepType] = {
    ("state", True): "stateinc",
    ("state", False): "statedec",
    ("status", True): "statusinc",
    ("status", False): "statusdec",
}


def _speaker(event: AnyEvent) -> str:
    """Return who is the author of a step that ``event`` makes."""
    return event.author or f"{event.connector}.{event.connector_name}"


def _open(event: Check) -> Change:
    author, output, t, state = _speaker(event), event.output, event.timestamp, event.state
    status = status_of(state, cancelled=False)
    steps = [
        Step("stateinc", t, author, output, state, event.event_id),
        Step("statusinc", t, author, output, status, event.event_id),
    ]
    alarm = Alarm(
        id=alarm_id(event.entity_id, event.event_id),
        entity_id=event.entity_id,
        source_type=event.source_type,
        connector=event.connector,
        connector_name=event.connector_name,
        component=event.component,
        resource=event.resource,
        state=state,
        status=status,
        output=output,
        long_output=event.long_output,
        initial_output=output,
        created=t,
        updated=t,
        last_event=t,
        tags=event.tags,
        steps=steps,
    )
    return Change("opened", alarm, tuple(steps), _ALL_FIELDS)


_ALL_FIELDS = frozenset(Alarm.__struct_fields__) - {"steps"}


def _check(event: Check, alarm: Alarm, rules: LifecycleRules) -> Change | None:
    if event.timestamp < alarm.last_event:
        return None
    if event.state == alarm.state and event.output == alarm.output and event.long_output == alarm.long_output:
        return _seen(event, alarm)
    draft = _Draft(event, alarm, rules)
    draft.set(output=event.output, long_output=event.long_output, last_event=event.timestamp)
    draft.move("state", event.state)
    draft.move("status", status_of(event.state, alarm.cancel is not None))
    return draft.change()


def _seen(event: Check, alarm: Alarm) -> Change | None:
    if event.timestamp == alarm.last_event:
        return None
    return Change("seen", structs.replace(alarm, last_event=event.timestamp), (), _LAST_EVENT)


_LAST_EVENT = frozenset({"last_event"})


def _ack(event: Ack, alarm: Alarm, rules: LifecycleRules) -> Change | None:
    """A second acknowledge takes over; the same one again is no change."""
    draft = _Draft(event, alarm, rules)
    mark = Mark(_speaker(event), event.output, draft.t)
    if alarm.ack is not None and (alarm.ack.author, alarm.ack.message) == (mark.author, mark.message):
        return None
    draft.set(ack=mark)
    draft.step("ack", mark.author, alarm.state)
    return draft.change()


def _ackremove(event: AckRemove, alarm: Alarm, rules: LifecycleRules) -> Change | None:
    if alarm.ack is None:
        return None
    draft = _Draft(event, alarm, rules)
    draft.set(ack=None)
    draft.step("ackremove", _speaker(event), alarm.state)
    return draft.change()


def _cancel(event: Cancel, alarm: Alarm, rules: LifecycleRules) -> Change | None:
    if alarm.cancel is not None:
        return None
    draft = _Draft(event, alarm, rules)
    mark = Mark(_speaker(event), event.output, draft.t)
    draft.set(cancel=mark)
    draft.step("cancel", mark.author, alarm.state)
    draft.move("status", status_of(alarm.state, cancelled=True))
    return draft.change()


def _uncancel(event: Uncancel, alarm: Alarm, rules: LifecycleRules) -> Change | None:
    if alarm.cancel is None:
        return None
    draft = _Draft(event, alarm, rules)
    draft.set(cancel=None)
    draft.step("uncancel", _speaker(event), alarm.state)
    draft.move("status", status_of(alarm.state, cancelled=False))
    return draft.change()


def _comment(event: Comment, alarm: Alarm, rules: LifecycleRules) -> Change | None:
    draft = _Draft(event, alarm, rules)
    draft.step("comment", _speaker(event), alarm.state)
    return draft.change()


def _resolve(event: Resolve, alarm: Alarm, rules: LifecycleRules) -> Change | None:
    if not is_due(alarm, event.timestamp, rules):
        return None
    draft = _Draft(event, alarm, rules)
    draft.set(open=False, resolved=draft.t)
    draft.step("resolve", event.author or SYSTEM, alarm.state)
    return draft.change("resolved")


_ACTS: dict[type[AnyEvent], Callable[[Any, Alarm, LifecycleRules], Change | None]] = {
    Check: _check,
    Ack: _ack,
    AckRemove: _ackremove,
    Cancel: _cancel,
    Uncancel: _uncancel,
    Comment: _comment,
    Resolve: _resolve,
}
