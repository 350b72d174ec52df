"""What the consumer makes of deliveries: batches, acknowledges by subscription, endings."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from canopsis.errors import TransportError
from canopsis.transport.consumer import Consumer
from canopsis.transport.wire import Delivery


class FakeChannel:
    """kombu's channel, as far as a consumer needs it."""

    def __init__(self, broker: FakeConnection, number: int) -> None:
        self.channel_id: int | None = number
        self.broker = broker
        self.prefetch = 0
        self.cancelled: Callable[[str], None] = lambda _tag: None
        self.acked: list[tuple[int, bool]] = []
        self.closed = False

    def basic_qos(self, _size: int, count: int, _whole: bool) -> None:
        self.prefetch = count

    def basic_consume(self, queue: str, callback: object, on_cancel: Callable[[str], None]) -> None:
        assert callable(callback)
        if queue in self.broker.missing:
            raise OSError(f"no queue {queue}")
        self.cancelled = on_cancel
        self.broker.consuming[queue] = self

    def basic_ack(self, tag: int, multiple: bool) -> None:
        self.acked.append((tag, multiple))

    def close(self) -> None:
        for late in self.broker.late:
            self.broker.wire.deliver_sinks[self.channel_id](late)
        self.closed = True
        self.channel_id = None


class FakeWire:
    def __init__(self) -> None:
        self.deliver_sinks: dict[int | None, Callable[[Delivery], None]] = {}


class FakeConnection:
    """A broker that delivers what ``incoming`` holds, one list a call of ``serve``."""

    def __init__(self) -> None:
        self.wire = FakeWire()
        self.consuming: dict[str, FakeChannel] = {}
        self.channels: list[FakeChannel] = []
        self.missing: set[str] = set()
        self.late: list[Delivery] = []
        self.incoming: list[list[tuple[str, int]]] = []
        self.waits: list[float] = []
        self.dropped = False

    def channel(self) -> FakeChannel:
        self.channels.append(FakeChannel(self, len(self.channels) + 1))
        return self.channels[-1]

    @contextmanager
    def errors(self, what: str) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise TransportError(f"{what}: {error}") from error

    def serve(self, timeout: float) -> bool:
        self.waits.append(timeout)
        if not self.incoming:
            return False
        for queue, tag in self.incoming.pop(0):
            self.wire.deliver_sinks[self.consuming[queue].channel_id](delivery(tag))
        return True

    def drop(self) -> None:
        self.dropped = True


def delivery(tag: int) -> Delivery:
    made = Delivery(tag, False, "", "key", b"")
    made.body = b"%d" % tag
    return made


@pytest.fixture
def broker() -> FakeConnection:
    return FakeConnection()


def consumer_of(broker: FakeConnection, *queues: str, prefetch: int = 200) -> Consumer:
    connection: Any = broker
    consumer = Consumer(connection, prefetch)
    for queue in queues:
        consumer.add(queue)
    return consumer


def tags(batch: list[Delivery]) -> list[tuple[str, int]]:
    return [(delivery.queue, delivery.tag) for delivery in batch]


def test_a_channel_a_queue(broker: FakeConnection) -> None:
    consumer = consumer_of(broker, "a", "b", "a")
    assert consumer.queues == {"a", "b"}
    assert len(broker.channels) == 2


def test_prefetch_of_all_and_of_one(broker: FakeConnection) -> None:
    consumer = consumer_of(broker, "a", prefetch=50)
    consumer.add("b", prefetch=7)
    consumer.give_back()
    assert [broker.consuming[queue].prefetch for queue in ("a", "b")] == [50, 7]


def test_a_batch_stops_when_no_more_has_come(broker: FakeConnection) -> None:
    consumer = consumer_of(broker, "a", "b")
    broker.incoming = [[("a", 1), ("b", 1)], [("a", 2)]]
    assert tags(consumer.gather(10, 5.0)) == [("a", 1), ("b", 1), ("a", 2)]
    assert broker.waits[0] == pytest.approx(1.0)
    assert broker.waits[1:] == [0.0, 0.0], "once there is something nobody waits"


def test_a_full_batch_leaves_the_rest(broker: FakeConnection) -> None:
    consumer = consumer_of(broker, "a")
    broker.incoming = [[("a", tag) for tag in range(1, 8)]]
    assert [tag for _, tag in tags(consumer.gather(3, 1.0))] == [1, 2, 3]
    assert [tag for _, tag in tags(consumer.gather(3, 1.0))] == [4, 5, 6]
    assert [tag for _, tag in tags(consumer.gather(3, 0.0))] == [7]
    assert consumer.gather(3, 0.0) == []


@settings(max_examples=60)
@given(st.data())
def test_everything_is_gathered_once_in_the_order_of_its_queue(data: st.DataObject) -> None:
    broker = FakeConnection()
    consumer = consumer_of(broker, "a", "b")
    next_tag = {"a": 0, "b": 0}
    for _ in range(data.draw(st.integers(0, 8))):
        chunk = []
        for queue in data.draw(st.lists(st.sampled_from("ab"), max_size=5)):
            next_tag[queue] += 1
            chunk.append((queue, next_tag[queue]))
        broker.incoming.append(chunk)
    got: list[tuple[str, int]] = []
    while broker.incoming or got[-1:] != [("", 0)]:
        batch = consumer.gather(data.draw(st.integers(1, 4)), 0.0)
        got += tags(batch) or ([] if broker.incoming else [("", 0)])
    for queue, count in next_tag.items():
        assert [tag for name, tag in got if name == queue] == list(range(1, count + 1))


def test_one_acknowledge_a_queue(broker: FakeConnection) -> None:
    consumer = consumer_of(broker, "a", "b", "c")
    broker.incoming = [[("a", 1), ("b", 1), ("a", 2), ("b", 2), ("a", 3)]]
    batch = consumer.gather(10, 0.0)
    consumer.ack([batch[3], batch[0], batch[4], batch[1]])
    assert [broker.consuming[queue].acked for queue in "abc"] == [[(3, True)], [(2, True)], []]


def test_acknowledging_nothing(broker: FakeConnection) -> None:
    consumer = consumer_of(broker, "a")
    consumer.ack([])
    assert broker.channels[0].acked == []


def test_an_old_delivery_does_not_acknowledge_a_new_one(broker: FakeConnection) -> None:
    consumer = consumer_of(broker, "a")
    broker.incoming = [[("a", 1), ("a", 2)]]
    old = consumer.gather(10, 0.0)
    consumer.give_back()
    consumer.ack(old)
    assert broker.channels[0].closed
    assert broker.consuming["a"].acked == []
    consumer.remove("a")
    consumer.ack(old)


def test_what_was_read_ahead_goes_with_its_queue(broker: FakeConnection) -> None:
    consumer = consumer_of(broker, "a", "b")
    broker.incoming = [[("a", 1), ("b", 1), ("a", 2)]]
    assert tags(consumer.gather(1, 0.0)) == [("a", 1)]
    consumer.remove("a")
    assert tags(consumer.gather(10, 0.0)) == [("b", 1)]
    assert list(broker.wire.deliver_sinks) == [2]


def test_what_comes_while_a_channel_closes_is_let_go(broker: FakeConnection) -> None:
    consumer = consumer_of(broker, "a")
    broker.late = [delivery(7)]
    consumer.remove("a")
    assert consumer.gather(10, 0.0) == []


def test_removing_what_is_not_there(broker: FakeConnection) -> None:
    consumer_of(broker).remove("a")
    assert broker.channels == []


def test_a_queue_that_is_missing_leaves_nothing_behind(broker: FakeConnection) -> None:
    broker.missing = {"a"}
    consumer = consumer_of(broker)
    with pytest.raises(TransportError, match="cannot subscribe to a"):
        consumer.add("a")
    assert consumer.queues == frozenset()
    assert broker.wire.deliver_sinks == {}
    assert broker.channels[0].closed


def test_an_ended_subscription_is_an_error_that_names_the_queues(broker: FakeConnection) -> None:
    consumer = consumer_of(broker, "b", "a")
    for channel in broker.channels:
        channel.cancelled("tag")
    with pytest.raises(TransportError, match="a, b"):
        consumer.gather(10, 0.0)


def test_closing_ends_every_subscription(broker: FakeConnection) -> None:
    consumer = consumer_of(broker, "a", "b")
    consumer.close()
    assert all(channel.closed for channel in broker.channels)
    assert broker.wire.deliver_sinks == {}
    assert not broker.dropped


def test_closing_over_a_lost_connection_does_not_raise(broker: FakeConnection, monkeypatch: pytest.MonkeyPatch) -> None:
    consumer = consumer_of(broker, "a")

    def fail(_self: FakeChannel) -> None:
        raise OSError("gone")

    monkeypatch.setattr(FakeChannel, "close", fail)
    consumer.close()
    assert broker.dropped
