"""The broker, as the web server uses it: one confirmed publisher a process, which its threads share."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import TypeVar

from canopsis.api.breaker import Breaker
from canopsis.api.ports import Depth, Look, Message
from canopsis.api.sharing import Task, Turns
from canopsis.core.health import Server
from canopsis.errors import InputError, TransportError
from canopsis.transport.connection import Connection, connect
from canopsis.transport.publisher import ConfirmingPublisher
from canopsis.transport.settings import AmqpSettings
from canopsis.transport.topology import ALERTS, COLLECTD, DEAD, EVENTS, has_exchange, inspect

T = TypeVar("T")

CONFIRM_TIMEOUT = 4.0
"""Seconds for the broker to confirm; then the answer is 503."""

_AT_ONCE = 1 << 20
"""Bytes that are published, and waited for, together: a request with more of them has its own turn."""

_CONNECT_TIMEOUT = 2.0
_SECOND_TRY_WITHIN = 1.0
_PROBE = "canopsis.probe"


class _Link:
    """A connection and its publisher."""

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

    def publish(self, tasks: Sequence[Task[Sequence[Message]]]) -> None:
        """Send what the tasks want sent; return when the broker has it. Raises TransportError.

        A message that cannot be one is the error of its task.
        """
        # Reads what came since: that the broker went, or that it takes nothing now.
        self.connection.serve(0.0)
        if self.connection.blocked:
            raise TransportError(f"the broker blocks publishers: {self.connection.blocked}")
        for task in tasks:
            try:
                self._send(task.wanted)
            except InputError as error:
                task.error = error
        self.publisher.flush(CONFIRM_TIMEOUT)

    def _send(self, messages: Sequence[Message]) -> None:
        for each in messages:
            self.publisher.send(
                each.exchange,
                each.routing_key,
                each.body,
                message_id=each.message_id,
                headers=each.headers,
                content_type=each.content_type,
            )

    def close(self) -> None:
        self.publisher.close()
        self.connection.close()


def silent_hosts(hosts: Sequence[tuple[str, int]]) -> dict[str, str]:
    """Return which of several hosts take no connection, and why; all are asked at once. One alone is not asked."""
    if len(hosts) < 2:
        return {}
    with ThreadPoolExecutor(len(hosts)) as pool:
        answers = dict(zip(hosts, pool.map(_refusal, hosts), strict=True))
    return {f"{host}:{port}": why for (host, port), why in answers.items() if why}


def _refusal(address: tuple[str, int]) -> str:
    try:
        socket.create_connection(address, timeout=_CONNECT_TIMEOUT).close()
    except OSError as error:
        return error.strerror or str(error)
    return ""


def _missing(connection: Connection, *exchanges: str) -> tuple[str, ...]:
    return tuple(name for name in exchanges if not has_exchange(connection, name))


def _depth(connection: Connection, queue: str) -> Depth | None:
    found = inspect(connection, queue)
    return Depth(*found) if found else None


def _blocked(connection: Connection) -> str:
    """Return why the broker takes no messages, an empty text when it does. Raises TransportError."""
    publisher = ConfirmingPublisher(connection)
    # Every user may write there, and collectd's binding is the only one of ours.
    publisher.send(COLLECTD, _PROBE, b"", mandatory=False)
    publisher.push()
    deadline = time.monotonic() + _CONNECT_TIMEOUT
    while publisher.pending and not connection.blocked:
        if time.monotonic() > deadline:
            raise TransportError(f"a message is not confirmed after {_CONNECT_TIMEOUT:g} s")
        connection.serve(0.1)
    return connection.blocked


class AmqpBroker:
    """``ports.Broker`` over RabbitMQ. Shared by all threads of a process, made after its fork.

    One connection for what is published, one for questions.
    """

    def __init__(self, settings: AmqpSettings) -> None:
        self._settings = replace(
            settings,
            connect_timeout=min(settings.connect_timeout, _CONNECT_TIMEOUT),
            write_timeout=min(settings.write_timeout, CONFIRM_TIMEOUT),
        )
        self._hosts = tuple(f"{host}:{port}" for host, port in settings.hosts)
        self._breaker = Breaker(TransportError)
        self._publishing = Turns(self._serve, _bytes_of, _AT_ONCE)
        self._link: _Link | None = None
        """What is published goes this way: used by whoever has the turn."""
        self._asking = threading.Lock()
        self._questions: _Link | None = None

    def publish(self, messages: Sequence[Message]) -> None:
        """Send the messages; return when the broker has them all. Raises TransportError, InputError.

        What threads send at once is confirmed at once. A message may be sent twice when it, or another one of its turn,
        fails at first (a connection broke while nobody used it); its event id makes that harmless.
        """
        self._publishing.do(messages)

    def _serve(self, tasks: Sequence[Task[Sequence[Message]]]) -> None:
        begin, is_kept = time.monotonic(), self._link is not None and self._link.is_open
        failure = self._try(tasks)
        if failure is None:
            return
        if time.monotonic() - begin > _SECOND_TRY_WITHIN or not (is_kept or len(tasks) > 1):
            for task in tasks:
                task.error = task.error or failure
            return
        # One by one: what is wrong with one of them is not the error of the others.
        for task in tasks:
            if task.error is None:
                failure = self._try([task])
                task.error = task.error or failure

    def _try(self, tasks: Sequence[Task[Sequence[Message]]]) -> TransportError | None:
        """Publish; return what went wrong."""
        try:
            self._link = self._open(self._link)
            self._link.publish(tasks)
        except TransportError as error:
            _close(self._link)
            self._link = None
            return error
        return None

    def look(self, queues: Sequence[str]) -> Look:
        """Return what is in ``queues``, which exchanges are missing, which brokers are away. Raises TransportError."""

        def ask(connection: Connection) -> Look:
            missing = _missing(connection, EVENTS, ALERTS, DEAD)
            return Look({queue: _depth(connection, queue) for queue in queues}, missing)

        return replace(self._ask(ask), away=silent_hosts(self._settings.hosts))

    def depth(self, queue: str) -> Depth | None:
        """Return what is in one queue, None when it is not there. Raises TransportError."""
        return self._ask(lambda connection: _depth(connection, queue))

    def _ask(self, question: Callable[[Connection], T]) -> T:
        with self._asking:
            try:
                self._questions = self._open(self._questions)
                return question(self._questions.connection)
            except TransportError:
                _close(self._questions)
                self._questions = None
                raise

    def server(self) -> Server:
        """Return what the broker says of itself: connects anew, looks for the exchange of events, and publishes what
        no queue gets, for only who publishes is told that the broker takes nothing.
        """
        version = blocked = ""
        missing: tuple[str, ...] = ()
        try:
            connection = connect(self._settings, "canopsis webserver check")
            try:
                version = ".".join(map(str, connection.version))
                missing = _missing(connection, EVENTS)
                blocked = _blocked(connection)
            finally:
                connection.close()
        except TransportError as error:
            return Server("rabbitmq-server", self._hosts, version, str(error))
        return Server("rabbitmq-server", self._hosts, version, blocked=blocked, missing=missing)

    def close(self) -> None:
        """Close the connections, which nobody may use at the moment."""
        _close(self._link)
        _close(self._questions)
        self._link = self._questions = None

    def _open(self, kept: _Link | None) -> _Link:
        if kept is not None and kept.is_open:
            return kept
        _close(kept)
        self._breaker.check()
        try:
            link = _Link(self._settings)
        except TransportError as error:
            self._breaker.trip(str(error))
            raise
        self._breaker.reset()
        return link


def _close(link: _Link | None) -> None:
    if link is not None:
        link.close()


def _bytes_of(messages: Sequence[Message]) -> int:
    return sum(len(each.body) for each in messages)
