"""An empty site for each test: no queues, an empty database, no engines yet."""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest
from amqp.exceptions import NotFound
from chain_processes import Chain, with_options
from feeding import Alerts, Feed
from logged import logged
from servers import MongoDB, RabbitMQ, eventually, patient

from canopsis.engines.chain import default_chain
from canopsis.engines.registry import registry
from canopsis.runtime.manifest import Registry
from canopsis.runtime.process import Process
from canopsis.runtime.settings import ChainSettings, ProcessSettings
from canopsis.store import client, leases, migrations
from canopsis.store.client import Store
from canopsis.transport.connection import Connection, connect
from canopsis.transport.publisher import ConfirmingPublisher
from canopsis.transport.settings import AmqpSettings
from canopsis.transport.topology import declare

BEAT_SECONDS = 1.0


@dataclass
class Site:
    """Servers, and the engines that a test starts over them."""

    broker: RabbitMQ
    database: MongoDB
    db: Store
    folder: Path
    chain: Chain
    threads: list[tuple[threading.Thread, threading.Event]] = field(default_factory=list)

    def configure(self, chain: ChainSettings) -> None:
        """Set the chain and make its queues, so that a source may send before any engine runs."""
        self.chain.settings = chain
        link = connect(replace(self.broker.settings(), write_timeout=30.0), "configure")
        declare(link, chain.topology(registry()))
        link.close()

    def start(self) -> None:
        """Start one instance of every process and wait until all work."""
        self.chain.start()
        self.await_running()

    def await_running(self, instances: int | None = None) -> None:
        """Wait until every process runs and every partition has a holder."""
        chain = self.chain.settings
        expected = instances or len(chain.processes())
        shared = any(queue.partition for queue in chain.topology(registry()).queues)

        def running() -> bool:
            living = leases.instances(self.db, 5.0)
            held = {number for found in living for number in found["partitions"]}
            complete = len(held) == chain.partitions or not shared
            return complete and sum(found["state"] == "running" for found in living) == expected

        eventually(running, 60)

    def run_in_thread(self, process: str, engines: Registry | None = None) -> Process:
        """Run a process of the chain in a thread, with engines of the test's own."""
        stop = threading.Event()
        told = ProcessSettings(process, self.chain.settings, self.chain.amqp, self.chain.store)
        running = Process(told, engines or registry(), self.db, stop, "test-host")
        thread = threading.Thread(target=running.run, name=process, daemon=True)
        thread.start()
        self.threads.append((thread, stop))
        return running

    def count(self, **condition: object) -> int:
        """Return how many events are stored."""
        return len(logged(self.db, **condition))

    def await_count(self, expected: int, timeout: float = 60.0, **condition: object) -> None:
        """Wait until exactly ``expected`` events are stored."""
        eventually(lambda: self.count(**condition) >= expected, timeout)
        assert self.count(**condition) == expected

    def counters(self) -> dict[str, dict[str, float]]:
        """Return the tallies of all engines, summed over instances."""
        sums: dict[str, dict[str, float]] = {}
        for found in leases.all_instances(self.db):
            for engine, tally in found["counters"].items():
                own = sums.setdefault(engine, dict.fromkeys(tally, 0))
                for name, value in tally.items():
                    own[name] += value
        return sums

    def end(self) -> None:
        """Stop all engines."""
        for _, stop in self.threads:
            stop.set()
        for thread, _ in self.threads:
            thread.join(15)
        self.chain.kill()


@pytest.fixture
def site(rabbitmq: RabbitMQ, mongodb: MongoDB, tmp_path: Path) -> Iterator[Site]:
    """A site with the default chain and a beat a second."""
    store = replace(mongodb.settings(), database="chain")
    with client.opened(patient(store)) as db:
        # First, for whoever still reads them writes to the database.
        _empty_queues(replace(rabbitmq.settings(), write_timeout=30.0))
        db.client.drop_database("chain")
        migrations.ensure(db)
        made = Site(rabbitmq, mongodb, db, tmp_path, Chain(rabbitmq.settings(), store, tmp_path))
        chain = default_chain(partitions=4, beat_interval=BEAT_SECONDS)
        # An outage may take longer than the minute after which an alarm that is over is resolved.
        made.configure(with_options(chain, "alarm", resolve_delay=3600.0))
        try:
            yield made
        finally:
            made.end()
            sys.stdout.write(made.chain.logs())


@pytest.fixture
def feed(site: Site) -> Iterator[Feed]:
    """A source of events."""
    source = Feed(site.broker.settings())
    yield source
    source.close()


@pytest.fixture
def alerts(site: Site) -> Iterator[Alerts]:
    """A subscriber of alerts."""
    subscriber = Alerts(site.broker.settings())
    yield subscriber
    subscriber.close()


def _empty_queues(amqp: AmqpSettings) -> None:
    """Take all messages out. Queues stay: RabbitMQ 3.10 may lose the supervisor of all its dead-lettering
    when a queue goes that has just come up.
    """
    link = connect(amqp, "clean")
    names = [f"Engine_{name}{suffix}" for name in registry() for suffix in ("", ".00", ".01", ".02", ".03")]
    for name in names:
        eventually(lambda name=name: _is_free(link, name))  # type: ignore[misc]
    link.close()


def _is_free(link: Connection, name: str) -> bool:
    """Purge a queue; tell whether nobody reads it any more.

    A queue that is busy says that it holds nothing and has no readers: one that holds a mark tells the truth.
    """
    channel = link.channel()
    try:
        channel.queue_declare(name, passive=True)
    except NotFound:
        return True
    marking = ConfirmingPublisher(link)
    marking.send("", name, b"a mark")
    marking.flush(30)
    found = channel.queue_declare(name, passive=True)
    channel.queue_purge(name)
    channel.close()
    return int(found.message_count) > 0 and int(found.consumer_count) == 0
