"""Snooze: an operator puts an alarm off for a while; it comes back by itself."""

from __future__ import annotations

from canopsis.core import fields
from canopsis.core.alarm import Alarm, Snoozed
from canopsis.core.change import Change, Draft, LifecycleRules, speaker
from canopsis.core.event import Action
from canopsis.core.event_types.declaration import EventType, Field

DURATION = 300.0


class Snooze(Action, tag="snooze"):
    """The open alarm is put off for ``duration`` seconds."""

    duration: float = DURATION


def _snooze(event: Snooze, alarm: Alarm, _rules: LifecycleRules, now: float) -> Change | None:
    if alarm.snooze is not None:
        return None
    draft = Draft(event, alarm, now)
    until = draft.t + event.duration
    draft.set(snooze=Snoozed(speaker(event), event.output, draft.t, until))
    draft.step("snooze", speaker(event), int(until))
    return draft.change()


def _snoozed(alarm: Alarm) -> str:
    return f"{alarm.snooze.author} snoozed it already" if alarm.snooze else ""


_DURATION = Field(
    fields.duration,
    {"type": "number", "exclusiveMinimum": 0, "maximum": fields.MAX_DURATION, "default": DURATION}
    | {"description": "Seconds; of a snooze."},
    f"seconds of a snooze ({DURATION:g})",
)

DECLARED = (
    EventType(Snooze, "Put an alarm off for a while.", {"duration": _DURATION}, act=_snooze, objection=_snoozed),
)
