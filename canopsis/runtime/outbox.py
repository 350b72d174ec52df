"""What leaves a process: events on their way to other engines, and messages for exchanges."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from canopsis.core.entity import partition_of
from canopsis.core.envelope import Envelope
from canopsis.core.event import Event
from canopsis.errors import InputError
from canopsis.runtime.contract import Dead, Message, Outgoing
from canopsis.runtime.manifest import Input, Registry
from canopsis.runtime.pipeline import Outcome, as_messages
from canopsis.transport.codec import pack
from canopsis.transport.publisher import ConfirmingPublisher
from canopsis.transport.topology import ALERTS, queue_name

DEFAULT_EXCHANGE = ""


class Outbox:
    """Publishes outcomes. ``registry`` says what the engines of other processes take."""

    def __init__(self, publisher: ConfirmingPublisher, registry: Registry, partitions: int) -> None:
        self._publisher = publisher
        self._inputs: dict[str, Input] = {name: kind.input for name, kind in registry.items()}
        self._partitions = partitions

    def publish(self, outcome: Outcome) -> list[tuple[str, Dead]]:
        """Publish all of ``outcome`` and wait until the broker has it. Raises TransportError.

        Returns what cannot travel, as dead letters: a key or a body that is too long.
        """
        dead = []
        for message in (*outcome.publish, *self._hops(outcome)):
            mandatory = message.exchange != ALERTS
            try:
                self._publisher.send(message.exchange, message.routing_key, message.body, mandatory=mandatory)
            except InputError as error:
                origin = Message(message.body, message.exchange, message.routing_key)
                dead.append(("publisher", Dead(message.body, str(error), error.field, origin=origin)))
        if outcome.publish or outcome.hops:
            self._publisher.flush()
        return dead

    def _hops(self, outcome: Outcome) -> Iterator[Outgoing]:
        for name, events in outcome.hops.items():
            if self._inputs[name] == "raw":
                for message in as_messages(name, events):
                    yield Outgoing(DEFAULT_EXCHANGE, message.routing_key, message.body)
                continue
            for partition, bodies in enumerate(by_partition(events, outcome.envelope, self._partitions)):
                for body in pack(bodies):
                    yield Outgoing(DEFAULT_EXCHANGE, queue_name(name, partition), body)


def by_partition(events: Sequence[Event], envelope: Envelope, partitions: int) -> list[list[bytes]]:
    """Return the encoded events of each partition, in their order."""
    parts: list[list[bytes]] = [[] for _ in range(partitions)]
    for event in events:
        parts[partition_of(event.entity_id, partitions)].append(envelope.seal(event))
    return parts
