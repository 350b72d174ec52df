"""One engine process, from its start to SIGTERM."""

from __future__ import annotations

import gc
import logging
import os
import signal
import socket
import sys
import threading
from collections.abc import Mapping

from canopsis import heap, lines
from canopsis.errors import StoreError, bounded
from canopsis.runtime.beat import Beating, Beats, Publishing
from canopsis.runtime.contract import Engine
from canopsis.runtime.counters import Counters
from canopsis.runtime.health import Health
from canopsis.runtime.manifest import Input, Registry
from canopsis.runtime.pipeline import Pipeline, stages_of
from canopsis.runtime.runner import Runner
from canopsis.runtime.settings import ProcessSettings
from canopsis.runtime.sharing import Instance, Lease
from canopsis.store import client, leases, migrations
from canopsis.store.client import Store
from canopsis.store.operations import Document

_LOG = logging.getLogger(__name__)

DRAIN_SECONDS = 8.0
"""How long a stopping process may finish its batch; what it could not goes back to the queues."""

_START_PAUSE = 1.0
_GARBAGE = 50_000
"""Objects made and not freed before the youngest are looked through."""

_FAILURE_LENGTH = 300

_STOPPING = (signal.SIGTERM, signal.SIGINT)


def main(settings: ProcessSettings, registry: Registry, broken: Mapping[str, str] | None = None) -> int:
    """Run the engines of one process until SIGTERM or SIGINT; return 0.

    ``broken`` are engines that cannot be loaded, and why.
    Waits for the database and the broker however long they are away. Raises ConfigError when the
    chain cannot work.
    """
    settings.chain.check(registry, broken)
    heap.give_back()
    lines.write_to(sys.stdout, logging.INFO)
    stop = threading.Event()
    # Blocked here and in every thread to come, taken by one that does nothing else: a handler would
    # run in the middle of whatever holds the lock of ``stop``.
    signal.pthread_sigmask(signal.SIG_BLOCK, _STOPPING)
    threading.Thread(target=_await_signal, args=(stop,), name="signals", daemon=True).start()
    _spare_the_collector()
    with client.opened(settings.store) as db:
        Process(settings, registry, db, stop).run()
    return 0


class Process:
    """The parts of one engine process, put together. ``host`` is its name in leases and metrics."""

    def __init__(
        self, settings: ProcessSettings, registry: Registry, db: Store, stop: threading.Event, host: str = ""
    ) -> None:
        self._settings = settings
        self._registry = registry
        self._db = db
        self._stop = stop
        self._instance = Instance(settings.process, host or socket.gethostname(), settings.instance)
        self._engines = make_engines(settings, registry)
        self._health = Health()
        self.counters = Counters(tuple(self._engines))
        entries = settings.chain.entries(settings.process, registry)
        pipeline = Pipeline(stages_of(settings.chain, settings.process, self._engines, entries))
        self._runner = Runner(
            settings, registry, pipeline=pipeline, db=db, counters=self.counters, health=self._health, stop=stop
        )
        shared = self._runner.intake.shared_partitions
        self._lease = Lease(db, self._instance, shared, self._facts)
        self._beats = self._make_beats()

    def run(self) -> None:
        """Work until ``stop`` is set, then give leases back."""
        self._health.say(f"starting {', '.join(self._engines)}")
        if not self._await_database():
            return
        self._lease.start()
        self._beats.start()
        try:
            self._runner.run(self._lease)
        finally:
            self._runner.close()
            self._beats.end()
            self._lease.end(_failure(sys.exception()))
            self._health.say("stopped")

    def _await_database(self) -> bool:
        """Wait until the database answers and has its shape; False once ``stop`` is set."""
        while not self._stop.is_set():
            try:
                if migrations.version(self._db) == migrations.VERSION:
                    leases.note_chain(self._db, self._settings.chain.documents(self._registry))
                    self._lease.announce()
                    return True
                self._health.say("waiting for the database's migration: run canopsis migrate")
            except StoreError as error:
                self._health.say(f"waiting for the database: {error}")
            self._stop.wait(_START_PAUSE)
        return False

    def _make_beats(self) -> Beats:
        chain, name = self._settings.chain, f"{self._settings.process} beat"
        intake, runner = self._runner.intake, self._runner
        beating = [
            Beating(
                engine,
                chain.engine(engine.name).beat_interval,
                lambda engine=engine: intake.queues(engine.name, runner.partitions),  # type: ignore[misc]
                beats=self._registry[engine.name].beats,
                measured=chain.is_fed(engine.name, self._registry),
            )
            for engine, _ in self._engines.values()
        ]
        return Beats(self._db, Publishing(self._settings.amqp, name), self._instance, self.counters, beating)

    def _facts(self) -> Document:
        return {
            "pid": os.getpid(),
            "engines": list(self._engines),
            "partitions": sorted(self._runner.partitions),
            "counters": self.counters.documents(),
            "sources": self.counters.sources.documents(),
            "state": self._health.state,
            "beats": self._beats.failures(),
        }


def make_engines(settings: ProcessSettings, registry: Registry) -> dict[str, tuple[Engine, Input]]:
    """Return the engines of the process and what each takes, by name."""
    chain = settings.chain
    engines = {}
    for own in chain.of_process(settings.process):
        manifest = registry[own.name]
        engines[own.name] = (manifest.engine(own.options, chain.partitions), manifest.input)
    return engines


def _failure(error: BaseException | None) -> str:
    """Return what ends the process, nothing when it ends in order."""
    return bounded(f"{type(error).__name__}: {error}", _FAILURE_LENGTH) if error is not None else ""


def _spare_the_collector() -> None:
    """Look for garbage in circles less often: batches make many objects, and hardly any circle."""
    gc.freeze()
    gc.set_threshold(_GARBAGE, 20, 20)


def _await_signal(stop: threading.Event) -> None:
    signal.sigwait(_STOPPING)
    stop.set()
    if not threading.Event().wait(DRAIN_SECONDS):
        _LOG.warning("not finished within %s s: what is not acknowledged goes back to the queues", DRAIN_SECONDS)
        logging.shutdown()
        os._exit(0)
