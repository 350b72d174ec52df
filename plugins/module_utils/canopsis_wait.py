"""Waiting for a server, where the package canopsis need not be there."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable


def await_true(probe: Callable[[], bool], timeout: float, pause: float = 0.05) -> bool:
    """Return whether ``probe`` comes true within ``timeout`` seconds; it is asked every ``pause`` seconds."""
    never, deadline = threading.Event(), time.monotonic() + timeout
    while not probe():
        if time.monotonic() >= deadline:
            return False
        never.wait(pause)
    return True
