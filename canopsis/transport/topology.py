"""Exchanges and queues: what they are called, what they are, how they are declared."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import kombu
from amqp.exceptions import NotFound, PreconditionFailed

from canopsis.transport.connection import Connection

_kombu: Any = kombu  # it has no types
_LOG = logging.getLogger(__name__)

EVENTS = "canopsis.events"
ALERTS = "canopsis.alerts"
DEAD = "canopsis.dead"
COLLECTD = "amq.topic"

DOORS = (EVENTS, COLLECTD)
"""Where messages from outside come in. The user of the web server may write there and nowhere else."""

DELIVERY_LIMIT = 200
"""Deliveries of a message before it is dead-lettered. RabbitMQ 4 drops after 20 by itself: too few
when a database is away for days, since each lost connection counts; without a limit one message
that kills its engine stops a partition for ever."""

DEATHS_CHECKED = (4, 0)
"""The first broker that looks at a sender's ``x-death`` when it takes the message. Earlier ones look
when the message expires, and a forged one then ends the queue's leader, or the worker that
dead-letters for all queues of its node and never comes back. So queues that take messages from
outside have no dead-letter exchange there: what its sender let expire is gone, and what kills its
reader is put aside by the next one."""

_RENEW = "An earlier release made it; docs/operations.md, Renew a queue, says how to make it anew without a loss"
"""Not done by itself: RabbitMQ deletes a quorum queue whatever is in it, if-empty and if-unused are
refused, so a message that comes a moment before would be gone."""

Binding = tuple[str, str]
"""Exchange and binding key."""


@dataclass(frozen=True, slots=True)
class Queue:
    """A queue, of a ``partition`` or not."""

    name: str
    partition: bool = False
    binding: Binding | None = None

    @property
    def ordered(self) -> bool:
        """Whether one reader at a time works and the others stand by.

        Where events come in as well: what a frozen reader has in hand would come after what another
        one took meanwhile, and the order of an entity be lost before it has a partition. Dead
        letters have no order to keep.
        """
        return self.partition or (self.binding is not None and self.binding[0] != DEAD)


@dataclass(frozen=True, slots=True)
class Topology:
    """The queues of a site."""

    queues: tuple[Queue, ...] = field(default=())


def queue_name(engine: str, partition: int | None = None) -> str:
    """Return ``Engine_<name>`` or ``Engine_<name>.NN``."""
    return f"Engine_{engine}" if partition is None else f"Engine_{engine}.{partition:02d}"


def site_topology(raw: Mapping[str, Binding | None], partitioned: Iterable[str], partitions: int) -> Topology:
    """Return the queues of a site: one for each engine in ``raw``, ``partitions`` for each in ``partitioned``."""
    queues = [Queue(queue_name(name), binding=binding) for name, binding in raw.items()]
    for name in partitioned:
        queues += [Queue(queue_name(name, number), partition=True) for number in range(partitions)]
    return Topology(tuple(queues))


def declare(connection: Connection, topology: Topology) -> None:
    """Make the exchanges and queues that are not there yet. Raises TransportError.

    A queue that is there with other arguments (made by an older release or broker) stays as it is.
    RabbitMQ 3.10, killed within a second of making a quorum queue, may come back with that queue
    dead: nothing sent to it is confirmed until it is deleted and declared again.
    """
    channel = connection.channel()
    with connection.errors("cannot declare the exchanges"):
        for name in (EVENTS, ALERTS, DEAD):
            _kombu.Exchange(name, type="topic", durable=True)(channel).declare()
        channel.close()
    for queue in topology.queues:
        _declare_queue(connection, queue)


def queue_arguments(queue: Queue, version: tuple[int, ...], queue_type: str = "quorum") -> dict[str, Any]:
    """Return the arguments of ``queue`` that a broker of ``version`` knows. Classic queues know no delivery limit."""
    arguments: dict[str, Any] = {}
    quorum = version >= (3, 8) and queue_type == "quorum"
    if version >= (3, 8):
        arguments["x-queue-type"] = queue_type
    if queue.ordered:
        arguments["x-single-active-consumer"] = True
    if queue.binding and queue.binding[0] == DEAD:
        # The last stop: nothing may drop from here.
        return arguments | ({"x-delivery-limit": -1} if quorum and version >= (4, 0) else {})
    if quorum and queue.binding and version < DEATHS_CHECKED:
        return arguments
    arguments["x-dead-letter-exchange"] = DEAD
    if quorum:
        arguments["x-delivery-limit"] = DELIVERY_LIMIT
    if quorum and version >= (3, 10):
        # Else a dead letter is published without a confirm, and may be lost on its way.
        arguments |= {"x-dead-letter-strategy": "at-least-once", "x-overflow": "reject-publish"}
    return arguments


def depth(connection: Connection, queue: str) -> int | None:
    """Return how many messages are ready in ``queue``; None when there is no such queue. Raises TransportError.

    RabbitMQ says 0 of a quorum queue whose leader does not answer it within 250 ms.
    """
    found = inspect(connection, queue)
    return found[0] if found else None


def inspect(connection: Connection, queue: str) -> tuple[int, int] | None:
    """Return how many messages are ready in ``queue`` and how many read it; None when there is no such queue.

    Both are 0 for a quorum queue whose leader is busy, see ``depth``. Raises TransportError.
    """
    channel = connection.channel()
    with connection.errors(f"cannot look at {queue}"):
        try:
            found = channel.queue_declare(queue, passive=True)
            return int(found.message_count), int(found.consumer_count)
        except NotFound:
            return None
        finally:
            channel.close()


def has_exchange(connection: Connection, name: str) -> bool:
    """Tell whether there is an exchange called ``name``. Raises TransportError."""
    channel = connection.channel()
    with connection.errors(f"cannot look for the exchange {name}"):
        try:
            channel.exchange_declare(name, "topic", passive=True)
        except NotFound:
            return False
        finally:
            channel.close()
    return True


def _declare_queue(connection: Connection, queue: Queue) -> None:
    channel = connection.channel()
    arguments = queue_arguments(queue, connection.version, connection.settings.queue_type)
    entity = _kombu.Queue(queue.name, durable=True, queue_arguments=arguments)(channel)
    with connection.errors(f"cannot declare {queue.name}"):
        try:
            entity.queue_declare()
        except PreconditionFailed as error:
            _LOG.warning("%s stays as it is: %s. %s", queue.name, error, _RENEW)
        if queue.binding:
            exchange, key = queue.binding
            entity.bind_to(exchange, key)
        channel.close()
