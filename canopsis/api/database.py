"""The database, as the web server uses it: one client a process, short time-outs."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import replace
from typing import Concatenate, ParamSpec, TypeVar

from pymongo.errors import ServerSelectionTimeoutError

from canopsis.api.breaker import Breaker
from canopsis.core.health import Server
from canopsis.errors import StoreError
from canopsis.store.client import Store, connect, store_errors
from canopsis.store.settings import StoreSettings

P = ParamSpec("P")
T = TypeVar("T")

_ERROR_LENGTH = 200
_TIMEOUT, _SELECTION_TIMEOUT, _CONNECT_TIMEOUT = 5.0, 2.0, 2.0


class MongoDatabase:
    """``ports.Database`` over MongoDB. Shared by all threads, connects when first used."""

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

    def ask(self, function: Callable[Concatenate[Store, P], T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Return what ``function`` of ``store`` answers to these arguments. Raises what it raises, StoreError.

        While the database is known to be away it raises at once.
        """
        self._breaker.check()
        try:
            answer = function(self._opened(), *args, **kwargs)
        except StoreError as error:
            # A slow query is not a server that is away: only the search for a primary says so.
            if isinstance(error.__cause__, ServerSelectionTimeoutError):
                self._breaker.trip(str(error))
            raise
        self._breaker.reset()
        return answer

    def server(self) -> Server:
        """Return what the database says of itself, asking it now."""
        hosts = tuple(f"{host}:{port}" for host, port in self._settings.hosts)
        try:
            version, members, away = self.ask(_hello)
        except StoreError as error:
            return Server("mongodb", hosts, error=str(error))
        return Server("mongodb", members or hosts, version, away=away)

    def close(self) -> None:
        """Close the client."""
        with self._lock:
            db, self._db = self._db, None
        if db is not None:
            db.client.close()

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
