"""What requests share: slots of work and bytes of memory, of which nobody gets more than a share."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

from canopsis.errors import RequestError

THREADS = 16
"""Requests that a process works on at once, unless gunicorn's ``--threads`` says otherwise. Most wait for a server."""

MEMORY = 320 << 20
"""Bytes that the requests of a process may cost at once: bodies, what is made of them, answers."""

RETRY_AFTER = "2"


class Pool:
    """A number of equal things. Who finds none free waits, for a while and not too many at once.

    ``share`` is the part of them that one holder may have, ``waiting`` how many may wait.
    """

    def __init__(self, name: str, total: int, share: float, waiting: int, patience: float) -> None:
        self._name = name
        self._share = share
        self._most_waiting = waiting
        self._patience = patience
        self._free = threading.Condition()
        self._taken: Counter[str] = Counter()
        self._waiting: Counter[str] = Counter()
        self.total = total

    @property
    def most(self) -> int:
        """How many one holder may have."""
        return max(1, int(self.total * self._share))

    @property
    def taken(self) -> int:
        """How many are taken now."""
        return self._taken.total()

    def take(self, holder: str, amount: int = 1) -> None:
        """Take ``amount``; give it back by ``give``. Raises RequestError (503) when there is none in time."""
        with self._free:
            if not self._fits(holder, amount):
                self._wait(holder, amount)
            self._taken[holder] += amount

    def give(self, holder: str, amount: int = 1) -> None:
        """Give back what was taken."""
        with self._free:
            self._taken[holder] -= amount
            if self._taken[holder] <= 0:
                del self._taken[holder]
            if self._waiting:
                self._free.notify_all()

    @contextmanager
    def held(self, holder: str) -> Iterator[None]:
        """Have one. Raises RequestError (503)."""
        self.take(holder)
        try:
            yield
        finally:
            self.give(holder)

    def _fits(self, holder: str, amount: int) -> bool:
        return self._taken[holder] + amount <= self.most and self.taken + amount <= self.total

    def _wait(self, holder: str, amount: int) -> None:
        # Half of the places to wait is for others: a holder alone cannot fill them.
        crowded = self._waiting.total() >= self._most_waiting or self._waiting[holder] * 2 >= self._most_waiting
        if crowded or amount > self.most:
            raise self._busy()
        self._waiting[holder] += 1
        try:
            if not self._free.wait_for(lambda: self._fits(holder, amount), self._patience):
                raise self._busy()
        finally:
            self._waiting[holder] -= 1
            if not self._waiting[holder]:
                del self._waiting[holder]

    def _busy(self) -> RequestError:
        detail = f"too many requests at once ({self._name}): send the request again"
        return RequestError(503, detail, headers={"Retry-After": RETRY_AFTER})


class Lease:
    """What one request has of a pool; grows as the request does, and ends with it."""

    def __init__(self, pool: Pool, holder: str) -> None:
        self._pool = pool
        self._holder = holder
        self._amount = 0

    def grow(self, amount: int) -> None:
        """Take ``amount`` more. Raises RequestError (503)."""
        self._pool.take(self._holder, amount)
        self._amount += amount

    def end(self) -> None:
        """Give all back; a second time does nothing."""
        amount, self._amount = self._amount, 0
        if amount:
            self._pool.give(self._holder, amount)


def slots() -> Pool:
    """Return the slots of work of a process."""
    return Pool("slots", THREADS, share=0.75, waiting=32, patience=10.0)


def memory() -> Pool:
    """Return the memory of a process, in bytes."""
    return Pool("memory", MEMORY, share=0.5, waiting=8, patience=5.0)
