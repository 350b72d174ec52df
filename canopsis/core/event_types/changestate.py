"""Change state: an operator says how bad it is, until the source says OK."""

from __future__ import annotations

from canopsis.core.alarm import Alarm, Mark
from canopsis.core.change import Change, Draft, LifecycleRules, speaker
from canopsis.core.event import Action
from canopsis.core.event_types.check import STATE
from canopsis.core.event_types.declaration import EventType
from canopsis.core.status import status_of


class ChangeState(Action, tag="changestate"):
    """The open alarm is in ``state`` from now on, whatever checks say, until one is OK."""

    state: int = 0


def _changestate(event: ChangeState, alarm: Alarm, _rules: LifecycleRules, now: float) -> Change | None:
    """The same state locks it too; once it is locked the same again is no change."""
    if _not_bad(alarm) or (alarm.state_lock is not None and alarm.state == event.state):
        return None
    draft = Draft(event, alarm, now)
    draft.set(state=event.state, updated=draft.t, state_lock=Mark(speaker(event), event.output, draft.t))
    draft.step("changestate", speaker(event), event.state)
    draft.move("status", status_of(event.state, alarm.cancel is not None))
    return draft.change()


def _not_bad(alarm: Alarm) -> str:
    return "" if alarm.state else "it is back to OK"


DECLARED = (
    EventType(
        ChangeState,
        "Set the state of an alarm; checks do not move it until one is OK.",
        {"state": STATE},
        required=("state",),
        act=_changestate,
        objection=_not_bad,
    ),
)
