"""Looking for events: the newest first, those of an entity, by time, by what they say.

The event log has an index by entity and hour. All else is read from its end, segment by segment, for a bounded time:
a page that ends for that says where to go on.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from math import inf, nextafter
from typing import Annotated, Any, NamedTuple

import bson
import msgspec
from pymongo import ASCENDING, DESCENDING

from canopsis.core.entity import id_of
from canopsis.core.envelope import Decision
from canopsis.core.event import Event, event_type
from canopsis.core.event_types import EVENT_TYPES
from canopsis.core.parameters import moment, several, text, words
from canopsis.core.perfdata import PerfData
from canopsis.errors import InputError
from canopsis.store import event_log, segments
from canopsis.store.client import Store, store_errors
from canopsis.store.event_log import COLLECTION, shown
from canopsis.store.operations import Document
from canopsis.store.query import PAGE_BYTES, Listing, Page, Query, check_paging
from canopsis.store.segments import RawGroup

_LIST = Listing(
    COLLECTION,
    {"received": "received", "timestamp": "timestamp"},
    "-received",
    note="By default latest received first, of an entity latest first; by timestamp only those of an entity.",
    by_key=True,
)
_TYPES = tuple(name for name, each in EVENT_TYPES.items() if each.kept)
_CLOCKS_APART = 300.0
_AT_ONCE = 8
_HOURS_AT_ONCE = 200
SEARCH_SECONDS = 1.0
"""What a page may take; it has what was found by then, and says where to go on."""


class StoredEvent(msgspec.Struct, kw_only=True):
    """An event as it is kept: as the engines understood it, what is empty left out; each type has fields of its own."""

    id: str = msgspec.field(name="_id")
    event_type: str
    entity_id: str
    connector: str
    connector_name: str = ""
    component: str
    resource: str | None = None
    source_type: str = "component"
    timestamp: float
    received: datetime
    state: int | None = None
    state_type: int | None = None
    output: str = ""
    long_output: str = ""
    author: str = ""
    tags: list[str] = msgspec.field(default_factory=list)
    perf_data_array: list[PerfData] = msgspec.field(default_factory=list)
    extra: dict[str, Any] = msgspec.field(default_factory=dict)
    warnings: list[str] = msgspec.field(default_factory=list)
    sent_timestamp: float | None = None
    outcome: str | None = None
    trail: list[Decision] = msgspec.field(default_factory=list)


class EventQuery(Query, frozen=True):
    """Which events. ``since`` and ``until`` bound ``timestamp``, in seconds since the epoch."""

    LIST = _LIST

    event_type: Annotated[Sequence[str] | None, several("Only these types.", _TYPES)] = None
    entity_id: Annotated[str | None, text("Only events of this entity.")] = None
    connector: Annotated[str | None, text("Only events of this connector.")] = None
    component: Annotated[str | None, text("Only events of this component.")] = None
    resource: Annotated[str | None, text("Only events of this resource.")] = None
    state: Annotated[Sequence[int] | None, several("Only these states.", (0, 1, 2, 3))] = None
    search: Annotated[str, words("Words that all stand in component, resource or output.")] = ""
    since: Annotated[float | None, moment("Only events whose timestamp is not before this.")] = msgspec.field(
        name="from", default=None
    )
    until: Annotated[float | None, moment("Only events whose timestamp is before this.")] = msgspec.field(
        name="to", default=None
    )


def listing(db: Store, query: EventQuery) -> Page:
    """Return a page of events, latest received first by default. Raises InputError, StoreError.

    ``total`` is how many were found up to the end of the page: ``exact`` when there are no more.
    """
    paging = query.paging
    check_paging(paging)
    entity = query.entity_id
    if entity is None and query.component is not None and query.resource is not None:
        entity = id_of(query.component, query.resource)
    order = paging.sort or ("-timestamp" if query.entity_id else "-received")
    walk = _Walk(query, entity, order.startswith("-"), _after(paging.after))
    with store_errors("reading events"):
        if order.endswith("received"):
            return _page(_as_received(db, walk), walk)
        if entity is None:
            allowed = "received or -received; timestamp or -timestamp with entity_id, or with component and resource"
            raise InputError("sort", order, allowed)
        return _page(_of_entity(db, walk), walk)


class _Mark(NamedTuple):
    """A place in a list: behind the event of this time and id; without an id behind all of that time."""

    time: float
    event_id: str = ""

    def text(self) -> str:
        """Return what ``_after`` reads."""
        return f"{self.time!r}/{self.event_id}"


class _Found(NamedTuple):
    """An event, where it stands in the list, and how it is shown."""

    event: Event
    mark: _Mark
    group: RawGroup


@dataclass(slots=True)
class _Walk:
    """What is wanted, in which order, from where on."""

    query: EventQuery
    entity: str | None
    newest_first: bool
    after: _Mark | None

    def tests(self) -> list[Callable[[Event], bool]]:
        """Return the tests that an event must pass."""
        query, tests = self.query, list[Callable[[Event], bool]]()
        for name, value in self._equal():
            tests.append(partial(_is, name, value))
        if query.event_type is not None:
            types = set(query.event_type)
            tests.append(lambda event: event_type(event) in types)
        if query.state is not None:
            states = set(query.state)
            tests.append(lambda event: getattr(event, "state", None) in states)
        if query.since is not None or query.until is not None:
            low, high = query.since or 0.0, query.until or inf
            tests.append(lambda event: low <= event.timestamp < high)
        return tests + [partial(_has, word) for word in query.search.lower().split()]

    def needle(self) -> bytes:
        """Return bytes that stand in the JSON of every event that is wanted."""
        return max((segments.needle(name, value) for name, value in self._equal()), key=len, default=b"")

    def _equal(self) -> list[tuple[str, str]]:
        names = ("connector", "component", "resource")
        given = [(name, getattr(self.query, name)) for name in names] + [("entity_id", self.entity)]
        return [(name, value) for name, value in given if value is not None]

    def condition(self) -> Document:
        """Return what a segment must have that may hold such events."""
        query, condition = self.query, Document()
        if query.since is not None:
            condition["t1"] = {"$gte": query.since}
        if query.until is not None:
            condition["t0"] = {"$lt": query.until}
        if query.event_type is not None:
            condition["types"] = {"$in": list(query.event_type)}
        if query.state is not None:
            condition["states"] = {"$in": list(query.state)}
        return condition

    def is_before(self, moment: float) -> bool:
        """Tell whether all of ``moment`` stood on an earlier page."""
        after = self.after
        if after is None or (moment == after.time and after.event_id):
            return False
        return moment >= after.time if self.newest_first else moment <= after.time

    def rest(self, found: Iterable[_Found]) -> Iterator[_Found]:
        """Yield what follows the place to go on from; ``found`` is in order, from the time of that place on."""
        skipping = self.after is not None
        for each in found:
            if skipping and self.after is not None and each.mark.time == self.after.time:
                skipping = each.mark.event_id != self.after.event_id
                continue
            skipping = False
            yield each


def _is(name: str, value: str, event: Event) -> bool:
    return bool(getattr(event, name) == value)


def _has(word: str, event: Event) -> bool:
    return any(word in text.lower() for text in (event.component, event.resource or "", event.output))


def _after(text: str) -> _Mark | None:
    if not text:
        return None
    moment, _, event_id = text.partition("/")
    try:
        return _Mark(float(moment), event_id)
    except ValueError:
        raise InputError("after", text, "the next of a page of this list") from None


def _page(found: Iterator[_Found | _Mark], walk: _Walk) -> Page:
    """Return what passes the tests, up to the limit; the walk tells now and then where it is. A limit of 0 counts."""
    tests, limit = walk.tests(), walk.query.paging.limit
    data: list[Document] = []
    end, size, count, last = time.monotonic() + SEARCH_SECONDS, 0, 0, walk.after
    for each in found:
        if isinstance(each, _Mark):
            if time.monotonic() > end or 0 < limit <= count:
                # Whether there are more may take long to find out.
                return Page(count, data, exact=False, next=each.text())
            last = each
        elif all(test(each.event) for test in tests):
            count += 1
            if not limit:
                continue
            document = shown(each.event, each.group)
            size += len(bson.encode(document))
            if count > limit or (data and size > PAGE_BYTES):
                return Page(count, data, exact=False, next=None if last is None else last.text())
            data.append(document)
            last = each.mark
    return Page(count, data, exact=walk.after is None)


def _as_received(db: Store, walk: _Walk) -> Iterator[_Found | _Mark]:
    """Yield the events as they were received, from one end of the log or from where a page ended."""
    walk.query.paging.weigh(segments.MOST_BYTES)
    condition = walk.condition() | _since(db, walk)
    order = DESCENDING if walk.newest_first else ASCENDING
    needle = walk.needle()
    for segment in db[COLLECTION].find(condition, {"z": 1}, batch_size=8).sort("_id", order):
        groups = segments.raw_groups(segment)
        for group in reversed(groups) if walk.newest_first else groups:
            if not walk.is_before(group.received):
                yield from walk.rest(_of_group(group, walk, needle))
                yield _Mark(group.received)


def _of_group(group: RawGroup, walk: _Walk, needle: bytes) -> Iterator[_Found]:
    is_begun = walk.after is not None and walk.after.time == group.received
    events = [*segments.events(group, b"" if is_begun else needle)]
    for event in reversed(events) if walk.newest_first else events:
        yield _Found(event, _Mark(group.received, event.event_id), group)


def _since(db: Store, walk: _Walk) -> Document:
    """Return the condition on where in the log a walk begins and ends."""
    bounds: Document = {}
    after, since = walk.after, walk.query.since
    if after is not None and not walk.newest_first:
        bounds["$gte"] = segments.position(after.time)
    elif after is not None:
        # Many segments become one, which has the place of the last: the place is in the first one from there on.
        found = db[COLLECTION].find_one({"_id": {"$gte": segments.position(after.time)}}, ["_id"], sort=[("_id", 1)])
        bounds |= {} if found is None else {"$lte": found["_id"]}
    if since is not None:
        # No event is received before its own time (a later time is refused).
        bounds["$gte"] = max(bounds.get("$gte", 0), segments.position(max(0.0, since - _CLOCKS_APART)))
    return {"_id": bounds} if bounds else {}


def _of_entity(db: Store, walk: _Walk) -> Iterator[_Found | _Mark]:
    """Yield the events of an entity by their timestamp, hour by hour."""
    walk.query.paging.weigh(_AT_ONCE * segments.MOST_BYTES)
    for part in _parts(db, walk):
        there = _with_any(db, walk.entity or "", part)
        for hour in (each for each in part if each in there):
            yield from walk.rest(each for each in _of_hour(db, walk, hour) if not walk.is_before(each.mark.time))
            yield _end_of(hour, walk)
        yield _end_of(part[-1], walk)


def _end_of(hour: int, walk: _Walk) -> _Mark:
    """Return the place where a walk has gone through an hour."""
    first, end = float(hour * segments.HOUR), float((hour + 1) * segments.HOUR)
    return _Mark(first if walk.newest_first else nextafter(end, first))


def _parts(db: Store, walk: _Walk) -> Iterator[range]:
    """Yield the hours in which there may be events of the entity, in order, some at once."""
    query, after = walk.query, walk.after
    low, high = query.since or 0.0, query.until or inf
    if after is not None:
        # Behind a place without an id that time is done, and its hour may be.
        towards = (-inf if walk.newest_first else inf) if not after.event_id else after.time
        moment = nextafter(after.time, towards)
        low, high = (low, moment) if walk.newest_first else (moment, high)
    found = event_log.hours(db, "entities", low, high)
    left = found[::-1] if walk.newest_first else found
    while left := event_log.without_gap(db, left):
        yield left[:_HOURS_AT_ONCE]
        left = left[_HOURS_AT_ONCE:]


def _with_any(db: Store, entity: str, hours: Sequence[int]) -> set[int]:
    keys = [{"h": hour, "k": segments.entity_keys(hour, entity)} for hour in hours]
    one: list[Document] = [{"$limit": 1}, {"$project": {"_id": 1}}]
    joined = {"from": COLLECTION, "localField": "k", "foreignField": "entities", "pipeline": one, "as": "any"}
    stages: list[Document] = [{"$documents": keys}, {"$lookup": joined}, {"$match": {"any": {"$ne": []}}}]
    return {row["h"] for row in db.aggregate(stages)}


def _of_hour(db: Store, walk: _Walk, hour: int) -> Iterator[_Found]:
    """Yield the events of an hour by their timestamp; reads no more segments than it takes to know which come next."""
    entity = walk.entity or ""
    condition = walk.condition() | {"entities": {"$in": segments.entity_keys(hour, entity)}}
    spans = [*db[COLLECTION].find(condition, {"t0": 1, "t1": 1})]
    spans.sort(key=lambda span: span["t1"] if walk.newest_first else -span["t0"], reverse=True)
    ready: list[tuple[float, int, int, _Found]] = []
    for begin in range(0, len(spans), _AT_ONCE):
        ids = [span["_id"] for span in spans[begin : begin + _AT_ONCE]]
        for segment in db[COLLECTION].find({"_id": {"$in": ids}}, {"z": 1}):
            ready += _of_segment(segment, entity, hour)
        ready.sort(key=lambda each: each[:3], reverse=not walk.newest_first)
        following = spans[begin + _AT_ONCE :]
        while ready and (not following or _is_next(ready[-1][0], following[0], walk)):
            yield ready.pop()[3]


def _is_next(moment: float, following: Document, walk: _Walk) -> bool:
    return bool(moment > following["t1"] if walk.newest_first else moment < following["t0"])


def _of_segment(segment: Document, entity: str, hour: int) -> Iterator[tuple[float, int, int, _Found]]:
    needle = segments.needle("entity_id", entity)
    for group in segments.raw_groups(segment):
        for place, event in enumerate(segments.events(group, needle)):
            if event.entity_id == entity and segments.hour_of(event.timestamp) == hour:
                mark = _Mark(event.timestamp, event.event_id)
                yield event.timestamp, segment["_id"], place, _Found(event, mark, group)
