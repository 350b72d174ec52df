"""A site that is broken on purpose: ``/status`` names it, ``/readyz`` says whether requests can be taken."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from servers import ENGINE, HOST, SHORT_CHAIN, MongoDB, RabbitMQ, eventually, start_engine
from web import Web, write_files

from canopsis.store.client import Store
from canopsis.transport.connection import connect
from canopsis.transport.topology import DEAD

_AMQP = """
[master]
hosts = {host}:{amqp}
virtual_host = canopsis
heartbeat = 5
[engines]
userid = engines
password = engines
[webserver]
userid = guest
password = guest
"""
PARTITIONS = {0, 1}


class Engines:
    """The engine processes of the site, which a test may kill or freeze."""

    def __init__(self, prefix: Path) -> None:
        self._prefix = prefix
        self.running: dict[str, subprocess.Popen[bytes]] = {}

    def start(self, *names: str) -> None:
        """Start processes of the chain."""
        for name in names:
            self.running[name] = start_engine(self._prefix, name)

    def send(self, name: str, number: signal.Signals) -> None:
        """Send a signal; SIGKILL and SIGTERM are waited for."""
        self.running[name].send_signal(number)
        if number in (signal.SIGKILL, signal.SIGTERM):
            self.running[name].wait(60)

    def end(self) -> None:
        """End all of them."""
        for process in self.running.values():
            process.send_signal(signal.SIGCONT)
            process.terminate()
        for process in self.running.values():
            process.wait(60)


@pytest.fixture(scope="module")
def rabbitmq(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RabbitMQ]:
    """A broker of its own, with a user of the engines."""
    with RabbitMQ(tmp_path_factory.mktemp("health_broker")).running() as server:
        server.ctl("add_user", "engines", "engines")
        permit(server, ".*")
        yield server


def permit(broker: RabbitMQ, what: str) -> None:
    """Let the engines do ``what``."""
    broker.ctl("set_permissions", "-p", "canopsis", "engines", what, what, what)


@pytest.fixture
def engines(web: Web, rabbitmq: RabbitMQ, mongodb: MongoDB, site_db: Store) -> Iterator[Engines]:
    """A whole site in which all is well. The web server does not know the chain but from the engines."""
    assert site_db.name
    write_files(web.prefix, rabbitmq, mongodb, {"amqp2engines.conf": SHORT_CHAIN, "amqp.conf": _AMQP})
    site_db.leases.delete_many({})
    found = Engines(web.prefix)
    found.start("cleaner", "worker")
    try:
        eventually(lambda: status(web)["healthy"])
        yield found
    finally:
        found.end()


def status(web: Web) -> dict[str, Any]:
    [found] = web.get("/api/v1/status").json["data"]
    assert found["healthy"] is (not found["problems"])
    assert isinstance(found, dict)
    return found


def problems(web: Web) -> dict[str, tuple[str, str]]:
    """Return severity and what is wrong, by place."""
    return {each["where"]: (each["severity"], each["what"]) for each in status(web)["problems"]}


def await_told(web: Web, is_it: Callable[[dict[str, tuple[str, str]]], bool]) -> None:
    """Wait until the problems are as ``is_it`` wants them."""
    eventually(lambda: is_it(problems(web)))


def ready(web: Web) -> tuple[int, list[str]]:
    """Return the status of ``/readyz``, and its reasons."""
    answer = web.get("/api/v1/readyz", None)
    return answer.status, answer.json.get("reasons", [])


def test_a6_a_whole_site_is_well_and_has_readers(web: Web, engines: Engines) -> None:
    assert engines.running
    found = status(web)
    assert (found["healthy"], found["state"], found["problems"]) == (True, "well", [])
    assert all(each["consumers"] > 0 for each in found["queues"])
    assert {each["name"] for each in found["queues"]} >= {"Engine_cleaner_events", "Engine_dead_letters"}
    eventually(lambda: ready(web) == (200, []))


def test_a6_a_site_is_not_well_while_nobody_holds_a_partition(web: Web, engines: Engines) -> None:
    engines.send("worker", signal.SIGTERM)
    assert problems(web)["process worker"] == ("down", "no instance of it is alive")
    engines.start("worker")
    seen: list[dict[str, Any]] = []

    def well() -> bool:
        seen.append(status(web))
        return bool(seen[-1]["healthy"])

    eventually(well)
    for each in seen:
        held = {partition["partition"] for partition in each["partitions"]}
        assert each["healthy"] is False or held == PARTITIONS
    assert seen[0]["healthy"] is False


def test_a6_a_deleted_queue_is_named(web: Web, rabbitmq: RabbitMQ, engines: Engines) -> None:
    for name in engines.running:
        engines.send(name, signal.SIGSTOP)
    rabbitmq.ctl("delete_queue", "-p", "canopsis", "Engine_cleaner_events")
    assert problems(web)["queue Engine_cleaner_events"][0] == "down"
    assert status(web)["state"] == "down"
    eventually(lambda: ready(web) == (503, ["the queue of new events is missing"]))
    for name in engines.running:
        engines.send(name, signal.SIGCONT)
    await_told(web, lambda found: not found)
    eventually(lambda: ready(web)[0] == 200)


def test_a6_a_deleted_exchange_is_named(web: Web, rabbitmq: RabbitMQ, engines: Engines) -> None:
    link = connect(rabbitmq.settings(), "the test")
    link.channel().exchange_delete(DEAD)
    link.close()
    assert problems(web)[f"exchange {DEAD}"][0] == "down"
    engines.send("cleaner", signal.SIGTERM)
    engines.start("cleaner")
    await_told(web, lambda found: not found)


@pytest.mark.parametrize(
    ("full", "room"),
    [
        (("set_vm_memory_high_watermark", "absolute", "1MB"), ("absolute", "2GB")),
        (("set_disk_free_limit", "900000GB"), ("50MB",)),
    ],
    ids=["memory", "disk"],
)
def test_a6_a_broker_without_room(
    web: Web, rabbitmq: RabbitMQ, engines: Engines, full: tuple[str, ...], room: tuple[str, ...]
) -> None:
    assert engines.running
    rabbitmq.ctl(*full)
    try:
        where = f"rabbitmq-server ({HOST}:{rabbitmq.port})"

        def is_full(found: dict[str, tuple[str, str]]) -> bool:
            severity, what = found.get(where, ("", ""))
            return severity == "down" and what.startswith("takes no messages: ")

        # Each process of the web server asks the broker for itself: the next one asked may not have done so yet.
        await_told(web, is_full)
        eventually(lambda: ready(web) == (503, ["rabbitmq-server takes no messages"]))
        eventually(lambda: web.get("/api/v1/readyz", None).json.get("servers") == ["rabbitmq-server"])
    finally:
        rabbitmq.ctl(full[0], *room)
    await_told(web, lambda found: not found)
    eventually(lambda: ready(web)[0] == 200)


def test_a6_engines_that_the_broker_refuses(web: Web, rabbitmq: RabbitMQ, engines: Engines) -> None:
    permit(rabbitmq, "^$")
    try:
        for name in ("cleaner", "worker"):
            engines.send(name, signal.SIGTERM)
        engines.start("cleaner", "worker")
        await_told(web, lambda found: sum("ACCESS_REFUSED" in what for _, what in found.values()) == 2)
    finally:
        permit(rabbitmq, ".*")
    await_told(web, lambda found: not found)


def _works(web: Web, pid: int) -> bool:
    return (pid, "running") in [(each.get("pid"), each["state"]) for each in status(web)["engines"]]


def test_a1_a_process_that_keeps_dying_is_named(web: Web, engines: Engines) -> None:
    for _ in range(2):
        engines.send("cleaner", signal.SIGKILL)
        engines.start("cleaner")
        eventually(lambda: _works(web, engines.running["cleaner"].pid))
    await_told(web, lambda found: any(what.startswith("keeps dying: 3 starts") for _, what in found.values()))
    assert status(web)["state"] == "down"
    engines.send("cleaner", signal.SIGTERM)
    engines.start("cleaner")
    await_told(web, lambda found: not found)


def test_a6_a_process_that_is_frozen_or_away_is_missed_until_its_host_is_forgotten(
    web: Web, engines: Engines, site_db: Store
) -> None:
    engines.send("worker", signal.SIGSTOP)
    await_told(web, lambda found: "process worker" in found)
    (host,) = (each["host"] for each in status(web)["engines"] if each["process"] == "worker")
    assert "no goodbye" in problems(web)[f"host {host}"][1]
    engines.send("worker", signal.SIGCONT)
    await_told(web, lambda found: not found)
    site_db.leases.insert_one(
        {"_id": "instance:worker:h3:1", "process": "worker", "host": "h3", "n": 1, "seen": _long_ago(site_db)}
    )
    assert problems(web)["host h3"][0] == "degraded"
    forget = [*ENGINE, "forget", "h3"]
    environment = os.environ | {"CANOPSIS_PREFIX": str(web.prefix)}
    assert subprocess.run(forget, env=environment, check=False, timeout=60).returncode == 0
    assert problems(web) == {}
    again = subprocess.run(forget, env=environment, check=False, timeout=60, capture_output=True, text=True)
    assert again.returncode == 2
    assert "hosts of engine processes" in again.stderr


def _long_ago(db: Store) -> Any:
    (found,) = db.leases.aggregate(
        [{"$limit": 1}, {"$set": {"then": {"$dateSubtract": {"startDate": "$$NOW", "unit": "minute", "amount": 5}}}}]
    )
    return found["then"]


def test_a6_a_migration_that_is_missing_is_named(web: Web, engines: Engines, site_db: Store) -> None:
    assert engines.running
    there = site_db.meta.find_one({"_id": "schema"})
    assert there is not None
    site_db.meta.update_one({"_id": "schema"}, {"$set": {"version": there["version"] - 1}})
    try:
        assert "engines wait" in problems(web)["the database"][1]
    finally:
        site_db.meta.replace_one({"_id": "schema"}, there)
    assert problems(web) == {}
