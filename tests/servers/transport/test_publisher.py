"""Publishing to a real broker: what is confirmed is safe, what is not is said."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

import pytest
from servers import RabbitMQ, eventually

from canopsis.errors import InputError, TransportError
from canopsis.transport.connection import Connection, connect, connect_for_ever
from canopsis.transport.consumer import Consumer, Delivery
from canopsis.transport.publisher import MAX_BODY, ConfirmingPublisher
from canopsis.transport.topology import depth, queue_name

Connect = Callable[[], Connection]


def bodies(connection: Connection, queue: str, count: int) -> list[bytes]:
    """Take ``count`` messages from ``queue`` and acknowledge them; fail when none comes for a while."""
    consumer, got = Consumer(connection), []
    consumer.add(queue)
    while len(got) < count:
        batch = consumer.gather(count - len(got), 30.0)
        assert batch, f"{len(got)} of {count} messages came, then none"
        got.extend(delivery.body for delivery in batch)
        consumer.ack(batch)
    consumer.close()
    return got


def test_messages_arrive_in_order(link: Connect, engine: str) -> None:
    publisher = ConfirmingPublisher(link())
    for number in range(3000):
        publisher.send("", queue_name(engine, 0), b"%d" % number)
    publisher.flush()
    assert publisher.pending == 0
    assert bodies(link(), queue_name(engine, 0), 3000) == [b"%d" % number for number in range(3000)]


def test_properties_arrive(link: Connect, engine: str) -> None:
    publisher, consumer = ConfirmingPublisher(link()), Consumer(link())
    queue = queue_name(engine, 0)
    publisher.send("", queue, b"{}", message_id="m1", headers={"a": 1, "b": "é"}, content_type="text/x")
    publisher.flush()
    consumer.add(queue)
    got: list[Delivery] = []
    eventually(lambda: got.extend(consumer.gather(10, 0.2)) or got)
    (delivery,) = got
    assert (delivery.message_id, delivery.content_type) == ("m1", "text/x")
    assert (delivery.headers["a"], delivery.headers["b"]) == (1, "é")
    assert (delivery.exchange, delivery.routing_key, delivery.queue) == ("", queue, queue)
    assert delivery.redelivered is False


@pytest.mark.parametrize("size", [0, 1, 131064, 131065, 1_000_000])
def test_bodies_of_any_size(link: Connect, engine: str, size: int) -> None:
    publisher, body = ConfirmingPublisher(link()), bytes(size)
    publisher.send("", queue_name(engine, 0), body)
    publisher.flush()
    assert bodies(link(), queue_name(engine, 0), 1) == [body]


def test_unroutable_is_an_error_that_names_the_key(link: Connect, engine: str) -> None:
    connection = link()
    publisher = ConfirmingPublisher(connection)
    publisher.send("", queue_name(engine, 0), b"1")
    publisher.send("", "Engine_nobody", b"2")
    with pytest.raises(TransportError, match="Engine_nobody"):
        publisher.flush()
    assert not publisher.is_open
    with pytest.raises(TransportError, match="closed after an earlier error"):
        publisher.send("", queue_name(engine, 0), b"3")
    assert connection.is_open, "the connection is good for another publisher"
    again = ConfirmingPublisher(connection)
    again.send("", queue_name(engine, 0), b"4")
    again.flush()
    assert bodies(link(), queue_name(engine, 0), 2) == [b"1", b"4"]


def test_optional_subscribers(link: Connect, engine: str) -> None:  # noqa: ARG001 - declares the exchanges
    publisher = ConfirmingPublisher(link())
    publisher.send("canopsis.alerts", "nobody.listens", b"1", mandatory=False)
    publisher.flush()
    assert publisher.is_open


def test_exchange_that_is_not_there(link: Connect) -> None:
    connection = link()
    publisher = ConfirmingPublisher(connection)
    publisher.send("no.such.exchange", "key", b"1")
    with pytest.raises(TransportError, match=r"no\.such\.exchange"):
        publisher.flush()
    assert not publisher.is_open
    assert depth(connection, "no.such.queue") is None, "the connection still works"


def test_refused_by_a_full_queue(link: Connect) -> None:
    connection = link()
    channel = connection.channel()
    arguments = {"x-queue-type": "quorum", "x-max-length": 1, "x-overflow": "reject-publish"}
    channel.queue_declare("full", durable=True, auto_delete=False, arguments=arguments)
    channel.close()
    failures = []

    def refused() -> bool:
        # A quorum queue learns that it is full a moment late.
        publisher = ConfirmingPublisher(connection)
        for _ in range(50):
            publisher.send("", "full", b"x")
        try:
            publisher.flush()
        except TransportError as error:
            failures.append(str(error))
        return bool(failures)

    eventually(refused)
    assert "a queue is full" in failures[0]


def test_names_and_bodies_that_no_broker_takes(link: Connect, engine: str) -> None:
    publisher = ConfirmingPublisher(link())
    with pytest.raises(InputError, match="routing_key"):
        publisher.send("canopsis.events", "é" * 128, b"1")
    with pytest.raises(InputError, match="message_id"):
        publisher.send("", queue_name(engine, 0), b"1", message_id="x" * 256)
    with pytest.raises(InputError, match="body"):
        publisher.send("", queue_name(engine, 0), bytes(MAX_BODY + 1))
    publisher.send("", queue_name(engine, 0), b"good")
    publisher.flush()
    assert bodies(link(), queue_name(engine, 0), 1) == [b"good"]


def test_many_keys(link: Connect, engine: str) -> None:  # noqa: ARG001 - declares the exchanges
    publisher = ConfirmingPublisher(link())
    for number in range(5000):
        publisher.send("canopsis.dead", f"key.{number}", b"x")
    publisher.flush()
    assert len(publisher._methods) <= 4096


def test_the_window_bounds_what_is_under_way(link: Connect, engine: str) -> None:
    publisher = ConfirmingPublisher(link(), window=100)
    for _ in range(1000):
        publisher.send("", queue_name(engine, 1), b"x")
        assert publisher.pending <= 100
    publisher.flush()


def test_frozen_broker_ends_in_a_timeout(rabbitmq: RabbitMQ, link: Connect, engine: str) -> None:
    connection = link()
    publisher = ConfirmingPublisher(connection)
    with rabbitmq.frozen():
        begin = time.monotonic()
        publisher.send("", queue_name(engine, 0), b"1")
        with pytest.raises(TransportError, match="1 messages are not confirmed after 1 s"):
            publisher.flush(timeout=1.0)
        assert time.monotonic() - begin < 30
        assert not connection.is_open, "a late confirm must not be taken for another's"


def test_memory_alarm_is_named(rabbitmq: RabbitMQ, link: Connect, engine: str) -> None:
    connection = link()
    publisher = ConfirmingPublisher(connection)
    rabbitmq.ctl("set_vm_memory_high_watermark", "absolute", "10MB")
    try:

        def blocked() -> bool:
            publisher.send("", queue_name(engine, 0), b"x")
            publisher._write()
            connection.serve(0.1)
            return bool(connection.blocked)

        eventually(blocked)
        publisher.send("", queue_name(engine, 0), b"x")
        with pytest.raises(TransportError, match="blocks publishers"):
            publisher.flush(timeout=1.0)
    finally:
        rabbitmq.ctl("set_vm_memory_high_watermark", "absolute", "2GB")


def test_nothing_confirmed_is_lost_when_the_broker_is_killed(mortal: RabbitMQ) -> None:
    queue, stop, confirmed = queue_name("published", 0), threading.Event(), []
    failures: list[str] = []

    def publish() -> None:
        """Send hundreds at a time, for ever; what failed is sent again."""
        number = 0
        while not stop.is_set():
            connection = connect_for_ever(mortal.settings(), stop)
            if connection is None:
                return
            try:
                publisher = ConfirmingPublisher(connection)
                while not stop.is_set():
                    batch = range(number, number + 200)
                    for each in batch:
                        publisher.send("", queue, b"%d" % each)
                    publisher.flush(10.0)
                    confirmed.extend(batch)
                    number += 200
            except TransportError as error:
                failures.append(str(error))
            finally:
                connection.close()

    thread = threading.Thread(target=publish)
    thread.start()
    try:
        for _ in range(2):
            before = len(confirmed)
            eventually(lambda: len(confirmed) > before + 1000, 120)  # noqa: B023 - called at once
            mortal.kill()
            mortal.start()
        before = len(confirmed)
        eventually(lambda: len(confirmed) > before + 1000, 120)
    finally:
        stop.set()
        thread.join()
    assert failures, "the broker was killed while nothing was under way"
    connection = connect(mortal.settings())
    consumer, got = Consumer(connection), set[int]()
    consumer.add(queue)

    def all_came() -> bool:
        batch = consumer.gather(500, 0.2)
        got.update(int(delivery.body) for delivery in batch)
        consumer.ack(batch)
        return set(confirmed) <= got

    eventually(all_came, 120)
    connection.close()
