"""The database, as the web server uses it: one client a process, short time-outs."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TypeVar

from pymongo.errors import ServerSelectionTimeoutError

from canopsis.api.breaker import Breaker
from canopsis.api.ports import Session, Window
from canopsis.core.health import Server
from canopsis.errors import StoreError
from canopsis.store import (
    alarm_steps,
    alarms,
    attempts,
    dead_letters,
    entities,
    events,
    leases,
    metrics,
    migrations,
    sessions,
    users,
)
from canopsis.store.alarms import AlarmQuery
from canopsis.store.attempts import Found, Rule
from canopsis.store.client import Store, connect, store_errors
from canopsis.store.dead_letters import DeadLetterQuery
from canopsis.store.entities import EntityQuery
from canopsis.store.events import EventQuery
from canopsis.store.metrics import Series
from canopsis.store.operations import Document
from canopsis.store.query import Page, Paging, Weigh, free
from canopsis.store.settings import StoreSettings
from canopsis.store.users import User

T = TypeVar("T")

_ERROR_LENGTH = 200
_TIMEOUT, _SELECTION_TIMEOUT, _CONNECT_TIMEOUT = 5.0, 2.0, 2.0


class MongoDatabase:
    """``ports.Records`` and ``ports.Accounts`` over MongoDB. Shared by all threads, connects when first used."""

    def __init__(self, settings: StoreSettings) -> None:
        self._settings = replace(
            settings,
            timeout=min(settings.timeout, _TIMEOUT),
            selection_timeout=min(settings.selection_timeout, _SELECTION_TIMEOUT),
            connect_timeout=min(settings.connect_timeout, _CONNECT_TIMEOUT),
        )
        self._lock = threading.Lock()
        self._db: Store | None = None
        self._breaker = Breaker(StoreError)

    def alarms(self, query: AlarmQuery) -> Page:
        """Return a page of alarms, without their steps."""
        return self._ask(lambda db: alarms.listing(db, query))

    def alarm(self, alarm_id: str) -> Document | None:
        """Return an alarm."""
        return self._ask(lambda db: alarms.get(db, alarm_id))

    def alarm_steps(self, segment_id: str) -> Document | None:
        """Return a segment of older steps of an alarm."""
        return self._ask(lambda db: alarm_steps.get(db, segment_id))

    def events(self, query: EventQuery) -> Page:
        """Return a page of events."""
        return self._ask(lambda db: events.listing(db, query))

    def entities(self, query: EntityQuery) -> Page:
        """Return a page of entities."""
        return self._ask(lambda db: entities.listing(db, query))

    def metric_names(self, entity_id: str | None, text: str, paging: Paging) -> Page:
        """Return a page of which metrics exist."""
        return self._ask(lambda db: metrics.names(db, entity_id, text, paging))

    def series(self, entity_id: str, metric: str, window: Window) -> Series | None:
        """Return the points of a metric, None when there is no such metric."""
        return self._ask(
            lambda db: metrics.window(
                db,
                entity_id,
                metric,
                window.since,
                window.until,
                interval=window.interval,
                aggregate=window.aggregate,
                weigh=window.weigh,
            )
        )

    def dead_letters(self, query: DeadLetterQuery) -> Page:
        """Return a page of dead letters, without their bodies."""
        return self._ask(lambda db: dead_letters.listing(db, query))

    def dead_letter(self, letter_id: str, weigh: Weigh = free) -> Document | None:
        """Return a dead letter, once ``weigh`` allows its size."""
        return self._ask(lambda db: dead_letters.get(db, letter_id, weigh))

    def mark_replayed(self, letter: Document, user: str, mended: bool = False) -> bool:
        """Note that a dead letter was replayed."""
        return self._ask(lambda db: dead_letters.mark_replayed(db, letter, user, mended))

    def mark_discarded(self, letter_id: object, user: str, comment: str) -> bool:
        """Note that a dead letter needs nothing more."""
        return self._ask(lambda db: dead_letters.mark_discarded(db, letter_id, user, comment))

    def instances(self) -> list[Document]:
        """Return every instance of an engine process that has not withdrawn, with its ``age``."""
        return self._ask(leases.all_instances)

    def chain(self) -> Document:
        """Return the processes of the chain as the engines noted them."""
        return self._ask(leases.chain)

    def schema(self) -> tuple[int, int]:
        """Return the version of the database, and the one that this release needs."""
        return self._ask(migrations.version), migrations.VERSION

    def recent_letters(self, seconds: float) -> tuple[int, str]:
        """Return how many dead letters came within ``seconds``, and why the newest did."""
        return self._ask(lambda db: dead_letters.recent(db, seconds))

    def user(self, name: str) -> User | None:
        """Return a user by name."""
        return self._ask(lambda db: users.get(db, name))

    def user_by_key(self, sha256: str) -> User | None:
        """Return the user who has the key with this hash."""
        return self._ask(lambda db: users.by_key(db, sha256))

    def begin_session(self, token_sha256: str, user: User, lifetime: float) -> None:
        """Begin a session of ``lifetime`` seconds, bound to the credentials of ``user``."""
        self._ask(lambda db: sessions.create(db, token_sha256, user.name, lifetime, binding=user.binding))

    def session(self, token_sha256: str) -> Session | None:
        """Return a session that is not over."""
        found = self._ask(lambda db: sessions.find(db, token_sha256))
        return Session(str(found["user"]), str(found.get("binding"))) if found else None

    def end_session(self, token_sha256: str) -> None:
        """End a session."""
        self._ask(lambda db: sessions.delete(db, token_sha256))

    def attempts(self, keys: Sequence[str]) -> dict[str, Found]:
        """Return what is known of login attempts, by key."""
        return self._ask(lambda db: attempts.find(db, keys))

    def attempt_failed(self, key: str, rule: Rule) -> bool:
        """Count a wrong password; False when it had to wait."""
        return self._ask(lambda db: attempts.failed(db, key, rule))

    def attempt_succeeded(self, key: str, known: str) -> None:
        """Forget the wrong passwords of ``key``, remember ``known``."""
        self._ask(lambda db: attempts.forget(db, key))
        self._ask(lambda db: attempts.remember(db, known))

    def server(self) -> Server:
        """Return what the database says of itself, asking it now."""
        hosts = tuple(f"{host}:{port}" for host, port in self._settings.hosts)
        try:
            version, members, away = self._ask(_hello)
        except StoreError as error:
            return Server("mongodb", hosts, error=str(error))
        return Server("mongodb", members or hosts, version, away=away)

    def close(self) -> None:
        """Close the client."""
        with self._lock:
            db, self._db = self._db, None
        if db is not None:
            db.client.close()

    def _ask(self, question: Callable[[Store], T]) -> T:
        self._breaker.check()
        try:
            answer = question(self._opened())
        except StoreError as error:
            # A slow query is not a server that is away: only the search for a primary says so.
            if isinstance(error.__cause__, ServerSelectionTimeoutError):
                self._breaker.trip(str(error))
            raise
        self._breaker.reset()
        return answer

    def _opened(self) -> Store:
        with self._lock:
            if self._db is None:
                self._db = connect(self._settings)[self._settings.database]
            return self._db


def _hello(db: Store) -> tuple[str, tuple[str, ...], dict[str, str]]:
    with store_errors("asking the database for itself"):
        hello = db.client.admin.command("hello")
        version = db.client.admin.command("buildInfo")["version"]
    return str(version), tuple(hello.get("hosts", ())), _away(db)


def _away(db: Store) -> dict[str, str]:
    """Return which members of the replica set are of no use now, and why, as the client found them by itself."""
    found = {}
    for (host, port), member in db.client.topology_description.server_descriptions().items():
        if member.error is not None:
            found[f"{host}:{port}"] = str(member.error)[:_ERROR_LENGTH]
        elif member.server_type_name in ("RSOther", "RSGhost"):
            found[f"{host}:{port}"] = "it is neither primary nor secondary"
    return found
