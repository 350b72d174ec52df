"""Beats: the periodic work of engines, one instance at a time, and the metrics of each instance.

They run in a thread and on a connection of their own, so that long work (compaction) does not hold
events up. Each is isolated: one that fails stops no other, is logged once and seen in the status. Its lease
is renewed before each write and each publish, and one that lost it does neither. What the broker does not take is
sent again; what must outlive the process, a beat finds again in the store.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from functools import partial

from canopsis.core.event import Event, routing_key
from canopsis.errors import CanopsisError, InputError, StoreError, TransportError, bounded, reason_of
from canopsis.runtime.context import StoreContext
from canopsis.runtime.contract import Effects, Engine, Outgoing, encode
from canopsis.runtime.counters import Counters, Tally
from canopsis.runtime.letters import letters
from canopsis.runtime.safe import apply_each
from canopsis.runtime.selfmetrics import Reading, measured, perf_event, source_event
from canopsis.runtime.sharing import Instance
from canopsis.store import leases, rules
from canopsis.store.client import Store
from canopsis.transport.connection import Connection, connect
from canopsis.transport.publisher import ConfirmingPublisher
from canopsis.transport.settings import AmqpSettings
from canopsis.transport.topology import EVENTS, depth

_LOG = logging.getLogger(__name__)

RULES_SECONDS = 10.0
"""How often what rules did is written."""

RETRY_SECONDS = 2.0
"""Before what the broker did not take is sent again."""

FIRST_SECONDS = 2.0
"""Wait before the first beat: a new site has figures of itself soon."""


@dataclass(slots=True)
class Beating:
    """One engine's beat. ``queues`` tells which of its queues this instance reads now.

    An engine that has no beat (``beats`` False) tells its metrics all the same, unless it is given no events
    (``measured`` False). ``unsent`` is what the broker did not take yet.
    """

    engine: Engine
    interval: float
    queues: Callable[[], Iterable[str]] = tuple
    due: float = 0.0
    last: Reading = field(default_factory=lambda: Reading(time.monotonic(), Tally()))
    beats: bool = True
    measured: bool = True
    unsent: list[Outgoing] = field(default_factory=list)
    retry: float = 0.0


class Publishing:
    """A connection that is made when something is to be published, and made again after a failure."""

    def __init__(self, settings: AmqpSettings, name: str) -> None:
        self._settings = settings
        self._name = name
        self._connection: Connection | None = None
        self._publisher: ConfirmingPublisher | None = None

    def publish(self, messages: Sequence[Outgoing]) -> None:
        """Publish and wait for the confirms. Raises TransportError."""
        if not messages:
            return
        publisher = self._ready()
        for message in messages:
            try:
                publisher.send(
                    message.exchange, message.routing_key, message.body, mandatory=message.exchange == EVENTS
                )
            except InputError as error:
                _LOG.error("a message of a beat cannot travel: %s", error)
        publisher.flush()

    def depth(self, queues: Iterable[str]) -> int:
        """Return how many messages wait in ``queues``. Raises TransportError."""
        return sum(depth(self.connection(), queue) or 0 for queue in queues)

    def connection(self) -> Connection:
        """Return the connection, made if it is not there. Raises TransportError."""
        if self._connection is None or not self._connection.is_open:
            self.close()
            self._connection = connect(self._settings, self._name)
        return self._connection

    def idle(self) -> None:
        """Take what the broker sent (heartbeats). Raises TransportError."""
        if self._connection is not None:
            self._connection.serve()

    def close(self) -> None:
        """Close the connection; never raises."""
        if self._connection is not None:
            self._connection.close()
        self._connection = self._publisher = None

    def _ready(self) -> ConfirmingPublisher:
        connection = self.connection()
        if self._publisher is None or not self._publisher.is_open:
            self._publisher = ConfirmingPublisher(connection)
        return self._publisher


class Beats:
    """The beats of one process."""

    def __init__(
        self, db: Store, publishing: Publishing, instance: Instance, counters: Counters, beatings: Sequence[Beating]
    ) -> None:
        self._db = db
        self._publishing = publishing
        self._instance = instance
        self._counters = counters
        self._beatings = beatings
        self._rules_due = 0.0
        self._failures: dict[str, str] = {}
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._keep, name="beat", daemon=True)

    def start(self) -> None:
        """Begin; the first beat comes after two seconds."""
        now = time.monotonic()
        for beating in self._beatings:
            beating.due = now + min(FIRST_SECONDS, beating.interval)
        self._thread.start()

    def end(self) -> None:
        """Stop and give the leases back; never raises."""
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join(2.0)
        self._guard("the counts of rules", self.count_rules)
        if self._thread.is_alive() or self._thread.ident is None:
            self._release()
        self._publishing.close()

    def _release(self) -> None:
        try:
            for beating in self._beatings:
                leases.release_beat(self._db, beating.engine.name, self._instance.id)
        except StoreError as error:
            _LOG.warning("the beats' leases end by themselves: %s", error)

    def failures(self) -> dict[str, str]:
        """Return why the beat of each engine failed the last time, of those that did. Any thread may ask."""
        return dict(self._failures)

    def turn(self, now: float) -> None:
        """Do what is due at ``now`` (seconds, monotonic). Nothing that fails stops another; its next turn comes."""
        if self._rules_due <= now:
            self._rules_due = now + RULES_SECONDS
            self._guard("the counts of rules", self.count_rules)
        due = [beating for beating in self._beatings if beating.due <= now]
        late = [beating for beating in self._beatings if beating not in due and beating.unsent and beating.retry <= now]
        for beating in due:
            beating.due = now + beating.interval
        measured = [beating for beating in due if beating.measured]
        if measured:
            self._guard("the metrics", partial(self._tell, measured, now))
        for beating in late:
            self._watch(beating, partial(self._send, beating, now))
        for beating in due:
            if beating.beats:
                self._watch(beating, partial(self._beat, beating, now))

    def _watch(self, beating: Beating, work: Callable[[], object]) -> None:
        """Do ``work``, and say it once when it begins to fail or to work again."""
        name = beating.engine.name
        why = self._guard(f"the beat of {name}", work)
        if why:
            if name not in self._failures:
                _LOG.warning("the beat of %s fails: %s", name, why)
            self._failures[name] = why
        elif self._failures.pop(name, ""):
            _LOG.warning("the beat of %s works again", name)

    def _guard(self, name: str, work: Callable[[], object]) -> str:
        """Do ``work``; return why it failed, nothing when it did not."""
        try:
            work()
        except TransportError as error:
            _LOG.debug("%s: %s", name, error)
            self._publishing.close()
            return bounded(str(error))
        except CanopsisError as error:
            _LOG.debug("%s: %s", name, error)
            return bounded(str(error))
        except Exception as error:  # noqa: BLE001 - a bug in one beat must not end all the others
            _LOG.exception("%s failed; the next one comes", name)
            return reason_of(error)
        return ""

    def _holds(self, beating: Beating) -> bool:
        """Take or renew the lease; without it nothing is written or sent any more: another instance beats."""
        name, holder = beating.engine.name, self._instance.id
        if leases.take_beat(self._db, name, holder, max(2 * beating.interval, 10.0)):
            return True
        if beating.unsent:
            _LOG.warning("the beat of %s is another instance's now: %s messages go", name, len(beating.unsent))
            beating.unsent.clear()
        return False

    def _beat(self, beating: Beating, now: float) -> None:
        more = self._send(beating, now)
        while more and not self._stop.is_set():
            ctx = StoreContext(self._db)
            effects = beating.engine.beat(ctx.now, ctx)
            more = self._write(beating, effects, ctx.now) and self._send(beating, now) and effects.more

    def _write(self, beating: Beating, effects: Effects, now: float) -> bool:
        """Write what a beat wants; False when another instance beats by now."""
        if not self._holds(beating):
            return False
        dead = letters([(beating.engine.name, dead) for dead in effects.dead], now)
        # What is deleted has its letter first.
        bad = apply_each(self._db, dead | effects.write)
        apply_each(self._db, letters(bad, now))
        beating.unsent += effects.publish
        return True

    def _send(self, beating: Beating, now: float) -> bool:
        """Send what the broker has not taken; False when another instance beats by now."""
        if not self._holds(beating):
            return False
        if beating.unsent:
            beating.retry = now + RETRY_SECONDS
            self._publishing.publish(beating.unsent)
            beating.unsent.clear()
        return True

    def count_rules(self) -> None:
        """Write what rules did. Raises StoreError, and keeps it for the next time."""
        counts = self._counters.rules.take()
        try:
            rules.count(self._db, counts)
        except StoreError:
            self._counters.rules.add(counts)
            raise

    def _tell(self, due: Sequence[Beating], now: float) -> None:
        messages = []
        for beating in due:
            name = beating.engine.name
            after = Reading(now, self._counters.read(name))
            values = measured(beating.last, after, self._publishing.depth(beating.queues()))
            event = perf_event(name, self._instance.host, self._instance.number, time.time(), values)
            messages.append(_outgoing(event))
            beating.last = after
        who, untold = self._instance, self._counters.sources.untold()
        messages += [_outgoing(source_event(name, who.host, who.number, time.time(), untold[name])) for name in untold]
        self._publishing.publish(messages)
        self._counters.sources.tell(untold)

    def _keep(self) -> None:
        while not self._stop.is_set():
            self._guard("the connection", self._publishing.idle)
            self.turn(time.monotonic())
            self._stop.wait(min(1.0, *(beating.interval for beating in self._beatings)))
        # Here, not at the end alone: a turn that the end did not wait for may take a lease after it.
        self._release()


def _outgoing(event: Event) -> Outgoing:
    return Outgoing(EVENTS, routing_key(event), encode(event))
