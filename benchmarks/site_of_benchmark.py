"""What is measured: a running site, or servers and engines that the benchmark starts itself."""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import filling
from figures import cpu_seconds, listeners

from canopsis.engines.chain import default_chain
from canopsis.ops import config, settings, wait
from canopsis.ops.apiclient import Api
from canopsis.ops.prefix import Prefix
from canopsis.runtime.settings import ChainSettings
from canopsis.store import alarms, client, event_log, leases, metrics, migrations
from canopsis.store.client import Store
from canopsis.store.settings import StoreSettings
from canopsis.transport.settings import AmqpSettings

if TYPE_CHECKING:
    from servers import MongoDB, RabbitMQ

_CHECKOUT = Path(__file__).parents[1]
_SERVERS = _CHECKOUT / "tests" / "servers"
sys.path[:0] = [str(_SERVERS), str(_SERVERS / "chain"), str(_SERVERS / "api"), str(_CHECKOUT)]

READY_SECONDS = 60.0

HOST_GB = 8
"""Memory of the host of a small site: the database of a benchmark has the cache that its role gives it there."""


@dataclass
class Site:
    """Servers and a chain of engines that work."""

    amqp: AmqpSettings
    store: StoreSettings
    chain: ChainSettings
    api: Api | None = None
    workers: int = 1
    kept: tuple[str, ...] = ()
    """Collections that runs hand on, each to the next one."""

    def seen(self, db: Store, entity_ids: list[str]) -> list[str]:
        """Return the entities that show an open alarm: over HTTP where there is an API, else in the database."""
        if self.api is None:
            return list(alarms.open_alarms(db, entity_ids))
        listed = (self.api.data("GET", "/api/v1/alarms", query={"entity_id": entity}) for entity in entity_ids)
        return [found[0]["entity_id"] for found in listed if found]

    def cpu(self, db: Store) -> dict[str, float]:
        """Return CPU seconds used so far: by the broker, the database, and each engine process."""
        used = {
            "rabbitmq": cpu_seconds(listeners(self.amqp.hosts[0][1])),
            "mongodb": cpu_seconds(listeners(self.store.hosts[0][1])),
        }
        for found in leases.instances(db, 30.0):
            name = found["process"] if found["n"] == 1 else f"{found['process']}-{found['n']}"
            used[name] = cpu_seconds([found["pid"]])
        return used

    def counters(self, db: Store) -> dict[str, dict[str, float]]:
        """Return the sums of all living instances, by engine."""
        sums: dict[str, dict[str, float]] = {}
        for found in leases.instances(db, 30.0):
            for engine, tally in found["counters"].items():
                own = sums.setdefault(engine, dict.fromkeys(tally, 0.0))
                for name, value in tally.items():
                    own[name] += value
        return sums

    def await_ready(self, db: Store) -> None:
        """Wait until all engines run and all partitions are held."""

        def ready() -> bool:
            living = leases.instances(db, 30.0)
            states = {found["process"]: found["state"] for found in living}
            held = {number for found in living for number in found["partitions"]}
            running = all(states.get(process) == "running" for process in self.chain.processes())
            holders = sum(1 for found in living if found["partitions"])
            return running and len(held) == self.chain.partitions and holders >= self.workers

        if not wait.until(ready, READY_SECONDS):
            raise SystemExit(f"the engines are not ready after {READY_SECONDS:g} s: {leases.instances(db, 1e9)}")


def running_site(prefix: Path) -> Site:
    """Return the site in ``prefix``. Raises ConfigError."""
    own = Prefix(prefix.absolute())
    amqp, store = settings.amqp(own, "engines"), settings.storage(own, "engines")
    return Site(amqp, store, settings.chain(own), Api(config.client(own)))


@contextmanager
def own_servers(folder: Path | None = None) -> Iterator[Site]:
    """Start a broker and a database in a scratch folder (see ``CANOPSIS_TEST_PREFIX``)."""
    with tempfile.TemporaryDirectory(dir=folder) as scratch:
        broker, database = servers_in(Path(scratch))
        with database.running(), broker.running():
            yield Site(broker.settings(), database.settings(), default_chain())


def servers_in(folder: Path) -> tuple[RabbitMQ, MongoDB]:
    """Return a broker and a database with their data in ``folder``, not started; the cache is that of a site."""
    import servers  # noqa: PLC0415 - the path is set above

    from plugins.module_utils.canopsis_capacity import ASKS, GB, cache_gb  # noqa: PLC0415 - the path is set above

    cache = cache_gb(HOST_GB * GB, ASKS)
    return servers.RabbitMQ(folder / "rabbitmq"), servers.MongoDB(folder / "mongodb", cache_gb=cache)


def filled(site: Site, count: int) -> Site:
    """Return ``site`` with ``count`` events of the day before in its log, which is kept: to fill it takes long."""
    with client.opened(site.store) as db:
        migrations.ensure(db)
        filling.fill(db, count)
    return replace(site, kept=(event_log.COLLECTION, event_log.PROGRESS, metrics.HOURLY, metrics.NAMES))


@contextmanager
def own_engines(
    site: Site, chain: ChainSettings, prepare: Callable[[Store], object] | None = None, workers: int = 1
) -> Iterator[Site]:
    """Run ``chain`` over the servers of ``site``, on empty queues.

    ``prepare`` is given the database first, which is empty but for what ``site`` keeps.
    """
    from chain_processes import Chain  # noqa: PLC0415 - the path is set above

    with client.opened(site.store) as db:
        for name in {*db.list_collection_names()} - {*site.kept}:
            db.drop_collection(name)
        migrations.ensure(db)
        if prepare is not None:
            prepare(db)
    with tempfile.TemporaryDirectory() as logs:
        engines = Chain(site.amqp, site.store, Path(logs), chain)
        engines.start()
        for number in range(2, workers + 1):
            engines.add("worker", number)
        try:
            yield replace(site, chain=chain, workers=workers)
        finally:
            engines.stop()
            sys.stderr.write(
                "".join(line for line in engines.logs().splitlines(True) if " INFO " not in line and "---" not in line)
            )


@contextmanager
def own_web(site: Site) -> Iterator[int]:
    """Run the web server over the servers of ``site`` (see ``for_web``); yields its port."""
    from web import Web, add_server_user, add_users  # noqa: PLC0415 - the path is set above

    with client.opened(site.store) as db, tempfile.TemporaryDirectory() as folder:
        migrations.ensure(db)
        add_users(db)
        add_server_user(db)
        web = Web(Path(folder))
        web.start(_Listener(site.amqp.hosts[0][1]), _Listener(site.store.hosts[0][1]))
        try:
            yield web.port
        finally:
            web.stop()


@dataclass(frozen=True)
class _Listener:
    """A server, as the web server wants to know it."""

    port: int


def free_port() -> int:
    """Return a port that nobody listens on."""
    import servers  # noqa: PLC0415 - the path is set above

    return int(servers.free_port())


def for_web(site: Site) -> Site:
    """Return ``site`` with the database that the web server reads."""
    from web import DATABASE  # noqa: PLC0415 - the path is set above

    return replace(site, store=replace(site.store, database=DATABASE))


def headers_of(role: str) -> dict[str, str]:
    """Return the headers that show who asks, as a user of ``role``."""
    from web import key_of  # noqa: PLC0415 - the path is set above

    return {"X-Canopsis-Authkey": key_of(role)}


def grouped_alone(chain: ChainSettings) -> ChainSettings:
    """Return ``chain`` with one process an engine."""
    from chain_processes import one_process_each  # noqa: PLC0415 - the path is set above

    return one_process_each(chain)
