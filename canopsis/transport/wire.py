"""The frames of AMQP 0-9-1 below py-amqp, where the time goes.

py-amqp reads three times from the socket for each frame, nine times for a message. Here one read
takes what the socket holds, frames are cut from that, and the methods of the hot path
(``basic.deliver`` and ``basic.ack`` in, ``basic.publish`` out) are read and written by hand.
Everything else stays with py-amqp, through the places it offers for that: the transport class and
the ``frame_handler`` of its connection.
"""

from __future__ import annotations

import logging
import select
import ssl
import struct
import threading
import time
from collections.abc import Callable, Mapping
from struct import Struct
from typing import Any

from amqp import serialization
from amqp.method_framing import frame_handler as amqp_frame_handler
from amqp.transport import SSLTransport, TCPTransport
from kombu.transport import pyamqp

from canopsis.transport.names import addresses
from canopsis.transport.table import UNREADABLE, read_table

_LOG = logging.getLogger(__name__)

DeliverSink = Callable[["Delivery"], None]
AckSink = Callable[[int, bool], None]

Wire = Any
"""py-amqp's connection; it has no types."""

STAMP = "timestamp_in_ms"
"""The header in which a broker that stamps messages says when it took them."""

OLDEST = 30 * 86400.0
"""Seconds that a message may have waited: an older stamp is a clock that was wrong."""

AHEAD = 60.0
"""Seconds that the broker's clock may be ahead of ours."""

_CHUNK = 1 << 16
_FRAME = Struct(">BHI")
_PUBLISH = Struct(">HHH")
_HEADER = Struct(">HHQH")
_TAG = Struct(">QB")
_FRAME_END = 0xCE
_END = b"\xce"
_HEARTBEAT = b"\x08\x00\x00\x00\x00\x00\x00\xce"
_DELIVER = b"\x00\x3c\x00\x3c"
_ACK = b"\x00\x3c\x00\x50"
_METHOD, _CONTENT_HEADER, _BODY = 1, 2, 3
_CONTENT_TYPE, _ENCODING, _HEADERS, _MODE, _PRIORITY = 0x8000, 0x4000, 0x2000, 0x1000, 0x0800
_CORRELATION, _REPLY_TO, _EXPIRATION, _MESSAGE_ID, _TIMESTAMP = 0x0400, 0x0200, 0x0100, 0x0080, 0x0040
_PERSISTENT = b"\x02"


class Delivery:
    """A message as it came, and the tag that acknowledges it.

    Nothing that a sender wrote makes reading it raise. ``stamped`` says that the broker itself writes
    the header ``timestamp_in_ms``: else it is the sender's word, and not believed.
    """

    __slots__ = (
        "_header",
        "_properties",
        "body",
        "exchange",
        "queue",
        "redelivered",
        "routing_key",
        "stamped",
        "subscription",
        "tag",
    )

    def __init__(self, tag: int, redelivered: bool, exchange: str, routing_key: str, header: bytes) -> None:
        self.tag = tag
        self.redelivered = redelivered
        self.exchange = exchange
        self.routing_key = routing_key
        self.queue = ""
        self.subscription: object = None
        self.stamped = False
        self.body = b""
        self._header = header
        self._properties: tuple[str, str, Mapping[str, object]] | None = None

    @property
    def content_type(self) -> str:
        """The publisher's content type, or an empty text."""
        return self._parsed()[0]

    @property
    def message_id(self) -> str:
        """The publisher's message id, or an empty text."""
        return self._parsed()[1]

    @property
    def headers(self) -> Mapping[str, object]:
        """The headers of the message."""
        return self._parsed()[2]

    @property
    def stamp(self) -> int | None:
        """The broker's mark, the same at each redelivery; None where the broker does not stamp."""
        stamp = self.headers.get(STAMP) if self.stamped else None
        return stamp if isinstance(stamp, int) else None

    @property
    def received(self) -> float | None:
        """When the broker took the message, in seconds since the epoch.

        None where it does not stamp, and when its clock cannot be right: the time of receipt is now then.
        """
        stamp = self.stamp
        if stamp is None:
            return None
        moment = stamp / 1000
        return moment if -OLDEST <= moment - time.time() <= AHEAD else None

    @property
    def deliveries(self) -> int | None:
        """How many times it was delivered before; None when the broker only says that it was."""
        if not self.redelivered:
            return 0
        counts = [self.headers.get(name) for name in ("x-delivery-count", "x-acquired-count")]
        return max((count for count in counts if isinstance(count, int)), default=None)

    def _parsed(self) -> tuple[str, str, Mapping[str, object]]:
        # Between processes nobody looks at properties: they are read when asked for.
        if self._properties is None:
            self._properties = read_properties(self._header)
        return self._properties


def read_properties(header: bytes) -> tuple[str, str, Mapping[str, object]]:
    """Return content type, message id and headers from the payload of a content header frame. Raises nothing."""
    try:
        return _read_properties(header)
    except (IndexError, struct.error):
        return "", "", {UNREADABLE: f"{len(header)} bytes that are no properties: {header[:64]!r}"}


def _read_properties(header: bytes) -> tuple[str, str, Mapping[str, object]]:
    flags = _HEADER.unpack_from(header)[3]
    at = _HEADER.size
    content_type = message_id = ""
    headers: Mapping[str, object] = {}
    if flags & _CONTENT_TYPE:
        content_type, at = _short_text(header, at)
    if flags & _ENCODING:
        at += 1 + header[at]
    if flags & _HEADERS:
        headers, at = read_table(header, at)
    at += bool(flags & _MODE) + bool(flags & _PRIORITY)
    for flag in (_CORRELATION, _REPLY_TO, _EXPIRATION):
        if flags & flag:
            at += 1 + header[at]
    if flags & _MESSAGE_ID:
        message_id, at = _short_text(header, at)
    return content_type, message_id, headers


def _short_text(data: bytes, at: int) -> tuple[str, int]:
    end = at + 1 + data[at]
    return data[at + 1 : end].decode("utf-8", "replace"), end


def publish_method(channel: int, exchange: str, routing_key: str, mandatory: bool = True) -> bytes:
    """Return the frame of a ``basic.publish``; exchange and key are 255 bytes at most."""
    name, key = exchange.encode(), routing_key.encode()
    payload = b"".join(
        (_PUBLISH.pack(60, 40, 0), bytes((len(name),)), name, bytes((len(key),)), key, bytes((mandatory,))),
    )
    return _FRAME.pack(_METHOD, channel, len(payload)) + payload + _END


def message_properties(content_type: str, message_id: str, headers: Mapping[str, object] | None) -> tuple[int, bytes]:
    """Return flags and properties of a persistent message, as they stand in its content header."""
    flags = _CONTENT_TYPE | _MODE
    kind, name = content_type.encode(), message_id.encode()
    properties = [bytes((len(kind),)), kind]
    if headers:
        flags |= _HEADERS
        properties.append(serialization.dumps("F", (dict(headers),)))
    properties.append(_PERSISTENT)
    if name:
        flags |= _MESSAGE_ID
        properties += (bytes((len(name),)), name)
    return flags, b"".join(properties)


def publish_content(channel: int, frame_max: int, properties: tuple[int, bytes], body: bytes) -> bytes:
    """Return the frames of a message's properties and body."""
    payload = _HEADER.pack(60, 0, len(body), properties[0]) + properties[1]
    frames = [_FRAME.pack(_CONTENT_HEADER, channel, len(payload)), payload, _END]
    room = frame_max - 8
    for at in range(0, len(body), room):
        part = body[at : at + room]
        frames += (_FRAME.pack(_BODY, channel, len(part)), part, _END)
    return b"".join(frames)


def frame_handler(connection: Wire, callback: Callable[..., None]) -> Callable[[tuple[int, int, bytes]], bool]:
    """Return what py-amqp calls for each frame that came: a short way for deliveries and confirms.

    ``connection.deliver_sinks`` and ``connection.ack_sinks`` say, by channel, who wants them.
    """
    others = amqp_frame_handler(connection, callback)
    deliver_sinks: dict[int, DeliverSink] = connection.deliver_sinks
    ack_sinks: dict[int, AckSink] = connection.ack_sinks
    partial: dict[int, _Partial] = {}

    def on_frame(frame: tuple[int, int, bytes]) -> bool:
        kind, channel, payload = frame
        if kind == _METHOD:
            if channel in deliver_sinks and payload.startswith(_DELIVER):
                partial[channel] = _Partial(payload)
            elif channel in ack_sinks and payload.startswith(_ACK):
                tag, multiple = _TAG.unpack_from(payload, 4)
                ack_sinks[channel](tag, bool(multiple))
            else:
                return bool(others(frame))
        elif channel in partial:
            delivery = partial[channel].take(kind, payload)
            if delivery is None:
                return False
            del partial[channel]
            sink = deliver_sinks.get(channel)
            if sink is not None:
                sink(delivery)
        else:
            return bool(others(frame))
        connection.bytes_recv += 1
        return True

    return on_frame


class _Partial:
    """A delivery whose frames are still coming in."""

    __slots__ = ("_delivery", "_left", "_method", "_parts")

    def __init__(self, method: bytes) -> None:
        self._method = method
        self._delivery: Delivery | None = None
        self._left = 0
        self._parts: list[bytes] = []

    def take(self, kind: int, payload: bytes) -> Delivery | None:
        """Add a frame; return the delivery when it is whole."""
        if kind == _CONTENT_HEADER:
            self._left = _HEADER.unpack_from(payload)[2]
            self._delivery = _read_deliver(self._method, payload)
        else:
            self._left -= len(payload)
            self._parts.append(payload)
        if self._left > 0 or self._delivery is None:
            return None
        self._delivery.body = self._parts[0] if len(self._parts) == 1 else b"".join(self._parts)
        return self._delivery


def _read_deliver(method: bytes, header: bytes) -> Delivery:
    at = 5 + method[4]
    tag, redelivered = _TAG.unpack_from(method, at)
    exchange, at = _short_text(method, at + _TAG.size)
    routing_key, _ = _short_text(method, at)
    return Delivery(tag, bool(redelivered), exchange, routing_key, header)


class _Buffered:
    """Mixed into py-amqp's transports: buffered reads, and one lock over reads and writes.

    The lock lets another thread send heartbeats; OpenSSL allows no read beside a write.
    """

    sock: Any
    connected: bool

    def _connect(self, host: str, port: int, timeout: float | None) -> None:
        """Connect to the first address of ``host`` that takes it; looking it up has a ``timeout`` of its own."""
        *others, last = addresses(host, timeout)
        for address in others:
            try:
                return super()._connect(address, port, timeout)  # type: ignore[misc,no-any-return]
            except OSError as error:
                _LOG.debug("%s is %s: %s", host, address, error)
        return super()._connect(last, port, timeout)  # type: ignore[misc,no-any-return]

    def _setup_transport(self) -> None:
        super()._setup_transport()  # type: ignore[misc]
        self.sock.settimeout(None)
        self.lock = threading.Lock()
        self._data = b""
        self._at = 0
        self.received_at = self.sent_at = time.monotonic()
        self._poll = select.poll()
        self._poll.register(self.sock, select.POLLIN)
        self._write = self._send

    def next_frame(self) -> tuple[int, int, bytes] | None:
        """Return the next frame that has arrived whole (type, channel, payload), or None."""
        data, at = self._data, self._at
        if len(data) - at < 8:
            return None
        kind, channel, size = _FRAME.unpack_from(data, at)
        end = at + 7 + size
        if end >= len(data):
            return None
        if data[end] != _FRAME_END:
            self.connected = False
            raise ConnectionResetError(f"a frame of the broker ends in {data[end]:#04x}, not in 0xce")
        self._at = end + 1
        return kind, channel, data[at + 7 : end]

    def fill(self, timeout: float | None) -> bool:
        """Read what the socket holds, waiting up to ``timeout`` seconds; tell whether anything came."""
        if not self._pending() and not self._poll.poll(None if timeout is None else timeout * 1000):
            return False
        with self.lock:
            chunk = self.sock.recv(_CHUNK)
        if not chunk:
            self.connected = False
            raise ConnectionResetError("the broker closed the connection")
        self._data = self._data[self._at :] + chunk
        self._at = 0
        self.received_at = time.monotonic()
        return True

    def beat(self) -> None:
        """Send a heartbeat, unless the socket is full or another thread writes just now."""
        sock = self.sock
        if sock is None or not self.lock.acquire(blocking=False):
            return
        try:
            writable = select.poll()
            writable.register(sock, select.POLLOUT)
            if writable.poll(0):
                sock.sendall(_HEARTBEAT)
        finally:
            self.lock.release()

    def _pending(self) -> bool:
        return isinstance(self.sock, ssl.SSLSocket) and self.sock.pending() > 0

    def _send(self, data: bytes | memoryview) -> None:
        with self.lock:
            self.sock.sendall(data)
        self.sent_at = time.monotonic()


class BufferedTcp(_Buffered, TCPTransport):  # type: ignore[misc]
    """py-amqp's transport over TCP, with buffered reads."""


class BufferedTls(_Buffered, SSLTransport):  # type: ignore[misc]
    """py-amqp's transport over TLS, with buffered reads."""


class WireConnection(pyamqp.Connection):
    """py-amqp's connection over the buffered transports."""

    def __init__(self, **options: object) -> None:
        self.deliver_sinks: dict[int, DeliverSink] = {}
        self.ack_sinks: dict[int, AckSink] = {}
        super().__init__(frame_handler=frame_handler, **options)

    def Transport(  # noqa: N802 - py-amqp's own name and arguments
        self,
        host: str,
        connect_timeout: float,
        ssl: object = False,
        read_timeout: float | None = None,
        write_timeout: float | None = None,
        **options: object,
    ) -> _Buffered:
        """Return the transport, TLS or not."""
        options |= {"ssl": ssl, "read_timeout": read_timeout, "write_timeout": write_timeout}
        make = BufferedTls if ssl else BufferedTcp
        transport: _Buffered = make(host, connect_timeout=connect_timeout, **options)
        return transport

    def blocking_read(self, timeout: float | None = None) -> bool:
        """Handle one frame, waiting up to ``timeout`` seconds for it.

        Where py-amqp would wait for ever for an answer, the time-out of reading holds.
        """
        transport = self.transport
        timeout = self.read_timeout if timeout is None else timeout
        while (frame := transport.next_frame()) is None:
            if not transport.fill(timeout):
                raise TimeoutError("the broker did not answer in time")
        return bool(self.on_inbound_frame(frame))


class WireTransport(pyamqp.Transport):
    """kombu's transport, with the connection above."""

    Connection = WireConnection
