"""Threads that want the same at once are served together."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import chain

import pytest

from canopsis.api.sharing import Task, Turns
from canopsis.errors import InputError, TransportError
from canopsis.ops import wait

MOST = 100


class Server:
    """Keeps what was wanted by turn; the first turn waits until ``others`` more have come."""

    def __init__(self, others: int = 0) -> None:
        self.turns: list[list[int]] = []
        self.others = others
        self.begun = threading.Event()
        self.enough = threading.Event()
        self.sharing: Turns[int] = Turns(self.serve, self.weigh, MOST)

    def weigh(self, size: int) -> int:
        return size

    def serve(self, tasks: Sequence[Task[int]]) -> None:
        self.turns.append([task.wanted for task in tasks])
        if len(self.turns) == 1:
            self.begun.set()
            assert self.enough.wait(10)
        for task in tasks:
            if task.wanted == 7:
                task.error = InputError("number", 7, "another one")
            if task.wanted == 13:
                raise ZeroDivisionError

    def together(self, *wanted: int) -> list[type[Exception] | None]:
        """Want the first one, and the others while that is being served; return what became of each."""
        with ThreadPoolExecutor(len(wanted)) as pool:
            first = pool.submit(self.sharing.do, wanted[0])
            assert self.begun.wait(10)
            rest = [pool.submit(self.sharing.do, each) for each in wanted[1:]]
            assert wait.until(lambda: self.sharing.waiting >= len(rest), 10)
            self.enough.set()
            errors = [each.exception(10) for each in (first, *rest)]
        return [None if error is None else type(error) for error in errors]  # type: ignore[misc]


def test_who_comes_alone_is_served_alone() -> None:
    server = Server()
    server.enough.set()
    for number in (1, 2, 3):
        server.sharing.do(number)
    assert server.turns == [[1], [2], [3]]


def test_those_who_come_meanwhile_share_the_next_turn() -> None:
    server = Server()
    assert server.together(1, 2, 3, 4) == [None] * 4
    assert [len(turn) for turn in server.turns] == [1, 3]


def test_a_turn_has_a_bound_but_one_alone_may_be_larger() -> None:
    server = Server()
    assert server.together(1, 60, 60, 60, 500) == [None] * 5
    assert sorted(chain(*server.turns)) == [1, 60, 60, 60, 500]
    assert all(sum(turn[:-1]) < MOST for turn in server.turns)
    assert len(server.turns) > 2


def test_the_error_of_one_is_not_the_error_of_another() -> None:
    assert Server().together(1, 7, 3) == [None, InputError, None]


def test_what_breaks_a_turn_is_known_to_all_of_it_and_others_go_on() -> None:
    server = Server()
    found = server.together(1, 13, 3)
    assert found[0] is None
    assert sorted(map(str, found[1:])) == sorted(map(str, (ZeroDivisionError, TransportError)))
    server.sharing.do(5)
    assert server.turns[-1] == [5]


@pytest.mark.parametrize("threads", [2, 16])
def test_nobody_is_forgotten(threads: int) -> None:
    server = Server()
    server.enough.set()
    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(server.sharing.do, range(20, 3020)))
    assert sorted(chain(*server.turns)) == list(range(20, 3020))
