"""A site for hostile input: broker, database, engines, web server, each with the process that it began with."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from logged import logged
from servers import MongoDB, RabbitMQ, eventually, start_engine

# What those rooms know of messages and of the web server is not said again here.
sys.path += [str(Path(__file__).parents[1] / room) for room in ("chain", "api")]

from share import TOTAL
from watching import Watch
from web import DATABASE, FILES, Web, add_users, write_files

from canopsis.store import leases, migrations
from canopsis.store.client import Store

_ENGINES = ("cleaner", "worker")

_CHAIN = """
[chain]
partitions = 4
[engine:cleaner_events]
process = cleaner
next = event_filter
[engine:dead_letters]
process = cleaner
[engine:event_filter]
next = context
[engine:context]
next = alarm
[engine:alarm]
next = perfdata
[engine:perfdata]
next = eventstore
[engine:eventstore]
"""


@dataclass
class Site:
    """A running site."""

    broker: RabbitMQ
    database: MongoDB
    db: Store
    web: Web
    engines: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)

    def pids(self) -> dict[str, int]:
        """Return the processes of the product, by name; one that ended fails the test."""
        assert self.web.process is not None
        ended = [name for name, process in self.engines.items() if process.poll() is not None]
        assert not ended, f"{ended} ended: {self.log(ended[0])}"
        master = self.web.process.pid
        workers = sorted(map(int, Path(f"/proc/{master}/task/{master}/children").read_text().split()))
        found = {name: process.pid for name, process in self.engines.items()} | {"gunicorn": master}
        return found | {f"gunicorn-{number}": pid for number, pid in enumerate(workers, 1)}

    def servers(self) -> dict[str, int]:
        """Return the processes of the servers, by name."""
        return {"mongod": largest(self.database.pids()), "rabbitmq": largest(self.broker.pids())}

    def log(self, name: str) -> str:
        """Return the end of what a process said."""
        return (self.web.prefix / f"{name}.log").read_text(errors="replace")[-4000:]

    def empty(self) -> None:
        """Forget the events and dead letters of an earlier test."""
        for name in ("event_log", "dead_letters"):
            self.db[name].delete_many({})

    def stored(self) -> int:
        """Return how many events are stored, those that engines publish left out."""
        return len(self._from_outside())

    def _from_outside(self) -> list[str]:
        found = logged(self.db)
        return [each["_id"] for each in found if each["connector"] != "Engine" and each["event_type"] != "resolve"]

    def others(self, known: set[str]) -> set[str]:
        """Return the ids of stored events that are neither in ``known`` nor made of such a one that came again."""
        stored = set(self._from_outside())
        begins = {each[:55] for each in known}
        return {each for each in stored - known if each.rpartition(".")[0] not in begins}

    def letters(self) -> int:
        """Return how many dead letters came, those that were let expire left out."""
        found = self.db["dead_letters"].find({"reason": {"$not": {"$regex": "too old"}}}, {"count": 1})
        return sum(each["count"] for each in found)

    def have(self, ids: list[str]) -> set[str]:
        """Return those of ``ids`` under which an event is stored."""
        return {each["_id"] for each in logged(self.db)} & set(ids)


def largest(pids: list[int]) -> int:
    """Return the process with the most memory: a server has helpers beside it."""
    return max(pids, key=lambda pid: int(Path(f"/proc/{pid}/statm").read_text().split()[1]))


@pytest.fixture(scope="module")
def rabbitmq(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RabbitMQ]:
    """A broker of its own: the engines here would take what other tests send."""
    with RabbitMQ(tmp_path_factory.mktemp("fuzz_broker")).running() as server:
        yield server


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory, rabbitmq: RabbitMQ, mongodb: MongoDB) -> Iterator[Site]:
    """A site whose engines all work."""
    prefix = tmp_path_factory.mktemp("fuzz")
    with mongodb.database(DATABASE) as db:
        migrations.ensure(db)
        add_users(db)
        db.client.admin.command("dropAllUsersFromDatabase")
        roles = [{"role": "readWrite", "db": DATABASE}]
        db.client.admin.command("createUser", "webserver", pwd="a password", roles=roles)
        made = Site(rabbitmq, mongodb, db, Web(prefix))
        write_files(prefix, rabbitmq, mongodb, FILES | {"amqp2engines.conf": _CHAIN})
        made.engines = {name: start_engine(prefix, name) for name in _ENGINES}
        try:
            # Before the web server starts: each of its processes would go on for a moment with what it saw before.
            eventually(lambda: _works(made), 90)
            made.web.start(rabbitmq, mongodb)
            eventually(lambda: _is_whole(made))
            yield made
        finally:
            _end(made)
        db.client.admin.command("dropUser", "webserver")


@pytest.fixture
def progress(request: pytest.FixtureRequest) -> Callable[[str], None]:
    """Say how far a run is, to whoever watches it."""
    reporter = request.config.pluginmanager.getplugin("terminalreporter")
    capture = request.config.pluginmanager.getplugin("capturemanager")

    def say(text: str) -> None:
        with capture.global_and_fixture_disabled():
            reporter.write_line(text)
            sys.stdout.flush()

    return say


@pytest.fixture
def watch(site: Site) -> Watch:
    """The memory of all processes, over a run of ``TOTAL`` messages; nothing is stored yet."""
    site.empty()
    return Watch(site.pids() | site.servers(), TOTAL)


def _works(site: Site) -> bool:
    assert all(process.poll() is None for process in site.engines.values())
    running = [each for each in leases.all_instances(site.db) if each.get("state") == "running"]
    return {each["process"] for each in running} == set(_ENGINES)


def _is_whole(site: Site) -> bool:
    [found] = site.web.get("/api/v1/status").json["data"]
    alive = {each["process"] for each in found["engines"] if each["alive"]}
    return alive == set(_ENGINES) and len(found["partitions"]) == 4


def _end(site: Site) -> None:
    for process in site.engines.values():
        process.terminate()
    codes = [process.wait(60) for process in site.engines.values()]
    if site.web.process is not None:
        site.web.stop()
    assert codes == [0, 0]
