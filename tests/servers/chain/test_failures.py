"""What the chain promises when its parts die: every event once, no step twice, in order, and no hand needed."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from uuid import uuid4

import pytest
from chain_processes import one_process_each
from conftest import Site
from feeding import Feed, check
from servers import eventually
from whole_alarm import steps_of

from canopsis.store import leases
from canopsis.store.client import opened

ENTITIES = 40
PACE_SECONDS = 0.05
LOST = "waiting for the broker"


class Load:
    """Flips alarms without end, in a thread: about 200 events a second, numbered by entity in their output.

    ``prefix`` stands before the names of the entities.
    """

    def __init__(self, site: Site, prefix: str = "") -> None:
        self._prefix = prefix
        self._feed = Feed(site.broker.settings())
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._send, daemon=True)
        self.turns = 0

    def _send(self) -> None:
        while not self._stop.wait(PACE_SECONDS):
            self.turn()

    def turn(self) -> None:
        """Flip a quarter of the entities."""
        events = []
        for number in range(self.turns % 4, ENTITIES, 4):
            count = self.turns // 4
            fields = {"output": str(count), "event_id": f"load-{number}-{count}"}
            events.append(check(f"{self._prefix}entity{number}", 2 * (1 - count % 2), **fields))
        self._feed.events(events)
        self.turns += 1

    def start(self) -> None:
        self._thread.start()

    def await_turns(self, more: int) -> None:
        """Wait until so many more turns are sent."""
        goal = self.turns + more
        eventually(lambda: self.turns >= goal, 200)

    def finish(self) -> int:
        """Stop; return how many events were sent."""
        self._stop.set()
        self._thread.join(200)
        self._feed.close()
        return self.turns * ENTITIES // 4


@contextmanager
def load_on(site: Site, prefix: str = "") -> Iterator[Load]:
    load = Load(site, prefix)
    load.start()
    try:
        yield load
    finally:
        load.finish()


def check_everything(site: Site, load: Load) -> None:
    """Every event is stored once, and each alarm has every change once and in order."""
    sent = load.finish()
    site.await_count(sent, 90, connector="test")
    eventually(lambda: [said_last(site, number) for number in range(ENTITIES)] == last_of(load), 30)
    for alarm in site.db["alarms"].find():
        steps = [step for step in steps_of(site.db, alarm) if step["type"].startswith("state")]
        counts = [int(step["message"]) for step in steps]
        assert counts == list(range(len(counts))), f"{alarm['entity_id']}: {counts}"
        assert len({step["e"] for step in steps}) == len(steps)


def said_last(site: Site, number: int) -> str:
    found = site.db["alarms"].find_one({"entity_id": f"component:entity{number}", "open": True})
    return found["output"] if found else ""


def last_of(load: Load) -> list[str]:
    return [str((load.turns - 1 - number % 4) // 4) for number in range(ENTITIES)]


@pytest.mark.parametrize("process", ["worker", "cleaner"])
def test_kill_of_an_engine_process_loses_and_doubles_nothing(site: Site, process: str) -> None:
    site.start()
    with load_on(site) as load:
        for _ in range(3):
            load.await_turns(10)
            site.chain.processes[process].kill()
            load.await_turns(4)
            site.chain.add(process)
        load.await_turns(10)
        check_everything(site, load)


def test_kill_of_one_engine_in_a_process_of_its_own(site: Site) -> None:
    site.configure(one_process_each(site.chain.settings))
    site.start()
    with load_on(site) as load:
        for process in ("alarm", "eventstore", "event_filter"):
            load.await_turns(8)
            site.chain.processes[process].kill()
            load.await_turns(4)
            site.chain.add(process)
        load.await_turns(8)
        check_everything(site, load)


def test_partitions_move_between_workers_in_order(site: Site) -> None:
    site.start()
    with load_on(site) as load:
        load.await_turns(10)
        second = site.chain.add("worker", 2)
        eventually(lambda: sorted(map(len, held(site))) == [2, 2])
        load.await_turns(15)
        assert site.chain.processes["worker"].stop() == 0
        eventually(lambda: sorted(map(len, held(site))) == [4])
        load.await_turns(15)
        assert second.is_running()
        check_everything(site, load)
        fenced = site.chain.logs().count("fenced")
    assert fenced == 0, "an orderly hand-over needs no fence"


def held(site: Site) -> list[list[int]]:
    return [found["partitions"] for found in leases.instances(site.db, 9.0, "worker")]


def test_database_killed_and_started_again(site: Site) -> None:
    site.start()
    with load_on(site) as load:
        load.await_turns(10)
        site.database.kill()
        eventually(lambda: "waiting for the database" in site.chain.logs())
        site.database.start()
        load.await_turns(10)
        check_everything(site, load)
    assert all(process.is_running() for process in site.chain.processes.values())


def test_database_frozen_for_longer_than_a_heartbeat(site: Site) -> None:
    site.start()
    with load_on(site) as load:
        load.await_turns(10)
        before = site.chain.logs().count(LOST)
        with site.database.frozen():
            began = time.monotonic()
            eventually(lambda: time.monotonic() - began > 14)
        load.await_turns(10)
        check_everything(site, load)
    assert site.chain.logs().count(LOST) == before, "the connection was lost"


def test_broker_killed_and_started_again(site: Site) -> None:
    site.start()
    with load_on(site) as load:
        load.await_turns(10)
        site.broker.kill()
        eventually(lambda: LOST in site.chain.logs())
        site.broker.start()
        load.await_turns(20)
        check_everything(site, load)
    assert all(process.is_running() for process in site.chain.processes.values())


def test_fence_throws_memory_away_and_reads_again(site: Site, feed: Feed) -> None:
    site.start()
    feed.events([check("fenced", 2, event_id="first")])
    eventually(lambda: site.db["alarms"].find_one({"component": "fenced"}))
    # Another holder acknowledged meanwhile: the worker's memory is stale and its next write must be refused.
    site.db["fences"].update_many({}, {"$set": {"holder": uuid4().hex}})
    mark: dict[str, Any] = {"author": "other", "message": "mine", "t": time.time()}
    site.db["alarms"].update_one({"component": "fenced"}, {"$set": {"ack": mark}, "$inc": {"rev": 1}})
    feed.events([check("fenced", 1, event_id="second")])
    eventually(lambda: site.db["alarms"].count_documents({"component": "fenced", "state": 1}) == 1)
    found = site.db["alarms"].find_one({"component": "fenced"})
    assert found is not None
    assert found["ack"]["author"] == "other"
    assert [step["e"] for step in steps_of(site.db, found)] == ["first", "first", "second"]
    assert found["rev"] == 3
    assert "fenced" in site.chain.logs()


def test_stop_drains_and_exits_in_time(site: Site) -> None:
    site.start()
    with load_on(site) as load:
        load.await_turns(10)
        assert site.chain.stop() == {"cleaner": 0, "sender": 0, "worker": 0}
        assert "not finished within" not in site.chain.logs()
        assert leases.all_instances(site.db) == []
        assert site.db["leases"].count_documents({"_id": {"$ne": leases.CHAIN}}) == 0
        site.start()
        check_everything(site, load)


def test_stop_without_a_database_exits_in_time(site: Site) -> None:
    site.start()
    with load_on(site) as load:
        load.await_turns(10)
        with site.database.frozen():
            load.await_turns(10)
            assert site.chain.stop() == {"cleaner": 0, "sender": 0, "worker": 0}
        site.start()
        check_everything(site, load)


def test_processes_wait_for_servers_that_are_not_there_yet(site: Site, feed: Feed) -> None:
    site.database.stop()
    site.broker.stop()
    try:
        site.chain.start()
        eventually(lambda: site.chain.logs().count("waiting for the database") == 3)
        site.database.start()
        eventually(lambda: site.chain.logs().count(LOST) == 3)
    finally:
        if site.database.process is None:
            site.database.start()
        site.broker.start()
    site.await_running()
    feed.events([check("late", 0)])
    site.await_count(1, component="late")


def test_stop_while_waiting_for_a_broker(site: Site) -> None:
    site.broker.stop()
    try:
        site.chain.start()
        eventually(lambda: site.chain.logs().count(LOST) == 3)
        assert site.chain.stop() == {"cleaner": 0, "sender": 0, "worker": 0}
    finally:
        site.broker.start()


def test_a_database_without_its_shape_is_waited_for(site: Site) -> None:
    with opened(site.chain.store) as db:
        db.client.drop_database(db.name)
    site.chain.start()
    eventually(lambda: site.chain.logs().count("canopsis migrate") == 3)
    assert site.chain.stop() == {"cleaner": 0, "sender": 0, "worker": 0}
