"""What rules did in a web server, counted in memory and written a while later: no request waits for it."""

from __future__ import annotations

import logging
import threading

from canopsis.api.ports import Database
from canopsis.errors import StoreError
from canopsis.store import rules
from canopsis.store.rule_counts import RuleCounts
from canopsis.store.rules import Counts

WRITE_SECONDS = 10.0

_LOG = logging.getLogger(__name__)


class RuleCounting:
    """The counts of a process. Any thread may add; what it did in its last seconds is lost with a process that ends."""

    def __init__(self, delay: float = WRITE_SECONDS) -> None:
        self._delay = delay
        self._counts = RuleCounts()
        self._lock = threading.Lock()
        self._timer: threading.Timer | None = None

    def add(self, counts: Counts, database: Database) -> None:
        """Count what rules did; ``database`` is told of it ``delay`` seconds later."""
        self._counts.add(counts)
        with self._lock:
            if self._timer is None:
                self._timer = threading.Timer(self._delay, self._write, (database,))
                self._timer.daemon = True
                self._timer.start()

    def _write(self, database: Database) -> None:
        with self._lock:
            self._timer = None
        counts = self._counts.take()
        try:
            database.ask(rules.count, counts)
        except StoreError as error:
            _LOG.warning("what rules did is counted later: %s", error)
            self.add(counts, database)
