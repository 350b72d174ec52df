"""Users, sessions and leases on a real MongoDB; the clock is the server's."""

from __future__ import annotations

import threading
from datetime import UTC, datetime, timedelta

import msgspec
import pytest
from pymongo import MongoClient
from servers import MongoDB, eventually

from canopsis.errors import InputError
from canopsis.store import dead_letters, leases, sessions, users
from canopsis.store.client import Store, ping
from canopsis.store.users import AuthKey, User

ANN = User(
    name="ann", role="operator", password="$argon2id$x", authkeys=[AuthKey("site", "aa11"), AuthKey("ci", "bb22")]
)


def test_users_come_back_as_they_were(store: Store) -> None:
    assert users.save(store, ANN)
    assert users.get(store, "ann") == ANN
    assert users.get(store, "bob") is None


def test_saving_the_same_user_changes_nothing(store: Store) -> None:
    assert users.save(store, ANN)
    assert not users.save(store, ANN)
    assert users.save(store, msgspec.structs.replace(ANN, enabled=False))
    found = users.get(store, "ann")
    assert found is not None
    assert not found.enabled


def test_users_by_key(store: Store) -> None:
    users.save(store, ANN)
    users.save(store, User(name="bob"))
    assert users.by_key(store, "bb22") == ANN
    assert users.by_key(store, "cc33") is None
    assert users.by_key(store, "") is None


def test_a_key_belongs_to_one_user(store: Store) -> None:
    users.save(store, ANN)
    with pytest.raises(InputError, match="authkeys"):
        users.save(store, User(name="bob", authkeys=[AuthKey("stolen", "aa11")]))
    assert users.get(store, "bob") is None


def test_users_without_keys_may_be_many(store: Store) -> None:
    for name in ("c", "a", "b"):
        assert users.save(store, User(name=name))
    assert [user.name for user in users.listing(store)] == ["a", "b", "c"]


def test_delete_a_user(store: Store) -> None:
    users.save(store, ANN)
    assert users.delete(store, "ann")
    assert not users.delete(store, "ann")
    assert users.listing(store) == []


def test_a_session_and_its_facts(store: Store) -> None:
    sessions.create(store, "t1", "ann", 60, csrf="x", strange="$user")
    found = sessions.find(store, "t1")
    assert found is not None
    assert (found["user"], found["csrf"], found["strange"]) == ("ann", "x", "$user")
    assert found["expires"] - found["created"] == timedelta(seconds=60)
    assert sessions.find(store, "t2") is None


def test_a_session_that_is_over_is_not_found(store: Store) -> None:
    sessions.create(store, "t1", "ann", -1)
    assert sessions.find(store, "t1") is None
    assert sessions.prolong(store, "t1", 60) is None
    sessions.create(store, "t2", "ann", 0.3)
    eventually(lambda: sessions.find(store, "t2") is None, 5.0)


def test_a_session_is_prolonged(store: Store) -> None:
    sessions.create(store, "t1", "ann", 10)
    until = sessions.prolong(store, "t1", 1000)
    assert until is not None
    assert until - datetime.now(UTC) > timedelta(seconds=900)
    found = sessions.find(store, "t1")
    assert found is not None
    assert found["expires"] == until


def test_sessions_end(store: Store) -> None:
    for token, user in (("t1", "ann"), ("t2", "ann"), ("t3", "bob")):
        sessions.create(store, token, user, 60)
    assert sessions.delete(store, "t1")
    assert not sessions.delete(store, "t1")
    assert sessions.delete_of(store, "ann") == 1
    assert sessions.find(store, "t3") is not None


def test_sessions_over_their_time_are_deleted(store: Store) -> None:
    sessions.create(store, "t1", "ann", -1)
    eventually(lambda: store.sessions.count_documents({}) == 0)


def test_instances(store: Store) -> None:
    leases.announce(store, "worker", "h1", 1, {"pid": 7, "partitions": [0, 1], "note": "$x"})
    leases.announce(store, "cleaner", "h1", 1, {"pid": 8})
    found = leases.instances(store, max_age=60)
    assert [instance["_id"] for instance in found] == ["instance:cleaner:h1:1", "instance:worker:h1:1"]
    (worker,) = leases.instances(store, 60, "worker")
    assert (worker["pid"], worker["partitions"], worker["note"], worker["n"]) == (7, [0, 1], "$x", 1)
    assert 0 <= worker["age"] < 60


def test_an_announcement_replaces_the_earlier_one(store: Store) -> None:
    leases.announce(store, "worker", "h1", 1, {"old": 1})
    leases.announce(store, "worker", "h1", 1, {"new": 2})
    (found,) = leases.instances(store, 60)
    assert found["new"] == 2
    assert "old" not in found


def test_silent_instances(store: Store) -> None:
    leases.announce(store, "worker", "h1", 1, {})
    leases.announce(store, "worker", "h2", 1, {})
    store.leases.update_one({"_id": "instance:worker:h1:1"}, {"$set": {"seen": datetime.now(UTC) - timedelta(hours=1)}})
    assert [found["host"] for found in leases.instances(store, 60)] == ["h2"]
    assert len(leases.all_instances(store)) == 2
    assert leases.forget_dead(store, 60) == 1
    assert leases.forget_dead(store, 60) == 0
    leases.withdraw(store, "worker", "h2", 1)
    assert leases.all_instances(store) == []


def test_a1_starts_are_counted_until_an_orderly_end(store: Store) -> None:
    for expected in (1, 2, 3):
        leases.begin(store, "worker", "h1", 1)
        leases.announce(store, "worker", "h1", 1, {"pid": expected})
        (found,) = leases.all_instances(store)
        assert len(found["starts"]) == expected
        assert all(0 <= seconds < 60 for seconds in found["starts"])
    leases.withdraw(store, "worker", "h1", 1)
    leases.begin(store, "worker", "h1", 1)
    assert len(leases.all_instances(store)[0]["starts"]) == 1
    for _ in range(leases.STARTS_KEPT + 2):
        leases.begin(store, "worker", "h1", 1)
    assert len(leases.all_instances(store)[0]["starts"]) == leases.STARTS_KEPT


def test_a1_an_instance_that_ended_by_an_error_is_seen_and_not_counted_on(store: Store) -> None:
    leases.begin(store, "worker", "h1", 1)
    leases.announce(store, "worker", "h1", 1, {"partitions": [0, 1]})
    leases.fail(store, "worker", "h1", 1, "ValueError: $year")
    assert leases.instances(store, 60) == []
    (found,) = leases.all_instances(store)
    assert (found["ended"], found["error"], found["partitions"]) == (True, "ValueError: $year", [])
    leases.begin(store, "worker", "h1", 1)
    leases.announce(store, "worker", "h1", 1, {})
    (found,) = leases.instances(store, 60)
    assert found["error"] == "ValueError: $year", "what ended it the last time stays to be told"


def test_a6_a_host_that_will_not_come_back(store: Store) -> None:
    leases.announce(store, "worker", "h1", 1, {})
    leases.announce(store, "worker", "h2", 1, {})
    assert leases.forget_host(store, "h2") == 1
    assert leases.forget_host(store, "h2") == 0
    assert [found["host"] for found in leases.all_instances(store)] == ["h1"]


def test_a6_the_chain_is_kept_for_hosts_without_its_file(store: Store) -> None:
    assert leases.chain(store) == {}
    kept = {"worker": {"queues": ["q"], "partitions": 2}}
    leases.note_chain(store, {"old": {}})
    leases.note_chain(store, kept)
    assert leases.chain(store) == kept
    assert leases.all_instances(store) == []


def test_a6_recent_dead_letters(store: Store) -> None:
    assert dead_letters.recent(store, 300) == (0, "")
    now = datetime.now(UTC)
    store.dead_letters.insert_many(
        {"_id": seconds, "reason": f"{seconds} s ago", "received": now - timedelta(seconds=seconds)}
        for seconds in (400, 200, 5)
    )
    assert dead_letters.recent(store, 300) == (2, "5 s ago")


def test_a_beat_has_one_holder(store: Store) -> None:
    assert leases.take_beat(store, "alarm", "one", 60)
    assert leases.take_beat(store, "alarm", "one", 60)
    assert not leases.take_beat(store, "alarm", "two", 60)
    assert leases.take_beat(store, "context", "two", 60)
    leases.release_beat(store, "alarm", "two")
    assert not leases.take_beat(store, "alarm", "two", 60), "only the holder gives it back"
    leases.release_beat(store, "alarm", "one")
    assert leases.take_beat(store, "alarm", "two", 60)


def test_a_beat_of_the_dead_is_free_in_time(store: Store) -> None:
    assert leases.take_beat(store, "alarm", "dead", 60)
    assert not leases.take_beat(store, "alarm", "two", 60)
    store.leases.update_one({"_id": "beat:alarm"}, {"$currentDate": {"until": True}})
    eventually(lambda: leases.take_beat(store, "alarm", "two", 60))
    assert not leases.take_beat(store, "alarm", "dead", 60)


def test_beats_are_no_instances(store: Store) -> None:
    leases.take_beat(store, "alarm", "one", 60)
    assert leases.all_instances(store) == []


@pytest.mark.parametrize("free", [True, False])
def test_one_of_many_takes_a_lease(store: Store, mongodb: MongoDB, free: bool) -> None:
    if not free:
        leases.take(store, "x", "dead", -1)
    got: list[bool] = []
    gate = threading.Barrier(8)

    def run(number: int) -> None:
        with MongoClient("127.0.0.1", mongodb.port, replicaSet="canopsis") as client:
            ping(client[store.name])
            gate.wait(60)
            got.append(leases.take(client[store.name], "x", f"h{number}", 60))

    threads = [threading.Thread(target=run, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(got) == [False] * 7 + [True]
