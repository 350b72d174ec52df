"""What a batch does to alarms, as one write an alarm; steps that no longer fit go beside it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import msgspec

from canopsis.core.alarm import Alarm, Step, builtins_of
from canopsis.core.change import Change
from canopsis.core.event import Event
from canopsis.core.steps import Segment, folded
from canopsis.store import alarm_steps, alarms
from canopsis.store.operations import Document, Guarded, Insert, Operation, Writes

_ALWAYS = {"last_event", "events_count", "written_by"}
"""Fields that repeats move in memory alone: whenever anything is written they go along."""

_FOLDED = {"steps", "older"}


@dataclass(slots=True)
class _Pending:
    """What a batch does to one alarm; one that it opens ``is_new``. ``rev`` is the revision that it gets."""

    is_new: bool
    rev: int
    alarm: Alarm
    fields: set[str] = field(default_factory=set)
    steps: list[Step] = field(default_factory=list)
    segments: list[Segment] = field(default_factory=list)


class Writing:
    """The writes of one batch."""

    def __init__(self) -> None:
        self._pending: dict[str, _Pending] = {}

    def add(self, before: Alarm | None, change: Change) -> Alarm:
        """Take a change in; return the alarm as it is to be remembered."""
        alarm, segments = folded(change.alarm)
        work = self._pending.get(alarm.id)
        if work is None:
            work = self._pending[alarm.id] = _Pending(before is None, 1 if before is None else before.rev + 1, alarm)
        alarm.rev = work.rev
        work.alarm = alarm
        work.fields |= change.fields
        work.steps += change.steps
        work.segments += segments
        return alarm

    def writes(self, events: Sequence[Event], after: Sequence[Event]) -> Writes:
        """Return the writes, older steps first.

        ``events`` are all those of the batch that act on alarms, ``after`` the same as they go on.
        """
        works = list(self._pending.values())
        if not works:
            return {}
        self._sign(events, after)
        segments: list[Operation] = [alarm_steps.insert(segment) for work in works for segment in work.segments]
        older: Writes = {alarm_steps.COLLECTION: segments} if segments else {}
        return older | {alarms.COLLECTION: [_operation(work) for work in works]}

    def _sign(self, events: Sequence[Event], after: Sequence[Event]) -> None:
        """Note in each alarm all events of the batch on its entity: delivered again, they are known.

        One that had no effect (an acknowledge before the alarm opened) could have one the second time.
        One that got an id of its own is noted under both: it comes again with the first.
        """
        works = self._pending.values()
        ids: dict[str, dict[str, None]] = {work.alarm.entity_id: {} for work in works}
        for event, own in zip(events, after, strict=True):
            if event.entity_id in ids:
                ids[event.entity_id] |= {event.event_id: None, own.event_id: None}
        for work in works:
            work.alarm.written_by = _until_its_end(work.alarm, list(ids[work.alarm.entity_id]))


def _until_its_end(alarm: Alarm, ids: list[str]) -> list[str]:
    """Return those of ``ids`` that came before the alarm ended: what follows is for the next one."""
    return ids if alarm.open else ids[: ids.index(alarm.steps[-1].e) + 1]


def _operation(work: _Pending) -> Operation:
    if work.is_new:
        return Insert(msgspec.to_builtins(work.alarm), guarded=True)
    names = work.fields | _ALWAYS | (_FOLDED if work.segments else set())
    change: Document = {"$set": builtins_of(work.alarm, names)}
    if work.steps and not work.segments:
        change["$push"] = {"steps": {"$each": msgspec.to_builtins(work.steps)}}
    return Guarded(work.alarm.id, change)
