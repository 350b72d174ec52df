"""Rules of the event filter: ``{_id, priority, enabled, type: pass|drop, pattern, description}``."""

from __future__ import annotations

from pymongo import ASCENDING

from canopsis.store.client import Store, store_errors
from canopsis.store.operations import Document

COLLECTION = "filter_rules"

INDEXES = ()

_ORDER = [("priority", ASCENDING), ("_id", ASCENDING)]


def enabled(db: Store) -> list[Document]:
    """Return the enabled rules in order of priority, then id. Raises StoreError."""
    with store_errors("reading filter rules"):
        return list(db[COLLECTION].find({"enabled": True}).sort(_ORDER))


def listing(db: Store) -> list[Document]:
    """Return all rules in order of priority, then id. Raises StoreError."""
    with store_errors("reading filter rules"):
        return list(db[COLLECTION].find().sort(_ORDER))


def save(db: Store, rule: Document) -> None:
    """Make or replace the rule ``rule["_id"]``. Raises StoreError."""
    with store_errors("writing filter rules"):
        db[COLLECTION].replace_one({"_id": rule["_id"]}, rule, upsert=True)


def delete(db: Store, rule_id: str) -> bool:
    """Delete a rule; False when there is none. Raises StoreError."""
    with store_errors("writing filter rules"):
        return db[COLLECTION].delete_one({"_id": rule_id}).deleted_count == 1
