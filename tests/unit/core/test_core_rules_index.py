"""The index of rules: it finds what naive matching finds, and looks at hardly any other rule."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from canopsis.core import pattern as patterns
from canopsis.core import regex
from canopsis.core.normalise import normalise
from canopsis.core.rules import index
from canopsis.core.rules.index import Index

NOW = 1_700_000_000.0

WORDS = ("web", "db", "disk full", "a", "", "0")
SCALARS = st.one_of(st.sampled_from(WORDS), st.integers(0, 3), st.booleans(), st.none(), st.just(1.0))
FIELDS = st.sampled_from(("component", "output", "state", "tags", "labels.team", "nothing", "event_type"))
REGEXES = st.sampled_from(("^we", "disk", "a|b", "(?P<x>b)", "full$", "\\Qd", "x{1000}y{1000}"))
LISTS = st.lists(SCALARS, max_size=3)
OPERATORS = st.one_of(
    st.builds(lambda value: {"$eq": value}, SCALARS),
    st.builds(lambda value: {"$ne": value}, SCALARS),
    st.builds(lambda values: {"$in": values}, LISTS),
    st.builds(lambda values: {"$nin": values}, LISTS),
    st.builds(lambda values: {"$all": values}, st.lists(SCALARS, min_size=1, max_size=2)),
    st.builds(lambda text: {"$regex": text}, REGEXES),
    st.builds(lambda text: {"$regex": text, "$options": "i"}, REGEXES),
    st.builds(lambda number: {"$gte": number}, st.integers(0, 3)),
    st.builds(lambda wanted: {"$exists": wanted}, st.booleans()),
    st.builds(lambda value: {"$not": {"$eq": value}}, SCALARS),
)
CONDITIONS = st.dictionaries(FIELDS, st.one_of(SCALARS, OPERATORS), max_size=3)
PATTERNS = st.recursive(
    CONDITIONS,
    lambda inner: st.one_of(
        st.builds(lambda parts: {"$and": parts}, st.lists(inner, min_size=1, max_size=3)),
        st.builds(lambda parts: {"$or": parts}, st.lists(inner, min_size=1, max_size=3)),
        st.builds(lambda parts: {"$nor": parts}, st.lists(inner, min_size=1, max_size=2)),
        st.builds(lambda part, other: {"$not": part} | other, inner, CONDITIONS),
    ),
    max_leaves=5,
)
EVENTS = st.fixed_dictionaries(
    {"component": st.sampled_from(("web", "db", "a")), "state": st.integers(0, 3)},
    optional={
        "output": st.sampled_from(WORDS),
        "tags": st.lists(st.sampled_from(("web", "a", "disk full")), max_size=2),
        "labels": st.fixed_dictionaries({"team": st.one_of(SCALARS, st.lists(SCALARS, max_size=2))}),
        "nothing": st.one_of(st.none(), st.dictionaries(st.just("a"), st.none())),
    },
)


def event(**fields: Any) -> Any:
    return normalise({"connector": "c", "connector_name": "n", "component": "web", "state": 0} | fields, NOW)


def naive(known: list[dict[str, Any]], subject: object) -> list[int]:
    return [place for place, pattern in enumerate(known) if patterns.compile(pattern)(subject)]


def found(known: list[dict[str, Any]], subject: object) -> list[int]:
    """Return what an index leads to: places that may match, then those of them that do."""
    return [place for place in Index(known).places(subject) if patterns.compile(known[place])(subject)]


@given(st.lists(PATTERNS, max_size=8), EVENTS)
def test_the_index_finds_exactly_what_naive_matching_finds(known: list[dict[str, Any]], fields: dict[str, Any]) -> None:
    assert found(known, event(**fields)) == naive(known, event(**fields))


@pytest.mark.parametrize(
    ("make", "other"),
    [
        (lambda n: {"component": f"host{n}"}, "host7"),
        (lambda n: {"event_type": "check", "component": f"host{n}"}, "host7"),
        (lambda n: {"component": {"$in": [f"host{n}", f"spare{n}"]}, "state": {"$gte": 0}}, "spare7"),
        (lambda n: {"$and": [{"state": 0}, {"component": {"$eq": f"host{n}"}}]}, "host7"),
        (lambda n: {"$or": [{"event_type": "check", "component": f"host{n}"}, {"component": f"h{n}"}]}, "h7"),
    ],
)
def test_of_a_thousand_rules_those_of_one_entity_are_looked_at(make: Any, other: str) -> None:
    known = [make(number) for number in range(1000)]
    assert Index(known).places(event(component=other)) == [7]
    assert Index(known).places(event(component="elsewhere")) == []


def test_a_thousand_regular_expressions_are_looked_for_together() -> None:
    known = [{"output": {"$regex": f"error {number} of (disk|fan)"}} for number in range(1000)]
    assert Index(known).places(event(output="all is well")) == []
    places = Index(known).places(event(output="error 500 of fan"))
    assert 500 in places
    assert len(places) <= index._LEAF


def test_conditions_that_rules_share_are_tested_once() -> None:
    made = Index([{"state": {"$gte": 2}, "value": {"$gt": number}} for number in range(1000)])
    assert len(made._shared) == 1
    assert made.places(event(state=1, value=5)) == []
    assert len(made.places(event(state=2, value=5))) == 1000


def test_a_pattern_that_cannot_be_true_is_never_looked_at() -> None:
    assert Index([{"component": {"$in": []}}]).places(event()) == []


def test_expressions_too_large_together_are_looked_for_apart() -> None:
    known = [{"output": {"$regex": f"x{number}|[^a-z]{{900}}[0-9]{{900}}"}} for number in range(100)]
    assert regex.united([regex.compile(pattern["output"]["$regex"], "x") for pattern in known]) is None
    assert found(known, event(output="x55")) == naive(known, event(output="x55"))


def test_an_expression_that_cannot_stand_beside_others_is_left_for_one_that_can() -> None:
    known = [{"output": {"$regex": "\\Qa.b"}, "component": {"$regex": "^w"}}, {"output": {"$regex": "\\Qa.b"}}]
    assert Index(known).places(event(output="a.b")) == [0, 1]
    assert Index(known).places(event(component="db", output="a.b")) == [1]


def test_expressions_are_looked_for_in_texts_alone() -> None:
    known = [{"a": {"$regex": "x"}}]
    assert [Index(known).places(event(a=value)) for value in (5, [5], [5, "x"], "x")] == [[], [], [0], [0]]


def test_documents_are_found_as_events_are() -> None:
    assert Index([{"state": 2}, {"state": True}, {"tags": "a"}]).places({"state": 2.0, "tags": ["b", "a"]}) == [0, 2]
