"""Measured values: raw documents one an event, hourly documents one a series, the set of names.

Raw: ``{_id: {e: entity id, t: ms, k: event id}, v: {metric: value}, u: {metric: unit}?, at: Date}``.
Hourly: ``{_id: {e: entity id, m: metric, h: ms of the hour}, p: {ms into the hour: value}, at: Date}``.
Names: ``{_id: {e: entity id, m: metric}, u: unit}``, inserted when first seen. A window of one
series is a range of ``_id`` in each.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from heapq import merge
from itertools import groupby, islice
from typing import Annotated, Any, Literal, NamedTuple, get_args

import bson
from bson import MaxKey
from bson.codec_options import CodecOptions
from bson.raw_bson import RawBSONDocument
from pymongo import ASCENDING
from pymongo.collection import Collection

from canopsis.core.parameters import text, words
from canopsis.errors import InputError
from canopsis.store.client import Store, store_errors
from canopsis.store.operations import Delete, Document, Insert, Operation, Upsert, Writes
from canopsis.store.query import Listing, Page, Query, Weigh, fetch, free, search

RAW, HOURLY, NAMES = "metrics", "metrics_hourly", "metric_names"

_NAMES_LIST = Listing(NAMES, {"_id": "_id"}, "_id", ("_id",))

HOUR_MS = 3_600_000
_FIRST_MS, _LAST_MS = -62_135_596_800_000, 253_402_300_800_000
"""What a date can be: the years 1 to 9999."""

MAX_POINTS = 20_000
"""Points of one answer."""

MOST_VALUES = 200_000
"""Values that are compacted at once, and those of one document more: an event may have thousands."""

_BATCH_DOCUMENTS = 200
Aggregate = Literal["avg", "min", "max", "sum", "count", "last"]
AGGREGATES: tuple[Aggregate, ...] = get_args(Aggregate)

Point = tuple[float, float]
"""Seconds since the epoch, value."""


class MetricQuery(Query, frozen=True):
    """Which metrics."""

    LIST = _NAMES_LIST

    entity_id: Annotated[str | None, text("Only metrics of this entity.")] = None
    search: Annotated[str, words("Words that all stand in the entity id or in the name.")] = ""


@dataclass(frozen=True, slots=True)
class Series:
    """The points of one metric of one entity, oldest first."""

    entity_id: str
    metric: str
    unit: str | None
    points: list[Point]


def raw(  # noqa: PLR0913 - what an event measured, and when
    entity_id: str,
    event_id: str,
    timestamp: float,
    values: Mapping[str, float],
    units: Mapping[str, str] | None = None,
    *,
    received: float | None = None,
) -> Insert:
    """Return the write of one event's values; times in seconds. A repeat changes nothing.

    The document's time to live begins at ``received``, so that old values sent late live until
    they are compacted; without it at ``timestamp``.
    """
    moment = int(timestamp * 1000)
    document: Document = {
        "_id": {"e": entity_id, "t": moment, "k": event_id},
        "v": dict(values),
        "at": datetime.fromtimestamp(timestamp if received is None else received, UTC),
    }
    if units:
        document["u"] = dict(units)
    return Insert(document)


def name(entity_id: str, metric: str, unit: str | None = None) -> Insert:
    """Return the write that makes a metric known; do it when a metric is first seen."""
    return Insert({"_id": {"e": entity_id, "m": metric}, "u": unit})


def compaction(documents: Iterable[Document]) -> Writes:
    """Return the writes that turn raw documents into hourly ones; doing them twice changes nothing.

    Those of which no hour can be made (``is_compactable``) are deleted only.
    """
    hours: dict[tuple[str, str, int], dict[str, float]] = {}
    deletes: list[Operation] = []
    for document in documents:
        key = document["_id"]
        deletes.append(Delete(key))
        if not is_compactable(document):
            continue
        offset = key["t"] % HOUR_MS
        for metric, value in document["v"].items():
            hours.setdefault((key["e"], metric, key["t"] - offset), {})[f"p.{offset}"] = value
    upserts: list[Operation] = [
        Upsert({"e": entity, "m": metric, "h": hour}, {"$set": {**points, "at": _date(hour)}})
        for (entity, metric, hour), points in hours.items()
    ]
    return {HOURLY: upserts, RAW: deletes} if deletes else {}


def is_compactable(document: Document) -> bool:
    """Tell whether a raw document says of which entity, when and what."""
    key, values = document["_id"], document.get("v")
    if not isinstance(key, dict) or not isinstance(values, dict) or not isinstance(key.get("e"), str):
        return False
    moment = key.get("t")
    return isinstance(moment, int) and _FIRST_MS <= moment < _LAST_MS


def compactable(db: Store, before: float, limit: int, after: Document | None = None) -> list[Document]:
    """Return up to ``limit`` raw documents older than ``before`` (seconds), by entity, then time: ``is_full`` tells
    whether there may be more. Those with many values are fewer.

    ``after`` is the ``_id`` of the last document of the call before: without it each call reads
    again over all younger documents. Raises StoreError.
    """
    condition: Document = {"_id.t": {"$lt": int(before * 1000)}}
    if after is not None:
        condition["_id"] = {"$gt": after}
    found: list[Document] = []
    values = 0
    with store_errors("reading metrics"):
        for document in db[RAW].find(condition, batch_size=_BATCH_DOCUMENTS).sort("_id", ASCENDING).limit(limit):
            found.append(document)
            values += _values_of(document)
            if values >= MOST_VALUES:
                break
    return found


def is_full(found: Sequence[Document], limit: int) -> bool:
    """Tell whether there may be more than what ``compactable`` returned."""
    return len(found) == limit or sum(map(_values_of, found)) >= MOST_VALUES


def _values_of(document: Document) -> int:
    values = document.get("v")
    return len(values) if isinstance(values, dict) else 0


def names(db: Store, query: MetricQuery) -> Page:
    """Return a page of which metrics exist: ``{_id: {e, m}, u}``, by entity and name.

    Raises InputError, StoreError.
    """
    condition = search(query.search, ("_id.e", "_id.m"))
    if query.entity_id is not None:
        condition["_id"] = {"$gte": {"e": query.entity_id}, "$lt": {"e": query.entity_id, "m": MaxKey()}}
    return fetch(db, _NAMES_LIST, condition, query.paging)


def window(  # noqa: PLR0913 - a series and a window
    db: Store,
    entity_id: str,
    metric: str,
    since: float,
    until: float,
    *,
    interval: float | None = None,
    aggregate: str = "avg",
    weigh: Weigh = free,
) -> Series | None:
    """Return the points in [since, until), or one each ``interval`` seconds; None for an unknown metric.

    Times are in seconds. A bucket's time is its beginning, a multiple of ``interval``; an empty bucket has no point.
    However many points there are, what is kept of them is what is returned; ``weigh`` is told what is read at once.
    Raises InputError naming ``interval``, ``aggregate`` or ``until``; StoreError.
    """
    _check(since, until, interval, aggregate)
    with store_errors("reading metrics"):
        known = db[NAMES].find_one({"_id": {"e": entity_id, "m": metric}})
        if known is None:
            return None
        points = _points(db, _Span(entity_id, metric, int(since * 1000), int(until * 1000)), weigh)
        found = list(islice(points, MAX_POINTS + 1)) if interval is None else aggregated(points, interval, aggregate)
    if len(found) > MAX_POINTS:
        raise InputError("interval", interval, f"an interval: this window has more than {MAX_POINTS} points")
    return Series(entity_id, metric, known.get("u"), found)


def aggregated(points: Iterable[Point], interval: float, aggregate: str) -> list[Point]:
    """Return one point a bucket of ``interval`` seconds; ``points`` are in order of time, and not kept."""
    reduce = _REDUCE[aggregate]
    buckets = groupby(points, lambda point: int(point[0] // interval))
    return [(bucket * interval, reduce(value for _, value in of_bucket)) for bucket, of_bucket in buckets]


def _average(values: Iterable[float]) -> float:
    total, count = 0.0, 0
    for value in values:
        total += value
        count += 1
    return total / count


_REDUCE: Mapping[str, Callable[[Iterable[float]], float]] = {
    "avg": _average,
    "min": min,
    "max": max,
    "sum": sum,
    "count": lambda values: float(sum(1 for _ in values)),
    "last": lambda values: deque(values, maxlen=1)[0],
}


def _check(since: float, until: float, interval: float | None, aggregate: str) -> None:
    if until <= since:
        raise InputError("until", until, f"a time after since ({since})")
    if aggregate not in AGGREGATES:
        raise InputError("aggregate", aggregate, ", ".join(AGGREGATES))
    if interval is not None and (interval <= 0 or (until - since) / interval > MAX_POINTS):
        raise InputError("interval", interval, f"seconds, more than 0, at most {MAX_POINTS} points in the window")


class _Span(NamedTuple):
    """A series, and the times in [since, until) milliseconds."""

    entity_id: str
    metric: str
    since: int
    until: int


class _Found(NamedTuple):
    """A point: milliseconds since the epoch, whether it is of an hourly document, value."""

    moment: int
    is_hourly: bool
    value: float


def _points(db: Store, span: _Span, weigh: Weigh) -> Iterator[Point]:
    """Yield the points in order of time."""
    newest = None
    for moment, is_hourly, value in merge(_raw_points(db, span), _hourly_points(db, span, weigh), key=lambda p: p[:2]):
        # Between a compaction's write and its delete a point stands in both: the raw one counts.
        if not is_hourly:
            newest = moment
        elif moment == newest:
            continue
        yield moment / 1000, value


def _raw_points(db: Store, span: _Span) -> Iterator[_Found]:
    keys = {"$gte": {"e": span.entity_id, "t": span.since}, "$lt": {"e": span.entity_id, "t": span.until}}
    # Of thousands of values of an event only the one: names with dots and dollars need the long form.
    value = {"$getField": {"field": {"$literal": span.metric}, "input": "$v"}}
    for document in db[RAW].find({"_id": keys}, projection={"x": value}).sort("_id", ASCENDING):
        if document.get("x") is not None:
            yield _Found(document["_id"]["t"], False, document["x"])


def _hourly_points(db: Store, span: _Span, weigh: Weigh) -> Iterator[_Found]:
    series = {"e": span.entity_id, "m": span.metric}
    keys = {"$gte": series | {"h": span.since - span.since % HOUR_MS}, "$lt": series | {"h": span.until}}
    weighed = 0
    # One is decoded at a time: of a series of many points an hour may have hundreds of thousands.
    collection: Collection[Any] = db.get_collection(HOURLY, _RAW)
    for document in collection.find({"_id": keys}).sort("_id", ASCENDING):
        size = len(document.raw)
        if size > weighed:
            weigh(size - weighed)
            weighed = size
        found = bson.decode(document.raw)
        hour, points = found["_id"]["h"], found["p"]
        for offset in sorted(map(int, points)):
            if span.since <= hour + offset < span.until:
                yield _Found(hour + offset, True, points[str(offset)])


_RAW: CodecOptions[RawBSONDocument] = CodecOptions(document_class=RawBSONDocument)


def _date(moment: int) -> datetime:
    return datetime.fromtimestamp(moment / 1000, UTC)
