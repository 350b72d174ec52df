"""Frames by hand say the same as py-amqp's, in both directions."""

from __future__ import annotations

import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from typing import Any

import amqp
import pytest
from amqp import spec
from amqp.method_framing import frame_writer
from amqp.serialization import dumps
from hypothesis import given, settings
from hypothesis import strategies as st

from canopsis.transport import wire
from canopsis.transport.wire import BufferedTcp, Delivery, frame_handler, message_properties, publish_content

short = st.text(max_size=60).filter(lambda text: len(text.encode()) <= 255 and "\0" not in text)
names = st.text("abcdef._-", min_size=1, max_size=20)
headers = st.dictionaries(
    names, st.one_of(st.integers(-(2**31), 2**62), st.text(max_size=20), st.booleans()), max_size=4
)


class Sink:
    """Takes the place of py-amqp's transport and keeps what is written."""

    def __init__(self) -> None:
        self.data = b""

    def write(self, data: bytes | memoryview) -> None:
        self.data += bytes(data)


class Wire:
    """What a frame handler needs of a connection."""

    def __init__(self, frame_max: int = 131072) -> None:
        self.frame_max = frame_max
        self.bytes_sent = self.bytes_recv = 0
        self.deliver_sinks: dict[int, Callable[[Delivery], None]] = {}
        self.ack_sinks: dict[int, Callable[[int, bool], None]] = {}


def frames(data: bytes) -> Iterator[tuple[int, int, bytes]]:
    """Cut ``data`` into frames."""
    while data:
        size = int.from_bytes(data[3:7], "big")
        assert data[7 + size] == 0xCE
        yield data[0], int.from_bytes(data[1:3], "big"), data[7 : 7 + size]
        data = data[8 + size :]


def written(
    channel: int, method: tuple[int, int], args: bytes, message: amqp.Message, frame_max: int = 131072
) -> bytes:
    """Return what py-amqp writes for a method with content."""
    sink = Sink()
    frame_writer(Wire(frame_max), sink)(1, channel, method, args, message)
    return sink.data


@settings(max_examples=60)
@given(
    exchange=short, key=short, body=st.binary(max_size=300), message_id=short, table=headers, mandatory=st.booleans()
)
def test_publish_is_what_py_amqp_writes(
    *, exchange: str, key: str, body: bytes, message_id: str, table: dict[str, Any], mandatory: bool
) -> None:
    message = amqp.Message(body, content_type="application/json", delivery_mode=2)
    if message_id:
        message.properties["message_id"] = message_id
    if table:
        message.properties["application_headers"] = table
    args = dumps("Bssbb", (0, exchange, key, mandatory, False))
    theirs = written(7, spec.Basic.Publish, args, message)
    properties = message_properties("application/json", message_id, table)
    ours = wire.publish_method(7, exchange, key, mandatory) + publish_content(7, 131072, properties, body)
    if body:
        assert list(frames(ours)) == list(frames(theirs))
    else:
        assert list(frames(ours)) == list(frames(theirs))[:2], "no body, no body frame"


def test_long_body_is_cut_at_frame_max() -> None:
    body = bytes(range(256)) * 40
    cut = list(frames(publish_content(3, 4096, message_properties("a/b", "", None), body)))
    assert [kind for kind, _, _ in cut] == [2, 3, 3, 3]
    assert all(len(payload) <= 4096 - 8 for _, _, payload in cut)
    assert b"".join(payload for kind, _, payload in cut if kind == 3) == body


def deliver(channel: int, body: bytes, properties: dict[str, Any], frame_max: int = 131072, **method: Any) -> bytes:
    """Return what a broker sends for a delivery."""
    facts = {"tag": 5, "redelivered": True, "exchange": "canopsis.events", "key": "a.b"} | method
    args = dumps("sLbss", ("tag1", facts["tag"], facts["redelivered"], facts["exchange"], facts["key"]))
    return written(channel, spec.Basic.Deliver, args, amqp.Message(body, **properties), frame_max)


def handled(data: bytes, channel: int = 4) -> list[Delivery]:
    """Return the deliveries that the frame handler makes of ``data``."""
    connection, got = Wire(), []
    connection.deliver_sinks[channel] = got.append
    handle = frame_handler(connection, lambda *_: pytest.fail("went past the short way"))
    for frame in frames(data):
        handle(frame)
    return got


@settings(max_examples=60)
@given(
    body=st.binary(min_size=1, max_size=300), message_id=short, table=headers, tag=st.integers(1, 2**63 - 1), key=short
)
def test_delivery_is_read_back(body: bytes, message_id: str, table: dict[str, Any], tag: int, key: str) -> None:
    properties: dict[str, Any] = {"content_type": "text/collectd", "delivery_mode": 2, "application_headers": table}
    if message_id:
        properties["message_id"] = message_id
    (got,) = handled(deliver(4, body, properties, tag=tag, key=key))
    assert (got.body, got.tag, got.routing_key) == (body, tag, key)
    assert (got.content_type, got.message_id, dict(got.headers)) == ("text/collectd", message_id, table)
    assert (got.exchange, got.redelivered) == ("canopsis.events", True)


def test_every_property_before_the_message_id_is_stepped_over() -> None:
    properties = {
        "content_type": "application/json",
        "content_encoding": "utf-8",
        "application_headers": {"timestamp_in_ms": 1_700_000_000_123},
        "delivery_mode": 2,
        "priority": 4,
        "correlation_id": "c",
        "reply_to": "r",
        "expiration": "60000",
        "message_id": "m-1",
        "timestamp": 1_700_000_000,
        "type": "t",
        "user_id": "guest",
        "app_id": "a",
    }
    (got,) = handled(deliver(4, b"x", properties))
    assert got.message_id == "m-1"
    assert got.content_type == "application/json"
    got.stamped = True
    assert got.stamp == 1_700_000_000_123


def test_message_without_properties() -> None:
    (got,) = handled(deliver(4, b"x", {}))
    assert (got.content_type, got.message_id, got.headers, got.received) == ("", "", {}, None)


@pytest.mark.parametrize("stamp", ["1700000000", None, 1.5])
def test_a_stamp_that_is_no_number_is_none(stamp: object) -> None:
    (got,) = handled(deliver(4, b"x", {"application_headers": {"timestamp_in_ms": stamp}}))
    assert got.received is None


def test_body_of_many_frames_and_empty_body() -> None:
    long = b"0123456789" * 2000
    assert [got.body for got in handled(deliver(4, long, {}, frame_max=4096))] == [long]
    empty = b"".join(
        wire._FRAME.pack(kind, 4, len(payload)) + payload + b"\xce"
        for kind, _, payload in list(frames(deliver(4, b"x", {})))[:1]
    )
    header = wire._HEADER.pack(60, 0, 0, 0)
    data = empty + wire._FRAME.pack(2, 4, len(header)) + header + b"\xce"
    assert [got.body for got in handled(data)] == [b""]


def test_undecodable_key_and_body_are_passed_on() -> None:
    data = deliver(4, b"\xff\xfe\x00", {}, key="abc").replace(b"\x03abc", b"\x03a\xffc")
    (got,) = handled(data)
    assert got.body == b"\xff\xfe\x00"
    assert got.routing_key == "a\N{REPLACEMENT CHARACTER}c"


def test_confirms_go_to_the_channel_that_asked() -> None:
    connection, got = Wire(), []
    connection.ack_sinks[2] = lambda tag, multiple: got.append((tag, multiple))
    others: list[tuple[int, object]] = []
    handle = frame_handler(connection, lambda channel, method, *_: others.append((channel, method)))
    ack = b"\x00\x3c\x00\x50" + wire._TAG.pack(9, 1)
    assert handle((1, 2, ack))
    assert handle((1, 3, ack))
    assert got == [(9, True)]
    assert others == [(3, spec.Basic.Ack)]
    assert connection.bytes_recv == 2


def test_a_return_on_a_consuming_channel_is_left_to_py_amqp() -> None:
    connection, others = Wire(), []
    connection.deliver_sinks[4] = lambda _: pytest.fail("a return is no delivery")
    handle = frame_handler(connection, lambda _channel, method, _args, message: others.append((method, message.body)))
    args = dumps("Bsss", (312, "NO_ROUTE", "", "nowhere"))
    for frame in frames(written(4, spec.Basic.Return, args, amqp.Message(b"back"))):
        handle(frame)
    assert others == [(spec.Basic.Return, b"back")]


class Pair:
    """A buffered transport with the test at the other end of its socket."""

    def __init__(self) -> None:
        self.far, near = socket.socketpair()
        self.transport: Any = BufferedTcp("127.0.0.1:1")
        self.transport.sock = near
        self.transport.connected = True
        self.transport._setup_transport()


@pytest.fixture
def pair() -> Iterator[Pair]:
    made = Pair()
    yield made
    made.far.close()
    made.transport.close()


def test_frames_are_cut_from_what_came(pair: Pair) -> None:
    one = wire._FRAME.pack(1, 1, 3) + b"abc\xce"
    two = wire._FRAME.pack(3, 2, 0) + b"\xce"
    pair.far.sendall(one + two + one[:5])
    assert pair.transport.fill(1.0)
    assert pair.transport.next_frame() == (1, 1, b"abc")
    assert pair.transport.next_frame() == (3, 2, b"")
    assert pair.transport.next_frame() is None
    pair.far.sendall(one[5:])
    assert pair.transport.fill(1.0)
    assert pair.transport.next_frame() == (1, 1, b"abc")


@given(st.data())
@settings(max_examples=30)
def test_any_cut_of_the_stream_gives_the_same_frames(data: st.DataObject) -> None:
    payloads = data.draw(st.lists(st.binary(max_size=50), max_size=6))
    stream = b"".join(wire._FRAME.pack(3, 1, len(payload)) + payload + b"\xce" for payload in payloads)
    pair, got = Pair(), []
    while stream:
        size = data.draw(st.integers(1, len(stream)))
        pair.far.sendall(stream[:size])
        stream = stream[size:]
        assert pair.transport.fill(1.0)
        while (frame := pair.transport.next_frame()) is not None:
            got.append(frame[2])
    pair.far.close()
    pair.transport.close()
    assert got == payloads


def test_nothing_came_in_time(pair: Pair) -> None:
    assert not pair.transport.fill(0.0)
    assert not pair.transport.fill(0.01)


def test_closed_by_the_broker(pair: Pair) -> None:
    pair.far.close()
    with pytest.raises(ConnectionResetError, match="closed the connection"):
        pair.transport.fill(1.0)
    assert not pair.transport.connected


def test_broken_frame_end(pair: Pair) -> None:
    pair.far.sendall(wire._FRAME.pack(1, 1, 1) + b"a\x00")
    pair.transport.fill(1.0)
    with pytest.raises(ConnectionResetError, match="0x00"):
        pair.transport.next_frame()
    assert not pair.transport.connected


def test_heartbeat_is_one_frame(pair: Pair) -> None:
    pair.transport.beat()
    assert pair.far.recv(100) == b"\x08\x00\x00\x00\x00\x00\x00\xce"


def test_no_heartbeat_in_the_middle_of_a_write(pair: Pair) -> None:
    with pair.transport.lock:
        pair.transport.beat()
    pair.far.setblocking(False)
    with pytest.raises(BlockingIOError):
        pair.far.recv(1)


def test_no_heartbeat_into_a_full_or_closed_socket(pair: Pair) -> None:
    pair.transport.sock.setblocking(False)
    with pytest.raises(BlockingIOError):
        while True:
            pair.transport.sock.send(b"x" * 65536)
    pair.transport.sock.setblocking(True)
    done = threading.Event()
    threading.Thread(target=lambda: (pair.transport.beat(), done.set()), daemon=True).start()
    assert done.wait(30), "a heartbeat waited for a socket that is full"
    pair.transport.close()
    pair.transport.beat()


def test_tls_reads_what_openssl_holds_back() -> None:
    class Held(ssl.SSLSocket):
        def __init__(self) -> None:
            """Stand for a socket whose next bytes are decrypted already."""

        def pending(self) -> int:
            return 12

    transport = BufferedTcp("127.0.0.1:1")
    transport.sock = Held.__new__(Held)
    assert transport._pending()
    transport.sock = None
    assert not transport._pending()
