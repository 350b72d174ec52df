"""Trials: messages that are handled alone, because whoever took them before did not come back.

A mark is made before the message is handled and taken away after it, however that ends. One that
is found there says that a process died between the two.
"""

from __future__ import annotations

from pymongo import ASCENDING, IndexModel

from canopsis.store.client import Store, store_errors

COLLECTION = "trials"

FORGOTTEN_SECONDS = 86400
INDEXES = (IndexModel([("at", ASCENDING)], name="time_to_live", expireAfterSeconds=FORGOTTEN_SECONDS),)


def begin(db: Store, key: str) -> int:
    """Mark the message ``key``; return how many processes died in a trial of it before. Raises StoreError."""
    change = {"$inc": {"begun": 1}, "$currentDate": {"at": True}}
    with store_errors("beginning a trial"):
        before = db[COLLECTION].find_one_and_update({"_id": key}, change, upsert=True)
    return 0 if before is None else int(before["begun"])


def end(db: Store, key: str) -> None:
    """Take the mark away. Raises StoreError."""
    with store_errors("ending a trial"):
        db[COLLECTION].delete_one({"_id": key})
