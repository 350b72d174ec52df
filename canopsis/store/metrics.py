"""Measured values: those of recent hours in the event log, older ones in hourly documents, the set of names.

Hourly: ``{_id: {e: entity id, m: metric, h: ms of the hour}, p: {ms into the hour: value}, at: Date}``.
Names: ``{_id: {e: entity id, m: metric}, u: unit}``, inserted when first seen. A window of one
series is a range of ``_id`` in each. ``Progress`` tells where in the log what is not in hourly documents begins.
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
from canopsis.store import event_log, segments
from canopsis.store.client import Store, store_errors
from canopsis.store.operations import Insert, Operation, Upsert
from canopsis.store.query import Listing, Page, Query, Weigh, fetch, free, search
from canopsis.store.segments import Value

HOURLY, NAMES = "metrics_hourly", "metric_names"

_NAMES_LIST = Listing(NAMES, {"_id": "_id"}, "_id", ("_id",))

HOUR_MS = 3_600_000
MAX_POINTS = 20_000
"""Points of one answer."""

_POINT_BYTES = 200

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


def name(entity_id: str, metric: str, unit: str | None = None) -> Insert:
    """Return the write that makes a metric known; do it when a metric is first seen."""
    return Insert({"_id": {"e": entity_id, "m": metric}, "u": unit})


def hourly(entity_id: str, series: Mapping[str, Sequence[Value]]) -> list[Operation]:
    """Return the writes that put the values of an entity, by metric, into hourly documents; twice is as once."""
    hours: dict[tuple[str, int], dict[str, float]] = {}
    for metric, values in series.items():
        for moment, value in values:
            offset = moment % HOUR_MS
            hours.setdefault((metric, moment - offset), {})[f"p.{offset}"] = value
    return [
        Upsert({"e": entity_id, "m": metric, "h": hour}, {"$set": {**points, "at": _date(hour)}})
        for (metric, hour), points in hours.items()
    ]


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
    # First how far the log is in hourly documents: what gets there meanwhile stands in both, and counts once.
    recent = _recent_points(db, span, event_log.progress(db, event_log.HOURLY).segment, weigh)
    newest = None
    for moment, _, value in merge(recent, _hourly_points(db, span, weigh), key=lambda p: p[:2]):
        if moment != newest:
            yield moment / 1000, value
        newest = moment


def _recent_points(db: Store, span: _Span, done: int, weigh: Weigh) -> list[_Found]:
    """Return the points that are in the event log alone."""
    found: dict[int, float] = {}
    for segment in event_log.behind(db, span.entity_id, span.since / 1000, span.until / 1000, done):
        for moment, value in segments.values(segment, span.entity_id, span.metric):
            if span.since <= moment < span.until:
                found[moment] = value
    weigh(_POINT_BYTES * len(found))
    return [_Found(moment, False, found[moment]) for moment in sorted(found)]


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
