"""The contract of an engine: events in, effects out, as data.

An engine never writes, publishes or acknowledges. It returns ``Effects``; the runner writes them,
publishes with confirms and only then acknowledges. It reads through ``Context`` alone, so it is
tested without a broker or a database.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Concatenate, ParamSpec, Protocol, TypeVar

import msgspec

from canopsis.core.envelope import Envelope
from canopsis.core.event import Event
from canopsis.runtime.bysource import Counts, Kind
from canopsis.store import rules
from canopsis.store.client import Store
from canopsis.store.operations import Writes, no_writes

P = ParamSpec("P")
R = TypeVar("R")


class Raw(Protocol):
    """A message as it came: nothing decoded, nothing trusted. The transport's ``Delivery`` is one.

    ``received`` is the broker's time of receipt in seconds, or None when the broker does not stamp
    messages or its clock cannot be right. ``stamp`` is its mark as it stands: stable over redelivery.
    """

    @property
    def body(self) -> bytes: ...
    @property
    def exchange(self) -> str: ...
    @property
    def routing_key(self) -> str: ...
    @property
    def content_type(self) -> str: ...
    @property
    def message_id(self) -> str: ...
    @property
    def headers(self) -> Mapping[str, object]: ...
    @property
    def received(self) -> float | None: ...
    @property
    def stamp(self) -> int | None: ...


@dataclass(frozen=True, slots=True)
class Message:
    """A raw message that did not come from the broker: one engine of a process wrote it to another."""

    body: bytes
    exchange: str = ""
    routing_key: str = ""
    content_type: str = "application/json"
    message_id: str = ""
    headers: Mapping[str, object] = field(default_factory=dict)
    received: float | None = None
    stamp: int | None = None


@dataclass(frozen=True, slots=True)
class Batch:
    """What ``process`` gets: decoded events, or raw messages for an engine whose input is raw.

    ``envelope`` is what earlier engines know of the events.
    """

    events: Sequence[Event] = ()
    raw: Sequence[Raw] = ()
    envelope: Envelope = field(default_factory=Envelope)


@dataclass(frozen=True, slots=True)
class Outgoing:
    """A message for an exchange; ``body`` is JSON bytes."""

    exchange: str
    routing_key: str
    body: bytes


@dataclass(frozen=True, slots=True)
class Drop:
    """An event that a rule took out of the chain."""

    event_id: str
    rule: str
    reason: str


@dataclass(frozen=True, slots=True)
class Dead:
    """What cannot be processed: the original bytes and why.

    ``key`` is the same when the same message comes again, or empty when nothing tells.
    """

    body: bytes
    reason: str
    field: str = ""
    key: str = ""
    origin: Raw = Message(b"")

    @classmethod
    def of(cls, raw: Raw, reason: str, at: str = "", *, body: bytes | None = None, index: int = 0) -> Dead:
        """Return the dead letter of ``raw``, or of its element ``index`` when ``body`` is given."""
        stable = raw.message_id or ("" if raw.stamp is None else str(raw.stamp))
        return cls(raw.body if body is None else body, reason, at, f"{stable}/{index}" if stable else "", raw)


@dataclass(slots=True)
class Effects:
    """What follows from a batch. ``incoming = len(forward) + len(move) + len(drop) + len(dead)`` holds.

    ``move`` are events that have another entity now: they go to its partition of this engine's queues, which
    answers for them as if they had never been here. ``rules`` is what rules did, counted once the batch is done.

    ``incoming`` is set by engines whose input is raw: how many elements the messages had. ``more``
    is for ``beat``: there is more to do, call again at once. ``counts`` are events by source and kind,
    beside the balance: an event that is counted is forwarded, dropped or dead as any other. ``envelope`` is
    what is known besides of the events that go on: it is added to that of the batch. What was decided of an event is
    noted there: ``effects.envelope.note(event, Decision("tally", "counted"))``.
    """

    forward: list[Event] = field(default_factory=list)
    publish: list[Outgoing] = field(default_factory=list)
    write: Writes = field(default_factory=no_writes)
    move: list[Event] = field(default_factory=list)
    drop: list[Drop] = field(default_factory=list)
    dead: list[Dead] = field(default_factory=list)
    rules: rules.Counts = field(default_factory=dict)
    incoming: int = 0
    more: bool = False
    counts: Counts = field(default_factory=dict)
    envelope: Envelope = field(default_factory=Envelope)

    def count(self, source: str, kind: Kind) -> None:
        """Count one event of ``source`` (``bysource.source_of``)."""
        key = (source, kind)
        self.counts[key] = self.counts.get(key, 0) + 1


class Context(Protocol):
    """What an engine may read. ``now`` is the time of this batch, in seconds since the epoch."""

    now: float

    def new_id(self) -> str:
        """Return an id that nobody else has, for what nothing stable can be derived of."""
        ...

    def ask(self, function: Callable[Concatenate[Store, P], R], *args: P.args, **kwargs: P.kwargs) -> R:
        """Return what ``function``, one of ``canopsis.store``, says to ``args``. Raises StoreError."""
        ...


class Engine:
    """One step of the chain: what it is for is in its ``manifest``. The hooks of this class do the least there is.

    ``process`` and ``forget`` are called by one thread. ``beat`` runs in another thread beside them, on one
    instance of the site at a time: it shares nothing with ``process`` but what it was made of, and what both
    find in the store. ``name`` is its section in ``etc/amqp2engines.conf``; its manifest gives it.
    """

    name: str = ""

    def process(self, batch: Batch, ctx: Context) -> Effects:  # noqa: ARG002 - the contract's
        """Return what follows from ``batch``; here: every event goes on.

        Never raises for bad data (that is ``dead``). Raises StoreError, and remembers nothing of the batch then.
        """
        return Effects(forward=list(batch.events))

    def beat(self, now: float, ctx: Context) -> Effects:  # noqa: ARG002 - the contract's
        """Return periodic work; called each ``beat_interval`` where the manifest says ``beats``.

        What it publishes is sent again until the broker takes it. What must outlive the process it finds again in the
        store: documents with a ``wake_at``.
        """
        return Effects()

    def forget(self, partitions: frozenset[int] | None) -> None:
        """Drop what is remembered of ``partitions`` (None: everything): somebody else holds them."""


def encode(event: Event) -> bytes:
    """Return the JSON of ``event`` as it travels between processes."""
    return _ENCODER.encode(event)


_ENCODER = msgspec.json.Encoder()
