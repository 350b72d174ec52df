"""Paths into JSON."""

from __future__ import annotations

from typing import Any

import pytest

from canopsis.core.jsonpath import ABSENT, Path, is_path
from canopsis.errors import InputError

WHOLE: dict[str, Any] = {
    "a": {"b": [1, {"c": None}, [2]], "k8s.io/name": "x"},
    "tags": [{"tag": "one"}, {"other": 1}, {"tag": "two"}, 5],
    "it's": 7,
}


@pytest.mark.parametrize(
    ("path", "found"),
    [
        ("$", WHOLE),
        ("@", "part"),
        ("$.a.b[0]", 1),
        ("$.a.b[-1]", [2]),
        ("$.a.b[1].c", None),
        ("$.a.b[3]", ABSENT),
        ("$.a.b[-4]", ABSENT),
        ("$.a.b.c", ABSENT),
        ("$.a[0]", ABSENT),
        ("$.none.b", ABSENT),
        ("$.a['k8s.io/name']", "x"),
        ('$["it\'s"]', 7),
        ("$.tags[*].tag", ["one", "two"]),
        ("$.tags[*]", WHOLE["tags"]),
        ("$.a[*]", ABSENT),
        ("@.x", ABSENT),
        ("$['']", ABSENT),
    ],
)
def test_where_a_path_leads(path: str, found: object) -> None:
    assert Path(path, "x").find(WHOLE, "part") == found


@pytest.mark.parametrize(
    "text", ["a", "", "$a", "$..a", "$.", "$.a[", "$.a[b]", "$[1.5]", "$.a b", "$." + "a" * 1000, 5]
)
def test_what_is_no_path(text: object) -> None:
    with pytest.raises(InputError, match=r"fields\.x: "):
        Path(text, "fields.x")


def test_what_is_meant_as_a_path() -> None:
    assert [is_path(text) for text in ("$", "$.a", "@['a']", "$5", "@home", "a.b", "")] == [True] * 3 + [False] * 4


def test_a_part_is_replaced_and_the_rest_stays_as_it_was() -> None:
    before = {"a": [{"b": 1}, {"c": 2}], "d": 3}
    assert Path("$.a[*].b", "x").replaced(before, lambda _found: "new") == {"a": [{"b": "new"}, {"c": 2}], "d": 3}
    assert Path("$.a[1].c", "x").replaced(before, lambda found: [found]) == {"a": [{"b": 1}, {"c": [2]}], "d": 3}
    assert Path("$.none.b", "x").replaced(before, str) is before
    assert Path("$", "x").replaced(before, lambda _found: 5) == 5
    assert before == {"a": [{"b": 1}, {"c": 2}], "d": 3}
