"""Notifications: the outbox. What is to be told, what became of it, and when it is tried again.

``{_id, rule, alarm_id, entity_id, event_id, happened, state, attempts, queued, order, wake_at, created, alert}``.
``alert`` is JSON in bytes. What waits has ``wake_at``; who delivers one claims it first: ``attempts`` is raised, and
``wake_at`` moved behind the time that an attempt may take. Only who made the newest attempt says what came of it.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from hashlib import blake2b
from typing import Annotated, Any, Literal, get_args

import msgspec
from pymongo import ASCENDING, DESCENDING, IndexModel

from canopsis.core.parameters import choice, moment, text
from canopsis.store.client import Store, store_errors
from canopsis.store.operations import Document, Insert
from canopsis.store.query import Listing, Page, Query, fetch, given, window

COLLECTION = "notifications"

KEPT = 30 * 86_400
"""Seconds that a notification can be asked for."""

_DUE = {"wake_at": {"$gt": 0}}

_WAITING = {
    "by_wake_at": ("wake_at", "rule"),
    "by_rule": ("rule", "wake_at", "alarm_id"),
    "by_order": ("alarm_id", "rule", "order"),
}

INDEXES = (
    *(
        IndexModel([(field, ASCENDING) for field in fields], name=name, partialFilterExpression=_DUE)
        for name, fields in _WAITING.items()
    ),
    IndexModel([("alarm_id", ASCENDING), ("rule", ASCENDING)], name="by_alarm"),
    IndexModel([("created", DESCENDING)], name="expiry", expireAfterSeconds=KEPT),
)

State = Literal["waiting", "sent", "failed"]

MOST_LOOKED = 1000
"""Notifications that are due, as many as are looked at to find the rules that they are of."""

_LIST = Listing(COLLECTION, {"created": "created"}, "-created", without=("alert", "order", "queued"))

_ENCODER = msgspec.json.Encoder(enc_hook=repr)


class Notification(msgspec.Struct, kw_only=True):
    """A notification as it is shown: what is told, and what came of it.

    ``happened`` is what it tells of; ``wake_at`` when it is tried next, in seconds since the epoch. ``receipt`` is
    what the receiver answered, ``reason`` why the newest attempt failed.
    """

    id: str = msgspec.field(name="_id")
    rule: str
    alarm_id: str
    entity_id: str
    event_id: str
    happened: list[str]
    state: State
    attempts: int
    created: datetime
    wake_at: float | None = None
    sent: datetime | None = None
    failed: datetime | None = None
    receipt: str = ""
    reason: str = ""
    retried_by: str = ""


class NotificationQuery(Query, frozen=True):
    """Which notifications. ``since`` and ``until`` bound ``created``, in seconds since the epoch."""

    LIST = _LIST

    state: Annotated[State | None, choice("Only those in this state.", get_args(State))] = None
    rule: Annotated[str | None, text("Only those of this rule.")] = None
    alarm_id: Annotated[str | None, text("Only those of this alarm.")] = None
    entity_id: Annotated[str | None, text("Only those of this entity.")] = None
    since: Annotated[float | None, moment("Only those made not before this.")] = msgspec.field(
        name="from", default=None
    )
    until: Annotated[float | None, moment("Only those made before this.")] = msgspec.field(name="to", default=None)


@dataclass(frozen=True, slots=True)
class Claimed:
    """A notification in the hands of who delivers it; ``queued`` is since when it waits, in seconds."""

    id: str
    rule: str
    alert: dict[str, Any]
    attempts: int
    queued: float


def key_of(rule: str, alarm_id: str, event_id: str) -> str:
    """Return the id of the notification of what an event did to an alarm: the same when the event comes again."""
    return blake2b(f"{rule}\0{alarm_id}\0{event_id}".encode(), digest_size=16).hexdigest()


def waiting(rule: str, alert: dict[str, Any], happened: Sequence[str], now: float) -> Insert:
    """Return the write of a notification that is due at once; ``now`` tells in which order those of an alarm go."""
    names = ("alarm_id", "entity_id", "event_id")
    document: Document = {"_id": key_of(rule, alert["alarm_id"], alert["event_id"]), "rule": rule}
    document |= {name: alert[name] for name in names} | {"happened": list(happened)}
    document |= {"state": "waiting", "attempts": 0, "queued": now, "order": now, "wake_at": now}
    return Insert(document | {"created": datetime.fromtimestamp(now, UTC), "alert": _ENCODER.encode(alert)})


def add(db: Store, notification: Insert) -> None:
    """Store a notification that waits. Raises StoreError."""
    with store_errors("writing notifications"):
        db[COLLECTION].insert_one(notification.document)


def told(db: Store, alarm_ids: Collection[str]) -> set[tuple[str, str]]:
    """Return alarm and rule of each notification of these alarms. Raises StoreError."""
    pair = {"alarm_id": "$alarm_id", "rule": "$rule"}
    stages: list[Document] = [{"$match": {"alarm_id": {"$in": sorted(alarm_ids)}}}, {"$group": {"_id": pair}}]
    with store_errors("reading notifications"):
        return {(each["_id"]["alarm_id"], each["_id"]["rule"]) for each in db[COLLECTION].aggregate(stages)}


def due_rules(db: Store, now: float, without: Collection[str]) -> list[str]:
    """Return rules but ``without`` some that have notifications due, the one that waits longest first.

    Raises StoreError.
    """
    condition = {"wake_at": {"$gt": 0, "$lte": now}, "rule": {"$nin": sorted(without)}}
    with store_errors("reading notifications"):
        found = db[COLLECTION].find(condition, {"_id": False, "rule": True}).sort("wake_at", ASCENDING)
        return list(dict.fromkeys(each["rule"] for each in found.limit(MOST_LOOKED)))


def claim(db: Store, rule: str, now: float, seconds: float, blocked: set[str]) -> Claimed | None:
    """Take a notification of ``rule`` that is due, for ``seconds``; None when none is.

    Of an alarm it is the first that waits: one whose first is not due yet is added to ``blocked``, and those in there
    are left alone. Raises StoreError.
    """
    with store_errors("taking a notification"):
        while True:
            due: Document = {"rule": rule, "wake_at": {"$gt": 0, "$lte": now}, "alarm_id": {"$nin": sorted(blocked)}}
            due_one = db[COLLECTION].find_one(due, {"alarm_id": True}, sort=[("wake_at", ASCENDING)])
            if due_one is None:
                return None
            alarm_id = due_one["alarm_id"]
            first = db[COLLECTION].find_one({"alarm_id": alarm_id, "rule": rule, **_DUE}, sort=[("order", ASCENDING)])
            if first is None or first["wake_at"] > now:
                blocked.add(alarm_id)
                continue
            seen = {name: first[name] for name in ("_id", "wake_at", "attempts", "state")}
            change: Document = {"$set": {"wake_at": now + seconds}, "$inc": {"attempts": 1}}
            if db[COLLECTION].update_one(seen, change).matched_count:
                alert = msgspec.json.decode(first["alert"])
                return Claimed(first["_id"], rule, alert, first["attempts"] + 1, first["queued"])


def sent(db: Store, claimed: Claimed, receipt: str) -> bool:
    """Note that the receiver has a notification; False when another has claimed it meanwhile. Raises StoreError."""
    change: Document = {"$set": {"state": "sent", "receipt": receipt}, "$currentDate": {"sent": True}}
    return _settle(db, claimed, change | {"$unset": {"wake_at": True, "reason": True}})


def again(db: Store, claimed: Claimed, reason: str, at: float) -> bool:
    """Have a notification tried again ``at`` a time; see ``sent``."""
    return _settle(db, claimed, {"$set": {"reason": reason, "wake_at": at}})


def failed(db: Store, claimed: Claimed, reason: str) -> bool:
    """Give a notification up; see ``sent``."""
    change: Document = {"$set": {"state": "failed", "reason": reason}, "$currentDate": {"failed": True}}
    return _settle(db, claimed, change | {"$unset": {"wake_at": True}})


def _settle(db: Store, claimed: Claimed, change: Document) -> bool:
    mine = {"_id": claimed.id, "state": "waiting", "attempts": claimed.attempts}
    with store_errors("writing notifications"):
        return db[COLLECTION].update_one(mine, change).matched_count == 1


def retry(db: Store, notification_id: str, user: str, now: float) -> bool:
    """Have one that failed tried again at once; False when it is not there, or has not failed. Raises StoreError."""
    fresh = {"state": "waiting", "attempts": 0, "queued": now, "wake_at": now, "retried_by": user}
    with store_errors("writing notifications"):
        change: Document = {"$set": fresh, "$unset": {"failed": True}}
        return db[COLLECTION].update_one({"_id": notification_id, "state": "failed"}, change).matched_count == 1


def count_waiting(db: Store) -> int:
    """Return how many notifications are not sent yet and will be tried. Raises StoreError."""
    with store_errors("counting notifications"):
        return db[COLLECTION].count_documents(_DUE, hint="by_wake_at")


def listing(db: Store, query: NotificationQuery) -> Page:
    """Return a page of notifications, the newest first. Raises InputError, StoreError."""
    names = {"state": query.state, "rule": query.rule, "alarm_id": query.alarm_id, "entity_id": query.entity_id}
    since, until = (None if each is None else datetime.fromtimestamp(each, UTC) for each in (query.since, query.until))
    return fetch(db, _LIST, given(**names, created=window(since, until)), query.paging)


def get(db: Store, notification_id: str) -> Document | None:
    """Return a notification with its alert, or None. Raises StoreError."""
    with store_errors("reading notifications"):
        found = db[COLLECTION].find_one({"_id": notification_id}, {"order": False, "queued": False})
        return None if found is None else found | {"alert": msgspec.json.decode(found["alert"])}
