"""A few seconds' memory of who is who, so that not each request asks the database."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from canopsis.errors import StoreError
from canopsis.store.users import User

FRESH = 3.0
"""Seconds during which an answer is not asked again: a disabled key works that long at most."""

STALE = 300.0
"""Seconds during which an answer may still be used while the database is away."""

_MOST = 10_000

Lookup = Callable[[str], User | None]


class Lookups:
    """Remembers the answers of ``lookup``, also that there is nobody."""

    def __init__(self, lookup: Lookup, clock: Callable[[], float] = time.monotonic) -> None:
        self._lookup = lookup
        self._clock = clock
        self._lock = threading.Lock()
        self._known: dict[str, tuple[float, User | None]] = {}

    def get(self, key: str, fresh: float = FRESH) -> User | None:
        """Return the user of ``key``, as they were at most ``fresh`` seconds ago.

        Raises StoreError when the database is away and nothing is remembered.
        """
        now = self._clock()
        asked, user = self._known.get(key, (float("-inf"), None))
        if now - asked < fresh:
            return user
        try:
            found = self._lookup(key)
        except StoreError:
            if user is not None and now - asked < STALE:
                return user
            raise
        self._remember(key, now, found)
        return found

    def _remember(self, key: str, now: float, user: User | None) -> None:
        with self._lock:
            if len(self._known) >= _MOST:
                self._known.clear()
            self._known[key] = (now, user)
