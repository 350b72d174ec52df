"""The shape of the database: collections, indexes, times to live, versioned steps."""

from __future__ import annotations

import threading
import time
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from pymongo import ASCENDING, IndexModel

from canopsis.errors import SiteError, StoreError
from canopsis.store import (
    alarm_steps,
    alarms,
    attempts,
    dead_letters,
    entities,
    event_log,
    fences,
    leases,
    metrics,
    notifications,
    rules,
    sessions,
    tasks,
    trials,
    users,
)
from canopsis.store.client import Store, store_errors
from canopsis.store.operations import Document
from canopsis.store.settings import Retention

META = "meta"
_LOCK = "migration"
_LEASE_SECONDS = 30.0
_TTL = "time_to_live"

Step = Callable[[Store], None]

COLLECTIONS: dict[str, Sequence[IndexModel]] = {
    alarms.COLLECTION: alarms.INDEXES,
    alarm_steps.COLLECTION: (),
    entities.COLLECTION: entities.INDEXES,
    event_log.COLLECTION: event_log.INDEXES,
    dead_letters.COLLECTION: dead_letters.INDEXES,
    users.COLLECTION: users.INDEXES,
    sessions.COLLECTION: sessions.INDEXES,
    attempts.COLLECTION: attempts.INDEXES,
    leases.COLLECTION: leases.INDEXES,
    fences.COLLECTION: (),
    rules.COLLECTION: rules.INDEXES,
    rules.VERSIONS: (),
    rules.COUNTS: (),
    trials.COLLECTION: trials.INDEXES,
    tasks.COLLECTION: tasks.INDEXES,
    notifications.COLLECTION: notifications.INDEXES,
    metrics.HOURLY: (),
    metrics.NAMES: (),
    event_log.PROGRESS: (),
}

STEPS: tuple[tuple[int, str, Step], ...] = (
    (2, "filter_rules become rules of the event filter", rules.adopt_first_form),
    (3, "open alarms say when they are to be looked at", alarms.set_wake_at),
    (5, "alarms have no index that events move", alarms.drop_moved_indexes),
)
"""Changes of stored documents: version, what it does, the function. A step may run twice."""

VERSION = STEPS[-1][0] if STEPS else 1


def ensure(db: Store, retention: Retention | None = None, wait: float = 300.0) -> list[str]:
    """Bring the database to this release's shape; return what was changed, nothing the second time.

    One process at a time: others wait up to ``wait`` seconds. A process that dies in the middle
    holds the others up for 30 s at most. Raises SiteError when the database belongs to a newer
    release, StoreError.
    """
    with _lock(db, wait), store_errors("migrating"):
        _check_version(db)
        changes = _ensure_collections(db, retention or Retention())
        changes += _run_steps(db)
        return changes


def version(db: Store) -> int:
    """Return the version of the database's shape; 0 when it was never made. Raises StoreError."""
    with store_errors("reading the version"):
        found = db[META].find_one({"_id": "schema"})
    return int(found["version"]) if found else 0


def _check_version(db: Store) -> None:
    found = version(db)
    if found > VERSION:
        raise SiteError(
            f"the database {db.name} has version {found}, this release knows {VERSION}: "
            "install the newer release, or restore a backup made before it"
        )


def _run_steps(db: Store) -> list[str]:
    found = version(db)
    changes = []
    for number, what, step in STEPS:
        if found and number > found:
            step(db)
            changes.append(f"step {number}: {what}")
    if found != VERSION:
        db[META].update_one({"_id": "schema"}, {"$set": {"version": VERSION}}, upsert=True)
        changes.append(f"version {VERSION}")
    return changes


def _ensure_collections(db: Store, retention: Retention) -> list[str]:
    changes = []
    there = set(db.list_collection_names())
    for name, indexes in COLLECTIONS.items():
        if name not in there:
            db.create_collection(name)
            changes.append(f"collection {name}")
        existing = db[name].index_information()
        for index in (*indexes, *_expiry(name, retention)):
            changes += _ensure_index(db, name, index.document, existing)
    return changes


def _expiry(collection: str, retention: Retention) -> list[IndexModel]:
    kept = {
        event_log.COLLECTION: ("at", retention.events),
        metrics.HOURLY: ("at", retention.metrics_hourly),
        dead_letters.COLLECTION: ("received", retention.dead_letters),
    }
    if collection not in kept:
        return []
    field, seconds = kept[collection]
    return [IndexModel([(field, ASCENDING)], name=_TTL, expireAfterSeconds=seconds)]


def _ensure_index(db: Store, collection: str, wanted: Document, existing: Mapping[str, Any]) -> list[str]:
    name = wanted["name"]
    found = existing.get(name)
    label = f"index {collection}.{name}"
    if found is not None and dict(found["key"]) != dict(wanted["key"]):
        db[collection].drop_index(name)
        found = None
    if found is None:
        db[collection].create_indexes([IndexModel(list(wanted["key"].items()), **_options(wanted))])
        return [label]
    seconds = wanted.get("expireAfterSeconds")
    if found.get("expireAfterSeconds") != seconds:
        db.command("collMod", collection, index={"name": name, "expireAfterSeconds": seconds})
        return [f"{label} keeps {seconds} s"]
    return []


def _options(wanted: Document) -> Document:
    return {name: value for name, value in wanted.items() if name != "key"}


@contextmanager
def _lock(db: Store, wait: float) -> Iterator[None]:
    holder = uuid.uuid4().hex
    deadline = time.monotonic() + wait
    done = threading.Event()
    while not leases.take(db, _LOCK, holder, _LEASE_SECONDS):
        if time.monotonic() > deadline:
            raise StoreError(f"another process has been migrating {db.name} for {wait:g} s")
        done.wait(0.2)
    keeper = threading.Thread(target=_keep, args=(db, holder, done), name="migration-lock", daemon=True)
    keeper.start()
    try:
        yield
    finally:
        done.set()
        keeper.join()
        leases.release(db, _LOCK, holder)


def _keep(db: Store, holder: str, done: threading.Event) -> None:
    while not done.wait(_LEASE_SECONDS / 3):
        try:
            leases.take(db, _LOCK, holder, _LEASE_SECONDS)
        except StoreError:
            # The next turn tries again; a lease that ran out costs only that another may start.
            continue
