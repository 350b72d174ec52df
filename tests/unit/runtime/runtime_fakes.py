"""Engines and servers that tests of the runtime hand in."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest

from canopsis.core.event import Event
from canopsis.core.event_types.check import Check
from canopsis.errors import StoreError
from canopsis.runtime import fence, safe
from canopsis.runtime.contract import Batch, Context, Effects, Engine, Message, Outgoing
from canopsis.runtime.manifest import Input, Manifest, Registry
from canopsis.store.fences import Claim
from canopsis.store.operations import Insert, Writes
from canopsis.transport.consumer import Delivery
from canopsis.transport.topology import COLLECTD, DEAD, EVENTS

NOW = 1_700_000_000.0

BINDINGS = {"cleaner_events": (EVENTS, "#"), "collectdgw": (COLLECTD, "collectd"), "dead_letters": (DEAD, "#")}

Act = Callable[[Batch, Context], Effects]


def forward(batch: Batch, ctx: Context) -> Effects:  # noqa: ARG001 - as the contract has it
    """Let everything through; a raw message is one event named by its body."""
    events = [*batch.events, *(check(raw.body.decode()) for raw in batch.raw)]
    return Effects(forward=events, incoming=len(batch.raw))


@dataclass
class FakeEngine(Engine):
    """An engine that does what ``act`` says, and notes what it was asked."""

    name: str
    act: Act = forward
    batches: list[Batch] = field(default_factory=list)
    forgotten: list[frozenset[int] | None] = field(default_factory=list)
    beats: list[Effects] = field(default_factory=list)
    beaten: int = 0

    def process(self, batch: Batch, ctx: Context) -> Effects:
        self.batches.append(batch)
        return self.act(batch, ctx)

    def beat(self, now: float, ctx: Context) -> Effects:  # noqa: ARG002 - as the contract has it
        self.beaten += 1
        return self.beats.pop(0) if self.beats else Effects()

    def forget(self, partitions: frozenset[int] | None) -> None:
        self.forgotten.append(partitions)


@dataclass
class FakeContext:
    """A context of nothing but a time."""

    now: float = NOW

    def __getattr__(self, name: str) -> Any:
        raise StoreError(f"nobody is to read {name}")


class FakePublisher:
    """Takes messages as the confirming publisher does."""

    def __init__(self, *failures: Exception) -> None:
        self.sent: list[tuple[str, str, bytes, bool]] = []
        self.flushes = 0
        self._failures = list(failures)

    def send(self, exchange: str, routing_key: str, body: bytes, *, mandatory: bool = True) -> None:
        if self._failures:
            raise self._failures.pop(0)
        self.sent.append((exchange, routing_key, body, mandatory))

    def flush(self) -> None:
        self.flushes += 1


class FakePublishing:
    """What beats publish through."""

    def __init__(self) -> None:
        self.published: list[Outgoing] = []
        self.depths: dict[str, int] = {}
        self.closed = False

    def publish(self, messages: Sequence[Outgoing]) -> None:
        self.published += messages

    def depth(self, queues: Sequence[str]) -> int:
        return sum(self.depths.get(queue, 0) for queue in queues)

    def idle(self) -> None:
        pass

    def close(self) -> None:
        self.closed = True


class FakeWrite:
    """``canopsis.store.write`` with failures that come before success."""

    def __init__(self, *failures: Exception) -> None:
        self.applied: list[Writes] = []
        self.claims: list[Claim] = []
        self.tries = 0
        self._failures = list(failures)
        self.refuse: Callable[[Any], Exception | None] = lambda _operation: None

    def apply(self, _db: object, writes: Writes, claim: Claim | None = None) -> None:
        if claim is not None:
            self.claims.append(claim)
        self.tries += 1
        if self._failures:
            raise self._failures.pop(0)
        for operations in writes.values():
            for operation in operations:
                if problem := self.refuse(operation):
                    raise problem
        self.applied.append(writes)

    def apply_guarded(self, db: object, writes: Writes, claim: Claim) -> None:
        self.apply(db, writes, claim)


class Servers:
    """The database as the modules of the runtime see it."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self._patch = monkeypatch
        self.write = FakeWrite()
        self.pings = 0
        self.fail(self.write)
        self.taken: list[Claim] = []
        monkeypatch.setattr(fence.fences, "new_holder", lambda _db: Claim("me", ()))
        monkeypatch.setattr(fence.fences, "take", lambda _db, claim: self.taken.append(claim))
        monkeypatch.setattr(safe.client, "ping", self._ping)
        self.absent = 0

    def fail(self, write: FakeWrite) -> None:
        self.write = write
        self._patch.setattr(safe.write, "apply", write.apply)
        self._patch.setattr(safe.write, "apply_guarded", write.apply_guarded)

    def _ping(self, _db: object) -> None:
        self.pings += 1
        if self.pings <= self.absent:
            raise StoreError("still away")


def as_stored(operation: Any) -> dict[str, Any]:
    """Return the document that a new letter becomes."""
    if isinstance(operation, Insert):
        return operation.document
    change = operation.change
    return {"_id": operation.id, **change["$setOnInsert"], **change["$inc"], **change["$min"], **change["$max"]}


def check(component: str, **fields: Any) -> Event:
    """Return an event as engines hand it on."""
    base: dict[str, Any] = {
        "connector": "c",
        "connector_name": "n",
        "component": component,
        "timestamp": NOW,
        "event_id": f"id-{component}",
        "entity_id": f"component:{component}",
    }
    return Check(**(base | fields))


def delivery(queue: str, body: bytes, tag: int = 1) -> Delivery:
    """Return a message as the consumer gives it, without properties."""
    made = Delivery(tag, False, "", queue, b"\x00\x3c\x00\x00" + bytes(8) + b"\x00\x00")
    made.queue, made.body = queue, body
    return made


def message(body: bytes, **fields: Any) -> Message:
    """Return a raw message."""
    return Message(body, **({"exchange": "canopsis.events", "routing_key": "a.key"} | fields))


def registry_of(**inputs: Input) -> Registry:
    """Return a registry of fake engines by name."""

    def manifest(name: str, takes: Input) -> Manifest:
        return Manifest(name, lambda _options, _partitions: FakeEngine(name), takes, BINDINGS.get(name))

    return {name: manifest(name, takes) for name, takes in inputs.items()}


def monotonic() -> float:
    """Return the clock of beats."""
    return time.monotonic()
