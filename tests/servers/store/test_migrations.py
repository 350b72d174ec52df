"""Migrations on a real MongoDB: twice, at once, after a death, with other times to live."""

from __future__ import annotations

import threading
import time
from datetime import datetime

import pytest
from logged import log, made
from pymongo import MongoClient
from servers import MongoDB, eventually

from canopsis.errors import SiteError, StoreError
from canopsis.store import leases, migrations
from canopsis.store.client import Store
from canopsis.store.settings import Retention

NEXT = migrations.VERSION + 1
"""The version of a release to come."""


def expiry(db: Store, collection: str) -> int:
    return int(db[collection].index_information()["time_to_live"]["expireAfterSeconds"])


def test_first_and_second_run(db: Store) -> None:
    assert migrations.version(db) == 0
    changes = migrations.ensure(db)
    assert "collection alarms" in changes
    assert "index alarms.one_open" in changes
    assert migrations.version(db) == migrations.VERSION
    assert migrations.ensure(db) == []


def test_every_collection_and_index_is_there(db: Store) -> None:
    migrations.ensure(db)
    assert set(migrations.COLLECTIONS) <= set(db.list_collection_names())
    for name, indexes in migrations.COLLECTIONS.items():
        there = db[name].index_information()
        assert {index.document["name"] for index in indexes} <= set(there)


def test_one_open_alarm_is_an_invariant_of_the_database(db: Store) -> None:
    migrations.ensure(db)
    index = db.alarms.index_information()["one_open"]
    assert (index["unique"], index["partialFilterExpression"], index["key"]) == (
        True,
        {"open": True},
        [("entity_id", 1)],
    )


def test_times_to_live(db: Store) -> None:
    migrations.ensure(db, Retention(events=100, metrics_hourly=300, dead_letters=400))
    found = {name: expiry(db, name) for name in ("event_log", "metrics_hourly", "dead_letters")}
    assert found == {"event_log": 100, "metrics_hourly": 300, "dead_letters": 400}
    assert db.sessions.index_information()["expiry"]["expireAfterSeconds"] == 0


def test_a_time_to_live_can_be_changed(db: Store) -> None:
    migrations.ensure(db)
    assert migrations.ensure(db, Retention(events=60)) == ["index event_log.time_to_live keeps 60 s"]
    assert expiry(db, "event_log") == 60
    assert migrations.ensure(db, Retention(events=60)) == []


def test_documents_over_their_time_go(db: Store) -> None:
    migrations.ensure(db, Retention(events=0))
    log(db, [made("old", 1e9, component="c")], time.time())
    eventually(lambda: db.event_log.count_documents({}) == 0)


def test_an_index_with_another_key_is_made_anew(db: Store) -> None:
    db.alarms.create_index([("entity_id", -1)], name="by_entity")
    assert "index alarms.by_entity" in migrations.ensure(db)
    assert db.alarms.index_information()["by_entity"]["key"] == [("entity_id", 1), ("created", 1), ("_id", 1)]


def test_a_missing_index_is_made_again(db: Store) -> None:
    migrations.ensure(db)
    db.alarms.drop_index("one_open")
    assert migrations.ensure(db) == ["index alarms.one_open"]


def test_many_at_once(db: Store, mongodb: MongoDB) -> None:
    results: list[list[str]] = []

    def run() -> None:
        with MongoClient("127.0.0.1", mongodb.port, replicaSet="canopsis") as client:
            results.append(migrations.ensure(client[db.name]))

    threads = [threading.Thread(target=run) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(results) == 6
    assert sorted(bool(changes) for changes in results) == [False] * 5 + [True], "exactly one did the work"


def test_a_living_process_is_waited_for(db: Store) -> None:
    assert leases.take(db, "migration", "another", 60)
    with pytest.raises(StoreError, match="another process has been migrating"):
        migrations.ensure(db, wait=0.5)
    leases.release(db, "migration", "another")
    assert migrations.ensure(db, wait=0.5)


def test_a_dead_process_does_not_hold_the_lock_for_ever(db: Store) -> None:
    assert leases.take(db, "migration", "dead", 1.0)
    assert migrations.ensure(db, wait=20.0)


def test_the_lock_is_kept_while_a_step_is_slow(db: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(migrations, "_LEASE_SECONDS", 6.0)
    inside, leave = threading.Event(), threading.Event()

    def slow(_db: Store) -> None:
        inside.set()
        leave.wait(120)

    migrations.ensure(db)
    monkeypatch.setattr(migrations, "STEPS", ((NEXT, "wait", slow),))
    monkeypatch.setattr(migrations, "VERSION", NEXT)
    thread = threading.Thread(target=migrations.ensure, args=(db,))
    thread.start()
    try:
        assert inside.wait(60)
        first = held_until(db)
        eventually(lambda: held_until(db) > first)
        with pytest.raises(StoreError):
            migrations.ensure(db, wait=0.1)
    finally:
        leave.set()
        thread.join()
    assert migrations.ensure(db) == []


def held_until(db: Store) -> datetime:
    """Return when the lock ends by itself."""
    found = db.leases.find_one({"_id": "migration"})
    assert found is not None
    until: datetime = found["until"]
    return until


def test_steps_run_once_in_order_on_an_old_database(db: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    migrations.ensure(db)
    ran: list[int] = []
    steps = tuple(
        (number, f"step {number}", lambda _db, number=number: ran.append(number)) for number in (NEXT, NEXT + 1)
    )
    monkeypatch.setattr(migrations, "STEPS", steps)
    monkeypatch.setattr(migrations, "VERSION", NEXT + 1)
    told = [f"step {number}: step {number}" for number in (NEXT, NEXT + 1)]
    assert migrations.ensure(db) == [*told, f"version {NEXT + 1}"]
    assert migrations.ensure(db) == []
    assert ran == [NEXT, NEXT + 1]


def test_open_alarms_of_an_older_release_are_timed_and_a_step_cut_off_goes_on(db: Store) -> None:
    migrations.ensure(db)
    db.meta.update_one({"_id": "schema"}, {"$set": {"version": 2}})
    old: dict[str, dict[str, object]] = {
        "ok": {"state": 0},
        "cancelled": {"state": 2, "cancel": {"t": 5.0}},
        "burning": {"state": 2, "cancel": None},
        "resolved": {"state": 0, "open": False},
        "done": {"state": 0, "wake_at": 90.0},
    }
    for name, fields in old.items():
        db.alarms.insert_one({"_id": name, "entity_id": name, "open": True, "updated": 7.0} | fields)
    assert "step 3: open alarms say when they are to be looked at" in migrations.ensure(db)
    found = {document["_id"]: document.get("wake_at") for document in db.alarms.find()}
    assert found == {"ok": 7.0, "cancelled": 7.0, "burning": None, "resolved": None, "done": 90.0}


@pytest.mark.parametrize(("version", "name"), [(3, "by_last_event"), (4, "by_state")])
def test_an_index_that_events_moved_goes(db: Store, version: int, name: str) -> None:
    migrations.ensure(db)
    db.meta.update_one({"_id": "schema"}, {"$set": {"version": version}})
    db.alarms.create_index([("open", 1), (name.removeprefix("by_"), -1)], name=name)
    assert "step 5: alarms have no index that events move" in migrations.ensure(db)
    assert name not in db.alarms.index_information()
    assert migrations.ensure(db) == []


def test_a_new_database_needs_no_steps(db: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    never = (NEXT, "no", lambda _db: pytest.fail("a new database has the new shape"))
    monkeypatch.setattr(migrations, "STEPS", (never,))
    monkeypatch.setattr(migrations, "VERSION", NEXT)
    assert f"version {NEXT}" in migrations.ensure(db)


def test_a_step_that_fails_is_done_again(db: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    migrations.ensure(db)
    tries: list[int] = []

    def step(_db: Store) -> None:
        tries.append(1)
        if len(tries) == 1:
            raise StoreError("gone")

    monkeypatch.setattr(migrations, "STEPS", ((NEXT, "shaky", step),))
    monkeypatch.setattr(migrations, "VERSION", NEXT)
    with pytest.raises(StoreError):
        migrations.ensure(db)
    assert migrations.version(db) == NEXT - 1
    assert migrations.ensure(db, wait=1.0) == [f"step {NEXT}: shaky", f"version {NEXT}"]


def test_a_database_of_a_newer_release_is_refused(db: Store) -> None:
    migrations.ensure(db)
    db.meta.update_one({"_id": "schema"}, {"$set": {"version": 99}})
    with pytest.raises(SiteError, match=r"version 99.*newer release"):
        migrations.ensure(db)
    assert migrations.version(db) == 99
