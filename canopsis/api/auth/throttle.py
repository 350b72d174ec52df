"""After some wrong passwords the next one has to wait."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable

from canopsis.errors import RequestError

FREE_FAILURES = 5
LONGEST_WAIT = 300.0
FORGOTTEN_AFTER = 900.0
_MOST = 10_000

Key = tuple[str, str]


class Throttle:
    """Counts wrong passwords by (user, address). The wait doubles from 1 s with each one over ``FREE_FAILURES``."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._failures: dict[Key, tuple[int, float]] = {}

    def check(self, key: Key) -> None:
        """Raise RequestError (429) while ``key`` has to wait."""
        with self._lock:
            now = self._clock()
            count, last = self._recent(key, now)
        left = last + _wait(count) - now
        if left > 0:
            seconds = math.ceil(left)
            detail = f"{count} wrong passwords for {key[0]!r}: try again in {seconds} s"
            raise RequestError(429, detail, headers={"Retry-After": str(seconds)})

    def failed(self, key: Key) -> None:
        """Count a wrong password."""
        with self._lock:
            now = self._clock()
            self._count(key, self._recent(key, now)[0] + 1, now)

    def succeeded(self, key: Key) -> None:
        """Forget the wrong passwords of ``key``."""
        with self._lock:
            self._failures.pop(key, None)

    def _count(self, key: Key, count: int, now: float) -> None:
        if len(self._failures) >= _MOST:
            self._failures.pop(next(iter(self._failures)))
        self._failures[key] = (count, now)

    def _recent(self, key: Key, now: float) -> tuple[int, float]:
        count, last = self._failures.get(key, (0, -LONGEST_WAIT))
        return (count, last) if now - last < FORGOTTEN_AFTER else (0, -LONGEST_WAIT)


def _wait(count: int) -> float:
    over = count - FREE_FAILURES
    return min(2.0 ** min(over, 20), LONGEST_WAIT) if over >= 0 else 0.0
