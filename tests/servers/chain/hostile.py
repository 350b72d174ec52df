"""Messages that no client library would send: headers and properties byte by byte."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass

from canopsis.transport import wire
from canopsis.transport.connection import Connection, connect
from canopsis.transport.publisher import ConfirmingPublisher
from canopsis.transport.settings import AmqpSettings

CONTENT_TYPE, ENCODING, HEADERS, MODE, PRIORITY = 0x8000, 0x4000, 0x2000, 0x1000, 0x0800
CORRELATION, REPLY_TO, EXPIRATION, MESSAGE_ID, TIMESTAMP, TYPE = 0x0400, 0x0200, 0x0100, 0x0080, 0x0040, 0x0020


def short(data: bytes) -> bytes:
    """Return a short string of AMQP."""
    return bytes((len(data),)) + data


def long(data: bytes) -> bytes:
    """Return a long string, or what a table or an array has in it."""
    return struct.pack(">I", len(data)) + data


def pair(name: bytes, value: bytes) -> bytes:
    """Return a name of a table with its value."""
    return short(name) + value


def nested(depth: int) -> bytes:
    """Return tables in tables."""
    value = b"t\x01"
    for _ in range(depth):
        value = b"F" + long(pair(b"n", value))
    return value


@dataclass(frozen=True)
class Raw:
    """A message: its body, and its properties by flag, as they stand on the wire."""

    body: bytes
    properties: dict[int, bytes]
    key: str = "any.key"

    def encoded(self) -> tuple[int, bytes]:
        """Return flags and properties."""
        flags = sorted(self.properties, reverse=True)
        return sum(flags), b"".join(self.properties[flag] for flag in flags)


def with_headers(body: bytes, *pairs: bytes) -> Raw:
    """Return a persistent message with headers."""
    return Raw(body, {HEADERS: long(b"".join(pairs)), MODE: b"\x02"})


def publish_method(channel: int, exchange: str, key: str) -> bytes:
    """Return the frame of a ``basic.publish``; a lone surrogate in the key is a byte that is not UTF-8."""
    names = short(exchange.encode()) + short(key.encode("utf-8", "surrogateescape"))
    payload = struct.pack(">HHH", 60, 40, 0) + names + b"\x01"
    return struct.pack(">BHI", 1, channel, len(payload)) + payload + b"\xce"


class HostilePublisher(ConfirmingPublisher):
    """Sends properties as they are."""

    def send_raw(self, exchange: str, message: Raw) -> None:
        """Send a message; it is safe only after ``flush``."""
        method = publish_method(self._number, exchange, message.key)
        content = wire.publish_content(self._number, self._frame_max, message.encoded(), message.body)
        self._out += (method, content)
        self._out_bytes += len(method) + len(content)
        self._sent += 1
        if self._out_bytes >= 1 << 16:
            self.push()
        if self.pending >= self._window:
            self._wait(self._window // 2, 60.0)


def send(amqp: AmqpSettings, exchange: str, messages: Sequence[Raw]) -> None:
    """Send ``messages`` and wait until the broker has them all. Raises TransportError."""
    link: Connection = connect(amqp, "hostile")
    try:
        publisher = HostilePublisher(link)
        for message in messages:
            publisher.send_raw(exchange, message)
        publisher.flush(60)
    finally:
        link.close()
