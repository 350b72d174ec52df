"""Shows, while a task takes long, that it still runs, for how long, and on which hosts."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Protocol

from ansible.plugins.callback import CallbackBase

DOCUMENTATION = """
name: canopsis_progress
type: aggregate
short_description: says that a long task still runs
description:
  - Ansible shows a task when it is done on a host; to lay the packages takes minutes without a word.
requirements:
  - callbacks_enabled in ansible.cfg names it
"""

EVERY = 15.0
"""Seconds without a word, at most."""
_NAMED = 5


class Named(Protocol):
    """A host or a task."""

    def get_name(self) -> str:
        """Return its name."""


class Result(Protocol):
    """What came of a task on a host."""

    _host: Named


class CallbackModule(CallbackBase):  # type: ignore[misc]  # it has no types
    """Prints a line every 15 s that a task takes."""

    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "aggregate"
    CALLBACK_NAME = "canopsis_progress"
    CALLBACK_NEEDS_ENABLED = True

    def __init__(self) -> None:
        super().__init__()
        self._lock = threading.Lock()
        self._over = threading.Event()
        self._task, self._since = "", 0.0
        self._left: set[str] = set()
        self._clock: Callable[[], float] = time.monotonic

    def v2_playbook_on_start(self, playbook: object) -> None:  # noqa: ARG002  Ansible's own signature, here and below
        """Begin to watch."""
        threading.Thread(target=self._watch, daemon=True).start()

    def v2_playbook_on_stats(self, stats: object) -> None:  # noqa: ARG002
        """Watch no more."""
        self._over.set()

    def v2_playbook_on_task_start(self, task: Named, is_conditional: bool) -> None:  # noqa: ARG002
        """Forget the task before."""
        with self._lock:
            self._task, self._since, self._left = task.get_name(), self._clock(), set()

    def v2_runner_on_start(self, host: Named, task: Named) -> None:  # noqa: ARG002
        """Note a host that works."""
        with self._lock:
            self._left.add(host.get_name())

    def v2_runner_on_ok(self, result: Result) -> None:
        """Note a host that is done, however it ended."""
        with self._lock:
            self._left.discard(result._host.get_name())

    v2_runner_on_skipped = v2_runner_on_unreachable = v2_runner_on_ok

    def v2_runner_on_failed(self, result: Result, ignore_errors: bool = False) -> None:  # noqa: ARG002
        """Note a host that failed."""
        self.v2_runner_on_ok(result)

    def _watch(self) -> None:
        while not self._over.wait(EVERY):
            line = self.line()
            if line:
                self._display.display(line)

    def line(self) -> str:
        """Return what to say now, empty while nothing takes long."""
        with self._lock:
            seconds, left = self._clock() - self._since, sorted(self._left)
        if not left or seconds < EVERY / 2:
            return ""
        more = f" and {len(left) - _NAMED} more" if len(left) > _NAMED else ""
        return f"  {self._task}: {seconds:.0f} s, still at it on {', '.join(left[:_NAMED])}{more}"
