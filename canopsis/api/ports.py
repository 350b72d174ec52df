"""What the application needs of the database and of the broker; tests hand in their own."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Concatenate, ParamSpec, Protocol, TypeVar

from canopsis.core.health import Server
from canopsis.store.client import Store

P = ParamSpec("P")
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Message:
    """A message for an exchange."""

    exchange: str
    routing_key: str
    body: bytes
    content_type: str = "application/json"
    message_id: str = ""
    headers: Mapping[str, object] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Depth:
    """How many messages are ready in a queue, and how many read it."""

    messages: int
    consumers: int


@dataclass(frozen=True, slots=True)
class Look:
    """What the broker holds: queues (None for one that is not there), the exchanges that are missing, and which of
    its hosts are away, with the reason.
    """

    queues: Mapping[str, Depth | None]
    missing: tuple[str, ...] = ()
    away: Mapping[str, str] = field(default_factory=dict)


class Broker(Protocol):
    """The broker."""

    def publish(self, messages: Sequence[Message]) -> None:
        """Send the messages; return when the broker has them all. Raises TransportError."""
        ...

    def look(self, queues: Sequence[str]) -> Look:
        """Return what is in ``queues``, which exchanges are missing, which brokers are away. Raises TransportError."""
        ...

    def depth(self, queue: str) -> Depth | None:
        """Return what is in one queue, None when it is not there. Raises TransportError."""
        ...

    def server(self) -> Server:
        """Return what the broker says of itself, asking it now; never raises."""
        ...


class Database(Protocol):
    """The database."""

    def ask(self, function: Callable[Concatenate[Store, P], T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Return what ``function`` of ``store`` answers to these arguments. Raises what it raises."""
        ...

    def server(self) -> Server:
        """Return what the database says of itself, asking it now; never raises."""
        ...


@dataclass(frozen=True, slots=True)
class Backend:
    """All that a handler works with. ``now`` is in seconds since the epoch."""

    database: Database
    broker: Broker
    now: Callable[[], float]
    new_id: Callable[[], str]
