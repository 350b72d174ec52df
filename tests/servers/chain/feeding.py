"""Sources of events for the chain, and a subscriber of its alerts."""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Iterable, Sequence
from typing import Any

from servers import eventually

from canopsis.errors import TransportError
from canopsis.transport.connection import Connection, connect
from canopsis.transport.consumer import Consumer
from canopsis.transport.publisher import ConfirmingPublisher
from canopsis.transport.settings import AmqpSettings
from canopsis.transport.topology import ALERTS, EVENTS

Event = dict[str, Any]


def check(component: str, state: int, **fields: Any) -> Event:
    """Return a check of a component."""
    base: Event = {
        "connector": "test",
        "connector_name": "chain",
        "event_type": "check",
        "component": component,
        "state": state,
        "timestamp": time.time(),
    }
    return base | fields


class Feed:
    """A source that never gives up: what was not confirmed is sent again, with the same event ids."""

    def __init__(self, amqp: AmqpSettings) -> None:
        self._amqp = amqp
        self._connection: Connection | None = None
        self._publisher: ConfirmingPublisher | None = None

    def send(
        self, bodies: Sequence[bytes], exchange: str = EVENTS, key: str = "test.chain.check.component.any"
    ) -> None:
        """Send ``bodies`` and wait until the broker has them all."""
        eventually(lambda: self._try(bodies, exchange, key), 150)

    def events(self, events: Iterable[Event], size: int = 1) -> None:
        """Send events, ``size`` a message."""
        listed = list(events)
        parts = [listed[at : at + size] for at in range(0, len(listed), size)]
        self.send([json.dumps(part[0] if size == 1 else part).encode() for part in parts])

    def close(self) -> None:
        """Close the connection."""
        if self._connection is not None:
            self._connection.close()

    def _try(self, bodies: Sequence[bytes], exchange: str, key: str) -> bool:
        try:
            if self._connection is None or self._publisher is None or not self._publisher.is_open:
                self.close()
                self._connection = connect(self._amqp, "feed")
                self._publisher = ConfirmingPublisher(self._connection)
            for body in bodies:
                self._publisher.send(exchange, key, body)
            self._publisher.flush(50)
        except TransportError:
            self._publisher = None
            return False
        return True


class Alerts:
    """A subscriber of ``canopsis.alerts``."""

    def __init__(self, amqp: AmqpSettings) -> None:
        self._connection = connect(amqp, "alerts")
        channel = self._connection.channel()
        channel.exchange_declare(ALERTS, "topic", durable=True, auto_delete=False)
        # One of its own: the queue of an earlier connection may not be gone yet.
        queue = f"test.alerts.{uuid.uuid4().hex[:8]}"
        channel.queue_declare(queue, exclusive=True, auto_delete=False)
        channel.queue_bind(queue, ALERTS, "#")
        self._consumer = Consumer(self._connection)
        self._consumer.add(queue)
        self.seen: list[Event] = []

    def kinds(self, component: str) -> list[str]:
        """Return what was told of ``component`` so far."""
        self.seen += [json.loads(delivery.body) for delivery in self._consumer.gather(500, 0.05)]
        return [alert["kind"] for alert in self.seen if alert["component"] == component]

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()
