"""Consume → engines in memory → write → publish confirmed → acknowledge: the order that loses nothing."""

from __future__ import annotations

import logging
import random
import threading
import time
from collections.abc import Callable, Sequence

from canopsis.errors import Fenced, StoreError, TransportError
from canopsis.runtime.context import StoreContext
from canopsis.runtime.contract import Registry
from canopsis.runtime.counters import Counters
from canopsis.runtime.health import Health
from canopsis.runtime.intake import Intake, Taken
from canopsis.runtime.letters import letters
from canopsis.runtime.outbox import Outbox
from canopsis.runtime.pipeline import Outcome, Pipeline
from canopsis.runtime.safe import SafeStore
from canopsis.runtime.settings import ProcessSettings
from canopsis.runtime.sharing import Lease
from canopsis.store.client import Store
from canopsis.transport.connection import Connection, connect_for_ever
from canopsis.transport.consumer import Consumer, Delivery
from canopsis.transport.publisher import ConfirmingPublisher
from canopsis.transport.topology import declare

_LOG = logging.getLogger(__name__)

_IDLE_SECONDS = 0.5
"""How long one look at the broker may wait: a stop or a change of partitions is seen after it."""

_LONGEST_FENCE_PAUSE = 2.0
_LONGEST_PAUSE = 10.0
"""Before a broker that lets us in and then refuses the queues is tried again."""


class Runner:
    """Runs the engines of one process until ``stop`` is set. For one thread."""

    def __init__(  # noqa: PLR0913 - the parts of a process
        self,
        settings: ProcessSettings,
        registry: Registry,
        *,
        pipeline: Pipeline,
        db: Store,
        counters: Counters,
        health: Health,
        stop: threading.Event,
    ) -> None:
        self._settings = settings
        self._registry = registry
        self._pipeline = pipeline
        self._db = db
        self._counters = counters
        self._health = health
        self._stop = stop
        self._store = SafeStore(db, stop, health)
        self._fences = 0
        self._losses = 0
        self.intake = Intake(settings.chain, settings.process, registry)
        self.partitions: frozenset[int] = frozenset()
        """The partitions that are read now."""

    def run(self, lease: Lease) -> None:
        """Read and work until ``stop`` is set; connect again whenever the broker is lost."""
        while not self._stop.is_set():
            self._pause()
            connection = connect_for_ever(
                self._settings.amqp, self._stop, self._settings.process, self._say_waiting_for_broker
            )
            if connection is None:
                break
            try:
                _Session(self, connection, lease).work()
            except TransportError as error:
                self._losses += 1
                self._health.say(f"waiting for the broker: {error}")
            finally:
                connection.close()
                # Who reads these partitions now is not known: nothing remembered of them can be trusted.
                self.partitions = frozenset()
                self._pipeline.forget(None)

    def close(self) -> None:
        """Give the threads back; after ``run``."""
        self._store.close()

    def _pause(self) -> None:
        """Wait before the next connection: longer after each that did not bring a batch through."""
        if self._losses:
            longest = min(_LONGEST_PAUSE, 0.1 * 2**self._losses)
            self._stop.wait(longest * random.uniform(0.5, 1.0))  # noqa: S311 - spreads load, guards nothing

    def _say_waiting_for_broker(self, error: TransportError, _pause: float) -> None:
        self._health.say(f"waiting for the broker: {error}")

    def handle(self, taken: Taken, outbox: Outbox, alive: Callable[[], object]) -> Outcome | None:
        """Do all that follows from ``taken``, but the acknowledge; None when ``stop`` came first.

        Raises Fenced, TransportError.
        """
        while True:
            ctx = StoreContext(self._db)
            try:
                outcome = self._pipeline.run(taken.batches, ctx)
                break
            except StoreError as error:
                if not self._store.wait(error, alive):
                    return None
        taken.count_in(outcome)
        writes = outcome.write | letters(outcome.dead, ctx.now)
        bad = self._store.write(writes, alive)
        if bad is None:
            return None
        bad += outbox.publish(outcome)
        if bad:
            self._pipeline.forget(None)
            if self._store.write(letters(bad, ctx.now), alive) is None:
                return None
        return outcome

    def fenced(self, error: Fenced) -> None:
        """Forget everything: another instance has a partition that this one took for its own."""
        self._fences += 1
        _LOG.warning("fenced, reading again from the queue: %s", error)
        self._pipeline.forget(None)
        self._stop.wait(min(0.05 * 2**self._fences, _LONGEST_FENCE_PAUSE))

    def done(self, messages: int, taken: Taken, outcome: Outcome) -> None:
        """Count a batch that is acknowledged."""
        self._fences = self._losses = 0
        self.intake.pace.learn(messages, taken.incoming(outcome))
        taken.time_in(outcome, time.time())
        self._counters.add(outcome.tallies)
        self._counters.sources.add(outcome.counts)
        for engine, drop in outcome.drop:
            _LOG.debug("%s dropped %s by rule %s: %s", engine, drop.event_id, drop.rule, drop.reason)

    def hold(self, consumer: Consumer, wanted: frozenset[int]) -> bool:
        """Give up and take over partitions, between two batches; tell whether anything changed."""
        if wanted == self.partitions:
            return False
        lost, gained = self.partitions - wanted, wanted - self.partitions
        self.intake.unsubscribe(consumer, lost)
        self._pipeline.forget(lost | gained)
        self.partitions -= lost
        self.intake.subscribe(consumer, gained)
        self.partitions = wanted
        _LOG.info("partitions %s", sorted(wanted) or "none")
        return True

    def is_stopping(self) -> bool:
        """Tell whether ``stop`` is set."""
        return self._stop.is_set()

    def session_parts(self, connection: Connection) -> tuple[Outbox, Consumer]:
        """Declare the queues of the site and return what publishes and what consumes. Raises TransportError."""
        chain = self._settings.chain
        declare(connection, chain.topology(self._registry))
        outbox = Outbox(ConfirmingPublisher(connection), self._registry, chain.partitions)
        return outbox, Consumer(connection)

    def running(self) -> None:
        """Note that events flow."""
        self._health.say("running")


class _Session:
    """One connection, from declaring to losing it or stopping."""

    def __init__(self, runner: Runner, connection: Connection, lease: Lease) -> None:
        self._runner = runner
        self._connection = connection
        self._lease = lease
        self._outbox, self._consumer = runner.session_parts(connection)

    def work(self) -> None:
        """Handle batch after batch. Raises TransportError."""
        runner, intake = self._runner, self._runner.intake
        intake.subscribe(self._consumer, frozenset())
        while not runner.is_stopping():
            if runner.hold(self._consumer, self._lease.wanted):
                self._lease.hurry()
            runner.running()
            deliveries = self._consumer.gather(intake.pace.messages(), _IDLE_SECONDS)
            if deliveries:
                self._batch(deliveries)
        self._consumer.close()

    def _batch(self, deliveries: Sequence[Delivery]) -> None:
        taken = self._runner.intake.take(deliveries)
        try:
            outcome = self._runner.handle(taken, self._outbox, self._alive)
        except Fenced as error:
            self._runner.fenced(error)
            self._consumer.give_back()
            return
        if outcome is not None:
            self._consumer.ack(deliveries)
            self._runner.done(len(deliveries), taken, outcome)

    def _alive(self) -> None:
        self._connection.serve()
