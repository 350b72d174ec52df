"""What the publisher makes of confirms, whatever their order, and of every kind of trouble."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from canopsis.errors import InputError, TransportError
from canopsis.transport import publisher as module
from canopsis.transport.publisher import ConfirmingPublisher
from canopsis.transport.settings import AmqpSettings


class FakeChannel:
    """kombu's channel, as far as a publisher needs it."""

    channel_id = 1

    def __init__(self) -> None:
        self.events: dict[str, set[Callable[..., None]]] = defaultdict(set)
        self.closed = self.confirming = False

    def confirm_select(self) -> None:
        self.confirming = True

    def close(self) -> None:
        self.closed = True


class FakeWire:
    """py-amqp's connection, as far as a publisher needs it."""

    frame_max = 131072

    def __init__(self) -> None:
        self.ack_sinks: dict[int, Callable[[int, bool], None]] = {}


class FakeConnection:
    """A broker that answers as ``answers`` says, one call of ``serve`` after the other."""

    def __init__(self) -> None:
        self.settings = AmqpSettings(write_timeout=0.2)
        self.wire = FakeWire()
        self.made = FakeChannel()
        self.blocked = ""
        self.is_open = True
        self.written: list[bytes] = []
        self.answers: list[Callable[[], object]] = []

    def channel(self) -> FakeChannel:
        return self.made

    @contextmanager
    def errors(self, what: str) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise TransportError(f"{what}: {error}") from error

    def write(self, data: bytes) -> None:
        if not self.is_open:
            raise TransportError("the connection to the broker is closed")
        self.written.append(data)

    def serve(self, timeout: float) -> bool:
        assert timeout <= 1.0, "heartbeats and silence are looked at each second"
        if self.answers:
            self.answers.pop(0)()
            return True
        return False

    def drop(self) -> None:
        self.is_open = False

    def ack(self, tag: int, multiple: bool = False) -> None:
        """Confirm as the broker does."""
        self.wire.ack_sinks[1](tag, multiple)

    def nack(self, tag: int, multiple: bool = False) -> None:
        for tell in self.made.events["basic_nack"]:
            tell(tag, multiple)

    def give_back(self, key: str) -> None:
        for tell in self.made.events["basic_return"]:
            tell(Exception("NO_ROUTE"), "", key, None)


@pytest.fixture
def broker() -> FakeConnection:
    return FakeConnection()


def publisher_of(broker: FakeConnection, window: int = 2000) -> ConfirmingPublisher:
    connection: Any = broker
    return ConfirmingPublisher(connection, window)


@settings(max_examples=100)
@given(st.data())
def test_confirms_in_any_order_end_with_nothing_pending(data: st.DataObject) -> None:
    broker = FakeConnection()
    publisher = publisher_of(broker)
    count = data.draw(st.integers(0, 40))
    for _ in range(count):
        publisher.send("", "q", b"x")
    open_tags = set(range(1, count + 1))
    while open_tags:
        tag = data.draw(st.sampled_from(sorted(open_tags)))
        multiple = data.draw(st.booleans())
        broker.ack(tag, multiple)
        open_tags -= {each for each in open_tags if each <= tag} if multiple else {tag}
        assert publisher.pending == len(open_tags)
    publisher.flush(0.0)


def test_a_repeated_confirm_counts_once(broker: FakeConnection) -> None:
    publisher = publisher_of(broker)
    for _ in range(5):
        publisher.send("", "q", b"x")
    broker.ack(3, True)
    broker.ack(2, True)
    assert publisher.pending == 2


def test_confirms_are_asked_for_first(broker: FakeConnection) -> None:
    publisher_of(broker)
    assert broker.made.confirming


def test_nothing_is_written_before_there_is_enough(broker: FakeConnection) -> None:
    publisher = publisher_of(broker)
    publisher.send("", "q", b"x")
    assert broker.written == []
    for _ in range(200):
        publisher.send("", "q", bytes(1000))
    assert 2 <= len(broker.written) <= 4
    broker.answers.append(lambda: broker.ack(201, True))
    publisher.flush(1.0)
    assert b"".join(broker.written).count(b"\x00\x3c\x00\x28") == 201


def test_the_method_of_a_queue_is_made_once(broker: FakeConnection, monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[str] = []
    monkeypatch.setattr(module, "publish_method", lambda *facts: made.append(facts[2]) or b"m")
    publisher = publisher_of(broker)
    for key in ("a", "b", "a", "a", "b"):
        publisher.send("", key, b"x")
    assert made == ["a", "b"]


def test_mandatory_and_optional_are_told_apart(broker: FakeConnection) -> None:
    publisher = publisher_of(broker)
    publisher.send("e", "k", b"x", mandatory=True)
    publisher.send("e", "k", b"x", mandatory=False)
    assert len(publisher._methods) == 2


def test_a_full_window_waits_for_half(broker: FakeConnection) -> None:
    publisher = publisher_of(broker, window=10)
    broker.answers += [lambda: broker.ack(2, True), lambda: broker.ack(5, True)]
    for _ in range(10):
        publisher.send("", "q", b"x")
    assert publisher.pending == 5
    assert broker.answers == []


def test_a_full_window_that_nobody_empties(broker: FakeConnection) -> None:
    publisher = publisher_of(broker, window=10)
    with pytest.raises(TransportError, match=r"10 messages are not confirmed after 0\.2 s"):
        for _ in range(10):
            publisher.send("", "q", b"x")
    assert not publisher.is_open


def test_nack_names_the_message(broker: FakeConnection) -> None:
    publisher = publisher_of(broker)
    publisher.send("", "q", b"x")
    publisher.send("", "q", b"x")
    broker.answers += [lambda: broker.nack(1), lambda: broker.ack(2)]
    with pytest.raises(TransportError, match="message 1"):
        publisher.flush(1.0)
    assert not publisher.is_open
    assert broker.made.closed
    assert broker.is_open


def test_nack_of_many(broker: FakeConnection) -> None:
    publisher = publisher_of(broker)
    for _ in range(3):
        publisher.send("", "q", b"x")
    broker.answers.append(lambda: broker.nack(3, True))
    with pytest.raises(TransportError, match="refused"):
        publisher.flush(1.0)
    assert publisher.pending == 0


def test_a_return_is_told_although_the_confirm_is_good(broker: FakeConnection) -> None:
    publisher = publisher_of(broker)
    publisher.send("", "nowhere", b"x")
    broker.answers += [lambda: broker.give_back("nowhere"), lambda: broker.ack(1)]
    with pytest.raises(TransportError, match=r"'nowhere': NO_ROUTE"):
        publisher.flush(1.0)


def test_only_the_first_refusals_are_named(broker: FakeConnection) -> None:
    publisher = publisher_of(broker)
    for _ in range(9):
        publisher.send("", "q", b"x")
    for tag in range(1, 10):
        broker.nack(tag)
    with pytest.raises(TransportError) as caught:
        publisher.flush(1.0)
    assert str(caught.value).count("message ") == 5


def test_timeout_closes_the_connection_and_says_why(broker: FakeConnection) -> None:
    publisher = publisher_of(broker)
    publisher.send("", "q", b"x")
    broker.blocked = "low on memory"
    with pytest.raises(TransportError, match="blocks publishers: low on memory"):
        publisher.flush(0.05)
    assert not broker.is_open
    with pytest.raises(TransportError, match="closed"):
        publisher.flush(0.05)


def test_a_lost_connection_closes_the_publisher(broker: FakeConnection) -> None:
    publisher = publisher_of(broker)
    publisher.send("", "q", b"x")

    def lose() -> None:
        broker.drop()
        raise TransportError("lost the broker")

    broker.answers.append(lose)
    with pytest.raises(TransportError, match="lost"):
        publisher.flush(1.0)
    assert not publisher.is_open


def test_a_closed_channel_leaves_the_connection(broker: FakeConnection) -> None:
    publisher = publisher_of(broker)
    publisher.send("nothing", "q", b"x")

    def refuse() -> None:
        raise TransportError("no exchange 'nothing'")

    broker.answers.append(refuse)
    with pytest.raises(TransportError, match="nothing"):
        publisher.flush(1.0)
    assert broker.is_open
    assert broker.made.closed
    assert broker.wire.ack_sinks == {}


def test_writing_to_a_closed_connection(broker: FakeConnection) -> None:
    publisher = publisher_of(broker)
    publisher.send("", "q", b"x")
    broker.drop()
    with pytest.raises(TransportError, match="closed"):
        publisher.flush(1.0)
    assert not publisher.is_open


def test_closing_twice_and_over_a_dead_connection(broker: FakeConnection, monkeypatch: pytest.MonkeyPatch) -> None:
    publisher = publisher_of(broker)

    def fail() -> None:
        raise OSError("gone")

    monkeypatch.setattr(broker.made, "close", fail)
    publisher.close()
    publisher.close()
    assert not broker.is_open


@pytest.mark.parametrize(
    ("message", "field"),
    [
        ({"exchange": "x" * 256, "routing_key": "k", "body": b""}, "exchange"),
        ({"exchange": "e", "routing_key": "é" * 128, "body": b""}, "routing_key"),
        ({"exchange": "e", "routing_key": "k", "body": b"", "message_id": "é" * 128}, "message_id"),
        ({"exchange": "e", "routing_key": "k", "body": bytes(module.MAX_BODY + 1)}, "body"),
    ],
)
def test_what_no_broker_takes_is_refused_before_it_is_sent(
    broker: FakeConnection, message: dict[str, Any], field: str
) -> None:
    publisher = publisher_of(broker)
    with pytest.raises(InputError) as caught:
        publisher.send(**message)
    assert caught.value.field == field
    assert publisher.pending == 0
    assert publisher.is_open


@pytest.mark.parametrize("key", ["x" * 255, "é" * 127])
def test_names_of_255_bytes_pass(broker: FakeConnection, key: str) -> None:
    publisher = publisher_of(broker)
    publisher.send("e", key, b"", message_id=key)
    assert publisher.pending == 1
