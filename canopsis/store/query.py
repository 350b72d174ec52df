"""What every list has in common: filters, whitelisted sorting, a page, a total."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import ClassVar

import bson
import msgspec
import pymongo
from pymongo import ASCENDING, DESCENDING
from pymongo.errors import PyMongoError

from canopsis.errors import InputError
from canopsis.store import pages
from canopsis.store.client import Store, store_errors
from canopsis.store.operations import Document
from canopsis.store.pages import Condition, Order

PAGE_BYTES = 4 << 20
"""Bytes of the documents of a page, in BSON. A page that has more ends before its limit; it has one at least."""

MAX_LIMIT = 1000
MAX_SKIP = 100_000
COUNT_LIMIT = 10_000
COUNT_SECONDS = 0.2
"""Counting goes no further than this: more costs more than it tells."""

Weigh = Callable[[int], object]
"""Is told how many bytes of BSON will be read, before they are; may raise to forbid it."""


@dataclass(frozen=True, slots=True)
class Page:
    """Documents of a list, and how many there are in all: at least, unless ``exact``.

    ``next`` is where to go on when there is more: at a number, in a list that is read by key what is ``after`` for the
    page that follows. A page of large documents ends before its limit.
    """

    total: int
    data: list[Document]
    exact: bool = True
    next: int | str | None = None


def free(_size: int) -> None:
    """Let anything be read."""


@dataclass(frozen=True, slots=True)
class Paging:
    """Which part of a list, in which order. ``sort`` is a field name, ``-`` before it for descending.

    ``weigh`` is told what the page will take. ``after`` is the ``next`` of the page before.
    """

    skip: int = 0
    limit: int = 50
    sort: str = ""
    weigh: Weigh = field(default=free, compare=False, repr=False)
    after: str = ""


@dataclass(frozen=True, slots=True)
class Listing:
    """A collection as a list: by which names it may be sorted, by what it is sorted by default.

    ``sortable`` maps the names a caller may sort by to document fields. Those of ``indexed`` have
    an index of their own, which also keeps equal ones in order; others are told apart by ``_id``.
    ``without`` are fields that no list shows. ``note`` tells of a default order that depends on what is asked.
    One that is read ``by_key`` goes on behind the last one seen (``after``), not at a number (``pages``).
    ``then`` has for a field another one, which orders those that are equal in it. ``always`` is a condition that all of
    its documents meet: it tells the database which index to take.
    """

    collection: str
    sortable: Mapping[str, str]
    default_sort: str
    indexed: Sequence[str] = ()
    without: Sequence[str] = ()
    note: str = ""
    by_key: bool = False
    then: Mapping[str, str] = field(default_factory=dict)
    always: Condition = field(default_factory=dict)


class Query(msgspec.Struct, frozen=True, kw_only=True):
    """What a list may be asked. The fields of a subclass are its filters, None for any, each with its ``Parameter``.

    ``LIST`` is the list; the name of a parameter is that of its field, or the one that ``msgspec.field`` gives it.
    """

    LIST: ClassVar[Listing]

    paging: Paging = msgspec.field(default_factory=Paging)


def fetch(db: Store, listing: Listing, condition: Condition, paging: Paging) -> Page:
    """Return a page of a collection. Raises InputError naming ``sort``, ``skip`` or ``limit``; StoreError.

    What a page will take is known before it is read: its documents are weighed where they are.
    """
    sort = paging.sort or listing.default_sort
    order = sort_order(sort, listing)
    check_paging(paging)
    place = pages.place(paging.after, sort, order) if paging.after else None
    with store_errors(f"reading {listing.collection}"):
        wanted = pages.behind(condition | listing.always, order, place)
        rows = _rows(db, listing, wanted, paging, order) if paging.limit else []
        kept = _fitting([row["size"] for row in rows], paging.limit)
        paging.weigh(sum(row["size"] for row in rows[:kept]))
        data = _read(db, listing, [row["_id"] for row in rows[:kept]])
        page = _counted(db, listing.collection, condition, paging, len(rows))
    if kept == len(rows):
        return replace(page, data=data)
    following = pages.text(sort, order, rows[kept - 1]) if listing.by_key else paging.skip + kept
    return replace(page, data=data, next=following)


def one(db: Store, collection: str, key: object, weigh: Weigh = free) -> Document | None:
    """Return the document ``key`` once ``weigh`` allows its size. Raises StoreError."""
    with store_errors(f"reading {collection}"):
        found = db[collection].find_one({"_id": key}, {"size": {"$bsonSize": "$$ROOT"}})
        if found is None:
            return None
        weigh(found["size"])
        return db[collection].find_one({"_id": key})


def _rows(db: Store, listing: Listing, conditions: Sequence[Condition], paging: Paging, order: Order) -> list[Document]:
    """Return id, ``size`` and sort fields of each document of a page, in order: what meets the first condition first.

    One more than the page has, to know whether another one follows.
    """
    shown = {name: 1 for name, _ in order} | {"size": {"$bsonSize": "$$ROOT"}}
    stages: list[Document] = [{"$sort": dict(order)}]
    stages += [{"$skip": paging.skip}] if paging.skip else []
    most = paging.limit + 1
    rows: list[Document] = []
    for condition in conditions:
        if len(rows) < most:
            wanted = [{"$match": condition}, *stages, {"$limit": most - len(rows)}]
            wanted += [{"$unset": list(listing.without)}] if listing.without else []
            rows += db[listing.collection].aggregate([*wanted, {"$project": shown}])
    return rows


def _fitting(sizes: Sequence[int], limit: int) -> int:
    """Return how many of the documents of these sizes a page of ``limit`` takes: one at least."""
    total = 0
    for count, size in enumerate(sizes[:limit]):
        total += size
        if count and total > PAGE_BYTES:
            return count
    return min(len(sizes), limit)


def _read(db: Store, listing: Listing, keys: Sequence[object]) -> list[Document]:
    """Return the documents ``keys``, in order; one that went meanwhile is left out."""
    if not keys:
        return []
    projection = dict.fromkeys(listing.without, False) or None
    found = db[listing.collection].find({"_id": {"$in": list(keys)}}, projection=projection)
    known = {_hashable(document["_id"]): document for document in found}
    return [known[key] for key in map(_hashable, keys) if key in known]


def _hashable(key: object) -> object:
    return bson.encode(key) if isinstance(key, dict) else key


def sort_order(sort: str, listing: Listing) -> Order:
    """Return a MongoDB sort in which pages do not overlap. Raises InputError."""
    name = sort.removeprefix("-")
    if name not in listing.sortable:
        raise InputError("sort", sort, ", ".join(sorted(listing.sortable)) + ", with - before it for descending")
    direction = DESCENDING if sort.startswith("-") else ASCENDING
    field = listing.sortable[name]
    if name in listing.indexed:
        return [(field, direction)]
    fields = [field, listing.then[field]] if field in listing.then else [field]
    return [(each, direction) for each in (*fields, "_id")]


def check_paging(paging: Paging) -> None:
    """Raise InputError when ``skip`` or ``limit`` is out of range."""
    if not 0 <= paging.limit <= MAX_LIMIT:
        raise InputError("limit", paging.limit, f"0 to {MAX_LIMIT}")
    if not 0 <= paging.skip <= MAX_SKIP:
        raise InputError("skip", paging.skip, f"0 to {MAX_SKIP}")


def given(**fields: object) -> Condition:
    """Return a condition of the fields that are not None; a list, tuple or set means any of its values."""
    condition: Condition = {}
    for name, value in fields.items():
        if isinstance(value, (list, tuple, set, frozenset)):
            condition[name] = {"$in": sorted(value)}
        elif value is not None:
            condition[name] = value
    return condition


def window(since: object | None, until: object | None) -> Condition | None:
    """Return a half-open range [since, until), or None."""
    bounds: Condition = {}
    if since is not None:
        bounds["$gte"] = since
    if until is not None:
        bounds["$lt"] = until
    return bounds or None


def search(text: str, fields: Sequence[str]) -> Condition:
    """Return a condition: each word of ``text`` stands, in any case, in one of ``fields``."""
    words = [{"$regex": re.escape(word), "$options": "i"} for word in text.split()]
    every = [{"$or": [{field: word} for field in fields]} for word in words]
    return {"$and": every} if every else {}


def _counted(db: Store, collection: str, condition: Condition, paging: Paging, found: int) -> Page:
    """Return a page without its documents, of which there are ``found`` up to one more than its limit."""
    end = paging.skip + found
    if 0 < found <= paging.limit and not paging.after:
        return Page(end, [])
    if not condition:
        return Page(db[collection].estimated_document_count(), [])
    try:
        with pymongo.timeout(COUNT_SECONDS):
            total = db[collection].count_documents(condition, limit=COUNT_LIMIT)
    except PyMongoError as error:
        if not error.timeout:
            raise
        return Page(end, [], exact=False)
    return Page(total, [], exact=total < COUNT_LIMIT)
