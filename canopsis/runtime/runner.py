"""Consume → engines in memory → write → publish confirmed → acknowledge: the order that loses nothing."""

from __future__ import annotations

import logging
import random
import threading
import time
from collections.abc import Callable, Sequence

from canopsis.errors import Fenced, StoreError, TransportError, reason_of
from canopsis.runtime.context import StoreContext
from canopsis.runtime.counters import Counters, Tally
from canopsis.runtime.fence import Fence
from canopsis.runtime.health import Health
from canopsis.runtime.intake import Intake, Taken
from canopsis.runtime.letters import letters, minimal
from canopsis.runtime.manifest import Registry
from canopsis.runtime.outbox import Outbox
from canopsis.runtime.pipeline import Outcome, Pipeline
from canopsis.runtime.safe import SafeStore
from canopsis.runtime.settings import ProcessSettings
from canopsis.runtime.sharing import Lease
from canopsis.runtime.trials import MOST_DEATHS, end_all, groups, is_suspect, key_of
from canopsis.store import dead_letters, trials
from canopsis.store.client import Store
from canopsis.transport.connection import Connection, connect_for_ever
from canopsis.transport.consumer import Consumer, Delivery
from canopsis.transport.publisher import ConfirmingPublisher
from canopsis.transport.stamps import stamps
from canopsis.transport.topology import declare

_LOG = logging.getLogger(__name__)

_IDLE_SECONDS = 0.5
"""How long one look at the broker may wait: a stop or a change of partitions is seen after it."""

_PACE_SECONDS = 0.004
"""From the beginning of a batch to that of the next one, unless it was full: what comes meanwhile comes together, and
costs less."""

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
        self._fence = Fence(db, settings.process)
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
                self._fence.lose()
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
                claim = self._fence.claim(taken.partitions)
                outcome = self._pipeline.run(taken.batches, ctx)
                break
            except StoreError as error:
                if not self._store.wait(error, alive):
                    return None
        taken.count_in(outcome)
        writes = outcome.write | letters(outcome.dead, ctx.now)
        bad = self._store.write(writes, alive, claim)
        if bad is None:
            return None
        bad += outbox.publish(outcome)
        if bad:
            self._pipeline.forget(None)
            if self._store.write(letters(bad, ctx.now), alive) is None:
                return None
        return outcome

    def put_aside(self, delivery: Delivery, reason: str, alive: Callable[[], object]) -> bool:
        """Make a dead letter of a message that cannot be handled at all; False when ``stop`` came first."""
        engine = self.intake.engine_of(delivery.queue)
        _LOG.error("a message of %s is put aside: %s", delivery.queue, reason)
        self._pipeline.forget(None)
        letter = minimal(engine, delivery.body, reason, time.time(), (delivery.exchange, delivery.routing_key))
        if self._store.write({dead_letters.COLLECTION: [letter]}, alive) is None:
            return False
        self._counters.add({engine: Tally(1, 0, 0, 1)})
        return True

    def begin_trial(self, key: str, alive: Callable[[], object]) -> int | None:
        """Mark a message that is handled alone; return how many processes died of it, None when ``stop`` came first."""
        while True:
            try:
                return trials.begin(self._db, key)
            except StoreError as error:
                if not self._store.wait(error, alive):
                    return None

    def end_trial(self, key: str) -> None:
        """Take the mark away: whatever came of the message, nobody died."""
        end_all(self._db, (key,))

    def forget(self) -> None:
        """Have the engines forget everything: what they did last is not known to be written."""
        self._pipeline.forget(None)

    def fenced(self, error: Fenced) -> None:
        """Forget everything: another instance has a partition that this one took for its own."""
        self._fences += 1
        _LOG.warning("fenced, reading again from the queue: %s", error)
        self._fence.lose()
        self._pipeline.forget(None)
        self._stop.wait(min(0.05 * 2**self._fences, _LONGEST_FENCE_PAUSE))

    def done(self, messages: int, taken: Taken, outcome: Outcome) -> None:
        """Count a batch that is acknowledged."""
        self._fences = self._losses = 0
        self.intake.pace.learn(messages, taken.incoming(outcome))
        taken.time_in(outcome, time.time())
        self._counters.add(outcome.tallies)
        self._counters.sources.add(outcome.counts)
        self._counters.rules.add(outcome.rules)
        for engine, drop in outcome.drop:
            _LOG.debug("%s dropped %s by rule %s: %s", engine, drop.event_id, drop.rule, drop.reason)

    def hold(self, consumer: Consumer, wanted: frozenset[int]) -> bool:
        """Give up and take over partitions, between two batches; tell whether anything changed."""
        if wanted == self.partitions:
            return False
        lost, gained = self.partitions - wanted, wanted - self.partitions
        self.intake.unsubscribe(consumer, lost)
        self._fence.lose(lost | gained)
        self._pipeline.forget(lost | gained)
        self.partitions -= lost
        self.intake.subscribe(consumer, gained)
        self.partitions = wanted
        _LOG.info("partitions %s", sorted(wanted) or "none")
        return True

    def is_stopping(self) -> bool:
        """Tell whether ``stop`` is set."""
        return self._stop.is_set()

    def rest(self, seconds: float) -> None:
        """Do nothing for so long, unless ``stop`` comes; nothing at all for none."""
        if seconds > 0:
            self._stop.wait(seconds)

    def session_parts(self, connection: Connection) -> tuple[Outbox, Consumer]:
        """Declare the queues of the site and return what publishes and what consumes. Raises TransportError."""
        chain = self._settings.chain
        declare(connection, chain.topology(self._registry))
        outbox = Outbox(ConfirmingPublisher(connection), self._registry, chain.partitions)
        return outbox, Consumer(connection, stamped=stamps(connection.version, self._settings.amqp))

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
            most = intake.pace.messages()
            deliveries = self._consumer.gather(most, _IDLE_SECONDS)
            if deliveries:
                begun = time.monotonic()
                self._batch(deliveries)
                if len(deliveries) < most:
                    runner.rest(begun + _PACE_SECONDS - time.monotonic())
        self._consumer.close()

    def _batch(self, deliveries: Sequence[Delivery]) -> None:
        for group in groups(deliveries):
            if not (self._trial(group[0]) if is_suspect(group[0]) else self._handle(group)):
                return

    def _trial(self, delivery: Delivery) -> bool:
        """Handle a message that did not come through before, alone and marked; see ``_handle``."""
        key = key_of(delivery)
        deaths = self._runner.begin_trial(key, self._alive)
        if deaths is None:
            return False
        try:
            if deaths < MOST_DEATHS:
                return self._handle([delivery])
            return self._put_aside(delivery, f"processes die of it: {deaths} ended while they handled it alone")
        finally:
            # Not reached by a process that dies.
            self._runner.end_trial(key)

    def _handle(self, deliveries: Sequence[Delivery]) -> bool:
        """Do all that follows from ``deliveries``; False when those after them are not to be handled now."""
        try:
            taken = self._runner.intake.take(deliveries)
            outcome = self._runner.handle(taken, self._outbox, self._alive)
        except Fenced as error:
            self._runner.fenced(error)
            self._consumer.give_back()
            return False
        except (TransportError, StoreError):
            raise
        except Exception as error:  # noqa: BLE001 - whatever a message holds, it must not stop the chain
            return self._find_poison(deliveries, error)
        if outcome is None:
            return False
        self._consumer.ack(deliveries)
        self._runner.done(len(deliveries), taken, outcome)
        return True

    def _find_poison(self, deliveries: Sequence[Delivery], error: Exception) -> bool:
        """Handle the halves of what failed one after the other; a message that fails alone is put aside."""
        self._runner.forget()
        if len(deliveries) == 1:
            return self._put_aside(deliveries[0], f"it cannot be handled: {reason_of(error)}")
        middle = len(deliveries) // 2
        return self._handle(deliveries[:middle]) and self._handle(deliveries[middle:])

    def _put_aside(self, delivery: Delivery, reason: str) -> bool:
        done = self._runner.put_aside(delivery, reason, self._alive)
        if done:
            self._consumer.ack([delivery])
        return done

    def _alive(self) -> None:
        self._connection.serve()
