"""The event log: every event as it came, in segments, kept for a while."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from math import inf
from typing import Literal, NamedTuple

import msgspec
from pymongo import ASCENDING, DESCENDING, IndexModel

from canopsis.core.envelope import Decision
from canopsis.core.event import Event, to_document
from canopsis.core.identity import Content, content_of
from canopsis.store import segments
from canopsis.store.client import Store, store_errors
from canopsis.store.operations import Document, Insert, Operation, Upsert
from canopsis.store.segments import RawGroup

COLLECTION = "event_log"
PROGRESS = "event_log_progress"
HOURLY, MERGED = "hourly", "merged"
"""Works on the log: its values become hourly documents, its small segments larger ones."""

INDEXES = (
    IndexModel([("ids", ASCENDING)], name="by_id"),
    IndexModel([("entities", ASCENDING), ("_id", DESCENDING)], name="by_entity"),
)
"""Their keys begin with the hour, so that what comes now is written at their end."""

_HOURS_AT_ONCE = 500
_ENTITIES_AT_ONCE = 100
"""With keys of so many hours a request stays far below the 16 MB of a message."""

_LOOKED_AT = (3, 100)
"""Newest segments of an entity in which its newest check is looked for: first few, then more, for it may be measures
that came last."""

Named = tuple[str, float]
"""Id of an event, its timestamp."""


def inserts(events: Sequence[Event], trail: Mapping[str, Sequence[Decision]], received: float) -> list[Insert]:
    """Return the writes of events that were received together, none for none.

    They are guarded: an event is in the log together with what it did to alarms, or not at all.
    """
    return [Insert(document, guarded=True) for document in segments.pack(events, trail, received)]


def contents(db: Store, named: Iterable[Named]) -> dict[str, Content]:
    """Return what counts of those of these events that are stored, by id. Raises StoreError."""
    wanted: dict[str, tuple[int, ...]] = {}
    for event_id, timestamp in named:
        wanted[event_id] = segments.hours_of_id(event_id, timestamp)
    found: dict[str, Content] = {}
    for segment in _with_ids(db, _keys(wanted)):
        for group in segments.groups(segment):
            for event in group.events:
                if event.event_id in wanted:
                    found.setdefault(event.event_id, content_of(event))
    return found


def outcomes(db: Store, event_ids: Sequence[str], timestamp: float) -> dict[str, str]:
    """Return what came of those of these actions that are stored, by event id. Raises StoreError."""
    wanted = {each: segments.hours_of_id(each, timestamp) for each in event_ids}
    heads = (head for segment in _with_ids(db, _keys(wanted)) for head in segments.heads(segment))
    return {head.event_id: head.outcome for head in heads if head.event_id in wanted}


def _keys(wanted: Mapping[str, tuple[int, ...]]) -> set[int]:
    return {segments.id_key(hour, event_id) for event_id, hours in wanted.items() for hour in hours}


def _with_ids(db: Store, keys: Collection[int]) -> Iterator[Document]:
    with store_errors("reading events"):
        # By this index, and in no order: to have them in order, the planner would go through all segments.
        found = db[COLLECTION].find({"ids": {"$in": list(keys)}}, {"_id": 1}, hint="by_id")
        there = sorted(row["_id"] for row in found)
        if there:
            yield from db[COLLECTION].find({"_id": {"$in": there}}, {"z": 1}, batch_size=50).sort("_id", ASCENDING)


def count(db: Store, since: int, until: int) -> int:
    """Return how many events there are in the segments from one place of the log up to another. Raises StoreError."""
    condition: Document = {"_id": {"$gte": since, "$lt": until}}
    with store_errors("counting events"):
        found = list(db[COLLECTION].aggregate([{"$match": condition}, {"$group": {"_id": None, "n": {"$sum": "$n"}}}]))
    return int(found[0]["n"]) if found else 0


class Progress(NamedTuple):
    """How far a work on the log is: up to this segment, and so many parts of what follows it."""

    segment: int = 0
    part: int = 0


def note(work: str, progress: Progress) -> Operation:
    """Return the write that keeps how far a work is; it comes after what it tells of."""
    return Upsert(work, {"$set": progress._asdict()})


def progress(db: Store, work: str) -> Progress:
    """Return how far ``HOURLY`` or ``MERGED`` is. Raises StoreError."""
    with store_errors("reading the event log"):
        found = db[PROGRESS].find_one({"_id": work})
    return Progress(found["segment"], found["part"]) if found else Progress()


def behind(db: Store, entity_id: str, since: float, until: float, done: int) -> Iterator[Document]:
    """Yield the values (``v``) of the segments behind ``done`` that have events of an entity in [since, until].

    Raises StoreError.
    """
    wanted = hours(db, "entities", since, until)
    with store_errors("reading metrics"):
        for begin in range(0, len(wanted), _HOURS_AT_ONCE):
            keys = entity_keys(entity_id, wanted[begin : begin + _HOURS_AT_ONCE])
            yield from db[COLLECTION].find({"entities": {"$in": keys}, "_id": {"$gt": done}}, {"v": 1})


def whole_behind(db: Store, done: int, before: int, most: int) -> list[Document]:
    """Return up to ``most`` segments behind ``done`` and before ``before``, in order. Raises StoreError."""
    with store_errors("reading the event log"):
        return list(db[COLLECTION].find({"_id": {"$gt": done, "$lt": before}}).sort("_id", ASCENDING).limit(most))


def values_behind(db: Store, done: int, before: int, most: int) -> list[Document]:
    """Return values (``v``) of up to ``most`` segments behind ``done`` and before ``before``, in order.

    Raises StoreError.
    """
    condition: Document = {"_id": {"$gt": done, "$lt": before}}
    with store_errors("reading metrics"):
        return list(db[COLLECTION].find(condition, {"v": 1, "n": 1}).sort("_id", ASCENDING).limit(most))


def get(db: Store, event_id: str) -> Document | None:
    """Return an event by its id; one whose id does not tell its time is looked for hour by hour, the newest first.

    Raises StoreError.
    """
    inside = segments.time_in(event_id)
    if inside is not None:
        return _get(db, event_id, [segments.hour_of(inside)])
    newest_first = hours(db, "ids")[::-1]
    parts = (newest_first[begin : begin + _HOURS_AT_ONCE] for begin in range(0, len(newest_first), _HOURS_AT_ONCE))
    return next((found for part in parts if (found := _get(db, event_id, part)) is not None), None)


def _get(db: Store, event_id: str, hours: Iterable[int]) -> Document | None:
    needle = segments.needle("event_id", event_id)
    for segment in _with_ids(db, {segments.id_key(hour, event_id) for hour in hours}):
        for group in segments.raw_groups(segment):
            for event in segments.events(group, needle):
                if event.event_id == event_id:
                    return shown(event, group)
    return None


def hours(db: Store, keys: Literal["ids", "entities"], since: float = 0.0, until: float = inf) -> range:
    """Return the hours of [since, until] between the first and the last of which the log has any of these keys.

    Raises StoreError.
    """
    with store_errors("reading events"):
        ends = [db[COLLECTION].find_one({}, {keys: 1}, sort=[(keys, way)]) for way in (ASCENDING, DESCENDING)]
    if ends[0] is None or ends[1] is None:
        return range(0)
    first, last = segments.hour_in(min(ends[0][keys])), segments.hour_in(max(ends[1][keys]))
    return range(max(first, segments.hour_of(since)), min(last, segments.hour_of(until)) + 1)


def without_gap(db: Store, hours: range) -> range:
    """Return ``hours``, up or down, from the first one on in which the log has events of any entity.

    One old event among those of today costs a few questions, not one an hour of the years between. Raises StoreError.
    """

    def has_any(count: int) -> bool:
        part = hours[:count]
        within = {"$gte": segments.first_key(min(part)), "$lt": segments.first_key(max(part) + 1)}
        return db[COLLECTION].find_one({"entities": {"$elemMatch": within}}, {"_id": 1}) is not None

    if not hours:
        return hours
    with store_errors("reading events"):
        if has_any(1):
            return hours
        first = bisect_left(range(1, len(hours) + 1), True, key=has_any)
    return hours[first:]


def shown(event: Event, group: RawGroup) -> Document:
    """Return an event as it is answered: with when it was received, and what was decided about it."""
    document = to_document(event)
    document["received"] = datetime.fromtimestamp(group.received, UTC)
    trail = group.trail.get(event.event_id)
    if trail:
        document["trail"] = msgspec.to_builtins(trail)
    return document


def newest_checks(db: Store, since: Mapping[str, float], now: float) -> dict[str, float]:
    """Return the time of the newest check of each entity that has one, of those not later than ``now``.

    ``since`` has the entities, and the time of a check of each: only what is newer matters, so older hours are not
    looked into. Raises StoreError.
    """
    found: dict[str, float] = {}
    for depth in _LOOKED_AT:
        left = {entity: moment for entity, moment in since.items() if entity not in found}
        for segment in _newest_of(db, left, now, depth) if left else ():
            for head in segments.heads(segment):
                if head.event_type == "check" and head.entity_id in left and head.timestamp <= now:
                    found[head.entity_id] = max(head.timestamp, found.get(head.entity_id, head.timestamp))
    return found


def _newest_of(db: Store, since: Mapping[str, float], now: float, depth: int) -> Iterator[Document]:
    """Yield the ``depth`` newest segments of each entity, each once."""
    last = segments.hour_of(now)
    keys = [
        {"k": entity_keys(entity, range(segments.hour_of(moment), last + 1)[-_HOURS_AT_ONCE:])}
        for entity, moment in since.items()
    ]
    ids: set[int] = set()
    with store_errors("reading events"):
        for begin in range(0, len(keys), _ENTITIES_AT_ONCE):
            ids |= _newest_with(db, keys[begin : begin + _ENTITIES_AT_ONCE], depth)
        yield from db[COLLECTION].find({"_id": {"$in": sorted(ids)}}, {"z": 1}, batch_size=50)


def _newest_with(db: Store, keys: Sequence[Document], depth: int) -> set[int]:
    newest: list[Document] = [{"$sort": {"_id": DESCENDING}}, {"$limit": depth}, {"$project": {"_id": 1}}]
    joined = {"from": COLLECTION, "localField": "k", "foreignField": "entities", "pipeline": newest, "as": "found"}
    stages: list[Document] = [
        {"$documents": keys},
        {"$lookup": joined},
        {"$unwind": "$found"},
        {"$group": {"_id": "$found._id"}},
    ]
    return {row["_id"] for row in db.aggregate(stages)}


def entity_keys(entity_id: str, hours: Iterable[int]) -> list[int]:
    """Return what the segments with events of an entity in these hours are found by, in ``entities``."""
    return [key for hour in hours for key in segments.entity_keys(hour, entity_id)]
