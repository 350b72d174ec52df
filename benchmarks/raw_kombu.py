"""kombu alone on the same broker: what messages cost before anybody looks into them."""

from __future__ import annotations

import time
from typing import Any

import kombu

from canopsis.transport.settings import AmqpSettings

Link = Any
"""Objects of kombu; it has no types."""

MESSAGES = 10_000
_BODY = b"x" * 700
_QUEUE = "canopsis.benchmark"


def measure(settings: AmqpSettings) -> dict[str, float]:
    """Return messages a second: published with pipelined confirms, consumed with prefetch 200 and multiple acks."""
    host, port = settings.hosts[0]
    link: Link = kombu.Connection(
        hostname=host, port=port, userid=settings.user, password=settings.password, virtual_host=settings.vhost
    )
    with link:
        channel = link.channel()
        queue = kombu.Queue(_QUEUE, durable=True, queue_arguments={"x-queue-type": "quorum"})(channel)
        queue.declare()
        queue.purge()
        try:
            return {"published a second": _publish(link), "consumed a second": _consume(link)}
        finally:
            queue.delete()


def _publish(link: Link) -> float:
    channel = link.channel()
    channel.confirm_select()
    confirmed = [0]

    def on_ack(tag: int, multiple: bool) -> None:
        confirmed[0] = tag if multiple else confirmed[0] + 1

    channel.events["basic_ack"].add(on_ack)
    producer = kombu.Producer(channel, routing_key=_QUEUE, auto_declare=False)
    began = time.perf_counter()
    for number in range(MESSAGES):
        producer.publish(_BODY, content_type="application/octet-stream", content_encoding="binary")
        while number - confirmed[0] > 500:
            link.drain_events(timeout=10)
    while confirmed[0] < MESSAGES:
        link.drain_events(timeout=10)
    return MESSAGES / (time.perf_counter() - began)


def _consume(link: Link) -> float:
    channel = link.channel()
    channel.basic_qos(0, 200, False)
    seen = [0]

    def on_message(message: Link) -> None:
        seen[0] += 1
        if seen[0] % 50 == 0 or seen[0] == MESSAGES:
            message.ack(multiple=True)

    consumer = kombu.Consumer(
        channel, [kombu.Queue(_QUEUE, no_declare=True)], on_message=on_message, auto_declare=False
    )
    began = time.perf_counter()
    with consumer:
        while seen[0] < MESSAGES:
            link.drain_events(timeout=10)
    return MESSAGES / (time.perf_counter() - began)
