"""The life cycle: event x alarm -> what changes. What each type of event does stands in ``event_types``.

A check that is not OK opens an alarm. Back to OK it stays open, with status off, until it is
resolved; a check that is not OK again before that reopens it (a ``statusinc`` step). A late check
(older than the newest one of its entity) changes nothing, nor does a soft one unless the rules say so.
Operators act on an open alarm only: an action that has nothing to act on is no change.
"""

from __future__ import annotations

from msgspec import structs

from canopsis.core.alarm import SYSTEM, Alarm, Step
from canopsis.core.change import Change, Kind, LifecycleRules, alarm_id, is_ahead
from canopsis.core.event import Action, Event, event_type
from canopsis.core.event_types import EVENT_TYPES
from canopsis.core.event_types.check import Check, is_same, opened
from canopsis.core.event_types.resolve import Resolve
from canopsis.core.timers import next_wake

APPLIED = "applied"
"""Outcome of an action that changed its alarm."""

_ACTS = {each.struct: each.act for each in EVENT_TYPES.values() if each.act is not None}

ACTING = frozenset(_ACTS)
"""The structs of events that may do something to an alarm."""


def apply(
    event: Event, alarm: Alarm | None, rules: LifecycleRules, now: float, newest: float | None = None
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
    if isinstance(event, Action) and alarm is not None and event.alarm_id not in ("", alarm.id):
        return None
    if alarm is not None and alarm.open:
        change = act(event, alarm, rules, now)
        if change is None and event.author == SYSTEM:
            # Woken by a delay that is another one now: else it would be woken for ever.
            change = Change("changed", alarm, (), frozenset())
        return _timed(change, rules, exactly=event.author == SYSTEM)
    return _timed(opened(event, now), rules) if type(event) is Check and event.state else None


def _timed(change: Change | None, rules: LifecycleRules, *, exactly: bool = False) -> Change | None:
    """Return a change with the time at which the alarm is to be looked at again; None when it changes nothing.

    Unless ``exactly`` is asked for, one that is too early stays: to move it each time costs more than to look once.
    """
    if change is None or change.kind == "seen":
        return change
    wake_at, known = next_wake(change.alarm, rules), change.alarm.wake_at
    stays = change.alarm.open and not exactly and known is not None and (wake_at is None or known <= wake_at)
    if wake_at != known and not stays:
        timed = structs.replace(change.alarm, wake_at=wake_at)
        return Change(change.kind, timed, change.steps, change.fields | WAKE_AT)
    return change if change.steps or change.fields else None


WAKE_AT = frozenset({"wake_at"})
"""The fields of a change that only says when the alarm is to be looked at again: nobody is told of it."""


def outcome_of(event: Action, alarm: Alarm | None, change: Change | None) -> str:
    """Return what came of an action on ``alarm``, the open one of its entity: ``applied``, or why it had no effect."""
    if change is not None:
        return APPLIED
    if event.alarm_id and (alarm is None or alarm.id != event.alarm_id):
        return f"alarm {event.alarm_id} is not open any more"
    if alarm is None:
        return "the entity has no open alarm"
    objection = EVENT_TYPES[event_type(event)].objection
    return (objection(alarm) if objection is not None else "") or "the alarm says so already"


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


def is_quiet(event: Event, alarm: Alarm | None, rules: LifecycleRules, now: float) -> bool:
    """Tell at little cost that ``event`` can change nothing but ``last_event``, and changed nothing before."""
    if type(event) is not Check:
        return alarm is None and type(event) is not Resolve
    if is_soft(event, rules):
        return True
    if alarm is None:
        return event.state == 0
    return is_same(event, alarm) and not is_ahead(alarm, now) and event.event_id not in alarm.written_by


def kind_of(steps: tuple[Step, ...], alarm: Alarm) -> Kind:
    """Return what ``steps`` of ``alarm`` amount to: ``opened``, ``resolved`` or ``changed``."""
    if any(alarm_id(alarm.entity_id, step.e) == alarm.id for step in steps):
        return "opened"
    return "resolved" if any(step.type == "resolve" for step in steps) else "changed"
