"""Resolve: the alarm engine's own, when an alarm has been back to OK, or cancelled, for long enough."""

from __future__ import annotations

from canopsis.core.alarm import SYSTEM, Alarm
from canopsis.core.change import Change, Draft, LifecycleRules
from canopsis.core.event import Event
from canopsis.core.event_types.declaration import EventType


class Resolve(Event, tag="resolve"):
    """The alarm engine's own: the delay of an alarm that is back to OK, or cancelled, is over."""


def resolve_due(alarm: Alarm, rules: LifecycleRules) -> float | None:
    """Return when an open alarm is to be resolved: OK, or cancelled, for long enough."""
    ends = [alarm.updated + rules.resolve_delay] if alarm.state == 0 else []
    if alarm.cancel is not None:
        ends.append(alarm.cancel.t + rules.cancel_resolve_delay)
    return min(ends, default=None)


def _resolve(event: Resolve, alarm: Alarm, rules: LifecycleRules, now: float) -> Change | None:
    due = resolve_due(alarm, rules)
    if due is None or min(event.timestamp, now) < due:
        return None
    draft = Draft(event, alarm, now)
    draft.set(open=False, resolved=draft.t)
    draft.step("resolve", event.author or SYSTEM, alarm.state)
    return draft.change("resolved")


_SUMMARY = "The delay of an alarm is over: it is resolved."

DECLARED = (EventType(Resolve, _SUMMARY, from_sources=False, act=_resolve, due=resolve_due),)
