"""What a process is doing now, said once when it changes."""

from __future__ import annotations

import logging
import threading

_LOG = logging.getLogger(__name__)

_LENGTH = 300
"""pymongo says the whole topology with each error."""


class Health:
    """The state of a process in a few words; any thread may read it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.state = "starting"

    def say(self, state: str) -> None:
        """Note ``state``, and log it when its beginning (before a colon) differs from the one before."""
        with self._lock:
            changed = state.partition(":")[0] != self.state.partition(":")[0]
            self.state = state[:_LENGTH]
        if changed:
            _LOG.info("%s", state[:_LENGTH])
