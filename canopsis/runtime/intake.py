"""What comes into a process: which queues it reads, how many messages at once, for which engine."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from canopsis.core.envelope import Envelope, decode_batch
from canopsis.core.event import Event
from canopsis.errors import InvalidEvent
from canopsis.runtime.contract import Batch, Dead
from canopsis.runtime.counters import Tally
from canopsis.runtime.manifest import Registry
from canopsis.runtime.pipeline import Outcome
from canopsis.runtime.settings import ChainSettings
from canopsis.transport.consumer import Consumer, Delivery
from canopsis.transport.topology import queue_name

BATCH_EVENTS = 2000
BATCH_MESSAGES = 500
RAW_PREFETCH = 2 * BATCH_MESSAGES
PARTITION_PREFETCH = 64
"""Messages of one partition under way; each holds many events."""


@dataclass(slots=True)
class Pace:
    """How many messages make a batch of about ``BATCH_EVENTS`` events, learnt from those before."""

    events_per_message: float = 1.0

    def messages(self) -> int:
        """Return how many messages to take next."""
        return max(1, min(BATCH_MESSAGES, int(BATCH_EVENTS / self.events_per_message)))

    def learn(self, messages: int, events: int) -> None:
        """Take note of a batch."""
        if messages:
            self.events_per_message = max(1.0, (self.events_per_message + events / messages) / 2)


@dataclass(slots=True)
class Taken:
    """A gathered batch by engine; ``refused`` are bodies that are not events, with their engine.

    ``partitions`` are those of the queues that it came from.
    """

    batches: dict[str, Batch] = field(default_factory=dict)
    refused: list[tuple[str, Dead]] = field(default_factory=list)
    oldest: dict[str, float] = field(default_factory=dict)
    partitions: frozenset[int] = frozenset()

    def count_in(self, outcome: Outcome) -> None:
        """Add to ``outcome`` the refused bodies: no engine saw them."""
        outcome.dead += self.refused
        for engine, _ in self.refused:
            outcome.tallies.setdefault(engine, Tally()).add(Tally(1, 0, 0, 1))

    def time_in(self, outcome: Outcome, now: float) -> None:
        """Add to ``outcome`` how long the oldest message of each engine took, up to ``now``."""
        for engine, received in self.oldest.items():
            outcome.tallies.setdefault(engine, Tally()).latency = max(0.0, now - received)

    def incoming(self, outcome: Outcome) -> int:
        """Return how many events the batch turned out to have."""
        return sum(tally.incoming for name, tally in outcome.tallies.items() if name in self.oldest)


class Intake:
    """The queues of one process, and the engines behind them."""

    def __init__(self, chain: ChainSettings, process: str, registry: Registry) -> None:
        self._partitions = chain.partitions
        self._raw = [name for name in chain.entries(process, registry) if registry[name].input == "raw"]
        self._partitioned = [name for name in chain.entries(process, registry) if registry[name].input == "events"]
        self._engine_of = {queue_name(name): name for name in self._raw}
        self._partition_of: dict[str, int] = {}
        for name in self._partitioned:
            self._engine_of |= {queue_name(name, number): name for number in range(chain.partitions)}
            self._partition_of |= {queue_name(name, number): number for number in range(chain.partitions)}
        self.pace = Pace()

    @property
    def shared_partitions(self) -> int:
        """How many partitions the instances of this process share; 0 when it reads no partitioned queue."""
        return self._partitions if self._partitioned else 0

    def engine_of(self, queue: str) -> str:
        """Return the engine that reads ``queue``."""
        return self._engine_of.get(queue, queue)

    def queues(self, engine: str, partitions: Iterable[int]) -> list[str]:
        """Return the queues of ``engine`` that a holder of ``partitions`` reads."""
        if engine in self._raw:
            return [queue_name(engine)]
        return [queue_name(engine, number) for number in sorted(partitions)] if engine in self._partitioned else []

    def subscribe(self, consumer: Consumer, partitions: frozenset[int]) -> None:
        """Read the queues that need no partition, and those of ``partitions``. Raises TransportError."""
        for name in self._raw:
            consumer.add(queue_name(name), RAW_PREFETCH)
        for name in self._partitioned:
            for number in sorted(partitions):
                consumer.add(queue_name(name, number), PARTITION_PREFETCH)

    def unsubscribe(self, consumer: Consumer, partitions: frozenset[int]) -> None:
        """Read ``partitions`` no more. Raises TransportError."""
        for name in self._partitioned:
            for number in sorted(partitions):
                consumer.remove(queue_name(name, number))

    def take(self, deliveries: Sequence[Delivery]) -> Taken:
        """Sort ``deliveries`` by engine and decode what other engines encoded."""
        of = self._partition_of
        taken = Taken(partitions=frozenset(of[each.queue] for each in deliveries if each.queue in of))
        groups: dict[str, list[Delivery]] = {}
        for delivery in deliveries:
            groups.setdefault(self._engine_of[delivery.queue], []).append(delivery)
        for engine, group in groups.items():
            received = group[0].received
            taken.oldest[engine] = time.time() if received is None else received
            if engine in self._raw:
                taken.batches[engine] = Batch(raw=group)
            else:
                taken.batches[engine] = self._decode(engine, group, taken)
        return taken

    def _decode(self, engine: str, group: Sequence[Delivery], taken: Taken) -> Batch:
        events: list[Event] = []
        envelope = Envelope()
        for delivery in group:
            try:
                events += decode_batch(delivery.body, envelope)
            except InvalidEvent as error:
                taken.refused.append((engine, Dead.of(delivery, str(error), error.field)))
        return Batch(events, envelope=envelope)
