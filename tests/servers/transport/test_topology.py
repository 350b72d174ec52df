"""Declaring on a real broker, and what its queues do with messages that cannot be taken."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

import pytest
from servers import RabbitMQ, eventually

from canopsis.errors import TransportError
from canopsis.transport.connection import Connection, connect
from canopsis.transport.consumer import Consumer, Delivery
from canopsis.transport.publisher import ConfirmingPublisher
from canopsis.transport.settings import AmqpSettings
from canopsis.transport.topology import (
    COLLECTD,
    DEAD,
    DELIVERY_LIMIT,
    EVENTS,
    declare,
    depth,
    has_exchange,
    inspect,
    queue_name,
    site_topology,
)

Connect = Callable[[], Connection]
RAW = {"cleaner_events": (EVENTS, "#"), "collectdgw": (COLLECTD, "collectd"), "dead_letters": (DEAD, "#")}
SITE = site_topology(RAW, ["topology"], 2)


def empty(connection: Connection, queue: str) -> None:
    """Throw away what other tests left in ``queue``."""
    channel = connection.channel()
    channel.queue_purge(queue)
    channel.close()


def test_declaring_twice_changes_nothing(rabbitmq: RabbitMQ, link: Connect) -> None:
    listing = ("list_queues", "-p", "canopsis", "--silent", "name", "type", "arguments", "--formatter", "json")
    declare(link(), SITE)
    before = rabbitmq.ctl(*listing)
    declare(link(), SITE)
    assert rabbitmq.ctl(*listing) == before
    assert '"Engine_topology.01"' in before


def test_sources_reach_their_engines(link: Connect) -> None:
    connection = link()
    declare(connection, SITE)
    for queue in SITE.queues[:3]:
        empty(connection, queue.name)
    publisher = ConfirmingPublisher(connection)
    publisher.send("canopsis.events", "nagios.n1.check.resource.h.s", b"1")
    publisher.send("amq.topic", "collectd", b"2")
    publisher.send("canopsis.dead", "anything", b"3")
    publisher.flush()
    consumer, got = Consumer(link()), {}
    for queue in SITE.queues[:3]:
        consumer.add(queue.name)

    def all_came() -> bool:
        batch = consumer.gather(10, 0.2)
        got.update({delivery.queue: delivery.body for delivery in batch})
        consumer.ack(batch)
        return len(got) == 3

    eventually(all_came)
    assert got == {"Engine_cleaner_events": b"1", "Engine_collectdgw": b"2", "Engine_dead_letters": b"3"}


@pytest.mark.parametrize("number", [0, 1], ids=["cleaner_events", "collectdgw"])
def test_one_reader_at_a_time_takes_what_comes_from_outside(link: Connect, number: int) -> None:
    connection = link()
    declare(connection, SITE)
    queue = SITE.queues[number]
    assert queue.binding is not None
    empty(connection, queue.name)
    exchange, key = queue.binding
    publisher = ConfirmingPublisher(link())
    links = [link(), link()]
    first, second = Consumer(links[0]), Consumer(links[1])
    first.add(queue.name)
    second.add(queue.name)

    def send(begin: int, end: int) -> None:
        for each in range(begin, end):
            publisher.send(exchange, key.replace("#", "a.b.check.resource.c.r"), b"%d" % each)
        publisher.flush()

    send(0, 20)
    got: list[bytes] = []
    eventually(lambda: got.extend(each.body for each in first.gather(100, 0.2)) or len(got) == 20)
    assert got == [b"%d" % each for each in range(20)]
    assert second.gather(100, 0.5) == [], "the second stands by"
    links[0].drop()  # dies with all of them in hand
    send(20, 30)
    came: list[Delivery] = []
    eventually(lambda: came.extend(second.gather(100, 0.2)) or len(came) == 30)
    assert [each.body for each in came] == [b"%d" % each for each in range(30)]
    second.ack(came)


def test_two_readers_share_the_dead_letters(link: Connect) -> None:
    connection = link()
    declare(connection, SITE)
    empty(connection, "Engine_dead_letters")
    publisher, first, second = ConfirmingPublisher(link()), Consumer(link()), Consumer(link())
    first.add("Engine_dead_letters")
    second.add("Engine_dead_letters")
    for each in range(20):
        publisher.send("canopsis.dead", "a", b"%d" % each)
    publisher.flush()
    one, other = first.gather(100, 5), second.gather(100, 5)
    assert one
    assert other
    first.close()
    second.close()
    empty(connection, "Engine_dead_letters")


def test_an_older_queue_is_renewed_without_a_loss(rabbitmq: RabbitMQ, link: Connect) -> None:
    """As docs/operations.md says, under a source that goes on sending."""
    older, (queue,) = link(), [each for each in SITE.queues if each.name == "Engine_collectdgw"]
    channel = older.channel()
    channel.queue_delete(queue.name)
    channel.queue_declare(queue.name, durable=True, auto_delete=False, arguments={"x-queue-type": "quorum"})
    channel.queue_bind(queue.name, "amq.topic", "collectd")
    source = link()
    publisher = ConfirmingPublisher(source)
    try:
        rabbitmq.ctl("set_vm_memory_high_watermark", "0")
        # It is set a moment later, and only what is published after that is blocked.
        eventually(lambda: "memory" in rabbitmq.ctl("eval", "rabbit_alarm:get_alarms()."))
        publisher.send("amq.topic", "collectd", b"while it was renewed", mandatory=False)
        publisher.push()
        eventually(lambda: source.serve(0.1) or source.blocked)
        listing = rabbitmq.ctl("list_queues", "-p", "canopsis", "--silent", "name", "messages", "consumers")
        assert ["Engine_collectdgw", "0", "0"] in [line.split() for line in listing.splitlines()]
        rabbitmq.ctl("delete_queue", "-p", "canopsis", queue.name)
        declare(link(), SITE)
    finally:
        rabbitmq.ctl("set_vm_memory_high_watermark", "0.4")
    publisher.flush()
    consumer, came = Consumer(link()), []
    consumer.add(queue.name)
    eventually(lambda: came.extend(consumer.gather(10, 0.2)) or came)
    assert [each.body for each in came] == [b"while it was renewed"]
    consumer.ack(came)
    arguments = rabbitmq.ctl("list_queues", "-p", "canopsis", "--silent", "name", "arguments")
    (ours,) = [line for line in arguments.splitlines() if line.startswith("Engine_collectdgw")]
    assert "x-single-active-consumer" in ours


def test_a_queue_made_otherwise_stays(link: Connect, caplog: pytest.LogCaptureFixture) -> None:
    connection = link()
    channel = connection.channel()
    channel.queue_declare("Engine_older.00", durable=True, auto_delete=False)
    channel.close()
    with caplog.at_level(logging.WARNING):
        declare(connection, site_topology({}, ["older"], 1))
    assert "Engine_older.00 stays as it is" in caplog.text
    assert "docs/operations.md, Renew a queue" in caplog.text
    assert depth(connection, "Engine_older.00") == 0


def test_depth(link: Connect) -> None:
    connection = link()
    declare(connection, SITE)
    assert depth(connection, "Engine_topology.00") == 0
    assert depth(connection, "Engine_no_such") is None
    assert inspect(connection, "Engine_topology.00") == (0, 0)
    assert inspect(connection, "Engine_no_such") is None
    assert has_exchange(connection, EVENTS)
    assert not has_exchange(connection, "canopsis.no_such")
    publisher = ConfirmingPublisher(connection)
    for _ in range(7):
        publisher.send("", "Engine_topology.00", b"x")
    publisher.flush()
    eventually(lambda: depth(connection, "Engine_topology.00") == 7)
    assert len(connection.wire.channels) == 2, "the connection itself and the publisher's"


def test_a_message_that_kills_its_reader_ends_in_the_dead_letters(link: Connect, engine: str) -> None:
    publisher = ConfirmingPublisher(link())
    queue = queue_name(engine, 0)
    empty(link(), "Engine_dead_letters")
    publisher.send("", queue, b"poison", message_id="p1", headers={"kept": "yes"})
    publisher.flush()
    consumer, letters = Consumer(link()), Consumer(link())
    consumer.add(queue)
    letters.add("Engine_dead_letters")
    rounds, got = [0], []

    def came() -> bool:
        if consumer.gather(1, 0.2):
            rounds[0] += 1
            consumer.give_back()
            return False
        got.extend(letters.gather(10, 0.2))
        return any(delivery.body == b"poison" for delivery in got)

    eventually(came, 180)
    assert rounds[0] == DELIVERY_LIMIT + 1
    (letter,) = [delivery for delivery in got if delivery.body == b"poison"]
    assert isinstance(letter, Delivery)
    assert (letter.message_id, letter.headers["kept"]) == ("p1", "yes")
    deaths: Any = letter.headers["x-death"]
    assert deaths[0]["queue"] == queue
    letters.ack(got)


def test_wrong_password_is_named(rabbitmq: RabbitMQ) -> None:
    settings = AmqpSettings(hosts=(("127.0.0.1", rabbitmq.port),), password="wrong")
    with pytest.raises(TransportError, match=f"127.0.0.1:{rabbitmq.port}"):
        connect(settings)


def test_wrong_vhost_is_named(rabbitmq: RabbitMQ) -> None:
    settings = AmqpSettings(hosts=(("127.0.0.1", rabbitmq.port),), password="guest", vhost="nowhere")
    with pytest.raises(TransportError, match="nowhere"):
        connect(settings)


def test_the_next_broker_is_tried(rabbitmq: RabbitMQ) -> None:
    settings = AmqpSettings(hosts=(("127.0.0.1", 1), ("127.0.0.1", rabbitmq.port)), password="guest")
    for _ in range(5):
        connection = connect(settings)
        assert connection.is_open
        assert connection.version >= (3, 8)
        connection.close()


def test_the_broker_shows_who_is_connected(rabbitmq: RabbitMQ) -> None:
    connection = connect(rabbitmq.settings(), "engine-worker-1")
    eventually(lambda: "engine-worker-1" in rabbitmq.ctl("list_connections", "client_properties"))
    connection.close()
    eventually(lambda: "engine-worker-1" not in rabbitmq.ctl("list_connections", "client_properties"))
