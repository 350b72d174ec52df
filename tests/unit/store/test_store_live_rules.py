"""Rules in force, asked for by many threads."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pytest

from canopsis.core.rules.event_filter import KIND
from canopsis.errors import StoreError
from canopsis.store.live_rules import LOOK_SECONDS, LiveKinds
from canopsis.store.rules import Rules

RULE = {"id": "r", "type": "drop", "pattern": {"component": "web1"}}


@dataclass
class Asking:
    """A database with the rules ``documents``; ``before`` runs before it answers."""

    now: float = 1000.0
    documents: list[dict[str, Any]] = field(default_factory=lambda: [RULE])
    version: int = 1
    before: Callable[[], object] = lambda: None
    asked: int = 0

    def ask(self, _function: Callable[..., Any], _kinds: Any, known: dict[str, int]) -> Any:
        self.asked += 1
        self.before()
        versions = {"event-filter": self.version, "table": 0}
        return None if known == versions else Rules(versions, {"event-filter": self.documents, "table": []})


def ids(live: LiveKinds, asking: Asking) -> list[str]:
    return [each.rule.id for each in live.current(KIND, asking).rules]


def test_a_kind_is_read_once_for_all_who_ask_and_again_when_it_changed() -> None:
    live, asking = LiveKinds(), Asking()
    assert [ids(live, asking) for _ in range(5)] == [["r"]] * 5
    assert asking.asked == 1
    asking.now, asking.version, asking.documents = 1000.0 + LOOK_SECONDS, 2, []
    assert ids(live, asking) == []
    assert asking.asked == 2


def test_while_one_thread_reads_the_others_go_on_with_what_was_in_force() -> None:
    live, asking = LiveKinds(), Asking()
    assert ids(live, asking) == ["r"]
    reading, done = threading.Event(), threading.Event()

    def wait() -> None:
        reading.set()
        assert done.wait(10)

    slow = Asking(now=1000.0 + LOOK_SECONDS, version=2, documents=[], before=wait)
    thread = threading.Thread(target=ids, args=(live, slow))
    thread.start()
    assert reading.wait(10)
    assert ids(live, Asking(now=1000.0 + LOOK_SECONDS)) == ["r"]
    done.set()
    thread.join(10)
    assert ids(live, slow) == []


def test_who_came_while_the_first_read_them_waits_and_does_not_read_again() -> None:
    live, late = LiveKinds(), Asking()
    found: list[list[str]] = []
    thread = threading.Thread(target=lambda: found.append(ids(live, late)))
    first = Asking(before=thread.start)
    assert ids(live, first) == ["r"]
    thread.join(10)
    assert (found, late.asked) == ([["r"]], 0)


def test_a_database_that_does_not_answer_is_asked_again() -> None:
    def fail() -> None:
        raise StoreError("away")

    live = LiveKinds()
    with pytest.raises(StoreError):
        ids(live, Asking(before=fail))
    assert ids(live, Asking()) == ["r"]
