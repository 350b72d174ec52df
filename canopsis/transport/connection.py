"""A connection to one of the brokers: made by trying each, kept by heartbeats, given up when silent."""

from __future__ import annotations

import logging
import random
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import kombu
from amqp.exceptions import AMQPError

from canopsis.errors import TransportError
from canopsis.transport.settings import AmqpSettings
from canopsis.transport.wire import WireTransport

Wire = Any
"""py-amqp's connection; it has no types."""

Channel = Any
"""kombu's channel; it has no types."""

_kombu: Any = kombu
_LOG = logging.getLogger(__name__)
_OF_AMQP = ("amqp.", "kombu.", "vine.", WireTransport.__module__)
"""Where a part of a connection is used that may have become None."""

_FIRST_WAIT, _LONGEST_WAIT = 0.2, 15.0


@contextmanager
def broker_errors(what: str) -> Iterator[None]:
    """Turn whatever kombu, py-amqp and the socket raise into ``TransportError``; a bug of ours stays what it is."""
    try:
        yield
    except (AMQPError, OSError) as error:
        raise TransportError(f"{what}: {error}") from error
    except AttributeError as error:
        if not _went_away(error):
            raise
        raise TransportError(f"{what}: {error}") from error


def _went_away(error: AttributeError) -> bool:
    """Tell whether py-amqp missed one of its own parts: it sets them to None when a connection goes away under it."""
    place = error.__traceback__
    while place is not None and place.tb_next is not None:
        place = place.tb_next
    where = str(place.tb_frame.f_globals.get("__name__", "")) if place is not None else ""
    return error.obj is None and where.startswith(_OF_AMQP)


class Connection:
    """One connection; used by one thread. A second thread of its own sends the heartbeats.

    So a connection outlives a caller that waits long for the database. ``version`` is the
    broker's, as numbers; ``blocked`` is the broker's reason for not reading what we publish, or
    an empty text.
    """

    def __init__(self, link: Wire, settings: AmqpSettings) -> None:
        self._link = link
        self._wire = link.connection
        self._transport = self._wire.transport
        self.settings = settings
        self.version = _version(self._wire.server_properties.get("version", ""))
        self.blocked = ""
        self._wire.on_blocked = self._on_blocked
        self._wire.on_unblocked = self._on_unblocked
        self._closed = threading.Event()
        self._heart = threading.Thread(target=self._send_heartbeats, name="amqp-heartbeat", daemon=True)
        self._heart.start()

    @property
    def is_open(self) -> bool:
        """Whether the connection is up, as far as is known without reading."""
        return not self._closed.is_set() and bool(self._wire.connected)

    @property
    def wire(self) -> Wire:
        """py-amqp's connection."""
        return self._wire

    def channel(self) -> Channel:
        """Return a new channel (kombu's). Raises TransportError."""
        self._must_be_open()
        with self.errors("cannot open a channel"):
            return self._link.channel()

    def serve(self, timeout: float = 0.0) -> bool:
        """Handle all that has arrived, waiting up to ``timeout`` seconds for the first of it.

        Tells whether anything came. Raises TransportError when the connection or a channel of it
        was closed by the broker, or when the broker was silent for two heartbeats.
        """
        self._must_be_open()
        with self.errors("lost the broker"):
            transport = self._transport
            # Frames may have come along with the answer to an earlier call: no wait for more then.
            came = self._handle_frames()
            if transport.fill(0.0 if came else timeout):
                came = self._handle_frames() or came
            elif not came:
                self._check_silence(transport.received_at)
            return came

    def write(self, data: bytes) -> None:
        """Write whole frames. Raises TransportError, and then the connection is closed."""
        self._must_be_open()
        with self.errors("cannot write to the broker"):
            self._transport.write(data)

    def close(self) -> None:
        """Close the connection; never raises."""
        self._closed.set()
        if self._wire.connected and not self.blocked:
            try:
                self._transport.sock.settimeout(1.0)
                self._wire.send_method((10, 50), "BsBB", (200, "bye", 0, 0))
            except (AMQPError, OSError, AttributeError) as error:
                _LOG.debug("closing: %s", error)
        self._wire.collect()

    @contextmanager
    def errors(self, what: str) -> Iterator[None]:
        """Turn errors into TransportError, and drop the connection when the socket failed."""
        try:
            with broker_errors(what):
                yield
        except TransportError as error:
            if isinstance(error.__cause__, OSError):
                self.drop()
            raise

    def drop(self) -> None:
        """Close the socket at once: what was sent and not confirmed is unknown."""
        self._closed.set()
        self._wire.collect()

    def _handle_frames(self) -> bool:
        handle, transport = self._wire.on_inbound_frame, self._transport
        came = False
        while (frame := transport.next_frame()) is not None:
            handle(frame)
            came = True
        return came

    def _must_be_open(self) -> None:
        # py-amqp would connect again by itself, without a word.
        if not self.is_open:
            raise TransportError("the connection to the broker is closed")

    def _check_silence(self, received_at: float) -> None:
        limit = 2 * (self._wire.heartbeat or 0)
        if limit and time.monotonic() - received_at > limit:
            raise ConnectionResetError(f"the broker was silent for {limit} s")

    def _send_heartbeats(self) -> None:
        transport = self._transport
        interval = (self._wire.heartbeat or 0) / 3
        while interval and not self._closed.wait(interval):
            if time.monotonic() - transport.sent_at < interval:
                continue
            try:
                transport.beat()
            except (OSError, ValueError) as error:
                # ValueError: the socket was closed just now.
                _LOG.debug("heartbeat: %s", error)
                return

    def _on_blocked(self, reason: str) -> None:
        self.blocked = reason or "no reason given"
        _LOG.warning("the broker blocks publishers: %s", self.blocked)

    def _on_unblocked(self) -> None:
        self.blocked = ""
        _LOG.warning("the broker takes messages again")


def connect(settings: AmqpSettings, name: str = "canopsis") -> Connection:
    """Connect to the first broker that answers, in random order; ``name`` is shown by the broker.

    Raises TransportError naming each host and why it would not.
    """
    failures = []
    for host, port in random.sample(settings.hosts, len(settings.hosts)):
        try:
            with broker_errors(f"{host}:{port}{settings.trusting}"):
                return Connection(_open(settings, host, port, name), settings)
        except TransportError as error:
            failures.append(str(error))
    raise TransportError("no broker answers: " + "; ".join(failures))


def connect_for_ever(
    settings: AmqpSettings,
    stop: threading.Event,
    name: str = "canopsis",
    on_failure: Callable[[TransportError, float], None] | None = None,
) -> Connection | None:
    """Connect, trying again until it works; None once ``stop`` is set.

    Waits 0.2 s, then twice as long each time up to 15 s, each shortened at random so that many
    processes do not come back at once. ``on_failure`` gets the error and the wait in seconds, and says them
    instead of the log.
    """
    wait = _FIRST_WAIT
    while not stop.is_set():
        try:
            return connect(settings, name)
        except TransportError as error:
            pause = wait * random.uniform(0.5, 1.0)  # noqa: S311 - spreads load, guards nothing
            if on_failure is not None:
                on_failure(error, pause)
            else:
                _LOG.warning("%s; next try in %.1f s", error, pause)
            stop.wait(pause)
            wait = min(2 * wait, _LONGEST_WAIT)
    return None


def _open(settings: AmqpSettings, host: str, port: int, name: str) -> Wire:
    link = _kombu.Connection(
        hostname=host,
        port=port,
        userid=settings.user,
        password=settings.password,
        virtual_host=settings.vhost,
        login_method="PLAIN",
        heartbeat=settings.heartbeat,
        connect_timeout=settings.connect_timeout,
        ssl=settings.ssl_options(),
        transport=WireTransport,
        transport_options={
            "write_timeout": settings.write_timeout,
            "read_timeout": settings.write_timeout,
            # py-amqp's own second is less than a busy broker may need to acknowledge a packet.
            "socket_settings": {socket.TCP_USER_TIMEOUT: int(settings.write_timeout * 1000)},
            "client_properties": {"connection_name": name},
            "frame_max": 131072,
        },
    )
    link._connection = link.transport.establish_connection()
    return link


def _version(text: str) -> tuple[int, ...]:
    return tuple(int(part) for part in text.split("-", maxsplit=1)[0].split(".") if part.isdigit())
