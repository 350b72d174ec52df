"""What is wrong with a chain, and what is not."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from graphlib import CycleError, TopologicalSorter

import pytest
from hypothesis import given
from hypothesis import strategies as st
from ops_scratch import ENGINES, write

from canopsis.ops import chain, config
from canopsis.ops.chain import Link
from canopsis.ops.model import CHAIN
from canopsis.ops.prefix import Prefix


def links(next_of: Mapping[str, Sequence[str]]) -> dict[str, Link]:
    return {name: Link(tuple(following), "worker", 1) for name, following in next_of.items()}


def texts(next_of: Mapping[str, Sequence[str]], known: Sequence[str] | None = None) -> list[str]:
    found = chain.problems(links(next_of), list(next_of) if known is None else known, "etc/amqp2engines.conf")
    return [str(problem) for problem in found]


def test_links_of_a_file(prefix: Prefix) -> None:
    found = chain.links(config.look(prefix, CHAIN))
    assert list(found) == ["cleaner_events", "event_filter", "alarm", "eventstore"]
    assert found["cleaner_events"] == Link(("event_filter",), "cleaner", 1)


def test_a_broken_section_is_left_out(prefix: Prefix) -> None:
    write(prefix, "amqp2engines.conf", "[engine:alarm]\ninstances = many\n[engine:context]\n")
    assert list(chain.links(config.look(prefix, CHAIN))) == ["context"]


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
        ({"a": ("b",), "b": ("a",)}, "a -> b -> a"),
        ({"x": ("a",), "a": ("b",), "b": ("c",), "c": ("a",)}, "a -> b -> c -> a"),
        ({"x": ("y", "a"), "y": (), "a": ("b",), "b": ("a",)}, "a -> b -> a"),
    ],
)
def test_a_cycle_is_told_once_with_its_path(bad: dict[str, Sequence[str]], path: str) -> None:
    (text,) = texts(bad)
    assert text == f"etc/amqp2engines.conf [engine:{path[0]}] next: a cycle: {path}; events would never leave it"


def test_an_unknown_engine_names_the_nearest() -> None:
    (text,) = texts({"alarms": ()}, known=ENGINES)
    assert text.startswith("etc/amqp2engines.conf [engine:alarms]: no such engine; engines there are: alarm, ")
    assert text.endswith("did you mean alarm?")


def test_a_next_without_a_section() -> None:
    (text,) = texts({"alarm": ("eventstor",), "eventstore": ()})
    assert text == (
        "etc/amqp2engines.conf [engine:alarm] next: eventstor has no section; "
        "engines in this file: alarm, eventstore; did you mean eventstore?"
    )


def test_no_engine_at_all() -> None:
    (text,) = texts({})
    assert text == "etc/amqp2engines.conf: no [engine:NAME] section: nothing would work on events"


def test_instances_of_one_process_are_equal() -> None:
    found = {"a": Link(("b",), "worker", 2), "b": Link((), "worker", 1), "c": Link((), "other", 5)}
    (problem,) = chain.problems(found, found, "f")
    assert str(problem) == "f [engine:b] instances: 1, but a of the same process worker says 2"


def test_everything_at_once() -> None:
    assert len(texts({"a": ("a", "gone"), "b": ()}, known=["a"])) == 3


NAMES = st.sampled_from("abcdefg")
GRAPHS = st.dictionaries(NAMES, st.lists(NAMES, unique=True, max_size=4), min_size=1)


@given(GRAPHS)
def test_a_cycle_is_found_exactly_when_there_is_one(graph: dict[str, list[str]]) -> None:
    inner = {name: [each for each in following if each in graph] for name, following in graph.items()}
    try:
        tuple(TopologicalSorter(inner).static_order())
        has_cycle = False
    except CycleError:
        has_cycle = True
    assert any("a cycle" in text for text in texts(inner)) == has_cycle


@given(GRAPHS)
def test_a_told_cycle_is_one(graph: dict[str, list[str]]) -> None:
    for text in texts(graph):
        if "a cycle: " in text:
            path = text.split("a cycle: ")[1].split(";")[0].split(" -> ")
            assert path[0] == path[-1]
            assert all(b in graph[a] for a, b in itertools.pairwise(path))


@given(GRAPHS)
def test_each_missing_next_is_told(graph: dict[str, list[str]]) -> None:
    missing = sum(1 for following in graph.values() for each in following if each not in graph)
    assert sum("has no section" in text for text in texts(graph)) == missing
