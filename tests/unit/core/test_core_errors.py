"""Errors name the field, the value and what is allowed, and no value can break them."""

from __future__ import annotations

import pytest
from core_samples import anything
from hypothesis import given

from canopsis.errors import CanopsisError, InputError, InvalidEvent, InvalidPattern, shorten


def nested(depth: int) -> list[object]:
    outer: list[object] = []
    inner = outer
    for _ in range(depth):
        deeper: list[object] = []
        inner.append(deeper)
        inner = deeper
    return outer


def test_an_input_error_names_field_value_and_what_is_allowed() -> None:
    error = InvalidEvent("state", 7, "0, 1, 2 or 3")
    assert (error.field, error.value, error.allowed) == ("state", "7", "0, 1, 2 or 3")
    assert str(error) == "state: 7 is refused; allowed: 0, 1, 2 or 3"


@pytest.mark.parametrize("kind", [InvalidEvent, InvalidPattern])
def test_both_input_errors_are_errors_of_canopsis(kind: type[InputError]) -> None:
    assert issubclass(kind, InputError)
    assert issubclass(kind, CanopsisError)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "None"),
        (True, "True"),
        (1.5, "1.5"),
        ("abc", "'abc'"),
        ("\ud800", "'\\ud800'"),
        ("a\0b", "'a\\x00b'"),
        ({"a": 1}, "{'a': 1}"),
        ([10**5000], "[an integer of 16610 bits]"),
    ],
)
def test_a_value_is_shown_as_python_writes_it(value: object, text: str) -> None:
    assert shorten(value) == text


@pytest.mark.parametrize(
    "value",
    ["x" * 10_000, b"x" * 10_000, list(range(1000)), nested(900), 10**300],
    ids=["text", "bytes", "list", "nested", "integer"],
)
def test_what_is_long_or_deep_is_cut(value: object) -> None:
    assert len(shorten(value)) <= 80
    assert len(shorten(value, 20)) <= 20


def test_the_cut_is_marked() -> None:
    assert shorten({"first": "x" * 60, "second": "y" * 60}, 30).endswith("…")


@given(anything)
def test_any_value_can_be_shown(value: object) -> None:
    assert len(shorten(value)) <= 80
    shorten(value).encode()


def test_an_integer_that_python_will_not_write_out_is_measured() -> None:
    assert shorten(10**5000) == "an integer of 16610 bits"
