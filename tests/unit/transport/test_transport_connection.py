"""The connection over a socket whose other end is the test: silence, loss, heartbeats, notices."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest
from amqp.exceptions import NotFound

from canopsis.errors import TransportError
from canopsis.transport.connection import Connection
from canopsis.transport.settings import AmqpSettings
from canopsis.transport.wire import BufferedTcp

HEARTBEAT = b"\x08\x00\x00\x00\x00\x00\x00\xce"


class Wire:
    """py-amqp's connection after its handshake, over a socket pair."""

    def __init__(self, heartbeat: float) -> None:
        self.far, near = socket.socketpair()
        self.transport: Any = BufferedTcp("127.0.0.1:1")
        self.transport.sock = near
        self.transport.connected = True
        self.transport._setup_transport()
        self.heartbeat = heartbeat
        self.server_properties = {"version": "3.10.8"}
        self.frames: list[bytes] = []
        self.raised: list[Exception] = []
        self.on_blocked: Any = None
        self.on_unblocked: Any = None
        self.methods: list[tuple[int, int]] = []

    @property
    def connected(self) -> bool:
        return self.transport is not None and self.transport.connected

    def on_inbound_frame(self, frame: tuple[int, int, bytes]) -> bool:
        self.frames.append(frame[2])
        if self.raised:
            raise self.raised.pop(0)
        return True

    def send_method(self, signature: tuple[int, int], *_facts: object) -> None:
        self.methods.append(signature)

    def collect(self) -> None:
        self.transport.close()


class Link:
    """kombu's connection."""

    def __init__(self, wire: Wire) -> None:
        self.connection = wire

    def channel(self) -> str:
        return "channel"


class Held:
    """A connection and the far end of its socket."""

    def __init__(self, heartbeat: float = 0.0) -> None:
        self.wire = Wire(heartbeat)
        self.connection = Connection(Link(self.wire), AmqpSettings())

    def send(self, *payloads: bytes) -> None:
        frames = (b"\x03\x00\x01" + len(payload).to_bytes(4, "big") + payload + b"\xce" for payload in payloads)
        self.wire.far.sendall(b"".join(frames))

    def close(self) -> None:
        self.connection.drop()
        self.wire.far.close()


@pytest.fixture
def held() -> Iterator[Held]:
    made = Held()
    yield made
    made.close()


@pytest.fixture
def beating() -> Iterator[Held]:
    made = Held(heartbeat=0.3)
    yield made
    made.close()


def test_serving_nothing_takes_no_time(held: Held) -> None:
    assert held.connection.serve() is False


def test_serving_waits_for_the_first_frame_only(held: Held) -> None:
    begin = time.monotonic()
    assert held.connection.serve(0.2) is False
    assert 0.15 < time.monotonic() - begin < 2.0
    threading.Timer(0.05, held.send, args=(b"a", b"b")).start()
    begin = time.monotonic()
    assert held.connection.serve(10.0)
    assert time.monotonic() - begin < 5.0
    assert held.wire.frames == [b"a", b"b"]


def test_frames_read_before_are_not_waited_for(held: Held) -> None:
    held.send(b"a")
    held.wire.transport.fill(1.0)
    begin = time.monotonic()
    assert held.connection.serve(10.0)
    assert time.monotonic() - begin < 5.0
    assert held.wire.frames == [b"a"]


def test_half_a_frame_is_kept(held: Held) -> None:
    held.wire.far.sendall(b"\x03\x00\x01\x00\x00\x00\x02a")
    assert held.connection.serve(1.0) is False
    held.wire.far.sendall(b"b\xce")
    assert held.connection.serve(1.0)
    assert held.wire.frames == [b"ab"]


def test_a_closed_channel_leaves_the_connection_open(held: Held) -> None:
    held.wire.raised.append(NotFound("no queue"))
    held.send(b"close", b"next")
    with pytest.raises(TransportError, match="no queue"):
        held.connection.serve(1.0)
    assert held.connection.is_open
    assert held.connection.serve(1.0)
    assert held.wire.frames == [b"close", b"next"]


def test_a_lost_socket_closes_the_connection(held: Held) -> None:
    held.wire.far.close()
    with pytest.raises(TransportError, match="lost the broker"):
        held.connection.serve(1.0)
    assert not held.connection.is_open


@pytest.mark.parametrize("call", ["serve", "channel", "write"])
def test_a_closed_connection_stays_closed(held: Held, call: str) -> None:
    held.connection.drop()
    arguments = (b"x",) if call == "write" else ()
    with pytest.raises(TransportError, match="closed"):
        getattr(held.connection, call)(*arguments)


def test_a_channel(held: Held) -> None:
    assert held.connection.channel() == "channel"


def test_a_failed_write_closes_the_connection(held: Held) -> None:
    held.wire.transport.sock.close()
    with pytest.raises(TransportError, match="cannot write"):
        held.connection.write(b"x")
    assert not held.connection.is_open


def test_a_broker_that_does_not_read_holds_nobody_up_for_ever(held: Held) -> None:
    held.wire.transport.sock.settimeout(0.2)
    with pytest.raises(TransportError, match="cannot write"):
        held.connection.write(bytes(64 << 20))
    assert not held.connection.is_open


def test_silence_is_noticed(beating: Held) -> None:
    begin, heard = time.monotonic(), beating.wire.transport.received_at
    with pytest.raises(TransportError, match="silent"):
        while time.monotonic() - begin < 60:
            beating.connection.serve(0.1)
    assert time.monotonic() - heard > 0.5
    assert not beating.connection.is_open


def test_silence_is_not_counted_while_nobody_listened(beating: Held) -> None:
    """What the broker sent meanwhile lies in the socket: it is read before the broker is called silent."""
    threading.Event().wait(1.0)
    beating.wire.far.sendall(HEARTBEAT)
    assert beating.connection.serve(0.0)
    assert beating.connection.is_open


def test_without_heartbeats_silence_is_allowed(held: Held) -> None:
    held.wire.transport.received_at -= 10**6
    assert held.connection.serve() is False


def test_heartbeats_go_out_by_themselves(beating: Held) -> None:
    beating.wire.far.settimeout(5.0)
    got = b""
    while len(got) < 3 * len(HEARTBEAT):
        got += beating.wire.far.recv(100)
    assert got.startswith(3 * HEARTBEAT)


def test_no_heartbeat_while_there_is_traffic() -> None:
    busy, stop = Held(heartbeat=3.0), time.monotonic() + 1.5
    busy.wire.far.settimeout(1.0)
    while time.monotonic() < stop:
        busy.connection.write(b"d")
        threading.Event().wait(0.02)
    assert HEARTBEAT not in busy.wire.far.recv(10_000)
    busy.close()


def test_heartbeats_end_with_the_connection(beating: Held) -> None:
    thread = beating.connection._heart
    beating.connection.close()
    thread.join(30)
    assert not thread.is_alive()


def test_a_heartbeat_into_a_lost_socket_ends_quietly(beating: Held) -> None:
    thread = beating.connection._heart
    beating.wire.transport.sock.close()
    thread.join(30)
    assert not thread.is_alive()


def test_blocked_and_free_again(held: Held) -> None:
    assert held.connection.blocked == ""
    held.wire.on_blocked("low on disk")
    assert held.connection.blocked == "low on disk"
    held.wire.on_unblocked()
    assert held.connection.blocked == ""
    held.wire.on_blocked("")
    assert held.connection.blocked


def test_close_says_good_bye_once(held: Held) -> None:
    held.connection.close()
    held.connection.close()
    assert held.wire.methods == [(10, 50)]
    assert not held.connection.is_open


def test_close_does_not_write_to_a_broker_that_does_not_read(held: Held) -> None:
    held.wire.on_blocked("low on memory")
    held.connection.close()
    assert held.wire.methods == []


def test_close_over_a_failing_socket(held: Held, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_facts: object) -> None:
        raise BrokenPipeError("gone")

    monkeypatch.setattr(held.wire, "send_method", fail)
    held.connection.close()
    assert not held.connection.is_open


def test_the_version_is_numbers(held: Held) -> None:
    assert held.connection.version == (3, 10, 8)
