"""The broker, as the web server uses it: one confirmed publisher a thread, made when first needed."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from dataclasses import replace

from canopsis.api.breaker import Breaker
from canopsis.api.ports import Message, Server
from canopsis.errors import TransportError
from canopsis.transport.connection import Connection, connect
from canopsis.transport.publisher import ConfirmingPublisher
from canopsis.transport.settings import AmqpSettings
from canopsis.transport.topology import EVENTS, depth

CONFIRM_TIMEOUT = 4.0
"""Seconds for the broker to confirm; then the answer is 503."""

_CONNECT_TIMEOUT = 2.0
_SECOND_TRY_WITHIN = 1.0


class _Link:
    """One thread's connection and its publisher."""

    def __init__(self, settings: AmqpSettings) -> None:
        self.connection: Connection = connect(settings, "canopsis webserver")
        try:
            self.publisher = ConfirmingPublisher(self.connection)
        except TransportError:
            self.connection.close()
            raise

    @property
    def is_open(self) -> bool:
        return self.connection.is_open and self.publisher.is_open

    def publish(self, messages: Sequence[Message]) -> None:
        # Reads what came since: that the broker went, or that it takes nothing now.
        self.connection.serve(0.0)
        if self.connection.blocked:
            raise TransportError(f"the broker blocks publishers: {self.connection.blocked}")
        for each in messages:
            self.publisher.send(
                each.exchange,
                each.routing_key,
                each.body,
                message_id=each.message_id,
                headers=each.headers,
                content_type=each.content_type,
            )
        self.publisher.flush(CONFIRM_TIMEOUT)

    def close(self) -> None:
        self.publisher.close()
        self.connection.close()


class AmqpBroker:
    """``ports.Broker`` over RabbitMQ. Shared by all threads of a process, made after its fork."""

    def __init__(self, settings: AmqpSettings) -> None:
        self._settings = replace(
            settings,
            connect_timeout=min(settings.connect_timeout, _CONNECT_TIMEOUT),
            write_timeout=min(settings.write_timeout, CONFIRM_TIMEOUT),
        )
        self._hosts = tuple(f"{host}:{port}" for host, port in settings.hosts)
        self._local = threading.local()
        self._breaker = Breaker(TransportError)

    def publish(self, messages: Sequence[Message]) -> None:
        """Send the messages; return when the broker has them all. Raises TransportError.

        A connection that broke while nobody used it is made anew, once: a message may then be
        sent twice, which its event id makes harmless.
        """
        begin = time.monotonic()
        kept: _Link | None = getattr(self._local, "link", None)
        if kept is not None and kept.is_open:
            try:
                return kept.publish(messages)
            except TransportError:
                self._forget()
                if time.monotonic() - begin > _SECOND_TRY_WITHIN:
                    raise
        link = self._link()
        try:
            link.publish(messages)
        except TransportError:
            self._forget()
            raise
        return None

    def depths(self, queues: Sequence[str]) -> dict[str, int | None]:
        """Return how many messages are ready in each queue. Raises TransportError."""
        link = self._link()
        try:
            return {queue: depth(link.connection, queue) for queue in queues}
        except TransportError:
            self._forget()
            raise

    def server(self) -> Server:
        """Return what the broker says of itself: connects anew, and looks for the exchange of events."""
        version = ""
        try:
            connection = connect(self._settings, "canopsis webserver check")
            try:
                version = ".".join(map(str, connection.version))
                with connection.errors(f"cannot find the exchange {EVENTS}"):
                    connection.channel().exchange_declare(EVENTS, "topic", passive=True)
            finally:
                connection.close()
        except TransportError as error:
            return Server("rabbitmq-server", self._hosts, version, str(error))
        return Server("rabbitmq-server", self._hosts, version)

    def close(self) -> None:
        """Close this thread's connection."""
        self._forget()

    def _link(self) -> _Link:
        kept: _Link | None = getattr(self._local, "link", None)
        if kept is not None and kept.is_open:
            return kept
        self._forget()
        self._breaker.check()
        try:
            link = _Link(self._settings)
        except TransportError as error:
            self._breaker.trip(str(error))
            raise
        self._breaker.reset()
        self._local.link = link
        return link

    def _forget(self) -> None:
        kept: _Link | None = getattr(self._local, "link", None)
        self._local.link = None
        if kept is not None:
            kept.close()
