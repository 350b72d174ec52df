"""Writing to a real MongoDB: repeats, guards, loss of the server, bad documents."""

from __future__ import annotations

import threading
from dataclasses import replace
from typing import Any

import pytest
from bson.errors import InvalidDocument
from pymongo.errors import BulkWriteError, DocumentTooLarge, OperationFailure
from servers import MongoDB, eventually

from canopsis.errors import Fenced, StoreError
from canopsis.runtime import safe
from canopsis.store import migrations
from canopsis.store.client import Store, opened, ping
from canopsis.store.operations import Delete, Document, Guarded, Insert, Operation, Upsert
from canopsis.store.write import Written, apply


def alarm(number: int, entity: str | None = None, **fields: Any) -> Document:
    return {
        "_id": f"a{number}",
        "rev": 1,
        "open": True,
        "entity_id": entity or f"component:h{number}",
        "steps": [],
    } | fields


def inserts(*documents: Document) -> dict[str, list[Operation]]:
    return {"alarms": [Insert(document, guarded=True) for document in documents]}


def test_inserts_and_repeats(store: Store) -> None:
    batch = inserts(*(alarm(number) for number in range(500)))
    assert apply(store, batch) == Written(inserted=500)
    assert apply(store, batch) == Written(repeated=500)
    assert apply(store, inserts(alarm(499), alarm(500))) == Written(inserted=1, repeated=1)
    assert store.alarms.count_documents({}) == 501


def test_a_repeat_does_not_overwrite(store: Store) -> None:
    apply(store, inserts(alarm(1, state=2)))
    apply(store, inserts(alarm(1, state=0)))
    assert store.alarms.find_one({"_id": "a1"})["state"] == 2


def test_guarded_update(store: Store) -> None:
    apply(store, inserts(alarm(1)))
    done = apply(store, {"alarms": [Guarded("a1", 1, {"$set": {"state": 3}, "$push": {"steps": "s"}})]})
    assert done == Written(updated=1)
    assert store.alarms.find_one() == alarm(1, rev=2, state=3, steps=["s"])


def test_guard_that_misses_is_fenced_and_changes_nothing(store: Store) -> None:
    apply(store, inserts(alarm(1, rev=7), alarm(2)))
    changes: list[Operation] = [Guarded("a1", 6, {"$set": {"state": 3}}), Guarded("a2", 1, {"$set": {"state": 3}})]
    with pytest.raises(Fenced, match="1 of 2"):
        apply(store, {"alarms": changes})
    assert store.alarms.find_one({"_id": "a1"}) == alarm(1, rev=7)


def test_guard_of_a_document_that_is_gone(store: Store) -> None:
    with pytest.raises(Fenced):
        apply(store, {"alarms": [Guarded("a1", 1, {"$set": {"state": 3}})]})
    assert store.alarms.count_documents({}) == 0


def test_guarded_and_upserts_count_together(store: Store) -> None:
    apply(store, inserts(alarm(1)))
    batch: list[Operation] = [Guarded("a1", 1, {"$set": {"x": 1}}), Upsert("a2", {"$set": {"x": 2}})]
    assert apply(store, {"alarms": batch}) == Written(inserted=1, updated=1)
    with pytest.raises(Fenced, match="1 of 1"):
        apply(store, {"alarms": batch})


def test_second_open_alarm_of_an_entity_is_fenced(store: Store) -> None:
    apply(store, inserts(alarm(1, "component:h")))
    with pytest.raises(Fenced, match="component:h"):
        apply(store, inserts(alarm(2, "component:h"), alarm(3)))
    assert store.alarms.count_documents({"entity_id": "component:h"}) == 1


def test_resolved_alarms_of_an_entity_may_be_many(store: Store) -> None:
    closed = [alarm(number, "component:h", open=False) for number in range(3)]
    assert apply(store, inserts(*closed, alarm(9, "component:h"))) == Written(inserted=4)


def test_one_batch_closes_an_alarm_and_opens_the_next(store: Store) -> None:
    apply(store, inserts(alarm(1, "component:h")))
    batch: list[Operation] = [
        Insert(alarm(2, "component:h"), guarded=True),
        Guarded("a1", 1, {"$set": {"open": False}}),
    ]
    assert apply(store, {"alarms": batch}) == Written(inserted=1, updated=1)


def test_upsert_twice_is_the_same(store: Store) -> None:
    change = {"entities": [Upsert("component:h", {"$set": {"name": "h"}, "$addToSet": {"connectors": "c/n"}})]}
    assert apply(store, change) == Written(inserted=1)
    assert apply(store, change) == Written(updated=1)
    assert store.entities.find_one() == {"_id": "component:h", "name": "h", "connectors": ["c/n"]}


def test_delete_of_what_is_gone(store: Store) -> None:
    apply(store, inserts(alarm(1)))
    assert apply(store, {"alarms": [Delete("a1"), Delete("a2")]}) == Written(deleted=1)


def test_collections_are_written_in_order(watched: tuple[Store, Any]) -> None:
    store, commands = watched
    apply(store, {"events": [Insert({"_id": 1})], "alarms": [], "metrics": [Insert({"_id": 2})]})
    assert [(command["command"], command[command["command"]]) for command in commands.sent] == [
        ("insert", "events"),
        ("insert", "metrics"),
    ]


def test_a_batch_is_one_command_a_kind(watched: tuple[Store, Any]) -> None:
    store, commands = watched
    apply(store, inserts(*(alarm(number) for number in range(1000))))
    apply(store, {"alarms": [Guarded(f"a{number}", 1, {"$set": {"x": 1}}) for number in range(1000)]})
    assert commands.names() == ["insert", "update"]
    assert all(command["ordered"] is False for command in commands.sent)
    assert all(command["writeConcern"]["w"] == "majority" for command in commands.sent if "writeConcern" in command)


@pytest.mark.parametrize(
    ("bad", "error"),
    [
        ({"_id": 1, "x": 2**70}, OverflowError),
        ({"_id": 1, "x": object()}, InvalidDocument),
        ({"_id": 1, "x": "y" * (17 << 20)}, (DocumentTooLarge, BulkWriteError, OperationFailure)),
    ],
)
def test_a_bad_document_is_not_a_store_error(store: Store, bad: Document, error: type[Exception]) -> None:
    """The caller isolates it: a StoreError would be tried again for ever."""
    with pytest.raises(error) as caught:
        apply(store, {"events": [Insert({"_id": 0}), Insert(bad)]})
    assert not isinstance(caught.value, StoreError)


def test_a_bad_update_is_not_a_store_error(store: Store) -> None:
    apply(store, inserts(alarm(1, state="text")))
    with pytest.raises(BulkWriteError):
        apply(store, {"alarms": [Guarded("a1", 1, {"$inc": {"state": 1}})]})


def test_names_with_dots_dollars_and_spaces(store: Store) -> None:
    document = {"_id": 1, "v": {"a.b": 1.0, "$c": 2.0, "d e": 3.0, "": 4.0}}
    apply(store, {"metrics": [Insert(document)]})
    assert store.metrics.find_one() == document


def test_no_server_is_a_store_error() -> None:
    nobody = MongoDB(folder=None)  # type: ignore[arg-type]
    settings = replace(nobody.settings(), selection_timeout=0.5, timeout=1.0)
    with opened(settings) as db:
        with pytest.raises(StoreError, match="does not answer"):
            ping(db)
        with pytest.raises(StoreError, match="writing events"):
            apply(db, {"events": [Insert({"_id": 1})]})


def test_a_frozen_server_is_a_store_error_in_time(mongodb: MongoDB, store: Store) -> None:
    with opened(replace(mongodb.settings(), timeout=5.0)) as db:
        ping(db)
        with mongodb.frozen(), pytest.raises(StoreError):
            apply(db.client[store.name], {"events": [Insert({"_id": 1})]})


def test_a_killed_server_loses_nothing_that_was_written(mortal: MongoDB, mortal_store: Store) -> None:
    """Writes go on by trying again; what apply returned for is there, and once."""
    written: list[int] = []
    failures: list[str] = []
    stop = threading.Event()

    def write() -> None:
        number = 0
        with opened(mortal.settings()) as db:
            mine = db.client[mortal_store.name]
            while not stop.is_set():
                batch: list[Operation] = [Insert({"_id": each}) for each in range(number, number + 100)]
                try:
                    apply(mine, {"events": batch})
                except StoreError as error:
                    failures.append(str(error))
                    continue
                written.extend(range(number, number + 100))
                number += 100

    thread = threading.Thread(target=write)
    thread.start()
    try:
        for _ in range(2):
            before = len(written)
            eventually(lambda: len(written) > before + 500)  # noqa: B023 - called at once
            mortal.kill()
            eventually(lambda: failures)
            mortal.start()
        before = len(written)
        eventually(lambda: len(written) > before + 500)
    finally:
        stop.set()
        thread.join()
    found = {document["_id"] for document in mortal_store.events.find({}, {"_id": 1})}
    assert set(written) <= found


def test_guarded_writes_over_a_killed_server_count_once(mortal: MongoDB, mortal_store: Store) -> None:
    """A write whose answer was lost is found done (fenced), never done twice."""
    apply(mortal_store, inserts(alarm(1, n=0)))
    stop, failures = threading.Event(), []

    def count() -> None:
        with opened(mortal.settings()) as db:
            mine = db.client[mortal_store.name]
            while not stop.is_set():
                try:
                    found = mine.alarms.find_one({"_id": "a1"})
                    if found is not None:
                        rev = found["rev"]
                        apply(mine, {"alarms": [Guarded("a1", rev, {"$inc": {"n": 1}, "$push": {"steps": rev}})]})
                except Exception as error:  # noqa: BLE001 - the reading may fail in any way here
                    failures.append(str(error))

    thread = threading.Thread(target=count)
    thread.start()
    try:
        eventually(lambda: (mortal_store.alarms.find_one({"_id": "a1"}) or {}).get("n", 0) > 50)
        mortal.kill()
        eventually(lambda: failures)
        mortal.start()
        before = mortal_store.alarms.find_one({"_id": "a1"})["n"]
        eventually(lambda: mortal_store.alarms.find_one({"_id": "a1"})["n"] > before + 50)
    finally:
        stop.set()
        thread.join()
    found = mortal_store.alarms.find_one({"_id": "a1"})
    assert found["steps"] == list(range(1, found["n"] + 1))
    assert found["rev"] == found["n"] + 1


def test_the_shape_survives_a_kill(mortal: MongoDB, mortal_store: Store) -> None:
    mortal.kill()
    mortal.start()
    assert migrations.ensure(mortal_store) == []


def test_d8_what_the_server_refuses_is_logged_with_its_reason_and_without_documents(
    store: Store, caplog: pytest.LogCaptureFixture
) -> None:
    store.command("collMod", "entities", validator={"n": {"$lt": 1}})
    documents: list[Operation] = [Insert({"_id": f"e{n}", "n": n, "text": "x" * 100_000}) for n in range(26)]
    bad = safe.apply_each(store, {"entities": documents})
    assert len(bad) == 25
    for reason in (caplog.text, bad[0][1].reason):
        assert "Document failed validation" in reason
        assert len(reason) < 1000
