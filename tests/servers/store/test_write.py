"""Writing to a real MongoDB: repeats, guards, loss of the server, bad documents."""

from __future__ import annotations

import threading
from dataclasses import replace
from typing import Any
from uuid import uuid4

import pytest
from bson.errors import InvalidDocument
from pymongo.errors import BulkWriteError, DocumentTooLarge, OperationFailure
from servers import MongoDB, eventually

from canopsis.errors import Fenced, StoreError
from canopsis.runtime import safe
from canopsis.store import fences, migrations
from canopsis.store.client import Store, opened, ping
from canopsis.store.fences import Claim
from canopsis.store.operations import Delete, Document, Guarded, Insert, Operation, Upsert
from canopsis.store.write import Written, apply, apply_guarded


def alarm(number: int, entity: str | None = None, **fields: Any) -> Document:
    return {
        "_id": f"a{number}",
        "rev": 1,
        "open": True,
        "entity_id": entity or f"component:h{number}",
        "steps": [],
    } | fields


def inserts(*documents: Document) -> dict[str, list[Operation]]:
    return {"alarms": [Insert(document) for document in documents]}


MINE = Claim(uuid4().hex, ("worker:01", "worker:02"))


@pytest.fixture
def claim(store: Store) -> Claim:
    """Two fences, taken."""
    fences.take(store, MINE)
    return MINE


def opened_alarm(document: Document) -> Insert:
    return Insert(document, guarded=True)


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


def test_guarded_update(store: Store, claim: Claim) -> None:
    apply(store, inserts(alarm(1)))
    apply_guarded(store, {"alarms": [Guarded("a1", {"$set": {"state": 3}, "$push": {"steps": "s"}})]}, claim)
    assert store.alarms.find_one() == alarm(1, rev=2, state=3, steps=["s"])


def test_who_lost_a_fence_writes_nothing_at_all(store: Store, claim: Claim) -> None:
    apply(store, inserts(alarm(1)))
    fences.take(store, Claim(uuid4().hex, claim.names[1:]))
    writes: dict[str, list[Operation]] = {"alarms": [Guarded("a1", {"$set": {"state": 3}}), opened_alarm(alarm(2))]}
    with pytest.raises(Fenced, match=r"1 of worker:01, worker:02"):
        apply_guarded(store, writes, claim)
    assert list(store.alarms.find()) == [alarm(1)]


def test_a_fence_that_is_taken_in_the_middle_of_a_transaction_wins(store: Store, claim: Claim) -> None:
    """It is frozen after its fence was found to be its own, and before it writes."""
    apply(store, inserts(alarm(1)))
    taking: list[threading.Thread] = []

    class Slow(dict[str, Any]):
        def get(self, name: str, default: Any = None) -> Any:
            taking.append(threading.Thread(target=fences.take, args=(store, Claim(uuid4().hex, claim.names))))
            taking[0].start()
            return super().get(name, default)

    apply_guarded(store, {"alarms": [Guarded("a1", Slow({"$set": {"state": 3}}))]}, claim)
    taking[0].join()
    assert store.alarms.find_one() == alarm(1, rev=2, state=3), "the other one takes it after that, and reads this"
    with pytest.raises(Fenced):
        apply_guarded(store, {"alarms": [Guarded("a1", {"$set": {"state": 1}})]}, claim)


def test_a_holder_that_was_killed_in_the_middle_of_a_transaction_is_not_waited_for(store: Store) -> None:
    dead, another = (replace(fences.new_holder(store), names=MINE.names) for _ in range(2))
    fences.take(store, dead)
    apply(store, inserts(alarm(1)))
    assert dead.session is not None
    dead.session.start_transaction()
    fences.hold(store, dead, dead.session)
    store.alarms.update_one({"_id": "a1"}, {"$set": {"state": 3}}, session=dead.session)
    fences.take(store, another)
    apply_guarded(store, {"alarms": [Guarded("a1", {"$set": {"state": 1}})]}, another)
    with pytest.raises(OperationFailure, match="aborted"):
        dead.session.commit_transaction()
    assert store.alarms.find_one() == alarm(1, rev=2, state=1)


def test_guard_of_a_document_that_is_gone(store: Store, claim: Claim) -> None:
    with pytest.raises(Fenced, match="1 of 1"):
        apply_guarded(store, {"alarms": [Guarded("a1", {"$set": {"state": 3}})]}, claim)
    assert store.alarms.count_documents({}) == 0


def test_second_open_alarm_of_an_entity_is_fenced(store: Store, claim: Claim) -> None:
    apply(store, inserts(alarm(1, "component:h")))
    with pytest.raises(Fenced, match="component:h"):
        apply_guarded(store, {"alarms": [opened_alarm(alarm(2, "component:h")), opened_alarm(alarm(3))]}, claim)
    assert [found["_id"] for found in store.alarms.find()] == ["a1"]


def test_resolved_alarms_of_an_entity_may_be_many(store: Store) -> None:
    closed = [alarm(number, "component:h", open=False) for number in range(3)]
    assert apply(store, inserts(*closed, alarm(9, "component:h"))) == Written(inserted=4)


def test_one_batch_closes_an_alarm_and_opens_the_next(store: Store, claim: Claim) -> None:
    apply(store, inserts(alarm(1, "component:h")))
    batch: list[Operation] = [opened_alarm(alarm(2, "component:h")), Guarded("a1", {"$set": {"open": False}})]
    apply_guarded(store, {"alarms": batch}, claim)
    assert [(found["_id"], found["open"]) for found in store.alarms.find()] == [("a1", False), ("a2", True)]


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
    fences.take(store, MINE)
    commands.sent.clear()
    apply(store, inserts(*(alarm(number) for number in range(1000))))
    apply_guarded(store, {"alarms": [Guarded(f"a{number}", {"$set": {"x": 1}}) for number in range(1000)]}, MINE)
    assert commands.names() == ["insert", "update", "update", "commitTransaction"]
    assert [command["update"] for command in commands.sent[1:3]] == ["fences", "alarms"]
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


def test_a_bad_update_is_not_a_store_error(store: Store, claim: Claim) -> None:
    apply(store, inserts(alarm(1, state="text"), alarm(2)))
    writes: dict[str, list[Operation]] = {
        "alarms": [Guarded("a2", {"$set": {"x": 1}}), Guarded("a1", {"$inc": {"state": 1}})]
    }
    with pytest.raises(BulkWriteError):
        apply_guarded(store, writes, claim)
    assert "x" not in store.alarms.find_one({"_id": "a2"})


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


def test_guarded_writes_over_a_killed_server_are_done_whole_or_not_at_all(mortal: MongoDB, mortal_store: Store) -> None:
    apply(mortal_store, inserts(alarm(1, n=0), alarm(2, n=0)))
    fences.take(mortal_store, MINE)
    stop, failures = threading.Event(), []
    both = ("a1", "a2")

    def count() -> None:
        with opened(mortal.settings()) as db:
            mine = db.client[mortal_store.name]
            while not stop.is_set():
                try:
                    changes = {"alarms": [Guarded(each, {"$inc": {"n": 1}}) for each in both]}
                    apply_guarded(mine, changes, MINE)  # type: ignore[arg-type]
                except StoreError as error:
                    failures.append(str(error))

    def counted() -> int:
        return int((mortal_store.alarms.find_one({"_id": "a1"}) or {}).get("n", 0))

    thread = threading.Thread(target=count)
    thread.start()
    try:
        eventually(lambda: counted() > 50)
        mortal.kill()
        eventually(lambda: failures)
        mortal.start()
        before = counted()
        eventually(lambda: counted() > before + 50)
    finally:
        stop.set()
        thread.join()
    found = list(mortal_store.alarms.find())
    assert [each["rev"] for each in found] == [each["n"] + 1 for each in found]
    assert found[0]["n"] == found[1]["n"]


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
