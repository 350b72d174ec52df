"""Wake: the alarm engine's own, when an alarm was to be looked at and nothing is due."""

from __future__ import annotations

from canopsis.core.alarm import Alarm
from canopsis.core.change import Change, LifecycleRules
from canopsis.core.event import Event
from canopsis.core.event_types.declaration import EventType


class Wake(Event, tag="wake"):
    """The alarm engine's own: an alarm is given the time at which it is to be looked at next."""


def _wake(_event: Wake, alarm: Alarm, _rules: LifecycleRules, _now: float) -> Change:
    return Change("changed", alarm, (), frozenset())


_SUMMARY = "An alarm was to be looked at, and nothing was due: it is timed anew."

DECLARED = (EventType(Wake, _SUMMARY, from_sources=False, kept=False, act=_wake),)
