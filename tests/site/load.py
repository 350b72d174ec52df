"""Load with a memory: events at a steady rate, each sent until it is confirmed, and what must become of them."""

from __future__ import annotations

import json
import threading
import time
import uuid
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any

from local_site import LocalSite, eventually
from logged import logged
from whole_alarm import steps_of

from canopsis.errors import TransportError
from canopsis.ops import settings
from canopsis.store.client import Store
from canopsis.transport.connection import Connection, connect_for_ever
from canopsis.transport.publisher import ConfirmingPublisher
from canopsis.transport.topology import EVENTS

RATE = 200
"""Events a second."""

ENTITIES = 100
BATCH = 20
"""Events between two waits for confirms; fewer than entities, so that a batch sent again keeps each one's order."""

CRITICAL, OK = 2, 0


@dataclass
class Load:
    """Checks that bring every entity from OK to critical and back, again and again.

    A context manager: the load runs inside it, and every event is confirmed when it is left.
    """

    site: LocalSite
    component: str = field(default_factory=lambda: f"load-{uuid.uuid4().hex[:8]}")
    sent: int = 0
    confirmed: int = 0
    failures: int = 0

    def __enter__(self) -> Load:
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="load")
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        self._thread.join(180)
        assert not self._thread.is_alive(), "the broker does not take the rest of the load"

    def more(self, events: int, timeout: float = 300.0) -> None:
        """Wait until the broker has confirmed ``events`` more."""
        wanted = self.confirmed + events
        eventually(lambda: self.confirmed >= wanted, timeout, f"{wanted} events are confirmed")

    def _run(self) -> None:
        connection, publisher = self._connect()
        begin = time.monotonic()
        while not self._stop.is_set():
            batch = [self._event(number) for number in range(self.sent, self.sent + BATCH)]
            self.sent += BATCH
            while not self._send(publisher, batch):
                self.failures += 1
                connection.close()
                connection, publisher = self._connect()
                begin = time.monotonic() - self.sent / RATE
            self.confirmed += BATCH
            self._stop.wait(max(0.0, begin + self.sent / RATE - time.monotonic()))
        connection.close()

    def _connect(self) -> tuple[Connection, ConfirmingPublisher]:
        never = threading.Event()
        while True:
            connection = connect_for_ever(settings.amqp(self.site.prefix, "engines"), never, "canopsis-load")
            assert connection is not None, "connecting ended without a connection"
            try:
                return connection, ConfirmingPublisher(connection)
            except TransportError:
                connection.close()

    def _send(self, publisher: ConfirmingPublisher, batch: list[dict[str, Any]]) -> bool:
        try:
            for event in batch:
                key = f"test.load.check.resource.{self.component}.{event['resource']}"
                publisher.send(EVENTS, key, json.dumps(event).encode())
            publisher.flush(15)
        except TransportError:
            return False
        return True

    def _event(self, number: int) -> dict[str, Any]:
        turn, entity = divmod(number, ENTITIES)
        return {
            "event_type": "check",
            "event_id": f"{self.component}-{number}",
            "connector": "test",
            "connector_name": "load",
            "component": self.component,
            "resource": f"r{entity}",
            "source_type": "resource",
            "timestamp": time.time(),
            "state": OK if turn % 2 else CRITICAL,
            "output": f"turn {turn}",
            "perf_data": f"turn={turn}",
        }

    # --- what must have become of it

    def check_exactly_once(self, timeout: float = 300.0) -> None:
        """Fail unless every event is stored once, and changed its alarm once."""
        assert self.sent == self.confirmed > 0, f"{self.sent} sent, {self.confirmed} confirmed"
        with self.site.database() as db:
            eventually(lambda: self._stored(db) >= self.sent, timeout, f"{self.sent} events are stored")
            assert self._stored(db) == self.sent, "more events are stored than were sent"
            eventually(lambda: len(self._changes(db)) >= self.sent, timeout, f"{self.sent} changes are in the alarms")
            changes = self._changes(db)
        twice = [event for event, count in changes.items() if count > 1]
        assert not twice, f"these events changed an alarm more than once: {twice[:5]}"
        assert len(changes) == self.sent, "alarms have steps of events that were not sent"

    def _stored(self, db: Store) -> int:
        return len(logged(db, component=self.component, event_type="check"))

    def _changes(self, db: Store) -> Counter[str]:
        """Return how many times each event moved the state of an alarm, by event id."""
        moves = ("stateinc", "statedec")
        alarms = db["alarms"].find({"component": self.component}, {"steps": 1, "older": 1})
        return Counter(step["e"] for alarm in alarms for step in steps_of(db, alarm) if step["type"] in moves)


@contextmanager
def under_load(site: LocalSite) -> Iterator[Load]:
    """Give a load that runs; when the block is left, nothing of it may be lost or counted twice."""
    with Load(site) as load:
        load.more(RATE)
        yield load
        load.more(RATE)
    load.check_exactly_once()
