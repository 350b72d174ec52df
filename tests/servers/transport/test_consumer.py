"""Consuming from a real broker: batches, acknowledges, hand-over, loss."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import replace

import pytest
from servers import RabbitMQ, eventually

from canopsis.errors import TransportError
from canopsis.transport.connection import Connection, connect, connect_for_ever
from canopsis.transport.consumer import Consumer, Delivery
from canopsis.transport.publisher import ConfirmingPublisher
from canopsis.transport.topology import depth, queue_name

Connect = Callable[[], Connection]


def fill(connection: Connection, queue: str, bodies: list[bytes]) -> None:
    """Put ``bodies`` into ``queue``."""
    publisher = ConfirmingPublisher(connection)
    for body in bodies:
        publisher.send("", queue, body)
    publisher.flush()
    publisher.close()


def numbered(count: int) -> list[bytes]:
    return [b"%d" % number for number in range(count)]


def take(consumer: Consumer, count: int) -> list[Delivery]:
    """Gather until there are ``count`` messages, and acknowledge none."""
    got: list[Delivery] = []
    eventually(lambda: got.extend(consumer.gather(count - len(got), 0.2)) or len(got) == count)
    return got


@pytest.fixture
def queue(engine: str) -> str:
    return queue_name(engine, 0)


def test_a_batch_is_what_has_arrived(link: Connect, queue: str) -> None:
    fill(link(), queue, numbered(100))
    consumer = Consumer(link())
    consumer.add(queue)
    got = take(consumer, 100)
    assert [delivery.body for delivery in got] == numbered(100)
    consumer.ack(got)
    assert consumer.gather(10, 0.05) == []


def test_a_batch_is_bounded(link: Connect, queue: str) -> None:
    fill(link(), queue, numbered(30))
    consumer = Consumer(link())
    consumer.add(queue)
    sizes = []
    eventually(lambda: sizes.append(len(consumer.gather(7, 0.2))) or sum(sizes) == 30)
    assert max(sizes) == 7


def test_no_message_means_an_empty_batch_in_time(link: Connect, queue: str) -> None:
    consumer = Consumer(link())
    consumer.add(queue)
    begin = time.monotonic()
    assert consumer.gather(10, 0.3) == []
    assert 0.25 < time.monotonic() - begin < 20.0


def test_messages_that_came_with_the_subscription_are_not_waited_for(link: Connect, queue: str) -> None:
    fill(link(), queue, numbered(1))
    consumer = Consumer(link())
    for _ in range(20):
        consumer.add(queue)
        begin = time.monotonic()
        assert [delivery.body for delivery in consumer.gather(10, 30.0)] == numbered(1)
        assert time.monotonic() - begin < 20.0
        consumer.remove(queue)


def test_a_message_ends_the_wait(link: Connect, queue: str) -> None:
    consumer, publisher = Consumer(link()), ConfirmingPublisher(link())
    consumer.add(queue)
    publisher.send("", queue, b"now")
    publisher.flush()
    begin = time.monotonic()
    assert [delivery.body for delivery in consumer.gather(10, 30.0)] == [b"now"]
    assert time.monotonic() - begin < 20.0


def test_one_ack_for_many(link: Connect, queue: str) -> None:
    fill(link(), queue, numbered(50))
    consumer = Consumer(link())
    consumer.add(queue)
    got = take(consumer, 50)
    consumer.ack(got[:20])
    consumer.close()
    other = Consumer(link())
    other.add(queue)
    rest = take(other, 30)
    assert [delivery.body for delivery in rest] == numbered(50)[20:]
    assert all(delivery.redelivered for delivery in rest)


def test_prefetch_bounds_what_is_under_way(link: Connect, queue: str) -> None:
    fill(link(), queue, numbered(100))
    consumer, looking = Consumer(link(), prefetch=10), link()
    consumer.add(queue)
    got = take(consumer, 10)
    assert consumer.gather(10, 0.2) == []
    eventually(lambda: depth(looking, queue) == 90)
    consumer.ack(got)
    assert len(take(consumer, 10)) == 10


def test_each_queue_is_acknowledged_by_itself(link: Connect, engine: str) -> None:
    for number in (0, 1):
        fill(link(), queue_name(engine, number), numbered(10))
    consumer = Consumer(link())
    for number in (0, 1):
        consumer.add(queue_name(engine, number))
    got = take(consumer, 20)
    consumer.ack([delivery for delivery in got if delivery.queue == queue_name(engine, 0)])
    consumer.close()
    looking = link()
    eventually(lambda: depth(looking, queue_name(engine, 1)) == 10)
    assert depth(looking, queue_name(engine, 0)) == 0


def test_a_queue_given_up_keeps_its_order(link: Connect, queue: str) -> None:
    fill(link(), queue, numbered(100))
    consumer = Consumer(link())
    consumer.add(queue)
    got = take(consumer, 40)
    consumer.ack(got[:15])
    consumer.remove(queue)
    assert consumer.queues == frozenset()
    assert consumer.gather(10, 0.05) == [], "what was read ahead is not ours any more"
    other = Consumer(link())
    other.add(queue)
    assert [delivery.body for delivery in take(other, 85)] == numbered(100)[15:]


def test_hand_over_while_messages_stream_in(link: Connect, queue: str) -> None:
    """The next holder is active only when all we had is back: order and nothing lost, nothing twice."""
    fill(link(), queue, numbered(500))
    consumers = [Consumer(link(), prefetch=50) for _ in range(3)]
    for consumer in consumers:
        consumer.add(queue)
    done: list[bytes] = []
    for consumer in consumers:
        target = min(500, len(done) + 150)
        while len(done) < target:
            batch = consumer.gather(30, 0.5)
            done.extend(delivery.body for delivery in batch)
            consumer.ack(batch)
        consumer.remove(queue)
    last = Consumer(link())
    last.add(queue)
    done.extend(delivery.body for delivery in take(last, 500 - len(done)))
    assert done == numbered(500)


def test_one_active_consumer(link: Connect, queue: str) -> None:
    first, second = Consumer(link()), Consumer(link())
    first.add(queue)
    second.add(queue)
    fill(link(), queue, numbered(20))
    assert len(take(first, 20)) == 20
    assert second.gather(10, 0.2) == []


def test_a_killed_holder_is_followed_by_the_next(link: Connect, queue: str) -> None:
    fill(link(), queue, numbered(20))
    broken = link()
    first, second = Consumer(broken), Consumer(link())
    first.add(queue)
    second.add(queue)
    first.ack(take(first, 20)[:5])
    # Whoever answers on the same channel has the acknowledgement.
    first._subscriptions[queue].channel.basic_qos(0, 20, False)
    broken.drop()
    rest = take(second, 15)
    assert [delivery.body for delivery in rest] == numbered(20)[5:]


def test_give_back_brings_all_again_in_order(link: Connect, queue: str) -> None:
    fill(link(), queue, numbered(60))
    consumer = Consumer(link(), prefetch=20)
    consumer.add(queue, prefetch=30)
    stale = take(consumer, 30)
    consumer.give_back()
    got = take(consumer, 30)
    assert [delivery.body for delivery in got] == numbered(30)
    consumer.ack(stale)
    assert consumer.gather(10, 0.2) == [], "an old tag acknowledges nothing of the new subscription"
    consumer.ack(got)
    assert len(take(consumer, 30)) == 30


def test_bodies_that_are_no_text_are_passed_raw(link: Connect, queue: str) -> None:
    nasty = [b"\xff\xfe\x00", b"not json", b"", b"{" * 600]
    publisher = ConfirmingPublisher(link())
    for body in nasty:
        publisher.send("", queue, body, content_type="application/x-python-serialize")
    publisher.flush()
    consumer = Consumer(link())
    consumer.add(queue)
    assert [delivery.body for delivery in take(consumer, 4)] == nasty


def test_queue_that_is_not_there(link: Connect) -> None:
    connection = link()
    consumer = Consumer(connection)
    with pytest.raises(TransportError, match="Engine_nothing"):
        consumer.add("Engine_nothing")
    assert consumer.queues == frozenset()
    assert connection.wire.deliver_sinks == {}
    assert connection.is_open


def test_a_deleted_queue_is_said(link: Connect) -> None:
    # A classic one: RabbitMQ 3.10 may lose all its dead-lettering with a quorum queue that has just come up.
    queue, channel = "Engine_deleted", link().channel()
    channel.queue_declare(queue, durable=True, auto_delete=False)
    consumer = Consumer(link())
    consumer.add(queue)
    channel.queue_delete(queue)

    def said() -> bool:
        try:
            consumer.gather(10, 0.2)
        except TransportError as error:
            return queue in str(error)
        return False

    eventually(said)


def test_heartbeats_while_nobody_reads(rabbitmq: RabbitMQ, link: Connect, queue: str) -> None:
    """A caller that waits long for the database keeps its connection and its messages."""
    connection = connect(replace(rabbitmq.settings(), heartbeat=3.0))
    assert connection.wire.heartbeat == 3
    consumer = Consumer(connection)
    consumer.add(queue)
    fill(link(), queue, numbered(3))
    got = take(consumer, 3)
    threading.Event().wait(10.0)
    consumer.ack(got)
    assert consumer.gather(10, 0.2) == []
    connection.close()
    looking = link()
    eventually(lambda: depth(looking, queue) == 0)


def test_a_frozen_broker_is_noticed(rabbitmq: RabbitMQ, queue: str) -> None:
    connection = connect(replace(rabbitmq.settings(), heartbeat=2.0))
    consumer = Consumer(connection)
    consumer.add(queue)
    with rabbitmq.frozen():
        begin, heard = time.monotonic(), connection.wire.transport.received_at
        with pytest.raises(TransportError, match="silent"):
            while time.monotonic() - begin < 60:
                consumer.gather(10, 1.0)
        assert time.monotonic() - begin < 10.0
        assert time.monotonic() - heard > 1.0


def test_a_killed_broker_is_noticed_and_found_again(mortal: RabbitMQ) -> None:
    queue = queue_name("mortal", 0)
    stop = threading.Event()
    connection = connect(mortal.settings())
    consumer = Consumer(connection)
    consumer.add(queue)
    fill(connection, queue, numbered(10))
    take(consumer, 10)
    mortal.kill()
    with pytest.raises(TransportError):
        consumer.gather(10, 10.0)
    assert not connection.is_open
    with pytest.raises(TransportError, match="closed"):
        connection.channel()
    tries: list[float] = []
    mortal.launch()
    again = connect_for_ever(mortal.settings(), stop, on_failure=lambda _error, pause: tries.append(pause))
    assert again is not None
    assert tries, "the broker was back before anybody looked"
    second = Consumer(again)
    second.add(queue)
    assert [delivery.body for delivery in take(second, 10)] == numbered(10)
    again.close()


def test_close_never_raises(rabbitmq: RabbitMQ, queue: str) -> None:
    connection = connect(rabbitmq.settings())
    consumer = Consumer(connection)
    consumer.add(queue)
    connection.wire.transport.sock.close()
    consumer.close()
    connection.close()
    connection.close()
    assert not connection.is_open
