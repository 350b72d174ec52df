"""Answer at once while a server is known to be away, instead of waiting for it each time."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

PAUSE = 1.0
"""Seconds for which nobody asks a server again after it did not answer; then one does."""

OLD = 5.0
"""Seconds after which nothing is known any more: everybody asks."""


class Breaker:
    """Remembers that a server is away. ``check`` raises the error of then until ``PAUSE`` is over."""

    def __init__(self, error: Callable[[str], Exception], clock: Callable[[], float] = time.monotonic) -> None:
        self._error = error
        self._clock = clock
        self._lock = threading.Lock()
        self._until = 0.0
        self._tripped = 0.0
        self._why = ""

    def check(self) -> None:
        """Raise when the server was found away a moment ago. One caller a pause goes through and asks."""
        with self._lock:
            now = self._clock()
            if not self._why or now > self._tripped + OLD:
                return
            if now < self._until:
                raise self._error(self._why)
            self._until = now + PAUSE

    def trip(self, why: str) -> None:
        """Say that the server is away."""
        with self._lock:
            self._why = why
            self._tripped = self._clock()
            self._until = self._tripped + PAUSE

    def reset(self) -> None:
        """Say that the server answers."""
        if self._why:
            with self._lock:
                self._why = ""
