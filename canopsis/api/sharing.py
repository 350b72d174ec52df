"""One answer for many: threads that want the same done at once are served together, by one of them.

Nobody waits who comes alone. Who comes while the others are being served waits for the next turn, with all who come
meanwhile: that a turn takes its time makes it larger, not the waiting longer.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from canopsis.errors import TransportError

T = TypeVar("T")


@dataclass(slots=True, eq=False)
class Task(Generic[T]):
    """What one thread wants done; ``error`` is why it was not."""

    wanted: T
    error: Exception | None = None
    is_done: bool = False
    turn: threading.Lock = field(default_factory=threading.Lock)


class Turns(Generic[T]):
    """Does what threads want, one turn after the other.

    ``serve`` is called by one thread at a time; it sets the ``error`` of the tasks that it could not do. A turn takes
    tasks until ``weigh`` of them comes to ``most``.
    """

    def __init__(self, serve: Callable[[Sequence[Task[T]]], None], weigh: Callable[[T], int], most: int) -> None:
        self._serve = serve
        self._weigh = weigh
        self._most = most
        self._lock = threading.Lock()
        self._waiting: deque[Task[T]] = deque()
        self._served = False
        """Whether a thread serves now."""

    @property
    def waiting(self) -> int:
        """How many wait for the next turn."""
        return len(self._waiting)

    def do(self, wanted: T) -> None:
        """Return when ``wanted`` is done. Raises its error."""
        task = Task(wanted)
        with self._lock:
            self._waiting.append(task)
            is_first, self._served = not self._served, True
            if not is_first:
                task.turn.acquire()
        if not is_first:
            task.turn.acquire()
        if not task.is_done:
            self._take_turns(task)
        if task.error is not None:
            raise task.error

    def _take_turns(self, own: Task[T]) -> None:
        """Serve until ``own`` is done; then another one of those who wait does."""
        try:
            while not own.is_done:
                self._take_turn()
        finally:
            with self._lock:
                self._served = bool(self._waiting)
                if self._waiting:
                    self._waiting[0].turn.release()

    def _take_turn(self) -> None:
        tasks = self._next()
        lost: Exception | None = TransportError("the thread that did it for several was ended by an error of its own")
        try:
            self._serve(tasks)
            lost = None
        finally:
            for task in tasks:
                task.error = task.error or lost
                task.is_done = True
                if task.turn.locked():
                    task.turn.release()

    def _next(self) -> list[Task[T]]:
        with self._lock:
            tasks = [self._waiting.popleft()]
            size = self._weigh(tasks[0].wanted)
            while self._waiting and size < self._most:
                tasks.append(self._waiting.popleft())
                size += self._weigh(tasks[-1].wanted)
        return tasks
