"""Older steps of alarms: a chain of segments an alarm, each made once and never changed.

``{_id, segments: [{alarm_id, older: id of the segment before or "", steps: oldest first}]}``: what one batch took out
of its alarms is one document, for a document costs more than what is in it. They are written before the alarms that
point to them, in one transaction. The id of a segment names the document and its place in there. A document that an
earlier release made is one segment itself.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence

import msgspec

from canopsis.core.alarm import Step
from canopsis.core.steps import Segment
from canopsis.core.structs import prepare
from canopsis.store.client import Store, store_errors
from canopsis.store.operations import Document, Insert

COLLECTION = "alarm_steps"

_MARK = "."

prepare(Segment)


def segment_id(document: str, place: int) -> str:
    """Return the id of the segment at a place of a document."""
    return f"{document}{_MARK}{place}"


def document_of(segment: str) -> str:
    """Return the id of the document that a segment is in."""
    return segment.partition(_MARK)[0]


def insert(document: str, segments: Sequence[Segment]) -> Insert:
    """Return the write of a document, which comes with those of its alarms; ``segments`` are in their places."""
    found = [msgspec.to_builtins(segment) for segment in segments]
    for each in found:
        del each["_id"]
    return Insert({"_id": document, "segments": found}, guarded=True)


def get(db: Store, segment: str) -> Document | None:
    """Return a segment by its id. Raises StoreError."""
    document, _, place = segment.partition(_MARK)
    if not (place or "0").isdecimal():
        return None
    with store_errors("reading steps of an alarm"):
        found = db[COLLECTION].find_one({"_id": document}, {"segments": {"$slice": [int(place or 0), 1]}})
    own = [] if found is None else found.get("segments", [found])
    return {**own[0], "_id": segment} if own else None


def before(db: Store, alarm_id: str, newest: str, most: int) -> tuple[list[Document], str] | None:
    """Return the steps of the segment ``newest`` and of those before it, oldest first, and where to go on.

    That is "" at the end. It ends with the segment that makes it ``most`` steps. None where the alarm has no such
    segment. Raises StoreError.
    """
    found: list[Document] = []
    following = newest
    while following and len(found) < most:
        segment = get(db, following)
        if segment is None or segment["alarm_id"] != alarm_id:
            return None
        found = segment["steps"] + found
        following = segment["older"]
    return found, following


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
