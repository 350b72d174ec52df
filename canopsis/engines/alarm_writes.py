"""What a batch does to alarms, as one write an alarm; steps that no longer fit go beside it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import msgspec

from canopsis.core.alarm import Alarm, Step, builtins_of
from canopsis.core.change import Change
from canopsis.core.event import Event
from canopsis.core.steps import Segment, folded
from canopsis.store import alarm_steps, alarms
from canopsis.store.operations import Guarded, Insert, Operation, Writes

_ALWAYS = {"last_event", "events_count", "written_by"}
"""Fields that repeats move in memory alone: whenever anything is written they go along."""

_FOLDED = {"steps", "older"}


MOST_STEPS = 1000
"""Steps of the segments that are one document."""


@dataclass(slots=True)
class _Pending:
    """What a batch does to one alarm; one that it opens ``is_new``. ``rev`` is the revision that it gets."""

    is_new: bool
    rev: int
    alarm: Alarm
    fields: set[str] = field(default_factory=set)
    steps: list[Step] = field(default_factory=list)


class _Segments:
    """The segments of one batch: those of many alarms are one document."""

    def __init__(self, new_id: Callable[[], str]) -> None:
        self._new_id = new_id
        self._document = ""
        self._place = self._room = 0
        self._found: dict[str, list[Segment]] = {}

    def fold(self, alarm: Alarm, fresh: int) -> None:
        """Take the steps out of an alarm, which is the one that is remembered, that are not of its last write."""
        after, segments = folded(alarm, fresh, self._name)
        alarm.steps, alarm.older = after.steps, after.older
        for segment in segments:
            self._found.setdefault(alarm_steps.document_of(segment.id), []).append(segment)

    def inserts(self) -> list[Operation]:
        """Return the writes."""
        return [alarm_steps.insert(document, segments) for document, segments in self._found.items()]

    def _name(self, steps: int) -> str:
        if self._room < steps:
            self._document, self._place, self._room = self._new_id(), 0, MOST_STEPS
        name = alarm_steps.segment_id(self._document, self._place)
        self._place += 1
        self._room -= steps
        return name


class Writing:
    """The writes of one batch. ``new_id`` gives ids of documents."""

    def __init__(self, new_id: Callable[[], str]) -> None:
        self._pending: dict[str, _Pending] = {}
        self._segments = _Segments(new_id)

    def add(self, before: Alarm | None, change: Change) -> Alarm:
        """Take a change in; return the alarm as it is to be remembered."""
        alarm = change.alarm
        work = self._pending.get(alarm.id)
        if work is None:
            work = self._pending[alarm.id] = _Pending(before is None, 1 if before is None else before.rev + 1, alarm)
        alarm.rev = work.rev
        work.alarm = alarm
        work.fields |= change.fields
        work.steps += change.steps
        return alarm

    def writes(self, events: Sequence[Event], after: Sequence[Event]) -> Writes:
        """Return the writes, older steps first.

        ``events`` are all those of the batch that act on alarms, ``after`` the same as they go on.
        """
        works = list(self._pending.values())
        if not works:
            return {}
        self._sign(events, after)
        for work in works:
            self._segments.fold(work.alarm, len(work.steps))
        segments = self._segments.inserts()
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
    names = work.fields | _ALWAYS | (_FOLDED if work.steps else set())
    return Guarded(work.alarm.id, {"$set": builtins_of(work.alarm, names)})
