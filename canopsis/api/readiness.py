"""What is known of the site, asked of its servers at most once a second."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from canopsis.api.ports import Backend, Depth, Look
from canopsis.core import health
from canopsis.core.health import Facts, Instance, Letters, Process, Queue, Server
from canopsis.errors import StoreError, TransportError
from canopsis.store import alarms, dead_letters, leases, migrations, notifications
from canopsis.store.alarms import Standing
from canopsis.store.operations import Document

KEPT = 1.0
"""Seconds for which an answer is kept: nobody makes the servers busy by asking."""

COUNTED = 10.0
"""Seconds for which counts are kept: each looks at everything that it counts."""

GRACE = 30.0
"""Seconds that nobody may read new events until this web server is taken out: engines restart in less."""

ENTRY = "Engine_cleaner_events"
"""The queue that new events come to."""


@dataclass(slots=True)
class Watch:
    """What only time shows of queues, from one look to the next. Times are in seconds, monotonic."""

    _unread: dict[str, float] = field(default_factory=dict)
    _lowest: dict[str, tuple[int, float]] = field(default_factory=dict)

    def see(self, name: str, depth: Depth | None, now: float) -> Queue:
        """Return a queue with how long it has been unread, and not becoming shorter."""
        if depth is None or depth.consumers:
            self._unread.pop(name, None)
        messages = depth.messages if depth is not None else 0
        lowest, since = self._lowest.get(name, (messages, now))
        if messages < lowest or not messages:
            since = now
        self._lowest[name] = min(messages, lowest), since
        if depth is None:
            return Queue(name, None)
        unread_for = 0.0 if depth.consumers else now - self._unread.setdefault(name, now)
        return Queue(name, messages, depth.consumers, unread_for, now - since)


@dataclass(frozen=True, slots=True)
class Counts:
    """Open alarms by kind, and how many notifications wait."""

    alarms: Sequence[Standing]
    notifications: int


class Readiness:
    """What was last found of the site. ``chain`` are the processes it shall have, as far as this host knows."""

    def __init__(
        self, backend: Backend, chain: Sequence[Process] = (), clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._backend = backend
        self._chain = tuple(chain)
        self._clock = clock
        self._lock = threading.Lock()
        self._asked = self._looked = self._counted = float("-inf")
        self._counts = Counts((), 0)
        self._servers: tuple[Server, ...] = ()
        self._refusals: list[str] = []
        self._idle_since: float | None = None
        self._watch = Watch()

    def servers(self) -> tuple[Server, ...]:
        """Return database and broker as they were at most ``KEPT`` seconds ago."""
        with self._lock:
            return self._fresh_servers()

    def counts(self) -> Counts:
        """Return what stood at most ``COUNTED`` seconds ago. Raises StoreError."""
        with self._lock:
            if self._clock() - self._counted > COUNTED:
                ask = self._backend.database.ask
                self._counts = Counts(ask(alarms.standing_by_state), ask(notifications.count_waiting))
                self._counted = self._clock()
            return self._counts

    def refusals(self) -> list[str]:
        """Return why this web server is not ready, as it was at most ``KEPT`` seconds ago; nothing when it is."""
        with self._lock:
            if self._clock() - self._looked > KEPT:
                self._refusals = self._look()
                self._looked = self._clock()
            return self._refusals

    def gather(self) -> tuple[Facts, list[Document], Look | None]:
        """Return what is known now, the instances as they are stored, and the broker's answer."""
        servers, chain = self.servers(), self._known_chain()
        look, broker_error = self._ask_broker([name for process in chain for name in process.queues])
        records, database_error = self._ask_database()
        errors = {"rabbitmq-server": broker_error, "mongodb": database_error}
        shown = [_with(each, errors[each.name], look if each.name == "rabbitmq-server" else None) for each in servers]
        facts = Facts(shown, None, chain, self._queues(look))
        if records is None:
            return facts, [], look
        instances, schema, letters = records
        found = [instance_of(each) for each in instances]
        return replace(facts, instances=found, schema=schema, letters=letters), instances, look

    def _ask_broker(self, queues: Sequence[str]) -> tuple[Look | None, str]:
        try:
            return self._backend.broker.look(queues), ""
        except TransportError as error:
            return None, str(error)

    def _ask_database(self) -> tuple[tuple[list[Document], tuple[int, int], Letters] | None, str]:
        ask = self._backend.database.ask
        try:
            letters = Letters(*ask(dead_letters.recent, health.LETTERS_WITHIN))
            return (ask(leases.all_instances), (ask(migrations.version), migrations.VERSION), letters), ""
        except StoreError as error:
            return None, str(error)

    def _known_chain(self) -> Sequence[Process]:
        if self._chain:
            return self._chain
        try:
            return health.processes(self._backend.database.ask(leases.chain))
        except StoreError:
            return ()

    def _queues(self, look: Look | None) -> list[Queue] | None:
        if look is None:
            return None
        with self._lock:
            now = self._clock()
            return [self._watch.see(name, depth, now) for name, depth in look.queues.items()]

    def _fresh_servers(self) -> tuple[Server, ...]:
        if self._clock() - self._asked > KEPT:
            self._servers = (self._backend.database.server(), self._backend.broker.server())
            self._asked = self._clock()
        return self._servers

    def _look(self) -> list[str]:
        servers = self._fresh_servers()
        if refusals := health.refusals(servers, None, 0.0, GRACE):
            return refusals
        try:
            return health.refusals(servers, *self._entry(), GRACE)
        except (TransportError, StoreError):
            # Between two questions a server went away: the next look names it.
            return ["a server goes away just now"]

    def _entry(self) -> tuple[Queue | None, float]:
        """Return the queue of new events, None when no process is known to read it, and how long nobody has."""
        owner = next((each for each in self._known_chain() if ENTRY in each.queues), None)
        if owner is None:
            return None, 0.0
        entry = self._watch.see(ENTRY, self._backend.broker.depth(ENTRY), self._clock())
        return entry, self._idle_for(entry, self._backend.database.ask(leases.all_instances), owner.name)

    def _idle_for(self, entry: Queue, instances: Sequence[Document], owner: str) -> float:
        """Return for how many seconds nobody has read the queue of new events."""
        readers = [instance_of(each) for each in instances if each.get("process") == owner]
        if any(each.running for each in readers) and not health.is_unread(entry):
            self._idle_since = None
            return 0.0
        if self._idle_since is None:
            self._idle_since = self._clock()
        return self._clock() - self._idle_since


def instance_of(document: Mapping[str, object]) -> Instance:
    """Return an instance out of its lease."""
    found: Document = dict(document)
    return Instance(
        str(found["_id"]),
        str(found.get("process", "")),
        str(found.get("host", "")),
        float(found["age"]),
        str(found.get("state", "running")),
        frozenset(found.get("partitions") or ()),
        tuple(found.get("starts") or ()),
        str(found.get("error", "")),
        bool(found.get("ended")),
        dict(found.get("beats") or {}),
    )


def _with(server: Server, error: str, look: Look | None) -> Server:
    server = replace(server, error=server.error or error)
    return replace(server, missing=look.missing, away={**server.away, **look.away}) if look is not None else server
