"""Waiting for a condition of the outside world, with a deadline."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")

_FIRST_PAUSE = 0.02
_LONGEST_PAUSE = 0.25


def until(
    probe: Callable[[], T],
    timeout: float,
    *,
    tick: Callable[[float], None] | None = None,
    stop: threading.Event | None = None,
) -> T:
    """Call ``probe`` until it returns something true or ``timeout`` seconds are over; return its last answer.

    The pause between two calls grows from 0.02 to 0.25 s. ``tick`` gets the seconds waited so far
    after each vain call; a set ``stop`` ends the waiting at once.
    """
    pause, event, begin = _FIRST_PAUSE, stop or threading.Event(), time.monotonic()
    while True:
        answer = probe()
        waited = time.monotonic() - begin
        if answer or waited >= timeout or event.is_set():
            return answer
        if tick is not None:
            tick(waited)
        event.wait(max(0.0, min(pause, timeout - waited)))
        pause = min(pause * 1.5, _LONGEST_PAUSE)
