"""Wrong passwords, counted for the whole site by the clock of the database."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from pymongo import ASCENDING, IndexModel, ReturnDocument

from canopsis.store.client import Store, store_errors
from canopsis.store.operations import Document

COLLECTION = "login_attempts"

INDEXES = (IndexModel([("expires", ASCENDING)], name="expiry", expireAfterSeconds=0),)

FORGOTTEN_AFTER = 900.0
"""Seconds after the last wrong password in which all of them are forgotten."""

KNOWN_FOR = 30 * 86400.0
"""Seconds for which somebody who gave the right password is remembered."""


@dataclass(frozen=True, slots=True)
class Rule:
    """After ``free`` wrong ones each has to wait: 1 s, then twice as long each time, ``longest`` seconds at most."""

    free: int
    longest: float


@dataclass(frozen=True, slots=True)
class Found:
    """What is known of a key: how many wrong passwords, and for how many seconds the next has to wait."""

    count: int = 0
    wait: float = 0.0


def find(db: Store, keys: Sequence[str]) -> dict[str, Found]:
    """Return what is known, by key. Raises StoreError."""
    shown: Document = {"count": 1, "left": {"$subtract": ["$until", "$$NOW"]}}
    alive: Document = {"_id": {"$in": list(keys)}, "$expr": {"$gt": ["$expires", "$$NOW"]}}
    with store_errors("reading login attempts"):
        return {each["_id"]: _found(each) for each in db[COLLECTION].find(alive, shown)}


def failed(db: Store, key: str, rule: Rule) -> bool:
    """Count a wrong password; False, and nothing counted, when ``key`` had to wait. Raises StoreError.

    Of many that come at once, each is told by itself: no more than ``rule.free`` pass without a wait.
    """
    alive = {"$gt": ["$expires", "$$NOW"]}
    old = {"$cond": [alive, {"$ifNull": ["$count", 0]}, 0]}
    blocked = {"$and": [alive, {"$gt": ["$until", "$$NOW"]}]}
    over = {"$min": [{"$subtract": ["$count", rule.free]}, 20]}
    wait = {"$cond": [{"$gte": [over, 0]}, {"$min": [{"$pow": [2, over]}, rule.longest]}, 0]}
    steps: list[Document] = [
        {"$set": {"blocked": blocked}},
        {"$set": {"count": {"$add": [old, {"$cond": ["$blocked", 0, 1]}]}}},
        {"$set": {"until": {"$cond": ["$blocked", "$until", {"$add": ["$$NOW", {"$multiply": [wait, 1000]}]}]}}},
        {"$set": {"expires": {"$add": ["$$NOW", int(FORGOTTEN_AFTER * 1000)]}}},
    ]
    with store_errors("counting login attempts"):
        found = db[COLLECTION].find_one_and_update(
            {"_id": key}, steps, upsert=True, return_document=ReturnDocument.AFTER
        )
    return not (found or {}).get("blocked")


def forget(db: Store, key: str) -> None:
    """Forget the wrong passwords of ``key``. Raises StoreError."""
    with store_errors("counting login attempts"):
        db[COLLECTION].delete_one({"_id": key})


def remember(db: Store, key: str) -> None:
    """Remember that the right password was given. Raises StoreError."""
    facts: Document = {"count": 0, "until": "$$NOW", "expires": {"$add": ["$$NOW", int(KNOWN_FOR * 1000)]}}
    with store_errors("counting login attempts"):
        db[COLLECTION].update_one({"_id": key}, [{"$set": facts}], upsert=True)


def _found(document: Document) -> Found:
    return Found(int(document["count"]), max(0.0, float(document["left"]) / 1000))
