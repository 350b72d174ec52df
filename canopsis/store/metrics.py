"""Measured values: raw documents one an event, hourly documents one a series, the set of names.

Raw: ``{_id: {e: entity id, t: ms, k: event id}, v: {metric: value}, u: {metric: unit}?, at: Date}``.
Hourly: ``{_id: {e: entity id, m: metric, h: ms of the hour}, p: {ms into the hour: value}, at: Date}``.
Names: ``{_id: {e: entity id, m: metric}, u: unit}``, inserted when first seen. A window of one
series is a range of ``_id`` in each.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal, get_args

from bson import MaxKey
from pymongo import ASCENDING

from canopsis.errors import InputError
from canopsis.store.client import Store, store_errors
from canopsis.store.operations import Delete, Document, Insert, Operation, Upsert, Writes
from canopsis.store.query import Listing, Page, Paging, fetch, search

RAW, HOURLY, NAMES = "metrics", "metrics_hourly", "metric_names"

_NAMES_LIST = Listing(NAMES, {"_id": "_id"}, "_id", ("_id",))

HOUR_MS = 3_600_000
_FIRST_MS, _LAST_MS = -62_135_596_800_000, 253_402_300_800_000
"""What a date can be: the years 1 to 9999."""

MAX_POINTS = 20_000
"""Points of one answer."""

Aggregate = Literal["avg", "min", "max", "sum", "count", "last"]
AGGREGATES: tuple[Aggregate, ...] = get_args(Aggregate)

Point = tuple[float, float]
"""Seconds since the epoch, value."""


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
    """Return up to ``limit`` raw documents older than ``before`` (seconds), by entity, then time.

    ``after`` is the ``_id`` of the last document of the call before: without it each call reads
    again over all younger documents. Raises StoreError.
    """
    condition: Document = {"_id.t": {"$lt": int(before * 1000)}}
    if after is not None:
        condition["_id"] = {"$gt": after}
    with store_errors("reading metrics"):
        return list(db[RAW].find(condition).sort("_id", ASCENDING).limit(limit))


def names(db: Store, entity_id: str | None = None, text: str = "", paging: Paging | None = None) -> Page:
    """Return a page of which metrics exist: ``{_id: {e, m}, u}``, by entity and name.

    Raises InputError, StoreError.
    """
    condition = search(text, ("_id.e", "_id.m"))
    if entity_id is not None:
        condition["_id"] = {"$gte": {"e": entity_id}, "$lt": {"e": entity_id, "m": MaxKey()}}
    return fetch(db, _NAMES_LIST, condition, paging or Paging())


def window(  # noqa: PLR0913 - a series and a window
    db: Store,
    entity_id: str,
    metric: str,
    since: float,
    until: float,
    *,
    interval: float | None = None,
    aggregate: str = "avg",
) -> Series | None:
    """Return the points in [since, until), or one each ``interval`` seconds; None for an unknown metric.

    Times are in seconds. A bucket's time is its beginning, a multiple of ``interval``; an empty bucket has no point.
    Raises InputError naming ``interval``, ``aggregate`` or ``until``; StoreError.
    """
    _check(since, until, interval, aggregate)
    with store_errors("reading metrics"):
        known = db[NAMES].find_one({"_id": {"e": entity_id, "m": metric}})
        if known is None:
            return None
        points = _points(db, entity_id, metric, int(since * 1000), int(until * 1000))
    if interval is None:
        if len(points) > MAX_POINTS:
            raise InputError("interval", interval, f"an interval: this window has more than {MAX_POINTS} points")
        return Series(entity_id, metric, known.get("u"), points)
    return Series(entity_id, metric, known.get("u"), aggregated(points, interval, aggregate))


def aggregated(points: Iterable[Point], interval: float, aggregate: str) -> list[Point]:
    """Return one point a bucket of ``interval`` seconds; ``points`` are in order of time."""
    buckets: dict[int, list[float]] = {}
    for moment, value in points:
        buckets.setdefault(int(moment // interval), []).append(value)
    reduce = _REDUCE[aggregate]
    return [(bucket * interval, reduce(values)) for bucket, values in buckets.items()]


_REDUCE: Mapping[str, Any] = {
    "avg": lambda values: sum(values) / len(values),
    "min": min,
    "max": max,
    "sum": sum,
    "count": lambda values: float(len(values)),
    "last": lambda values: values[-1],
}


def _check(since: float, until: float, interval: float | None, aggregate: str) -> None:
    if until <= since:
        raise InputError("until", until, f"a time after since ({since})")
    if aggregate not in AGGREGATES:
        raise InputError("aggregate", aggregate, ", ".join(AGGREGATES))
    if interval is not None and (interval <= 0 or (until - since) / interval > MAX_POINTS):
        raise InputError("interval", interval, f"seconds, more than 0, at most {MAX_POINTS} points in the window")


def _points(db: Store, entity_id: str, metric: str, since: int, until: int) -> list[Point]:
    found: list[tuple[int, float]] = []
    span = {"$gte": {"e": entity_id, "t": since}, "$lt": {"e": entity_id, "t": until}}
    for document in db[RAW].find({"_id": span}, projection={"_id": 1, "v": 1}):
        value = document["v"].get(metric)
        if value is not None:
            found.append((document["_id"]["t"], value))
    # Between a compaction's write and its delete a point stands in both: the raw one counts.
    seen = {moment for moment, _ in found}
    first = since - since % HOUR_MS
    span = {"$gte": {"e": entity_id, "m": metric, "h": first}, "$lt": {"e": entity_id, "m": metric, "h": until}}
    for document in db[HOURLY].find({"_id": span}):
        hour = document["_id"]["h"]
        for offset, value in document["p"].items():
            moment = hour + int(offset)
            if since <= moment < until and moment not in seen:
                found.append((moment, value))
    found.sort()
    return [(moment / 1000, value) for moment, value in found]


def _date(moment: int) -> datetime:
    return datetime.fromtimestamp(moment / 1000, UTC)
