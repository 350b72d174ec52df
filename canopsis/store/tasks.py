"""Tasks: an action on many alarms, so that what came of each can be asked for later."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
from pymongo import ASCENDING, IndexModel

from canopsis.core.structs import prepare
from canopsis.store.client import Store, store_errors
from canopsis.store.operations import Document

COLLECTION = "tasks"

KEPT = 30 * 86_400
"""Seconds that a task can be asked for."""

INDEXES = (IndexModel([("created", ASCENDING)], name="expiry", expireAfterSeconds=KEPT),)


class Refused(msgspec.Struct, frozen=True):
    """An alarm that the action was not sent for, and why."""

    alarm_id: str
    reason: str


prepare(Refused)


def create(db: Store, task: Document) -> Document | None:
    """Keep a task; return the one that is there under its ``_id``, None where there was none. Raises StoreError.

    The event of alarm ``n`` of ``alarm_ids`` has the id ``task_id.n``: who sends a task again sends the same events.
    """
    with store_errors("writing tasks"):
        return db[COLLECTION].find_one_and_update({"_id": task["_id"]}, {"$setOnInsert": task}, upsert=True)


def get(db: Store, task_id: str) -> Document | None:
    """Return a task by its id. Raises StoreError."""
    with store_errors("reading tasks"):
        return db[COLLECTION].find_one({"_id": task_id})


def sent(db: Store, task_id: str, refused: Sequence[Refused]) -> None:
    """Note that the events of a task are published, and for which alarms there was none. Raises StoreError."""
    facts = {"sent": True, "refused": msgspec.to_builtins(refused)}
    with store_errors("writing tasks"):
        db[COLLECTION].update_one({"_id": task_id}, {"$set": facts})


def event_id(task_id: str, number: int) -> str:
    """Return the id of the event of the alarm ``number`` of a task, from 0."""
    return f"{task_id}.{number}"
