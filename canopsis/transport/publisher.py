"""Publishing with confirms, pipelined: many messages under way, one wait for all of them."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from canopsis.errors import InputError, TransportError
from canopsis.transport.connection import Connection
from canopsis.transport.wire import message_properties, publish_content, publish_method

MAX_BODY = 8 << 20
"""Bytes of a message. RabbitMQ 4 closes the channel at 16 MiB, earlier ones at 128."""

_SHORT_TEXT = 255
_WRITE_BYTES = 1 << 16
_METHODS_KEPT = 4096


class ConfirmingPublisher:
    """Sends messages and waits for the broker's word on them. For one thread.

    A channel of its own on ``connection``. After a TransportError the publisher is closed: what
    was sent since the last good ``flush`` is unknown and is to be sent again, by a new publisher.
    ``window`` is the most messages under way before ``send`` waits for confirms.
    """

    def __init__(self, connection: Connection, window: int = 2000) -> None:
        self._connection = connection
        self._window = window
        self._channel: Any = connection.channel()
        self._number: int = self._channel.channel_id
        self._frame_max: int = connection.wire.frame_max
        self._methods: dict[tuple[str, str, bool], bytes] = {}
        self._out: list[bytes] = []
        self._out_bytes = 0
        self._sent = 0
        self._low = 0
        self._early: set[int] = set()
        self._refused: list[str] = []
        self.is_open = True
        connection.wire.ack_sinks[self._number] = self._on_ack
        self._channel.events["basic_nack"].add(self._on_nack)
        self._channel.events["basic_return"].add(self._on_return)
        with connection.errors("cannot ask for confirms"):
            self._channel.confirm_select()

    @property
    def pending(self) -> int:
        """How many messages are sent and not confirmed."""
        return self._sent - self._low - len(self._early)

    def send(  # noqa: PLR0913 - what a message has
        self,
        exchange: str,
        routing_key: str,
        body: bytes,
        *,
        message_id: str = "",
        headers: Mapping[str, object] | None = None,
        content_type: str = "application/json",
        mandatory: bool = True,
    ) -> None:
        """Send a persistent message; it is safe only after ``flush``.

        ``mandatory`` means that a message no queue wants is an error, not what an exchange with
        optional subscribers does.

        Raises TransportError (see the class), InputError when a name is longer than 255 bytes or
        the body longer than ``MAX_BODY``: nothing is sent then and the publisher stays good.
        """
        self._must_be_open()
        method = self._methods.get((exchange, routing_key, mandatory)) or self._method(exchange, routing_key, mandatory)
        if len(body) > MAX_BODY:
            raise InputError("body", f"{len(body)} bytes", f"at most {MAX_BODY} bytes")
        if len(message_id) > _SHORT_TEXT // 4:
            _check_short("message_id", message_id)
        properties = message_properties(content_type, message_id, headers)
        content = publish_content(self._number, self._frame_max, properties, body)
        self._out += (method, content)
        self._out_bytes += len(method) + len(content)
        self._sent += 1
        if self._out_bytes >= _WRITE_BYTES:
            self._write()
        if self.pending >= self._window:
            self._wait(self._window // 2, self._connection.settings.write_timeout)

    def push(self) -> None:
        """Write what is still gathered here, and do not wait for its confirms. Raises TransportError."""
        self._must_be_open()
        self._write()

    def flush(self, timeout: float = 30.0) -> None:
        """Wait until the broker has all that was sent.

        Raises TransportError when a message was refused (nack), had no queue (return), or was not
        confirmed within ``timeout`` seconds.
        """
        self._must_be_open()
        self._write()
        self._wait(0, timeout)
        if self._refused:
            self.close()
            raise TransportError("the broker refused " + "; ".join(self._refused[:5]))

    def close(self) -> None:
        """Give the channel back; never raises."""
        if not self.is_open:
            return
        self.is_open = False
        self._connection.wire.ack_sinks.pop(self._number, None)
        try:
            with self._connection.errors("closing a channel"):
                self._channel.close()
        except TransportError:
            self._connection.drop()

    def _wait(self, allowed: int, timeout: float) -> None:
        deadline = time.monotonic() + timeout
        if allowed:
            self._write()
        while self.pending > allowed:
            left = deadline - time.monotonic()
            if left <= 0:
                # Late confirms would be taken for those of the next messages, so nothing of this stays.
                pending, why = self.pending, self._why()
                self._connection.drop()
                self._abandon()
                raise TransportError(f"{pending} messages are not confirmed after {timeout:g} s{why}")
            self._serve(left)

    def _serve(self, timeout: float) -> None:
        try:
            self._connection.serve(min(timeout, 1.0))
        except TransportError:
            self._abandon()
            raise

    def _write(self) -> None:
        if not self._out:
            return
        data = b"".join(self._out)
        self._out.clear()
        self._out_bytes = 0
        try:
            self._connection.write(data)
        except TransportError:
            self._abandon()
            raise

    def _why(self) -> str:
        blocked = self._connection.blocked
        return f" (the broker blocks publishers: {blocked})" if blocked else ""

    def _method(self, exchange: str, routing_key: str, mandatory: bool) -> bytes:
        _check_short("exchange", exchange)
        _check_short("routing_key", routing_key)
        if len(self._methods) >= _METHODS_KEPT:
            self._methods.clear()
        method = publish_method(self._number, exchange, routing_key, mandatory)
        self._methods[exchange, routing_key, mandatory] = method
        return method

    def _on_ack(self, tag: int, multiple: bool) -> None:
        if multiple:
            self._low = max(self._low, tag)
            self._early = {early for early in self._early if early > tag}
        elif tag == self._low + 1:
            self._low = tag
        else:
            self._early.add(tag)
        while self._low + 1 in self._early:
            self._low += 1
            self._early.discard(self._low)

    def _on_nack(self, tag: int, multiple: bool) -> None:
        self._refused.append(f"message {tag} (a queue is full or failing)")
        self._on_ack(tag, multiple)

    def _on_return(self, error: Exception, exchange: str, routing_key: str, message: object) -> None:  # noqa: ARG002
        self._refused.append(f"a message to {exchange!r} with key {routing_key!r}: {error}")

    def _must_be_open(self) -> None:
        if not self.is_open:
            raise TransportError("the publisher is closed after an earlier error")

    def _abandon(self) -> None:
        if self._connection.is_open:
            self.close()
        self.is_open = False


def _check_short(field: str, value: str) -> None:
    if len(value.encode()) > _SHORT_TEXT:
        raise InputError(field, value, f"at most {_SHORT_TEXT} bytes of UTF-8")
