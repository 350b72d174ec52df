"""The life cycle: event x alarm -> what changes. Alarms are never changed in place.

A check that is not OK opens an alarm. Back to OK it stays open, with status off, until it is
resolved; a check that is not OK again before that reopens it (a ``statusinc`` step). A late check
(older than the newest one of its entity) changes nothing, nor does a soft one unless the rules say so.
Operators act on an open alarm only: an action that has nothing to act on is no change.

Clocks differ, and one that was ahead may have left its times behind: a time after ``now`` is no
measure of anything, and nothing is stamped later than ``now``.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any, Literal

from msgspec import structs

from canopsis.core.alarm import SYSTEM, Alarm, Mark, Step, StepType
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

MAX_MESSAGE = 1024
"""Bytes of UTF-8 in the message of a step that a source made; the event itself has the whole text."""

Kind = Literal["opened", "changed", "seen", "repeat", "resolved"]


@dataclass(frozen=True, slots=True)
class LifecycleRules:
    """Seconds an alarm stays open once it is back to OK, or cancelled; whether soft states count."""

    resolve_delay: float
    cancel_resolve_delay: float
    soft_states: bool = False


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


def apply(
    event: AnyEvent, alarm: Alarm | None, rules: LifecycleRules, now: float, newest: float | None = None
) -> Change | None:
    """Return what ``event`` does to the open alarm of its entity, or None when it does nothing.

    ``newest`` is the time of the newest check of the entity, in seconds, None where there was none.
    """
    act = _ACTS.get(type(event))
    if act is None:
        return None
    made = made_by(event.event_id, alarm)
    if alarm is not None and made:
        return Change("repeat", alarm, made, frozenset())
    if type(event) is Check and not counts(event, rules, now, newest, alarm):
        return None
    if alarm is not None and alarm.open:
        return act(event, alarm, rules, now)
    return _open(event, now) if type(event) is Check and event.state else None


def made_by(event_id: str, alarm: Alarm | None) -> tuple[Step, ...]:
    """Return the steps that an event made, of those that the alarm has."""
    return tuple([step for step in alarm.steps if step.e == event_id]) if alarm is not None and event_id else ()


def counts(event: Check, rules: LifecycleRules, now: float, newest: float | None, alarm: Alarm | None) -> bool:
    """Tell whether a check may do anything: not when it is late, and soft ones only where the rules say so."""
    if alarm is not None and is_late(event.timestamp, alarm.last_event, now):
        return False
    return not is_late(event.timestamp, newest, now) and not is_soft(event, rules)


def is_late(timestamp: float, newest: float | None, now: float) -> bool:
    """Tell whether a check is older than the ``newest`` one, whose time counts unless it is yet to come."""
    return newest is not None and timestamp < newest <= now


def is_soft(event: Check, rules: LifecycleRules) -> bool:
    """Tell whether a check is of a state that its source is not sure of, and is to do nothing."""
    return not event.state_type and not rules.soft_states


def is_quiet(event: AnyEvent, alarm: Alarm | None, rules: LifecycleRules, now: float) -> bool:
    """Tell at little cost that ``event`` can change nothing but ``last_event``, and changed nothing before."""
    if type(event) is not Check:
        return alarm is None and type(event) is not Resolve
    if is_soft(event, rules):
        return True
    if alarm is None:
        return event.state == 0
    return _is_same(event, alarm) and not _is_ahead(alarm, now) and event.event_id not in alarm.written_by


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
    if any(alarm_id(alarm.entity_id, step.e) == alarm.id for step in steps):
        return "opened"
    return "resolved" if any(step.type == "resolve" for step in steps) else "changed"


def _is_same(event: Check, alarm: Alarm) -> bool:
    return event.state == alarm.state and event.output == alarm.output and event.long_output == alarm.long_output


def _is_ahead(alarm: Alarm, now: float) -> bool:
    """Tell whether a clock that was ahead left a time from which a delay would be counted."""
    return alarm.updated > now or (alarm.cancel is not None and alarm.cancel.t > now)


class _Draft:
    """Collects what one event changes in an alarm."""

    def __init__(self, event: AnyEvent, alarm: Alarm, now: float) -> None:
        self.event = event
        self.alarm = alarm
        self.now = now
        # Clocks differ: nothing happens before what it follows, unless that is yet to come.
        before = [alarm.updated, *(step.t for step in alarm.steps[-1:])]
        self.t = max([min(event.timestamp, now), *(t for t in before if t <= now)])
        self.fields: dict[str, Any] = {}
        self.steps: list[Step] = []

    def set(self, **fields: object) -> None:
        """Set those ``fields`` that differ."""
        alarm = self.alarm
        for name, value in fields.items():
            if getattr(alarm, name) != value:
                self.fields[name] = value

    def put_right(self) -> None:
        """Set times that are yet to come to the present: delays are counted from them."""
        alarm, t = self.alarm, self.t
        if _is_ahead(alarm, self.now):
            cancel = alarm.cancel and Mark(alarm.cancel.author, alarm.cancel.message, min(alarm.cancel.t, t))
            self.set(created=min(alarm.created, t), updated=min(alarm.updated, t), cancel=cancel)

    def step(self, kind: StepType, author: str, value: int) -> None:
        """Add a step in which somebody says something."""
        self.steps.append(Step(kind, self.t, author, self.event.output, value, self.event.event_id))

    def move(self, name: Literal["state", "status"], value: int) -> None:
        """Set the state or the status, with a step."""
        old: int = getattr(self.alarm, name)
        if value == old:
            return
        self.set(updated=self.t, **{name: value})
        kind, event = _MOVES[name, value > old], self.event
        self.steps.append(Step(kind, self.t, _speaker(event), _shortened(event.output), value, event.event_id))

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


def _shortened(text: str) -> str:
    if 4 * len(text) <= MAX_MESSAGE:
        return text
    encoded = text.encode()
    return text if len(encoded) <= MAX_MESSAGE else encoded[: MAX_MESSAGE - 3].decode(errors="ignore") + "…"


def _open(event: Check, now: float) -> Change:
    author, output, t, state = _speaker(event), event.output, min(event.timestamp, now), event.state
    status = status_of(state, cancelled=False)
    message = _shortened(output)
    steps = [
        Step("stateinc", t, author, message, state, event.event_id),
        Step("statusinc", t, author, message, status, event.event_id),
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


def _check(event: Check, alarm: Alarm, _rules: LifecycleRules, now: float) -> Change | None:
    at = min(event.timestamp, now)
    if _is_same(event, alarm) and not _is_ahead(alarm, now):
        return _seen(at, alarm)
    draft = _Draft(event, alarm, now)
    draft.set(output=event.output, long_output=event.long_output, last_event=at)
    draft.put_right()
    draft.move("state", event.state)
    draft.move("status", status_of(event.state, alarm.cancel is not None))
    return draft.change()


def _seen(at: float, alarm: Alarm) -> Change | None:
    if at == alarm.last_event:
        return None
    return Change("seen", structs.replace(alarm, last_event=at), (), _LAST_EVENT)


_LAST_EVENT = frozenset({"last_event"})


def _ack(event: Ack, alarm: Alarm, _rules: LifecycleRules, now: float) -> Change | None:
    """A second acknowledge takes over; the same one again is no change."""
    draft = _Draft(event, alarm, now)
    mark = Mark(_speaker(event), event.output, draft.t)
    if alarm.ack is not None and (alarm.ack.author, alarm.ack.message) == (mark.author, mark.message):
        return None
    draft.set(ack=mark)
    draft.step("ack", mark.author, alarm.state)
    return draft.change()


def _ackremove(event: AckRemove, alarm: Alarm, _rules: LifecycleRules, now: float) -> Change | None:
    if alarm.ack is None:
        return None
    draft = _Draft(event, alarm, now)
    draft.set(ack=None)
    draft.step("ackremove", _speaker(event), alarm.state)
    return draft.change()


def _cancel(event: Cancel, alarm: Alarm, _rules: LifecycleRules, now: float) -> Change | None:
    if alarm.cancel is not None:
        return None
    draft = _Draft(event, alarm, now)
    mark = Mark(_speaker(event), event.output, draft.t)
    draft.set(cancel=mark)
    draft.step("cancel", mark.author, alarm.state)
    draft.move("status", status_of(alarm.state, cancelled=True))
    return draft.change()


def _uncancel(event: Uncancel, alarm: Alarm, _rules: LifecycleRules, now: float) -> Change | None:
    if alarm.cancel is None:
        return None
    draft = _Draft(event, alarm, now)
    draft.set(cancel=None)
    draft.step("uncancel", _speaker(event), alarm.state)
    draft.move("status", status_of(alarm.state, cancelled=False))
    return draft.change()


def _comment(event: Comment, alarm: Alarm, _rules: LifecycleRules, now: float) -> Change | None:
    draft = _Draft(event, alarm, now)
    draft.step("comment", _speaker(event), alarm.state)
    return draft.change()


def _resolve(event: Resolve, alarm: Alarm, rules: LifecycleRules, now: float) -> Change | None:
    if not is_due(alarm, min(event.timestamp, now), rules):
        return None
    draft = _Draft(event, alarm, now)
    draft.set(open=False, resolved=draft.t)
    draft.step("resolve", event.author or SYSTEM, alarm.state)
    return draft.change("resolved")


_ACTS: dict[type[AnyEvent], Callable[[Any, Alarm, LifecycleRules, float], Change | None]] = {
    Check: _check,
    Ack: _ack,
    AckRemove: _ackremove,
    Cancel: _cancel,
    Uncancel: _uncancel,
    Comment: _comment,
    Resolve: _resolve,
}
