"""Consuming in batches: what the socket holds, raw, and one acknowledge for many."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass

from canopsis.errors import TransportError
from canopsis.transport.connection import Channel, Connection
from canopsis.transport.wire import Delivery

__all__ = ["Consumer", "Delivery"]


@dataclass(eq=False, slots=True)
class _Subscription:
    queue: str
    channel: Channel
    prefetch: int


class Consumer:
    """Subscribes to queues and gathers their messages. For one thread.

    Each queue has a channel of its own, because one acknowledge covers all lower tags of a
    channel. ``prefetch`` is the most messages of a queue under way: what a crash gives back.
    ``stamped`` says that the broker writes its own time on messages (``stamps.stamps``).
    """

    def __init__(self, connection: Connection, prefetch: int = 200, *, stamped: bool = False) -> None:
        self._connection = connection
        self._stamped = stamped
        self._sinks = connection.wire.deliver_sinks
        self._prefetch = prefetch
        self._subscriptions: dict[str, _Subscription] = {}
        self._ready: deque[Delivery] = deque()
        self._lost: set[str] = set()

    @property
    def queues(self) -> frozenset[str]:
        """The queues subscribed to."""
        return frozenset(self._subscriptions)

    def add(self, queue: str, prefetch: int | None = None) -> None:
        """Subscribe to ``queue``, with its own ``prefetch`` if given.

        Raises TransportError (a queue that does not exist, too).
        """
        if queue in self._subscriptions:
            return
        subscription = _Subscription(queue, self._connection.channel(), prefetch or self._prefetch)
        try:
            self._subscribe(subscription)
        except TransportError:
            with suppress(TransportError):
                self._end(subscription)
            raise
        self._subscriptions[queue] = subscription

    def remove(self, queue: str) -> None:
        """Unsubscribe; what was not acknowledged goes back to the queue, in its old order.

        The channel is closed without a cancel before it: a cancel alone would make the next
        consumer active while our messages are still out. Raises TransportError.
        """
        subscription = self._subscriptions.pop(queue, None)
        if subscription is not None:
            self._ready = deque(delivery for delivery in self._ready if delivery.queue != queue)
            self._end(subscription)

    def give_back(self) -> None:
        """Return every unacknowledged message to its queue and subscribe again. Raises TransportError."""
        for subscription in list(self._subscriptions.values()):
            self.remove(subscription.queue)
            self.add(subscription.queue, subscription.prefetch)

    def gather(self, max_messages: int = 500, max_wait: float = 0.5) -> list[Delivery]:
        """Return what has arrived, at most ``max_messages``, oldest first of each queue.

        Waits up to ``max_wait`` seconds for the first message, then takes what the socket holds and
        does not wait for more. Raises TransportError when the connection, a channel or a
        subscription is lost: the messages gathered and not acknowledged come again.
        """
        deadline = time.monotonic() + max_wait
        while len(self._ready) < max_messages:
            left = 0.0 if self._ready else max(0.0, deadline - time.monotonic())
            came = self._connection.serve(min(left, 1.0))
            if self._lost:
                raise TransportError(f"the broker ended the subscription to {', '.join(sorted(self._lost))}")
            if not came and (self._ready or left == 0.0):
                break
        count = min(max_messages, len(self._ready))
        return [self._ready.popleft() for _ in range(count)]

    def ack(self, deliveries: Iterable[Delivery]) -> None:
        """Acknowledge ``deliveries`` and all that were gathered before them from the same queues.

        Those of a subscription that has ended since are left out: they came again, or will.
        Raises TransportError; the messages come again then.
        """
        highest: dict[object, int] = {}
        for delivery in deliveries:
            highest[delivery.subscription] = max(delivery.tag, highest.get(delivery.subscription, 0))
        with self._connection.errors("cannot acknowledge"):
            for subscription in self._subscriptions.values():
                if subscription in highest:
                    subscription.channel.basic_ack(highest[subscription], multiple=True)

    def close(self) -> None:
        """Unsubscribe from everything; never raises."""
        try:
            for queue in self.queues:
                self.remove(queue)
        except TransportError:
            self._connection.drop()

    def _subscribe(self, subscription: _Subscription) -> None:
        def take(delivery: Delivery) -> None:
            delivery.queue = subscription.queue
            delivery.subscription = subscription
            delivery.stamped = self._stamped
            self._ready.append(delivery)

        queue, channel = subscription.queue, subscription.channel
        self._sinks[channel.channel_id] = take
        with self._connection.errors(f"cannot subscribe to {queue}"):
            channel.basic_qos(0, subscription.prefetch, False)
            channel.basic_consume(queue, callback=_unused, on_cancel=lambda _tag: self._lost.add(queue))

    def _end(self, subscription: _Subscription) -> None:
        number = subscription.channel.channel_id
        self._sinks[number] = _discard
        try:
            with self._connection.errors(f"cannot unsubscribe from {subscription.queue}"):
                subscription.channel.close()
        finally:
            self._sinks.pop(number, None)


def _discard(delivery: Delivery) -> None:
    """Let a delivery go that came while its channel was closing: the broker has it still."""


def _unused(message: object) -> None:
    raise TransportError(f"a delivery went past the short way: {message!r}")
