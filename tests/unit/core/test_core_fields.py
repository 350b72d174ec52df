"""Checks of single fields, at their edges."""

from __future__ import annotations

from typing import Any

import pytest
from core_samples import NOW, any_texts, anything
from hypothesis import given
from hypothesis import strategies as st

from canopsis.core import fields
from canopsis.errors import InvalidEvent

CHECKS: dict[str, Any] = {
    "name": fields.name_check("component"),
    "text": fields.text_check("output", 10),
    "author": fields.author,
    "event_id": fields.event_id,
    "source_type": fields.source_type,
    "resource": fields.resource,
    "state": fields.state,
    "state_type": fields.state_type,
    "tags": fields.tags,
}


@pytest.mark.parametrize(
    "name",
    ["a", "a b", " a", "é", "日本", "a\u00a0b", "\u200b", "a/b%c.d", "x" * 255, "\U0001f525", "\ufeffa"],
)
def test_what_can_be_a_name(name: str) -> None:
    assert fields.is_name(name)


@pytest.mark.parametrize(
    "name",
    [
        "",
        " ",
        "\u00a0",
        "\u2003 ",
        "\0",
        "a\n",
        "a\x1b[1m",
        "a\x7f",
        "a\x85",
        "\ud800",
        "a\udfff",
        "x" * 256,
        None,
        5,
        b"a",
        [],
    ],
)
def test_what_cannot_be_a_name(name: object) -> None:
    assert not fields.is_name(name)


@given(any_texts)
def test_a_name_can_be_stored_and_shown_on_one_line(text: str) -> None:
    if fields.is_name(text):
        text.encode()
        assert text.strip()
        assert "\n" not in text
        assert "\0" not in text


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", ""),
        ("x" * 10, "x" * 10),
        ("x" * 11, "x" * 9 + "…"),
        ("é" * 10, "é" * 10),
        ("a\0", "a\ufffd"),
        ("\0" * 12, "\ufffd" * 9 + "…"),
    ],
)
def test_a_text_is_mended(text: str, expected: str) -> None:
    assert fields.text_check("output", 10)(text) == expected


def test_half_of_a_pair_behind_the_cut_is_cut_away() -> None:
    assert fields.text_check("output", 10)("x" * 20 + "\ud800") == "x" * 9 + "…"


@given(any_texts, st.integers(1, 30))
def test_a_mended_text_fits_and_stays_so(text: str, limit: int) -> None:
    check = fields.text_check("output", limit)
    try:
        mended = check(text)
    except InvalidEvent:
        assert any(0xD800 <= ord(letter) <= 0xDFFF for letter in text)
        return
    assert len(mended) <= limit
    assert "\0" not in mended
    assert check(mended) == mended


@pytest.mark.parametrize("check", CHECKS.values(), ids=CHECKS.keys())
@given(value=anything)
def test_a_check_takes_or_refuses_anything(check: Any, value: object) -> None:
    try:
        kept = check(value)
    except InvalidEvent as error:
        assert error.field
    else:
        assert kept is None or check(kept) == kept


@pytest.mark.parametrize("ahead", [0, 0.5, 86399.5, 86400])
def test_a_clock_that_is_ahead_by_a_day_is_set_right(ahead: float) -> None:
    assert fields.timestamp(NOW + ahead, NOW) == NOW


@pytest.mark.parametrize("ahead", [86400.5, 1e12, float("inf")])
def test_a_clock_that_is_ahead_by_more_is_refused(ahead: float) -> None:
    with pytest.raises(InvalidEvent):
        fields.timestamp(NOW + ahead, NOW)


@given(anything)
def test_any_time_is_taken_or_refused(value: object) -> None:
    try:
        seconds = fields.timestamp(value, NOW)
    except InvalidEvent as error:
        assert error.field == "timestamp"
    else:
        assert fields.EARLIEST <= seconds <= NOW


@given(st.floats(fields.EARLIEST, NOW))
def test_a_time_in_between_is_kept_to_the_last_digit(value: float) -> None:
    assert fields.timestamp(value, NOW) == value


@pytest.mark.parametrize("key", ["a", "a b", "é", "a$", "-", "x" * 1000])
def test_keys_that_can_be_stored(key: str) -> None:
    assert fields.check_key(key, "extra") == key


@pytest.mark.parametrize("key", ["", "$a", "a.b", ".", "a\0", "a\n", "\ud800", 5, None, b"a"])
def test_keys_that_cannot_be_stored(key: object) -> None:
    with pytest.raises(InvalidEvent) as caught:
        fields.check_key(key, "extra.mine")
    assert caught.value.field == "extra.mine"


@given(anything)
def test_extra_is_kept_as_it_is_or_refused(value: object) -> None:
    extra = {"mine": value}
    try:
        assert fields.storable(extra) is extra
    except InvalidEvent as error:
        assert error.field.startswith("mine")


def test_many_small_values_are_as_heavy_as_one_that_is_large() -> None:
    fits = {"mine": [1] * 100_000}
    assert fields.storable(fits) is fits
    with pytest.raises(InvalidEvent, match="an event of at most 1048576 bytes"):
        fields.storable({"mine": [1] * 200_000})


def test_what_is_missing_is_shown_as_nothing() -> None:
    assert repr(fields.MISSING) == "nothing"
