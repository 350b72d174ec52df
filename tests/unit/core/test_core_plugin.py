"""The output of monitoring plugins taken apart."""

from __future__ import annotations

import pytest
from core_samples import texts
from hypothesis import given

from canopsis.core.notes import Notes
from canopsis.core.perfdata import parse
from canopsis.core.plugin import PluginOutput, parse_output


@pytest.mark.parametrize(
    ("text", "output", "long_output", "perf_data"),
    [
        ("", "", "", ""),
        ("OK", "OK", "", ""),
        ("OK - load 0.1\n", "OK - load 0.1", "", ""),
        ("test OK: test |size=2102B;;;0", "test OK: test", "", "size=2102B;;;0"),
        ("OK | a=1 b=2\n", "OK", "", "a=1 b=2"),
        ("OK | a=1\nfirst\nsecond | b=2\nc=3\n", "OK", "first\nsecond", "a=1  b=2 c=3"),
        ("OK\nfirst\nsecond", "OK", "first\nsecond", ""),
        ("OK\nfirst | b=2\nc=3", "OK", "first", "b=2 c=3"),
        ("OK | a=1\r\nlong\r\n", "OK", "long", "a=1"),
        ("| a=1", "", "", "a=1"),
        ("\n\nOK", "OK", "", ""),
    ],
)
def test_the_parts_of_an_output(text: str, output: str, long_output: str, perf_data: str) -> None:
    assert parse_output(text) == PluginOutput(output, long_output, perf_data)


def test_the_perf_data_of_all_lines_is_one_string_that_can_be_parsed() -> None:
    parts = parse_output("DISK OK | /=2643MB;5948;5958;0;5968\nall is well | /boot=68MB;88;93;0;98\n/home=69357MB")
    assert [(item.metric, item.value, item.unit) for item in parse(parts.perf_data, Notes())] == [
        ("/", 2643, "MB"),
        ("/boot", 68, "MB"),
        ("/home", 69357, "MB"),
    ]


@given(texts)
def test_every_text_has_parts(text: str) -> None:
    parts = parse_output(text)
    assert "|" not in parts.output
    assert "\n" not in parts.output
    assert "|" not in parts.long_output
    assert "\n" not in parts.perf_data
