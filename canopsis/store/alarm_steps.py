"""Older steps of alarms: a chain of segments an alarm, each made once and never changed.

``{_id, alarm_id, older: id of the segment before or "", steps: oldest first}``. They are written
before the alarm that points to them: an alarm never points to nothing, and one that could not be
written leaves at most a segment that nobody points to.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator

import msgspec

from canopsis.core.alarm import Step
from canopsis.core.steps import Segment
from canopsis.core.structs import prepare
from canopsis.store.client import Store, store_errors
from canopsis.store.operations import Document, Insert

COLLECTION = "alarm_steps"

prepare(Segment)


def insert(segment: Segment) -> Insert:
    """Return the write of a segment, which comes with that of its alarm."""
    return Insert(msgspec.to_builtins(segment), guarded=True)


def get(db: Store, segment_id: str) -> Document | None:
    """Return a segment by its id. Raises StoreError."""
    with store_errors("reading steps of an alarm"):
        return db[COLLECTION].find_one({"_id": segment_id})


def made_by(db: Store, newest: str, event_ids: Collection[str]) -> list[Step]:
    """Return the steps that these events made, as far as the newest segments hold steps of theirs. Raises StoreError.

    ``newest`` is the id of the newest segment of the alarm.
    """
    found: list[Step] = []
    for segment in _chain(db, newest):
        own = [step for step in segment.steps if step.e in event_ids]
        if not own:
            break
        found = own + found
    return found


def _chain(db: Store, newest: str) -> Iterator[Segment]:
    following = newest
    while following:
        document = get(db, following)
        if document is None:
            return
        segment = msgspec.convert(document, Segment)
        following = segment.older
        yield segment
