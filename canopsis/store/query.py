"""What every list has in common: filters, whitelisted sorting, a page, a total."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pymongo
from pymongo import ASCENDING, DESCENDING
from pymongo.errors import PyMongoError

from canopsis.errors import InputError
from canopsis.store.client import Store, store_errors
from canopsis.store.operations import Document

MAX_LIMIT = 1000
MAX_SKIP = 100_000
COUNT_LIMIT = 100_000
COUNT_SECONDS = 1.0
"""Counting goes no further than this: more costs more than it tells."""

Condition = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Page:
    """Documents of a list, and how many there are in all: at least, unless ``exact``."""

    total: int
    data: list[Document]
    exact: bool = True


@dataclass(frozen=True, slots=True)
class Paging:
    """Which part of a list, in which order. ``sort`` is a field name, ``-`` before it for descending."""

    skip: int = 0
    limit: int = 50
    sort: str = ""


@dataclass(frozen=True, slots=True)
class Listing:
    """A collection as a list: by which names it may be sorted, by what it is sorted by default.

    ``sortable`` maps the names a caller may sort by to document fields. Those of ``indexed`` have
    an index of their own, which also keeps equal ones in order; others are told apart by ``_id``.
    ``without`` are fields that no list shows.
    """

    collection: str
    sortable: Mapping[str, str]
    default_sort: str
    indexed: Sequence[str] = ()
    without: Sequence[str] = ()


def fetch(db: Store, listing: Listing, condition: Condition, paging: Paging) -> Page:
    """Return a page of a collection. Raises InputError naming ``sort``, ``skip`` or ``limit``; StoreError."""
    order = sort_order(paging.sort or listing.default_sort, listing)
    check_paging(paging)
    projection = dict.fromkeys(listing.without, False) or None
    with store_errors(f"reading {listing.collection}"):
        cursor = db[listing.collection].find(condition, projection=projection)
        data = list(cursor.sort(order).skip(paging.skip).limit(paging.limit)) if paging.limit else []
        return _counted(db, listing.collection, condition, paging, data)


def sort_order(sort: str, listing: Listing) -> list[tuple[str, int]]:
    """Return a MongoDB sort in which pages do not overlap. Raises InputError."""
    name = sort.removeprefix("-")
    if name not in listing.sortable:
        raise InputError("sort", sort, ", ".join(sorted(listing.sortable)) + ", with - before it for descending")
    direction = DESCENDING if sort.startswith("-") else ASCENDING
    field = listing.sortable[name]
    return [(field, direction)] if name in listing.indexed else [(field, direction), ("_id", direction)]


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


def _counted(db: Store, collection: str, condition: Condition, paging: Paging, data: list[Document]) -> Page:
    end = paging.skip + len(data)
    if paging.limit and 0 < len(data) < paging.limit:
        return Page(end, data)
    if not condition:
        return Page(db[collection].estimated_document_count(), data)
    try:
        with pymongo.timeout(COUNT_SECONDS):
            total = db[collection].count_documents(condition, limit=COUNT_LIMIT)
    except PyMongoError as error:
        if not error.timeout:
            raise
        return Page(end, data, exact=False)
    return Page(total, data, exact=total < COUNT_LIMIT)
