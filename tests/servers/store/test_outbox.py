"""The outbox over a real database: claimed by one, in order for each alarm, settled by who made the newest attempt."""

from __future__ import annotations

from typing import Any

from canopsis.store import migrations, notifications
from canopsis.store.client import Store
from canopsis.store.notifications import Claimed, NotificationQuery
from canopsis.store.query import Paging

NOW = 1_800_000_000.0


def put(db: Store, event: str, alarm: str = "a", rule: str = "r", at: float = NOW) -> str:
    alert = {"alarm_id": alarm, "entity_id": f"component:{alarm}", "event_id": event, "n": event}
    write = notifications.waiting(rule, alert, ["opened"], at)
    notifications.add(db, write)
    return str(write.document["_id"])


def claim(db: Store, now: float = NOW + 1, rule: str = "r") -> Claimed:
    found = notifications.claim(db, rule, now, 60.0, set())
    assert found is not None
    return found


def stored(db: Store, key: str) -> dict[str, Any]:
    found = notifications.get(db, key)
    assert found is not None
    return found


def test_one_is_claimed_once_until_its_time_is_over(db: Store) -> None:
    key = put(db, "e1")
    first = claim(db)
    assert (first.id, first.attempts, first.alert["n"]) == (key, 1, "e1")
    assert notifications.claim(db, "r", NOW + 2, 60.0, set()) is None
    second = claim(db, NOW + 62)
    assert (second.id, second.attempts) == (key, 2)
    assert not notifications.sent(db, first, "late")
    assert notifications.sent(db, second, "200 OK")
    assert stored(db, key)["receipt"] == "200 OK"
    assert notifications.claim(db, "r", NOW + 1000, 60.0, set()) is None


def test_what_happened_to_an_alarm_later_is_told_later(db: Store) -> None:
    first, other, second = put(db, "e1"), put(db, "x1", "b", at=NOW + 1e-6), put(db, "e2", at=NOW + 2e-6)
    assert notifications.again(db, claim(db), "503", NOW + 30)
    free = claim(db)
    assert free.id == other
    assert notifications.sent(db, free, "ok")
    assert notifications.claim(db, "r", NOW + 2, 60.0, set()) is None
    assert notifications.claim(db, "r", NOW + 29, 60.0, set()) is None
    again = claim(db, NOW + 31)
    assert again.id == first
    assert notifications.claim(db, "r", NOW + 31, 60.0, set()) is None
    assert notifications.sent(db, again, "ok")
    assert claim(db, NOW + 32).id == second


def test_rules_that_have_something_due(db: Store) -> None:
    put(db, "e1", rule="late", at=NOW + 5)
    put(db, "e2", "b", at=NOW + 1)
    put(db, "e3", "c")
    put(db, "e4", "d", rule="first", at=NOW - 1)
    assert notifications.due_rules(db, NOW + 2, ()) == ["first", "r"]
    assert notifications.due_rules(db, NOW + 2, {"first"}) == ["r"]
    assert notifications.told(db, ["a", "b"]) == {("a", "late"), ("b", "r")}


def test_what_is_looked_for_reads_no_more_than_what_is_found(db: Store) -> None:
    migrations.ensure(db)
    for number in range(50):
        put(db, f"e{number}", at=NOW + number * 1e-6)
        assert notifications.sent(db, claim(db), "ok")
    put(db, "last", at=NOW + 1)

    def examined(condition: dict[str, Any]) -> tuple[int, int]:
        told = db[notifications.COLLECTION].find(condition).limit(1).explain()["executionStats"]
        return told["totalKeysExamined"], told["totalDocsExamined"]

    due: dict[str, Any] = {"rule": "r", "wake_at": {"$gt": 0, "$lte": NOW}}
    assert max(examined(due)) <= 1
    first: dict[str, Any] = {"alarm_id": "a", "rule": "r", "wake_at": {"$gt": 0}}
    assert max(examined(first)) <= 1
    assert notifications.told(db, ["a"]) == {("a", "r")}


def test_one_that_failed_is_tried_as_if_it_were_new(db: Store) -> None:
    key = put(db, "e1")
    assert not notifications.retry(db, key, "ann", NOW)
    assert notifications.failed(db, claim(db), "400")
    found = stored(db, key)
    assert (found["state"], found["reason"], "wake_at" in found) == ("failed", "400", False)
    assert notifications.listing(db, NotificationQuery(state="failed", paging=Paging())).total == 1
    assert notifications.retry(db, key, "ann", NOW + 500)
    again = claim(db, NOW + 501)
    assert (again.attempts, again.queued, stored(db, key)["retried_by"]) == (1, NOW + 500, "ann")
