"""Whether broker and database answer, asked at most once a second."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from canopsis.api.ports import Backend, Server

KEPT = 1.0
"""Seconds for which an answer is kept: nobody makes the servers busy by asking."""


class Readiness:
    """What was last found of broker and database."""

    def __init__(self, backend: Backend, clock: Callable[[], float] = time.monotonic) -> None:
        self._backend = backend
        self._clock = clock
        self._lock = threading.Lock()
        self._asked = float("-inf")
        self._servers: tuple[Server, ...] = ()

    def servers(self) -> tuple[Server, ...]:
        """Return database and broker as they were at most ``KEPT`` seconds ago."""
        with self._lock:
            if self._clock() - self._asked > KEPT:
                self._servers = (self._backend.records.server(), self._backend.broker.server())
                self._asked = self._clock()
            return self._servers
