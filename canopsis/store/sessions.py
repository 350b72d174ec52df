"""Login sessions. The store sees only the SHA-256 of a token."""

from __future__ import annotations

from datetime import datetime

from pymongo import ASCENDING, IndexModel

from canopsis.store.client import Store, store_errors
from canopsis.store.operations import Document

COLLECTION = "sessions"

INDEXES = (
    IndexModel([("user", ASCENDING)], name="by_user"),
    IndexModel([("expires", ASCENDING)], name="expiry", expireAfterSeconds=0),
)


def create(db: Store, /, token_sha256: str, user: str, lifetime: float, **facts: object) -> None:
    """Begin a session of ``lifetime`` seconds by the server's clock; ``facts`` are kept with it. Raises StoreError."""
    fields = {"user": user, "created": "$$NOW", "expires": _after(lifetime), **_literal(facts)}
    with store_errors("writing sessions"):
        db[COLLECTION].update_one({"_id": token_sha256}, [{"$set": fields}], upsert=True)


def find(db: Store, token_sha256: str) -> Document | None:
    """Return a session that is not over: ``user``, ``created``, ``expires`` and its facts. Raises StoreError."""
    alive = {"_id": token_sha256, "$expr": {"$gt": ["$expires", "$$NOW"]}}
    with store_errors("reading sessions"):
        return db[COLLECTION].find_one(alive)


def prolong(db: Store, token_sha256: str, lifetime: float) -> datetime | None:
    """Let a session end ``lifetime`` seconds from now; return that time, None when it is over. Raises StoreError."""
    alive = {"_id": token_sha256, "$expr": {"$gt": ["$expires", "$$NOW"]}}
    with store_errors("writing sessions"):
        found = db[COLLECTION].find_one_and_update(
            alive, [{"$set": {"expires": _after(lifetime)}}], return_document=True
        )
    return found["expires"] if found else None


def delete(db: Store, token_sha256: str) -> bool:
    """End a session; False when there is none. Raises StoreError."""
    with store_errors("writing sessions"):
        return db[COLLECTION].delete_one({"_id": token_sha256}).deleted_count == 1


def delete_of(db: Store, user: str, kept: str | None = None) -> int:
    """End the sessions of ``user``, but those with the binding ``kept``; return how many. Raises StoreError."""
    condition = {"user": user} if kept is None else {"user": user, "binding": {"$ne": kept}}
    with store_errors("writing sessions"):
        return db[COLLECTION].delete_many(condition).deleted_count


def _after(seconds: float) -> Document:
    return {"$dateAdd": {"startDate": "$$NOW", "unit": "millisecond", "amount": int(seconds * 1000)}}


def _literal(facts: dict[str, object]) -> Document:
    return {name: {"$literal": value} for name, value in facts.items()}
