"""Dead letters: what could not be processed, with its reason and its original bytes."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Annotated, Any

import msgspec
from pymongo import ASCENDING, IndexModel

from canopsis.core.parameters import flag, moment, text, words
from canopsis.store.client import Store, store_errors
from canopsis.store.operations import Document
from canopsis.store.query import Listing, Page, Query, Weigh, fetch, free, given, one, search, window

COLLECTION = "dead_letters"

INDEXES = (IndexModel([("engine", ASCENDING), ("received", ASCENDING)], name="by_engine"),)

_MOST_COUNTED = 1000

_LIST = Listing(
    COLLECTION,
    {"received": "received", "engine": "engine", "reason": "reason"},
    "-received",
    ("received",),
    without=("body",),
)


class DeadLetter(msgspec.Struct, kw_only=True):
    """What could not be processed, why, and what was done about it.

    ``count`` equal ones came, from ``first`` to ``last``. ``cut_from_bytes`` is there where only the beginning of the
    body is kept.
    """

    id: str = msgspec.field(name="_id")
    engine: str
    reason: str
    field: str = ""
    exchange: str = ""
    routing_key: str = ""
    content_type: str | None = None
    message_id: str | None = None
    headers: dict[str, Any] | None = None
    received: datetime
    first: datetime | None = None
    last: datetime | None = None
    count: int = 1
    cut_from_bytes: int | None = None
    replayed: datetime | None = None
    replayed_by: str | None = None
    replays: int = 0
    mended: bool = False
    discarded: datetime | None = None
    discarded_by: str | None = None
    comment: str | None = None


class DeadLetterQuery(Query, frozen=True):
    """Which dead letters. ``since`` and ``until`` bound ``received``, in seconds since the epoch."""

    LIST = _LIST

    engine: Annotated[str | None, text("Only letters of this engine.")] = None
    field: Annotated[str | None, text("Only letters refused for this field.")] = None
    replayed: Annotated[bool | None, flag("Only letters that were, or were not, replayed.")] = None
    discarded: Annotated[bool | None, flag("Only letters that were, or were not, discarded.")] = None
    search: Annotated[str, words("Words that all stand in the reason.")] = ""
    since: Annotated[float | None, moment("Only letters received not before this.")] = msgspec.field(
        name="from", default=None
    )
    until: Annotated[float | None, moment("Only letters received before this.")] = msgspec.field(
        name="to", default=None
    )


def listing(db: Store, query: DeadLetterQuery) -> Page:
    """Return a page of dead letters without their bodies, newest first. Raises InputError, StoreError."""
    condition = given(engine=query.engine, field=query.field, received=window(_date(query.since), _date(query.until)))
    for mark, wanted in (("replayed", query.replayed), ("discarded", query.discarded)):
        if wanted is not None:
            condition[mark] = {"$exists": wanted}
    condition |= search(query.search, ("reason",))
    return fetch(db, _LIST, condition, query.paging)


def _date(moment: float | None) -> datetime | None:
    return None if moment is None else datetime.fromtimestamp(moment, UTC)


def recent(db: Store, seconds: float) -> tuple[int, str]:
    """Return how many dead letters came within ``seconds``, 1,000 at most, and why the newest did.

    Raises StoreError.
    """
    condition: Document = {"received": {"$gte": datetime.now(UTC) - timedelta(seconds=seconds)}}
    with store_errors("counting dead letters"):
        count = db[COLLECTION].count_documents(condition, limit=_MOST_COUNTED)
        newest = db[COLLECTION].find_one(condition, {"reason": True}, sort=[("received", -1)]) if count else None
    return count, str(newest["reason"]) if newest else ""


def get(db: Store, letter_id: object, weigh: Weigh = free) -> Document | None:
    """Return a dead letter with its body, once ``weigh`` allows its size. Raises StoreError."""
    return one(db, COLLECTION, letter_id, weigh)


def mark_replayed(db: Store, letter: Document, user: str, mended: bool = False) -> bool:
    """Note that ``user`` had the ``letter`` replayed now, ``mended`` or as it was; False when it is gone.

    One that came again since it was read is not done with: the replay is noted, and it counts as not
    replayed. Raises StoreError.
    """
    seen: Document = {"_id": letter["_id"], "count": letter.get("count")}
    facts: Document = {"$set": {"replayed_by": user, "mended": mended}, "$inc": {"replays": 1}}
    done = _update(db, seen, {"$currentDate": {"replayed": True}} | facts)
    return done or _update(db, {"_id": letter["_id"]}, facts)


def mark_discarded(db: Store, letter_id: object, user: str, comment: str = "") -> bool:
    """Note that ``user`` wants nothing more of the letter; False when there is none. Raises StoreError."""
    facts = {"discarded_by": user, "comment": comment}
    return _update(db, {"_id": letter_id}, {"$currentDate": {"discarded": True}, "$set": facts})


def _update(db: Store, condition: Document, change: Document) -> bool:
    with store_errors("marking a dead letter"):
        return db[COLLECTION].update_one(condition, change).matched_count == 1
