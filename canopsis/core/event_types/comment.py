"""Comment: an operator adds a text to an alarm."""

from __future__ import annotations

from canopsis.core.alarm import Alarm, Mark
from canopsis.core.change import Change, Draft, LifecycleRules, speaker
from canopsis.core.event import Action
from canopsis.core.event_types.declaration import EventType, never


class Comment(Action, tag="comment"):
    """``output`` is added to the open alarm."""


def _comment(event: Comment, alarm: Alarm, _rules: LifecycleRules, now: float) -> Change | None:
    draft = Draft(event, alarm, now)
    draft.set(last_comment=Mark(speaker(event), event.output, draft.t))
    draft.step("comment", speaker(event), alarm.state)
    return draft.change()


DECLARED = (EventType(Comment, "Add a comment to an alarm.", required=("output",), act=_comment, objection=never),)
