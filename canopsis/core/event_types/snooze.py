"""Snooze: an operator puts an alarm off for a while; it comes back by itself."""

from __future__ import annotations

from canopsis.core import fields
from canopsis.core.alarm import SYSTEM, Alarm, Snoozed
from canopsis.core.change import Change, Draft, LifecycleRules, speaker
from canopsis.core.event import Action
from canopsis.core.event_types.declaration import EventType, Field

DURATION = 300.0


class Snooze(Action, tag="snooze"):
    """The open alarm is put off for ``duration`` seconds."""

    duration: float = DURATION


class Unsnooze(Action, tag="unsnooze"):
    """The alarm is back: its time is over, or an operator wants it back."""


def _snooze(event: Snooze, alarm: Alarm, _rules: LifecycleRules, now: float) -> Change | None:
    if alarm.snooze is not None:
        return None
    draft = Draft(event, alarm, now)
    until = draft.t + event.duration
    draft.set(snooze=Snoozed(speaker(event), event.output, draft.t, until))
    draft.step("snooze", speaker(event), int(until))
    return draft.change()


def _unsnooze(event: Unsnooze, alarm: Alarm, _rules: LifecycleRules, now: float) -> Change | None:
    if alarm.snooze is None or (event.author == SYSTEM and min(event.timestamp, now) < alarm.snooze.until):
        return None
    draft = Draft(event, alarm, now)
    draft.set(snooze=None)
    draft.step("unsnooze", speaker(event), alarm.state)
    return draft.change()


def _unsnooze_due(alarm: Alarm, _rules: LifecycleRules) -> float | None:
    return alarm.snooze.until if alarm.snooze else None


def _snoozed(alarm: Alarm) -> str:
    return f"{alarm.snooze.author} snoozed it already" if alarm.snooze else ""


def _not_snoozed(alarm: Alarm) -> str:
    return "" if alarm.snooze else "it is not snoozed"


_DURATION = Field(
    fields.duration,
    {"type": "number", "exclusiveMinimum": 0, "maximum": fields.MAX_DURATION, "default": DURATION}
    | {"description": "Seconds; of a snooze."},
    f"seconds of a snooze ({DURATION:g})",
)

DECLARED = (
    EventType(Snooze, "Put an alarm off for a while.", {"duration": _DURATION}, act=_snooze, objection=_snoozed),
    EventType(Unsnooze, "Bring a snoozed alarm back.", act=_unsnooze, objection=_not_snoozed, due=_unsnooze_due),
)
