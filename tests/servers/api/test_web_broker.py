"""The web server's way to the broker: confirmed, shared by threads, made anew, and content with few rights."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest
from servers import RabbitMQ, eventually, free_port
from web import TAP, Tap, rights_of

from canopsis.api.broker import AmqpBroker
from canopsis.api.ports import Depth, Message
from canopsis.errors import InputError, TransportError
from canopsis.transport.connection import Connection
from canopsis.transport.settings import AmqpSettings
from canopsis.transport.topology import ALERTS, DEAD, DOORS, EVENTS

KEY = "shell.t.check.component.web1"
WRITES = rights_of("webserver")["write"]
"""What the user of the web server may write to; it configures and reads nothing."""


_ALLOW = (
    'rabbit_auth_backend_internal:set_permissions(<<"webserver">>, <<"canopsis">>, '
    f'<<"^$">>, <<"{WRITES}">>, <<"^$">>, <<"test">>)'
).replace("\\", "\\\\")


def message(body: bytes = b"{}", exchange: str = EVENTS, key: str = KEY) -> Message:
    return Message(exchange, key, body)


@pytest.fixture
def broker(rabbitmq: RabbitMQ) -> Iterator[AmqpBroker]:
    """A broker as a process of the web server has it."""
    found = AmqpBroker(rabbitmq.settings())
    yield found
    found.close()


@pytest.fixture(scope="module")
def restricted(rabbitmq: RabbitMQ) -> Iterator[AmqpSettings]:
    """The settings of a user with the rights that a site gives to the web server."""
    add = f'rabbit_auth_backend_internal:add_user(<<"webserver">>, <<"a password">>, <<"test">>), {_ALLOW}.'
    assert "ok" in rabbitmq.ctl("eval", add)
    yield replace(rabbitmq.settings(), user="webserver", password="a password")


def own_connection(broker: AmqpBroker) -> Connection:
    """Return the connection that it publishes on."""
    assert broker._link is not None
    return broker._link.connection


def test_what_is_published_is_there(broker: AmqpBroker, tap: Tap) -> None:
    broker.publish([message(b"1"), message(b"2", key="another")])
    assert tap.messages() == [(KEY, b"1"), ("another", b"2")]


def test_nothing_to_publish_is_no_error(broker: AmqpBroker, tap: Tap) -> None:
    broker.publish([])
    assert tap.messages() == []


def test_many_at_once_keep_their_order(broker: AmqpBroker, tap: Tap) -> None:
    many = [message(str(number).encode()) for number in range(3000)]
    # A slow disk may need longer for them than the API waits; what came of that try is not looked at.
    eventually(lambda: tap.messages() is not None and broker.publish(many) is None)
    assert [int(body) for _, body in tap.messages()] == list(range(3000))


def test_threads_do_not_get_in_each_others_way(broker: AmqpBroker, tap: Tap) -> None:
    def publish(number: int) -> None:
        broker.publish([message(f"{number}.{part}".encode()) for part in range(20)])

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(publish, range(40)))
    found = [body.decode() for _, body in tap.messages()]
    assert sorted(found) == sorted(f"{number}.{part}" for number in range(40) for part in range(20))


def test_all_threads_share_one_connection_which_is_kept(broker: AmqpBroker, tap: Tap) -> None:
    broker.publish([message()])
    first = own_connection(broker)
    with ThreadPoolExecutor(5) as pool:
        list(pool.map(lambda _: broker.publish([message()]), range(10)))
    assert own_connection(broker) is first
    broker.close()
    assert not first.is_open
    broker.publish([message()])
    assert own_connection(broker) is not first
    assert len(tap.messages()) == 12


def test_what_no_queue_takes_is_an_error(broker: AmqpBroker, tap: Tap) -> None:
    tap.close()
    with pytest.raises(TransportError, match="NO_ROUTE"):
        broker.publish([message()])
    tap.open()
    broker.publish([message()])
    assert len(tap.messages()) == 1


def test_what_is_wrong_with_one_message_is_not_the_error_of_others_sent_at_once(broker: AmqpBroker, tap: Tap) -> None:
    def publish(number: int) -> str:
        exchange = {0: "nothing", 1: DEAD}.get(number % 8, EVENTS)
        key = "k" * (300 if number % 8 == 2 else 3)
        try:
            broker.publish([message(str(number).encode(), exchange, key)])
        except (TransportError, InputError) as error:
            return type(error).__name__
        return "sent"

    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(publish, range(80)))
    assert found == ["TransportError", "TransportError", "InputError", *["sent"] * 5] * 10
    assert {int(body) for _, body in tap.messages()} == {number for number in range(80) if number % 8 > 2}


def test_an_exchange_that_is_not_there_is_an_error_and_no_end(broker: AmqpBroker, tap: Tap) -> None:
    with pytest.raises(TransportError, match="nothing"):
        broker.publish([message(exchange="nothing")])
    broker.publish([message()])
    assert len(tap.messages()) == 1


def test_a_key_that_is_too_long_leaves_the_connection_good(broker: AmqpBroker, tap: Tap) -> None:
    broker.publish([message()])
    first = own_connection(broker)
    with pytest.raises(InputError) as refused:
        broker.publish([message(key="k" * 256)])
    assert refused.value.field == "routing_key"
    broker.publish([message()])
    assert own_connection(broker) is first
    assert len(tap.messages()) == 2


def test_a_connection_that_was_cut_is_made_anew(broker: AmqpBroker, tap: Tap) -> None:
    broker.publish([message(b"before")])
    own_connection(broker).wire.transport.sock.shutdown(socket.SHUT_RDWR)
    broker.publish([message(b"after")])
    assert [body for _, body in tap.messages()] == [b"before", b"after"]


def test_what_is_wrong_with_a_message_is_told_also_when_the_connection_was_cut(broker: AmqpBroker, tap: Tap) -> None:
    broker.publish([message(b"before")])
    own_connection(broker).wire.transport.sock.shutdown(socket.SHUT_RDWR)
    with pytest.raises(InputError):
        broker.publish([message(b"after", key="k" * 256)])
    assert [body for _, body in tap.messages()] == [b"before"]


def test_headers_and_message_id_travel(rabbitmq: RabbitMQ, broker: AmqpBroker, tap: Tap) -> None:
    broker.publish([Message(EVENTS, KEY, b"x", "text/plain", "m-1", {"source": "test", "n": 3})])
    [found] = tap.raw()
    assert found.properties["message_id"] == "m-1"
    assert found.content_type == "text/plain"
    assert found.headers.items() >= {("source", "test"), ("n", 3)}
    assert rabbitmq.pids()


def test_nobody_there_is_an_error_at_once() -> None:
    broker = AmqpBroker(AmqpSettings(hosts=(("127.0.0.1", free_port()),)))
    with pytest.raises(TransportError, match="refused"):
        broker.publish([message()])
    with pytest.raises(TransportError):
        broker.look(["q"])
    assert "refused" in broker.server().error


def test_a_wrong_password_is_an_error_that_says_so(rabbitmq: RabbitMQ) -> None:
    broker = AmqpBroker(replace(rabbitmq.settings(), password="wrong"))
    with pytest.raises(TransportError, match=r"(?i)access"):
        broker.publish([message()])


def test_after_an_outage_of_one_host_the_other_is_used(rabbitmq: RabbitMQ, tap: Tap) -> None:
    settings = rabbitmq.settings()
    broker = AmqpBroker(replace(settings, hosts=(("127.0.0.1", free_port()), *settings.hosts)))
    for _ in range(5):
        broker.publish([message()])
        broker.close()
    assert len(tap.messages()) == 5


class TestFewRights:
    """The user of the web server may write, and nothing else."""

    def test_it_may_send_events(self, restricted: AmqpSettings, tap: Tap) -> None:
        broker = AmqpBroker(restricted)
        broker.publish([message()])
        broker.close()
        assert len(tap.messages()) == 1

    def test_it_may_not_write_elsewhere(self, restricted: AmqpSettings) -> None:
        broker = AmqpBroker(restricted)
        with pytest.raises(TransportError, match=r"(?i)access"):
            broker.publish([message(exchange="canopsis.alerts")])
        broker.close()

    def test_it_sees_how_full_queues_are(self, restricted: AmqpSettings, tap: Tap) -> None:
        broker = AmqpBroker(restricted)
        broker.publish([message(), message()])
        eventually(lambda: broker.look([TAP, "not there"]).queues == {TAP: Depth(2, 0), "not there": None})
        broker.close()
        assert len(tap.messages()) == 2

    def test_it_sees_that_the_broker_is_well(self, restricted: AmqpSettings, tap: Tap) -> None:
        found = AmqpBroker(restricted).server()
        assert (found.error, tap.messages()) == ("", [])
        assert found.version.startswith(("3.", "4."))

    def test_it_sees_that_the_exchange_is_missing(self, rabbitmq: RabbitMQ, restricted: AmqpSettings, tap: Tap) -> None:
        tap.delete_exchange(EVENTS)
        found = AmqpBroker(restricted).server()
        tap.open()
        assert (found.error, found.missing) == ("", (EVENTS,))
        assert found.version
        assert rabbitmq.pids()


def test_a_thread_that_ends_leaves_no_error(broker: AmqpBroker, tap: Tap) -> None:
    thread = threading.Thread(target=lambda: broker.publish([message()]))
    thread.start()
    thread.join(10)
    assert not thread.is_alive()
    assert len(tap.messages()) == 1


@pytest.mark.parametrize("door", DOORS)
def test_d8_the_rights_of_a_site_open_the_doors(restricted: AmqpSettings, tap: Tap, door: str) -> None:
    tap.bind(door, KEY)
    broker = AmqpBroker(restricted)
    broker.publish([message(exchange=door)])
    broker.close()
    assert [body for _, body in tap.messages()] == [b"{}"]


@pytest.mark.parametrize(("exchange", "key"), [("", TAP), (ALERTS, KEY), (DEAD, KEY)])
def test_d8_the_rights_of_a_site_open_nothing_behind_the_cleaner(
    restricted: AmqpSettings, tap: Tap, exchange: str, key: str
) -> None:
    if exchange:
        tap.bind(exchange, "#")
    broker = AmqpBroker(restricted)
    with pytest.raises(TransportError, match=r"ACCESS_REFUSED|refused"):
        broker.publish([message(exchange=exchange, key=key)])
    broker.close()
    assert tap.messages() == []
