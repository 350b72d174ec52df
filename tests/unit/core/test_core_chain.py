"""What is wrong with a chain, and what is not."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from graphlib import CycleError, TopologicalSorter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from canopsis.core.chain import Link, faults, nearest


def links(next_of: Mapping[str, Sequence[str]]) -> list[Link]:
    return [Link(name, tuple(following)) for name, following in next_of.items()]


def texts(next_of: Mapping[str, Sequence[str]], known: Sequence[str] | None = None) -> list[str]:
    return list(map(str, faults(links(next_of), list(next_of) if known is None else known)))


@pytest.mark.parametrize(
    "good",
    [
        {"a": ()},
        {"a": ("b",), "b": ()},
        {"a": ("b", "c"), "b": ("d",), "c": ("d",), "d": ()},
        {"a": ("c",), "b": ("c",), "c": ()},
    ],
)
def test_good_chains(good: dict[str, Sequence[str]]) -> None:
    assert texts(good) == []


@pytest.mark.parametrize(
    ("bad", "path"),
    [
        ({"a": ("a",)}, "a -> a"),
        ({"x": ("a",), "a": ("b",), "b": ("a",)}, "a -> b -> a"),
    ],
)
def test_a_circle_is_told_with_its_path(bad: dict[str, Sequence[str]], path: str) -> None:
    (text,) = texts(bad)
    assert text == f"[engine:a] next: events go in a circle: {path}; needed: an end"


def test_an_unknown_engine_names_the_nearest() -> None:
    known = ["alarm", "context"]
    assert texts({"alarms": ()}, known) == ["[engine:alarms]: unknown engine alarms; needed: alarm"]
    assert nearest("zzz", known) == "one of alarm, context"


def test_an_engine_that_cannot_be_loaded_says_why() -> None:
    (fault,) = faults([Link("ours")], ["alarm"], {"ours": "ImportError: no module named lost"})
    assert fault.text() == "the engine ours cannot be loaded; needed: ImportError: no module named lost"


def test_an_engine_that_stands_twice() -> None:
    assert list(map(str, faults([Link("a"), Link("a")], ["a"]))) == ["[engine:a]: a stands 2 times; needed: once"]


def test_a_next_that_is_not_there() -> None:
    (text,) = texts({"alarm": ("eventstor",), "eventstore": ()})
    assert text == "[engine:alarm] next: alarm is followed by eventstor, which is not there; needed: eventstore"


def test_no_engine_at_all() -> None:
    assert texts({}) == ["there is no engine: nothing would work on events; needed: at least one"]


def test_instances_of_one_process_are_equal() -> None:
    chain = [Link("a", ("b",), instances=2), Link("b"), Link("c", process="other", instances=5), Link("d")]
    (fault,) = faults(chain, "abcd")
    assert (fault.engine, fault.key) == ("b", "instances")
    assert fault.found == "instances of process worker: 1 and 2"


def test_everything_at_once() -> None:
    assert len(texts({"a": ("a", "gone"), "b": ()}, known=["a"])) == 3


NAMES = st.sampled_from("abcdefg")
GRAPHS = st.dictionaries(NAMES, st.lists(NAMES, unique=True, max_size=4), min_size=1)


@given(GRAPHS)
def test_a_circle_is_found_exactly_when_there_is_one(graph: dict[str, list[str]]) -> None:
    inner = {name: [each for each in following if each in graph] for name, following in graph.items()}
    try:
        tuple(TopologicalSorter(inner).static_order())
        has_circle = False
    except CycleError:
        has_circle = True
    found = [text for text in texts(inner) if "in a circle: " in text]
    assert bool(found) == has_circle
    for text in found:
        path = text.split("in a circle: ")[1].split(";")[0].split(" -> ")
        assert path[0] == path[-1]
        assert all(b in graph[a] for a, b in itertools.pairwise(path))


@given(GRAPHS)
def test_each_missing_next_is_told(graph: dict[str, list[str]]) -> None:
    missing = sum(1 for following in graph.values() for each in following if each not in graph)
    assert sum("is not there" in text for text in texts(graph)) == missing
