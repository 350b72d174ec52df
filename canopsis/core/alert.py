"""Alerts: what became of an alarm, told to whoever subscribes to ``canopsis.alerts``."""

from __future__ import annotations

from typing import Any

from msgspec import to_builtins

from canopsis.core.alarm import Alarm, builtins_of
from canopsis.core.change import Change
from canopsis.core.event import Event, event_type, routing_key
from canopsis.core.lifecycle import kind_of

_KEPT_BACK = {"id", "rev", "last_event", "events_count", "initial_output", "steps", "older", "wake_at", "written_by"}
_OF_ALARM = tuple(name for name in Alarm.__struct_fields__ if name not in _KEPT_BACK)


def alert_body(change: Change, event: Event) -> dict[str, Any]:
    """Return the alert of ``change``: the alarm as it is now, the event and the steps that it made.

    ``kind`` is ``opened``, ``changed`` or ``resolved``, also when the event is a repeat.
    """
    alarm = change.alarm
    kind = kind_of(change.steps, alarm) if change.kind == "repeat" else change.kind
    body: dict[str, Any] = {"kind": kind, "alarm_id": alarm.id, "event_id": event.event_id}
    body["event_type"] = event_type(event)
    body["timestamp"] = event.timestamp
    body |= facts_of(alarm)
    body["steps"] = to_builtins(list(change.steps))
    return body


def facts_of(alarm: Alarm) -> dict[str, Any]:
    """Return what an alert says of an alarm."""
    return builtins_of(alarm, _OF_ALARM)


def alert_routing_key(change: Change, event: Event) -> str:  # noqa: ARG001 - keys may come to tell more
    """Return the routing key of the alert: the event's own, whose third word says what was done."""
    return routing_key(event)
