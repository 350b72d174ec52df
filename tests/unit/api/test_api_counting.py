"""What rules did in a web server is written a while later, once, also after the database was away."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any, cast

from canopsis.api.counting import RuleCounting
from canopsis.api.ports import Database
from canopsis.errors import StoreError
from canopsis.store import rules
from canopsis.store.rules import Counts, RuleCount


class Writes:
    """A database that is away at first, and keeps what is counted."""

    def __init__(self, away: int = 0) -> None:
        self.away = away
        self.counted: list[Counts] = []
        self.done = threading.Event()

    def ask(self, function: Callable[..., Any], counts: Counts) -> None:
        assert function is rules.count
        if self.away:
            self.away -= 1
            raise StoreError("away")
        self.counted.append(counts)
        self.done.set()


def once(matched: int = 1) -> Counts:
    return {("mapper", "m"): RuleCount(matched, at=1.0)}


def test_many_requests_are_one_write() -> None:
    writes, counting = Writes(), RuleCounting(0.05)
    for _ in range(5):
        counting.add(once(), cast(Database, writes))
    assert writes.done.wait(10)
    assert writes.counted == [once(5)]


def test_what_could_not_be_written_is_written_later() -> None:
    writes, counting = Writes(away=2), RuleCounting(0.01)
    counting.add(once(), cast(Database, writes))
    assert writes.done.wait(10)
    assert writes.counted == [once()]
