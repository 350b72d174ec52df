"""What the application needs of the database and of the broker; tests hand in their own."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from canopsis.core.health import Server
from canopsis.store.alarms import AlarmQuery
from canopsis.store.attempts import Found, Rule
from canopsis.store.dead_letters import DeadLetterQuery
from canopsis.store.entities import EntityQuery
from canopsis.store.events import EventQuery
from canopsis.store.metrics import Series
from canopsis.store.operations import Document
from canopsis.store.query import Page, Paging, Weigh, free
from canopsis.store.users import User


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
class Window:
    """Which points of a series; times are in seconds, ``until`` is not in it."""

    since: float
    until: float
    interval: float | None = None
    aggregate: str = "avg"
    weigh: Weigh = field(default=free, compare=False, repr=False)


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


@dataclass(frozen=True, slots=True)
class Session:
    """A session: the name of its user, and the credentials with which it began."""

    user: str
    binding: str


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


class Accounts(Protocol):
    """Users and their sessions. Each method raises StoreError."""

    def user(self, name: str) -> User | None:
        """Return a user by name."""
        ...

    def user_by_key(self, sha256: str) -> User | None:
        """Return the user who has the key with this hash."""
        ...

    def begin_session(self, token_sha256: str, user: User, lifetime: float) -> None:
        """Begin a session of ``lifetime`` seconds, bound to the credentials of ``user``."""
        ...

    def session(self, token_sha256: str) -> Session | None:
        """Return a session that is not over."""
        ...

    def end_session(self, token_sha256: str) -> None:
        """End a session."""
        ...

    def attempts(self, keys: Sequence[str]) -> dict[str, Found]:
        """Return what is known of login attempts, by key."""
        ...

    def attempt_failed(self, key: str, rule: Rule) -> bool:
        """Count a wrong password; False when it had to wait."""
        ...

    def attempt_succeeded(self, key: str, known: str) -> None:
        """Forget the wrong passwords of ``key``, remember ``known``."""
        ...


class Records(Protocol):
    """What the database knows. Each method but ``server`` raises StoreError."""

    def alarms(self, query: AlarmQuery) -> Page:
        """Return a page of alarms, without their steps."""
        ...

    def alarm(self, alarm_id: str) -> Document | None:
        """Return an alarm."""
        ...

    def alarm_steps(self, segment_id: str) -> Document | None:
        """Return a segment of older steps of an alarm."""
        ...

    def events(self, query: EventQuery) -> Page:
        """Return a page of events."""
        ...

    def entities(self, query: EntityQuery) -> Page:
        """Return a page of entities."""
        ...

    def metric_names(self, entity_id: str | None, text: str, paging: Paging) -> Page:
        """Return a page of which metrics exist."""
        ...

    def series(self, entity_id: str, metric: str, window: Window) -> Series | None:
        """Return the points of a metric, None when there is no such metric."""
        ...

    def dead_letters(self, query: DeadLetterQuery) -> Page:
        """Return a page of dead letters, without their bodies."""
        ...

    def dead_letter(self, letter_id: str, weigh: Weigh = free) -> Document | None:
        """Return a dead letter, once ``weigh`` allows its size."""
        ...

    def mark_replayed(self, letter: Document, user: str, mended: bool = False) -> bool:
        """Note that a dead letter was replayed, ``mended`` or as it was."""
        ...

    def mark_discarded(self, letter_id: object, user: str, comment: str) -> bool:
        """Note that a dead letter needs nothing more."""
        ...

    def instances(self) -> list[Document]:
        """Return every instance of an engine process that has not withdrawn, with its ``age``."""
        ...

    def chain(self) -> Document:
        """Return the processes of the chain as the engines noted them: queues and partitions by name."""
        ...

    def schema(self) -> tuple[int, int]:
        """Return the version of the database, and the one that this release needs."""
        ...

    def recent_letters(self, seconds: float) -> tuple[int, str]:
        """Return how many dead letters came within ``seconds``, and why the newest did."""
        ...

    def server(self) -> Server:
        """Return what the database says of itself, asking it now; never raises."""
        ...


@dataclass(frozen=True, slots=True)
class Backend:
    """All that a handler works with. ``now`` is in seconds since the epoch."""

    records: Records
    accounts: Accounts
    broker: Broker
    now: Callable[[], float]
    new_id: Callable[[], str]
