"""The match language: what matches, what is refused, and that nothing else is raised."""

from __future__ import annotations

from typing import Any

import pytest
from core_samples import anything, good
from hypothesis import given
from hypothesis import strategies as st

from canopsis.core.event import Event, to_document
from canopsis.core.pattern import compile as compile_pattern
from canopsis.errors import InvalidPattern

EVENT = good(
    event_id="e1",
    output="DISK CRITICAL on /var",
    tags=["prod", "disk"],
    perf_data="used=95%;80;90 free=5",
    criticity=3,
    owner={"team": "web", "people": [{"name": "ann"}, {"name": "bob"}]},
    flag=True,
    empty=None,
)

MATCHES: list[dict[str, Any]] = [
    {},
    {"component": "srv1"},
    {"component": "srv1", "resource": "disk"},
    {"event_type": "check"},
    {"event_type": {"$in": ["check", "perf"]}},
    {"state": 2},
    {"state": 2.0},
    {"state": {"$eq": 2}},
    {"state": {"$ne": 1}},
    {"state": {"$gt": 1}},
    {"state": {"$gte": 2, "$lt": 3}},
    {"state": {"$lte": 2}},
    {"state": {"$in": [1, 2]}},
    {"state": {"$nin": [0, 1]}},
    {"state": {"$not": {"$gt": 2}}},
    {"component": {"$gt": "srv0", "$lt": "srv2"}},
    {"output": {"$regex": "CRIT"}},
    {"output": {"$regex": "^disk", "$options": "i"}},
    {"output": {"$regex": "CRIT", "$ne": "x"}},
    {"output": {"$not": {"$regex": "OK"}}},
    {"tags": "prod"},
    {"tags": {"$in": ["x", "disk"]}},
    {"tags": {"$regex": "^pro"}},
    {"tags": {"$nin": ["test"]}},
    {"tags": {"$exists": True}},
    {"author": ""},
    {"criticity": 3},
    {"criticity": {"$gt": 2}},
    {"owner.team": "web"},
    {"owner.people.name": "bob"},
    {"owner.people.name": {"$nin": ["eve"]}},
    {"perf_data_array.metric": "used"},
    {"perf_data_array.value": {"$gt": 90}},
    {"flag": True},
    {"flag": {"$ne": 1}},
    {"empty": None},
    {"nothing": None},
    {"nothing": {"$ne": 5}},
    {"nothing": {"$exists": False}},
    {"empty": {"$exists": False}},
    {"nothing.inside": {"$exists": False}},
    {"state.inside": {"$exists": False}},
    {"criticity": {"$exists": True}},
    {"$and": [{"state": 2}, {"component": "srv1"}]},
    {"$or": [{"state": 0}, {"component": "srv1"}]},
    {"$nor": [{"state": 0}, {"component": "srv2"}]},
    {"$not": {"state": 0}},
    {"component": "srv1", "$or": [{"state": 0}, {"state": 2}]},
    {"$and": [{"$or": [{"state": 2}]}, {"$not": {"$and": [{"state": 2}, {"state": 1}]}}]},
]

MISSES: list[dict[str, Any]] = [
    {"component": "srv2"},
    {"component": "srv1", "resource": "cpu"},
    {"component": "SRV1"},
    {"event_type": "perf"},
    {"state": "2"},
    {"state": True},
    {"state": {"$gt": 2}},
    {"state": {"$gt": "1"}},
    {"state": {"$gte": 2, "$lt": 2}},
    {"state": {"$in": []}},
    {"state": {"$in": [0, 1, None]}},
    {"state": {"$not": {"$gt": 1}}},
    {"state": {"$regex": "2"}},
    {"component": {"$lt": 5}},
    {"output": {"$regex": "crit"}},
    {"output": {"$regex": "^CRIT"}},
    {"tags": "test"},
    {"tags": {"$ne": "prod"}},
    {"tags": {"$nin": ["disk"]}},
    {"tags": {"$exists": False}},
    {"criticity": {"$exists": False}},
    {"flag": 1},
    {"flag": {"$gt": 0}},
    {"nothing": {"$gt": 0}},
    {"nothing": {"$exists": True}},
    {"nothing": {"$regex": ""}},
    {"owner.people.name": "eve"},
    {"owner": "web"},
    {"resource": None},
    {"$and": [{"state": 2}, {"component": "srv2"}]},
    {"$or": [{"state": 0}, {"component": "srv2"}]},
    {"$nor": [{"state": 0}, {"component": "srv1"}]},
    {"$not": {}},
]

REFUSED: list[tuple[Any, str]] = [
    (None, "pattern"),
    ([], "pattern"),
    ("component", "pattern"),
    ({5: 1}, "pattern"),
    ({"": 1}, "pattern"),
    ({"a\0": 1}, "pattern"),
    ({"$where": "1"}, "pattern.$where"),
    ({"$and": []}, "pattern.$and"),
    ({"$or": {}}, "pattern.$or"),
    ({"$nor": [5]}, "pattern.$nor[0]"),
    ({"$not": []}, "pattern.$not"),
    ({"state": {}}, "pattern.state"),
    ({"state": []}, "pattern.state"),
    ({"state": {"$near": 1}}, "pattern.state"),
    ({"state": {"gt": 1}}, "pattern.state"),
    ({"state": {5: 1}}, "pattern.state"),
    ({"state": b"2"}, "pattern.state"),
    ({"state": float("nan")}, "pattern.state"),
    ({"state": {"$eq": {}}}, "pattern.state.$eq"),
    ({"state": {"$ne": []}}, "pattern.state.$ne"),
    ({"state": {"$in": 5}}, "pattern.state.$in"),
    ({"state": {"$in": [1, []]}}, "pattern.state.$in[1]"),
    ({"state": {"$nin": "ab"}}, "pattern.state.$nin"),
    ({"state": {"$gt": None}}, "pattern.state.$gt"),
    ({"state": {"$lt": True}}, "pattern.state.$lt"),
    ({"state": {"$lte": []}}, "pattern.state.$lte"),
    ({"state": {"$exists": 1}}, "pattern.state.$exists"),
    ({"state": {"$not": 5}}, "pattern.state.$not"),
    ({"state": {"$not": {}}}, "pattern.state.$not"),
    ({"output": {"$regex": 5}}, "pattern.output.$regex"),
    ({"tags": {"$all": []}}, "pattern.tags.$all"),
    ({"output": {"$regex": "("}}, "pattern.output.$regex"),
    ({"output": {"$regex": "a" * 1001}}, "pattern.output.$regex"),
    ({"output": {"$regex": "(?=a)"}}, "pattern.output.$regex"),
    ({"output": {"$regex": "a", "$options": "q"}}, "pattern.output.$regex.$options"),
    ({"output": {"$regex": "a", "$options": 5}}, "pattern.output.$regex.$options"),
    ({"output": {"$options": "i"}}, "pattern.output.$options"),
    ({"$or": [{"state": 1}, {"$and": [{"output": {"$regex": "["}}]}]}, "pattern.$or[1].$and[0].output.$regex"),
]


def nested(depth: int, inner: Any) -> dict[str, Any]:
    pattern: dict[str, Any] = inner
    for _ in range(depth):
        pattern = {"$not": pattern}
    return pattern


@pytest.mark.parametrize("pattern", MATCHES, ids=str)
def test_an_event_that_matches(pattern: dict[str, Any]) -> None:
    assert compile_pattern(pattern)(EVENT) is True


@pytest.mark.parametrize("pattern", MISSES, ids=str)
def test_an_event_that_does_not_match(pattern: dict[str, Any]) -> None:
    assert compile_pattern(pattern)(EVENT) is False


@pytest.mark.parametrize("pattern", MATCHES, ids=str)
def test_the_stored_document_of_an_event_matches_as_the_event_does(pattern: dict[str, Any]) -> None:
    # What is empty is not stored.
    stored = {"author": None} if pattern == {"author": ""} else pattern
    assert compile_pattern(stored)(to_document(EVENT)) is True


@pytest.mark.parametrize("pattern", MISSES, ids=str)
def test_the_stored_document_of_an_event_misses_as_the_event_does(pattern: dict[str, Any]) -> None:
    assert compile_pattern(pattern)(to_document(EVENT)) is False


@pytest.mark.parametrize("pattern", MATCHES, ids=str)
def test_not_turns_every_pattern_round(pattern: dict[str, Any]) -> None:
    assert compile_pattern({"$not": pattern})(EVENT) is False
    assert compile_pattern({"$nor": [pattern]})(EVENT) is False


@pytest.mark.parametrize(("pattern", "field"), REFUSED, ids=str)
def test_a_pattern_that_is_refused_names_the_place(pattern: object, field: str) -> None:
    with pytest.raises(InvalidPattern) as caught:
        compile_pattern(pattern)
    assert caught.value.field == field
    assert caught.value.allowed


def test_patterns_are_nested_at_most_20_deep() -> None:
    assert compile_pattern(nested(19, {"state": 2}))(EVENT) is False
    with pytest.raises(InvalidPattern):
        compile_pattern(nested(20, {"state": 2}))
    with pytest.raises(InvalidPattern):
        compile_pattern(nested(5000, {"state": 2}))


def test_operators_are_nested_at_most_20_deep() -> None:
    assert compile_pattern({"state": nested(19, {"$eq": 2})})(EVENT) is False
    with pytest.raises(InvalidPattern):
        compile_pattern({"state": nested(5000, {"$eq": 2})})


def test_patterns_match_plain_documents() -> None:
    matches = compile_pattern({"a.b": {"$gt": 1}, "c": "x"})
    assert matches({"a": {"b": 2}, "c": "x"})
    assert matches({"a": [{"b": 0}, {"b": 2}], "c": ["y", "x"]})
    assert not matches({"a": {"b": 2}})
    assert not matches({"a": [], "c": "x"})
    assert not matches({})


def test_a_field_of_a_document_goes_before_extra() -> None:
    matches = compile_pattern({"a": 1})
    assert matches({"a": 1, "extra": {"a": 2}})
    assert matches({"extra": {"a": 1}})
    assert not matches({"a": 2, "extra": {"a": 1}})
    assert not matches({"extra": "a"})


@pytest.mark.parametrize("subject", [None, 5, "text", []])
def test_what_has_no_fields_matches_nothing_but_absence(subject: object) -> None:
    assert compile_pattern({"a": None})(subject)
    assert not compile_pattern({"a": 1})(subject)


def test_a_struct_inside_is_read_like_an_object() -> None:
    assert compile_pattern({"perf_data_array.unit": "%"})(EVENT)
    assert not compile_pattern({"perf_data_array.nothing": "%"})(EVENT)


keys = st.sampled_from(
    ["state", "output", "a.b", "$and", "$or", "$nor", "$not", "$eq", "$in", "$regex", "$gt", "$exists", "$options", ""]
)
near_patterns = st.recursive(
    anything, lambda inner: st.dictionaries(keys, inner | st.lists(inner, max_size=2), max_size=3), max_leaves=8
)


@given(near_patterns)
def test_anything_is_compiled_or_refused_and_then_answers(pattern: Any) -> None:
    try:
        matches = compile_pattern(pattern)
    except InvalidPattern as error:
        assert error.field.startswith("pattern")
        return
    subjects: list[Event | dict[str, Any]] = [EVENT, to_document(EVENT), {}]
    assert all(matches(subject) in (True, False) for subject in subjects)


@given(st.integers(0, 3), st.integers(0, 3))
def test_comparisons_are_those_of_numbers(state: int, value: int) -> None:
    event = good(state=state)
    assert compile_pattern({"state": value})(event) == (state == value)
    assert compile_pattern({"state": {"$gt": value}})(event) == (state > value)
    assert compile_pattern({"state": {"$gte": value}})(event) == (state >= value)
    assert compile_pattern({"state": {"$lt": value}})(event) == (state < value)
    assert compile_pattern({"state": {"$lte": value}})(event) == (state <= value)
    assert compile_pattern({"state": {"$ne": value}})(event) == (state != value)


@pytest.mark.parametrize(
    ("path", "subject"),
    [
        ("labels.app.kubernetes.io/name", {"labels": {"app.kubernetes.io/name": "web"}}),
        ("app.kubernetes.io/name", {"extra": {"app.kubernetes.io/name": "web"}}),
        ("a.b.c", {"a": {"b.c": "web"}}),
        ("a.b.c", {"a": {"b": {"c": "web"}}}),
        ("a.b.c", {"a": [{"b.c": "web"}]}),
    ],
)
def test_b7_a_key_may_have_dots(path: str, subject: dict[str, Any]) -> None:
    assert compile_pattern({path: "web"})(subject)
    assert not compile_pattern({path: "other"})(subject)
    assert compile_pattern({f"{path}.more": {"$exists": False}})(subject)
