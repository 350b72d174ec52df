"""A database that answers, and cannot now: what it is asked for an event is not the event's fault."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest
from servers import MongoDB

from canopsis.errors import StoreError
from canopsis.runtime.health import Health
from canopsis.runtime.safe import SafeStore
from canopsis.store import alarms
from canopsis.store.client import Store, store_errors
from canopsis.store.operations import Delete, Insert, Upsert

KEY_NOT_FOUND, INTERRUPTED = 211, 11601
"""What a mongod with passwords says a moment after its start; what one says whose operation was ended."""


@pytest.fixture(scope="module")
def failing(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    """A database that can be told to fail."""
    server = MongoDB(tmp_path_factory.mktemp("failing"), parameters=("enableTestCommands=1",))
    with server.running(), server.database("failing") as db:
        yield db


def fail(db: Store, code: int, times: int, *commands: str) -> None:
    """Have the next ``times`` of ``commands`` answered with ``code``."""
    data = {"failCommands": list(commands), "errorCode": code}
    db.client.admin.command({"configureFailPoint": "failCommand", "mode": {"times": times}, "data": data})


@pytest.mark.parametrize("code", [KEY_NOT_FOUND, INTERRUPTED])
def test_a_write_waits_until_the_database_can(failing: Store, code: int) -> None:
    said, name = Health(), f"c{code}"
    store = SafeStore(failing, threading.Event(), said)
    waits: list[str] = []
    fail(failing, code, 4, "insert", "update", "delete", "ping")
    writes = {name: [Insert({"_id": "i"}), Upsert("u", {"$set": {"a": 1}}), Delete("i")]}
    assert store.write(writes, lambda: waits.append(said.state)) == []
    store.close()
    assert [each["_id"] for each in failing[name].find()] == ["u"]
    assert waits
    assert f"'code': {code}" in waits[0]


def test_a_read_says_that_it_may_be_tried_again(failing: Store) -> None:
    fail(failing, KEY_NOT_FOUND, 1, "find")
    with pytest.raises(StoreError, match="cannot now"), store_errors("reading alarms"):
        list(failing[alarms.COLLECTION].find())
    with store_errors("reading alarms"):
        assert list(failing[alarms.COLLECTION].find()) == []
