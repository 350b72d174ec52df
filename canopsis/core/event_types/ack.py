"""Acknowledge: an operator says that they look after an alarm, or no more."""

from __future__ import annotations

from canopsis.core.alarm import Alarm, Mark
from canopsis.core.change import Change, Draft, LifecycleRules, speaker
from canopsis.core.event import Action
from canopsis.core.event_types.declaration import EventType


class Ack(Action, tag="ack"):
    """``author`` looks after the open alarm of the entity."""


class AckRemove(Action, tag="ackremove"):
    """The acknowledge is taken back."""


def _ack(event: Ack, alarm: Alarm, _rules: LifecycleRules, now: float) -> Change | None:
    """A second acknowledge takes over; the same one again is no change."""
    draft = Draft(event, alarm, now)
    mark = Mark(speaker(event), event.output, draft.t)
    if alarm.ack is not None and (alarm.ack.author, alarm.ack.message) == (mark.author, mark.message):
        return None
    draft.set(ack=mark)
    draft.step("ack", mark.author, alarm.state)
    return draft.change()


def _ackremove(event: AckRemove, alarm: Alarm, _rules: LifecycleRules, now: float) -> Change | None:
    if alarm.ack is None:
        return None
    draft = Draft(event, alarm, now)
    draft.set(ack=None)
    draft.step("ackremove", speaker(event), alarm.state)
    return draft.change()


def _acknowledged(alarm: Alarm) -> str:
    return f"{alarm.ack.author} acknowledged it already" if alarm.ack else ""


def _not_acknowledged(alarm: Alarm) -> str:
    return "" if alarm.ack else "it is not acknowledged"


DECLARED = (
    EventType(Ack, "Say that you look after an alarm.", act=_ack, objection=_acknowledged),
    EventType(AckRemove, "Take an acknowledge back.", act=_ackremove, objection=_not_acknowledged),
)
