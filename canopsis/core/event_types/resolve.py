"""Resolve: the alarm engine's own, when an alarm has been back to OK, or cancelled, for long enough."""

from __future__ import annotations

from canopsis.core.alarm import SYSTEM, Alarm
from canopsis.core.change import Change, Draft, LifecycleRules
from canopsis.core.event import Event
from canopsis.core.event_types.declaration import EventType


class Resolve(Event, tag="resolve"):
    """The alarm engine's own: the delay of an alarm that is back to OK, or cancelled, is over."""


def is_due(alarm: Alarm, now: float, rules: LifecycleRules) -> bool:
    """Tell whether an open alarm is to be resolved: OK, or cancelled, for long enough."""
    if alarm.state == 0 and now >= alarm.updated + rules.resolve_delay:
        return True
    return alarm.cancel is not None and now >= alarm.cancel.t + rules.cancel_resolve_delay


def _resolve(event: Resolve, alarm: Alarm, rules: LifecycleRules, now: float) -> Change | None:
    if not is_due(alarm, min(event.timestamp, now), rules):
        return None
    draft = Draft(event, alarm, now)
    draft.set(open=False, resolved=draft.t)
    draft.step("resolve", event.author or SYSTEM, alarm.state)
    return draft.change("resolved")


DECLARED = (EventType(Resolve, "The delay of an alarm is over: it is resolved.", from_sources=False, act=_resolve),)
