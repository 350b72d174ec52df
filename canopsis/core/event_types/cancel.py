"""Cancel: an operator says that an alarm is a false one, or that it is not."""

from __future__ import annotations

from canopsis.core.alarm import Alarm, Mark
from canopsis.core.change import Change, Draft, LifecycleRules, speaker
from canopsis.core.event import Action
from canopsis.core.event_types.declaration import EventType
from canopsis.core.status import status_of


class Cancel(Action, tag="cancel"):
    """The open alarm is a false one."""


class Uncancel(Action, tag="uncancel"):
    """The cancel is taken back."""


def _cancel(event: Cancel, alarm: Alarm, _rules: LifecycleRules, now: float) -> Change | None:
    if alarm.cancel is not None:
        return None
    draft = Draft(event, alarm, now)
    mark = Mark(speaker(event), event.output, draft.t)
    draft.set(cancel=mark)
    draft.step("cancel", mark.author, alarm.state)
    draft.move("status", status_of(alarm.state, cancelled=True))
    return draft.change()


def _uncancel(event: Uncancel, alarm: Alarm, _rules: LifecycleRules, now: float) -> Change | None:
    if alarm.cancel is None:
        return None
    draft = Draft(event, alarm, now)
    draft.set(cancel=None)
    draft.step("uncancel", speaker(event), alarm.state)
    draft.move("status", status_of(alarm.state, cancelled=False))
    return draft.change()


def _cancelled(alarm: Alarm) -> str:
    return f"{alarm.cancel.author} cancelled it already" if alarm.cancel else ""


def _not_cancelled(alarm: Alarm) -> str:
    return "" if alarm.cancel else "it is not cancelled"


DECLARED = (
    EventType(Cancel, "Say that an alarm is a false one.", act=_cancel, objection=_cancelled),
    EventType(Uncancel, "Take a cancel back.", act=_uncancel, objection=_not_cancelled),
)
