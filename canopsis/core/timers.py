"""What happens to an alarm by itself, and when: an alarm that must be looked at again says so in ``wake_at``."""

from __future__ import annotations

from collections.abc import Iterator

from canopsis.core.alarm import SYSTEM, Alarm
from canopsis.core.change import LifecycleRules
from canopsis.core.event import Action, Event
from canopsis.core.event_types import EVENT_TYPES
from canopsis.core.event_types.wake import Wake

_TIMED = [(each.struct, each.due) for each in EVENT_TYPES.values() if each.due is not None]


def next_wake(alarm: Alarm, rules: LifecycleRules) -> float | None:
    """Return when the next thing happens to ``alarm`` by itself, in seconds since the epoch; None for never."""
    if not alarm.open:
        return None
    return min((at for _, due in _TIMED if (at := due(alarm, rules)) is not None), default=None)


def due_events(alarm: Alarm, rules: LifecycleRules, now: float) -> Iterator[Event]:
    """Yield an event for each thing whose time has come; by the one of a later beat it has no effect."""
    for struct, due in _TIMED:
        at = due(alarm, rules)
        if at is not None and at <= now:
            yield _event(struct, alarm, now)


def woken(alarm: Alarm, rules: LifecycleRules, now: float) -> list[Event]:
    """Return the events for an alarm whose ``wake_at`` has come, or may be wrong: when nothing is due, a ``Wake``."""
    return [*due_events(alarm, rules, now)] or [_event(Wake, alarm, now)]


def _event(struct: type[Event], alarm: Alarm, now: float) -> Event:
    event = struct(
        connector=alarm.connector,
        connector_name=alarm.connector_name,
        component=alarm.component,
        resource=alarm.resource,
        source_type="component" if alarm.resource is None else "resource",
        timestamp=now,
        author=SYSTEM,
    )
    if isinstance(event, Action):
        event.alarm_id = alarm.id
    return event
