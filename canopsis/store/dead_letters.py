"""Dead letters: what could not be processed, with its reason and its original bytes."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from datetime import datetime

from pymongo import ASCENDING, IndexModel

from canopsis.store.client import Store, store_errors
from canopsis.store.operations import Document
from canopsis.store.query import Listing, Page, Paging, fetch, given, search, window

COLLECTION = "dead_letters"

INDEXES = (IndexModel([("engine", ASCENDING), ("received", ASCENDING)], name="by_engine"),)

_LIST = Listing(
    COLLECTION,
    {"received": "received", "engine": "engine", "reason": "reason"},
    "-received",
    ("received",),
    without=("body",),
)


@dataclass(frozen=True, slots=True)
class DeadLetterQuery:
    """Which dead letters. None means any. ``since`` and ``until`` bound ``received``."""

    engine: str | None = None
    field: str | None = None
    replayed: bool | None = None
    text: str = ""
    since: datetime | None = None
    until: datetime | None = None
    paging: Paging = dataclasses.field(default_factory=Paging)


def listing(db: Store, query: DeadLetterQuery) -> Page:
    """Return a page of dead letters without their bodies, newest first. Raises InputError, StoreError."""
    condition = given(engine=query.engine, field=query.field, received=window(query.since, query.until))
    if query.replayed is not None:
        condition["replayed"] = {"$exists": query.replayed}
    condition |= search(query.text, ("reason",))
    return fetch(db, _LIST, condition, query.paging)


def get(db: Store, letter_id: object) -> Document | None:
    """Return a dead letter with its body. Raises StoreError."""
    with store_errors("reading dead letters"):
        return db[COLLECTION].find_one({"_id": letter_id})


def mark_replayed(db: Store, letter_id: object, user: str) -> bool:
    """Note that ``user`` had the letter replayed now; False when there is no such letter. Raises StoreError."""
    change: Document = {"$currentDate": {"replayed": True}, "$set": {"replayed_by": user}, "$inc": {"replays": 1}}
    with store_errors("marking a dead letter"):
        return db[COLLECTION].update_one({"_id": letter_id}, change).matched_count == 1
