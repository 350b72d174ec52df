"""Events out of texts: JSON of any layout, CSV; what is no event is told with its line."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from canopsis.errors import InputError
from canopsis.ops.reading import Unreadable, read_csv, read_json


def from_json(text: str) -> list[object]:
    return list(read_json(text.splitlines(keepends=True)))


def from_csv(text: str) -> list[object]:
    return list(read_csv(text.splitlines(keepends=True)))


@pytest.mark.parametrize(
    ("text", "events"),
    [
        ("", []),
        ("\n \n", []),
        ('{"a": 1}', [{"a": 1}]),
        ('\n\n{"a": 1}\n', [{"a": 1}]),
        ('[{"a": 1}, {"a": 2}]', [{"a": 1}, {"a": 2}]),
        ("[]", []),
        ('{"a": 1}\n{"a": 2}\n', [{"a": 1}, {"a": 2}]),
        ('{"a": 1}\n\n[{"a": 2}, {"a": 3}]\n', [{"a": 1}, {"a": 2}, {"a": 3}]),
        ('{\n  "a": 1\n}\n', [{"a": 1}]),
        ('[\n {"a": 1},\n {"a": 2}\n]\n', [{"a": 1}, {"a": 2}]),
        ('{\n"a": 1\n}\n{\n"a": 2\n}', [{"a": 1}, {"a": 2}]),
        ('{\n"a": 1}{"a": 2}', [{"a": 1}, {"a": 2}]),
        ('{"a": "é\\u0000"}', [{"a": "é\x00"}]),
    ],
)
def test_json(text: str, events: list[object]) -> None:
    assert from_json(text) == events


@pytest.mark.parametrize(
    ("text", "line", "reason"),
    [
        ("nonsense", 1, "not JSON: "),
        ("5", 1, "not a JSON object"),
        ("null", 1, "not a JSON object"),
        ("[1]", 1, "not a JSON object"),
        ('{"a": 1}\nbroken\n', 2, "not a JSON object"),
        ('{"a": NaN}', 1, "not JSON: NaN is not a number of JSON"),
        ('{"a": 1}\n{"a": -Infinity}', 2, "not a JSON object"),
        ('[\n{"a": 1}', 1, "not JSON: "),
        ("[" * 100_000, 1, "not JSON: "),
    ],
)
def test_what_is_no_event_is_told_with_its_line(text: str, line: int, reason: str) -> None:
    (found,) = [each for each in from_json(text) if isinstance(each, Unreadable)]
    assert found.line == line
    assert found.reason.startswith(reason)


def test_a_broken_line_does_not_cost_the_others() -> None:
    found = from_json('{"a": 1}\n{"a": \n{"a": 3}\n')
    assert [each for each in found if isinstance(each, dict)] == [{"a": 1}, {"a": 3}]
    assert len(found) == 3


def test_lines_are_given_on_as_they_come() -> None:
    read = 0

    def lines() -> Iterator[str]:
        nonlocal read
        for number in range(3):
            read += 1
            yield json.dumps({"n": number}) + "\n"

    events = read_json(lines())
    assert next(events) == {"n": 0}
    assert read == 1


# The first line decides the layout, so an empty object alone on it would speak for all.
PLAIN = st.dictionaries(st.text(), st.none() | st.booleans() | st.integers() | st.text(), min_size=1, max_size=4)


@given(st.lists(PLAIN, max_size=5), st.sampled_from([None, 2]), st.booleans())
def test_every_layout_gives_the_same_events(
    events: list[dict[str, object]], indent: int | None, in_array: bool
) -> None:
    text = (
        json.dumps(events, indent=indent)
        if in_array
        else "\n".join(json.dumps(event, indent=indent) for event in events)
    )
    assert from_json(text) == events


@given(st.text())
def test_no_text_raises(text: str) -> None:
    for found in from_json(text):
        assert isinstance(found, dict | Unreadable)


def test_csv() -> None:
    text = 'component,resource,state,output,tags\nweb1,disk,2,"full, very\nfull",a b\nweb2,,0,,\n'
    assert from_csv(text) == [
        {"component": "web1", "resource": "disk", "state": "2", "output": "full, very\nfull", "tags": ["a", "b"]},
        {"component": "web2", "state": "0"},
    ]


def test_csv_with_windows_lines_and_blanks_in_the_header() -> None:
    assert from_csv("component, state\r\nweb1,1\r\n") == [{"component": "web1", "state": "1"}]


@pytest.mark.parametrize("row", ["web1", "web1,1,2"])
def test_csv_rows_of_another_length_are_told(row: str) -> None:
    found = from_csv(f"component,state\nweb0,0\n{row}\nweb2,2\n")
    assert found[1] == Unreadable(3, "more or fewer cells than the header has")
    assert found[2] == {"component": "web2", "state": "2"}


def test_csv_that_is_none() -> None:
    (found,) = from_csv('component\n"open\n')
    assert isinstance(found, Unreadable)
    assert found.reason.startswith("not CSV: ")


@pytest.mark.parametrize("header", ["", "host,state", "component,component", "component,,state"])
def test_csv_headers_of_no_use(header: str) -> None:
    with pytest.raises(InputError, match=r"CSV header: .* component among them"):
        from_csv(f"{header}\nweb1,1\n")


@given(st.text())
def test_no_csv_raises_anything_else(text: str) -> None:
    try:
        from_csv(text)
    except InputError:
        return
