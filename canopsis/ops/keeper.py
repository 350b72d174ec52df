"""Bringing a killed supervisord back: what waits for its end, and does nothing else."""

from __future__ import annotations

import time

from canopsis.errors import SiteError
from canopsis.ops import daemon, processes
from canopsis.ops.daemon import Say
from canopsis.ops.prefix import Prefix
from canopsis.ops.wait import until

PAUSE = 10.0
"""Seconds before the next try after one that failed, or after a supervisord that did not live as long."""

_LOOK = 3600.0


def keep(prefix: Prefix, say: Say, pause: float = PAUSE) -> None:
    """Start supervisord again whenever it was killed; return once it ended in order.

    One that ends in order takes its pid file along; a killed one cannot.
    """
    while prefix.pid_file.exists():
        lived = _await_end(prefix)
        if not prefix.pid_file.exists():
            return
        say("supervisord was killed: bringing it back, with all it ran")
        if lived < pause:
            until(lambda: daemon.answers(prefix), pause)
        while not _revive(prefix, say):
            until(lambda: daemon.answers(prefix), pause)


def _await_end(prefix: Prefix) -> float:
    """Wait for the end of supervisord; return for how many seconds."""
    begin, running = time.monotonic(), daemon.running(prefix)
    while running is not None and not processes.await_end(running.pid, _LOOK):
        continue
    return time.monotonic() - begin


def _revive(prefix: Prefix, say: Say) -> bool:
    try:
        daemon.ensure(prefix, say, everything=True)
    except SiteError as error:
        say(str(error))
        return False
    return True
