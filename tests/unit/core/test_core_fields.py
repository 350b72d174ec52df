"""Checks of single fields, at their edges."""

from __future__ import annotations

from typing import Any

import pytest
from core_samples import NOW, any_texts, anything
from hypothesis import given
from hypothesis import strategies as st

from canopsis.core import extra, fields
from canopsis.core.notes import LONGEST, MOST, Notes
from canopsis.core.text import is_name, name_of, whole
from canopsis.errors import InvalidEvent

CHECKS: dict[str, Any] = {
    "name": fields.name_check("component"),
    "text": fields.text_check("output", 10),
    "author": fields.label_check("author"),
    "event_id": fields.event_id,
    "source_type": fields.source_type,
    "resource": fields.resource,
    "state": fields.state,
    "state_type": fields.state_type,
    "tags": fields.tags,
}


def kept(check: Any, value: object) -> tuple[Any, list[str]]:
    notes = Notes()
    return check(value, notes), notes.texts()


def storable(value: dict[str, Any]) -> tuple[dict[str, Any], list[str]]:
    return kept(extra.storable, value)


@pytest.mark.parametrize(
    "name",
    ["a", "a b", "é", "日本", "a\u00a0b", "a/b%c.d", "x" * 255, "\U0001f525", "a\u200bb", "a\u202eb"],
)
def test_what_can_be_a_name(name: str) -> None:
    assert is_name(name)
    assert kept(CHECKS["name"], name) == (name, [])


@pytest.mark.parametrize(
    "name",
    [
        "",
        " ",
        "\u00a0",
        "\u2003 ",
        "\0",
        "a\nb",
        "a\x1b[1m",
        "a\x7fb",
        "a\x85b",
        "x" * 256,
        "x" * 2000,
        None,
        1.5,
        True,
        b"a",
        [],
        "\u200b",
        "\u202e\u202c",
        "\ufeff",
        "\u3164",
        "\u2800 \u200d",
        "\u0958" * 200,
    ],
)
def test_b11_what_cannot_be_a_name(name: object) -> None:
    assert not is_name(name)
    with pytest.raises(InvalidEvent) as caught:
        CHECKS["name"](name, Notes())
    assert caught.value.field == "component"


@pytest.mark.parametrize(
    ("given", "name"),
    [
        (" disk /", "disk /"),
        ("disk / ", "disk /"),
        ("web1\n", "web1"),
        ("\ufeffweb1", "web1"),
        ("web1\u200b", "web1"),
        ("\u200eweb1\u00a0", "web1"),
        ("cafe\u0301", "caf\u00e9"),
        ("\u212b", "\u00c5"),
        ("\u3164web1", "web1"),
        ("web1\u2800", "web1"),
    ],
)
def test_b11_a_name_is_trimmed_and_composed(given: str, name: str) -> None:
    assert not is_name(given)
    assert kept(CHECKS["name"], given) == (name, [])
    assert kept(CHECKS["resource"], given) == (name, [])
    assert kept(CHECKS["tags"], [given]) == ([name], [])


def test_b13_half_of_a_pair_in_a_name_is_replaced_and_told() -> None:
    name, [warning] = kept(CHECKS["name"], "a\udce9b")
    assert name == "a\ufffdb"
    assert warning.startswith("component: 'a\\udce9b' is not UTF-8 everywhere")


def test_a_whole_number_can_be_a_name() -> None:
    name, [warning] = kept(CHECKS["name"], 80)
    assert name == "80"
    assert warning == "component: 80 is taken as a text"


@given(any_texts)
def test_b11_a_name_can_be_stored_and_shown_on_one_line(text: str) -> None:
    name = name_of(text)
    assert name == "" or is_name(name)
    name.encode()
    assert name == name.strip()
    assert "\n" not in name
    assert "\0" not in name


@pytest.mark.parametrize(
    ("value", "label"),
    [
        (5, "5"),
        ("a\nb", "a b"),
        ("x" * 300, "x" * 254 + "…"),
        ({"a": 1}, '{"a":1}'),
        ([float("nan")], "[null]"),
        ({1: object()}, None),
        ("\u200b", ""),
        ("é\udcff", "é\ufffd"),
    ],
)
def test_a_label_is_mended_and_told(value: object, label: str | None) -> None:
    found, [warning] = kept(CHECKS["author"], value)
    assert label is None or found == label
    assert warning.startswith("author: ")


def test_an_empty_label_is_none_and_blanks_too() -> None:
    assert kept(CHECKS["author"], "") == ("", [])
    assert kept(CHECKS["author"], " ") == ("", [])


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
    assert kept(fields.text_check("output", 10), text) == (expected, [])


def test_half_of_a_pair_behind_the_cut_is_cut_away() -> None:
    assert kept(fields.text_check("output", 10), "x" * 20 + "\ud800") == ("x" * 9 + "…", [])


def test_b13_half_of_a_pair_in_a_text_is_replaced_and_told() -> None:
    text, [warning] = kept(fields.text_check("output", 10), "a\udcff\ud800")
    assert text == "a\ufffd\ufffd"
    assert "is not UTF-8 everywhere" in warning


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (5, "5"),
        (0.5, "0.5"),
        (True, "true"),
        (["a", 1], '["a",1]'),
        ({"a": 1}, '{"a":1}'),
        (["\ud800"], "['\\ud800']"),
        (b"a", '"YQ=="'),
        (10**400, "an integer of 1329 bits"),
    ],
)
def test_what_is_no_text_becomes_one_and_is_told(value: object, text: str) -> None:
    found, [warning] = kept(fields.text_check("output", 100), value)
    assert found == text
    assert warning.startswith("output: ")


@given(any_texts, st.integers(1, 30))
def test_a_mended_text_fits_and_stays_so(text: str, limit: int) -> None:
    check = fields.text_check("output", limit)
    mended, warnings = kept(check, text)
    assert len(mended) <= limit
    assert "\0" not in mended
    assert whole(mended) == mended
    assert bool(warnings) == (text[:limit] != whole(text[:limit])) or len(text) > limit
    assert kept(check, mended) == (mended, [])


@pytest.mark.parametrize("check", CHECKS.values(), ids=CHECKS.keys())
@given(value=anything)
def test_a_check_takes_or_refuses_anything(check: Any, value: object) -> None:
    try:
        found, warnings = kept(check, value)
    except InvalidEvent as error:
        assert error.field in {"component", "resource", "state"}
    else:
        assert all(len(warning) <= LONGEST and warning.encode() for warning in warnings)
        assert found is None or kept(check, found) == (found, [])


@pytest.mark.parametrize("ahead", [0, 0.5, 59.5, 60])
def test_a_clock_that_is_a_little_ahead_is_set_right_without_a_word(ahead: float) -> None:
    notes = Notes()
    assert fields.timestamp(NOW + ahead, NOW, notes) == (NOW, None)
    assert notes.texts() == []


@pytest.mark.parametrize(
    ("sent", "why"),
    [
        (NOW + 60.5, "is ahead of the clock here"),
        (NOW + 86400, "is ahead of the clock here"),
        (NOW + 2 * 86400, "is ahead of the clock here"),
        (253402300799, "is ahead of the clock here"),
        (1e300, "is ahead of the clock here"),
        (NOW * 1000, "looks like milliseconds"),
        (946684799, "is before 2000"),
        (-62167219200, "is before 2000"),
        (-(2**62), "is before 2000"),
        (str(int(NOW) + 100), "is ahead of the clock here"),
    ],
)
def test_b8_another_time_becomes_that_of_receipt_and_both_are_kept(sent: float | str, why: str) -> None:
    notes = Notes()
    assert fields.timestamp(sent, NOW, notes) == (NOW, float(sent))
    [warning] = notes.texts()
    assert why in warning
    assert "a clock may be 60 s ahead" in warning


@pytest.mark.parametrize("value", [None, "", 0, "0", 0.0, -0.0])
def test_b6_a_time_that_is_not_known_is_that_of_receipt(value: object) -> None:
    notes = Notes()
    assert fields.timestamp(value, NOW, notes) == (NOW, None)
    assert notes.texts() == []


@pytest.mark.parametrize(
    "value",
    [
        "2023-11-14T22:13:20Z",
        "1" * 5000,
        "nan",
        float("nan"),
        float("inf"),
        True,
        False,
        [1],
        10**400,
        "1_700_000_000",
        "x" * 300,
    ],
)
def test_b8_what_is_no_time_becomes_that_of_receipt_and_is_told(value: object) -> None:
    notes = Notes()
    assert fields.timestamp(value, NOW, notes) == (NOW, None)
    [warning] = notes.texts()
    assert "is no time: the time of receipt is taken; allowed: seconds since the epoch" in warning


@given(anything)
def test_any_time_is_taken(value: object) -> None:
    seconds, sent = fields.timestamp(value, NOW, Notes())
    assert fields.EARLIEST <= seconds <= NOW
    assert sent is None or seconds == NOW


@given(st.floats(fields.EARLIEST, NOW))
def test_a_time_in_between_is_kept_to_the_last_digit(value: float) -> None:
    assert fields.timestamp(value, NOW, Notes()) == (value, None)


@pytest.mark.parametrize(
    ("scale", "states"),
    [
        ("nagios", [0, 1, 2, 3]),
        ("severity", [0, 1, 1, 2]),
        ("ok,warning,critical,unknown", [0, 1, 2, 3]),
        (" OK, warning,Warning , critical", [0, 1, 1, 2]),
        ("critical,critical,ok,ok", [2, 2, 0, 0]),
    ],
)
def test_b12_a_scale_says_what_states_mean(scale: str, states: list[int]) -> None:
    assert fields.is_scale(scale)
    assert [fields.rescaled(state, scale) for state in range(4)] == states


@pytest.mark.parametrize("scale", ["", "icinga", "ok,warning,critical", "ok,ok,ok,ok,ok", "a,b,c,d", 5, [], "x" * 300])
def test_b12_what_is_no_scale_is_refused(scale: object) -> None:
    with pytest.raises(InvalidEvent) as caught:
        fields.rescaled(2, scale)
    assert caught.value.field == "state_scale"
    assert "nagios or severity" in caught.value.allowed


@pytest.mark.parametrize("key", ["a", "a b", "é", "a$", "-", "x" * 1000, "$a", "a.b", ".", ""])
def test_b7_keys_are_kept_as_they_came(key: str) -> None:
    value = {key: {key: [{key: 1}]}}
    assert storable(value) == (value, [])


@pytest.mark.parametrize(
    ("key", "name"), [("a\0b", "a\ufffdb"), ("a\n", "a\ufffd"), ("\ud800", "\ufffd"), ("é\x85", "é\ufffd")]
)
def test_a_key_that_cannot_be_stored_is_mended_and_told(key: str, name: str) -> None:
    found, warnings = storable({"mine": {key: 1}, key: 2})
    assert found == {"mine": {name: 1}, name: 2}
    assert [warning.partition(":")[0] for warning in warnings] == ["mine", "extra"]


@pytest.mark.parametrize(
    ("value", "expected", "path"),
    [
        (2**63, "9223372036854775808", "mine"),
        ([-(2**63) - 1], ["-9223372036854775809"], "mine[0]"),
        ({"a": float("nan")}, {"a": "nan"}, "mine.a"),
        (float("-inf"), "-inf", "mine"),
        (["a\ud800", None, True], ["a\ufffd", None, True], "mine[0]"),
        ({5: 1, "a": 2}, {"a": 2}, "mine"),
        ([1, b"a", {"x": b"a"}], [1, {}], "mine[1]"),
    ],
)
def test_a_value_that_cannot_be_stored_is_mended_and_told(value: object, expected: object, path: str) -> None:
    found, warnings = storable({"mine": value, "other": 1})
    assert found == {"mine": expected, "other": 1}
    assert warnings[0].startswith(f"{path}: ")


@given(anything)
def test_extra_is_kept_as_far_as_it_goes(value: object) -> None:
    given = {"mine": value}
    found, warnings = storable(given)
    assert (found is given) == (warnings == [])
    assert storable(found) == (found, [])


def test_b6_what_is_too_heavy_is_left_out_the_heaviest_first() -> None:
    fits = {"mine": [1] * 100_000}
    assert storable(fits) == (fits, [])
    found, [warning] = storable({"small": 1, "mine": [1] * 200_000, "other": "x"})
    assert found == {"small": 1, "other": "x"}
    assert warning.startswith("mine: [1, 1,")
    assert "is left out; allowed: 1048576 bytes of fields beside the known ones" in warning


def test_warnings_are_bounded() -> None:
    notes = Notes()
    for number in range(MOST + 5):
        notes.add("f" * 500, "v" * 500 + str(number), "is left out", "a" * 500)
    assert len(notes.texts()) == MOST + 1
    assert all(len(text) <= LONGEST for text in notes.texts())
    assert notes.texts()[-1] == "and 5 more"


def test_what_is_missing_is_shown_as_nothing() -> None:
    assert repr(fields.MISSING) == "nothing"
