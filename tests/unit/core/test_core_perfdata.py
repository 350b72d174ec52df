"""Nagios performance data: the whole grammar, both ways, and nothing but InvalidEvent for the rest."""

from __future__ import annotations

from typing import Any

import pytest
from core_samples import any_texts, anything, finite, names
from hypothesis import given
from hypothesis import strategies as st

from canopsis.core import perfdata
from canopsis.core.perfdata import MAX_ITEMS, PerfData, Range, items_of, number_text, parse
from canopsis.errors import InvalidEvent


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", []),
        ("   ", []),
        ("load1=0.25", [PerfData("load1", 0.25)]),
        ("a=5;", [PerfData("a", 5)]),
        ("a=5;;;;", [PerfData("a", 5)]),
        ("a=5;;;;10", [PerfData("a", 5, max=10)]),
        ("a=5;;;;10;", [PerfData("a", 5, max=10)]),
        ("a=U", []),
        ("a=U;1;2 b=1", [PerfData("b", 1)]),
        ("a=Us b=2", [PerfData("b", 2)]),
        ("a=1;;;U;U", [PerfData("a", 1)]),
        ("size=2102B;;;0", [PerfData("size", 2102, "B", min=0)]),
        ("/=2643MB;5948;5958;0;5968", [PerfData("/", 2643, "MB", "5948", "5958", 0, 5968)]),
        (
            "rta=0.037000ms;3000.000000;5000.000000;0.000000 pl=0%;80;100;0",
            [PerfData("rta", 0.037, "ms", "3000.000000", "5000.000000", 0), PerfData("pl", 0, "%", "80", "100", 0)],
        ),
        ("'C:\\ used'=12,5GB;;;0;50", [PerfData("C:\\ used", 12.5, "GB", min=0, max=50)]),
        ('"C:\\ used"=1', [PerfData("C:\\ used", 1)]),
        ("'it''s'=1", [PerfData("it's", 1)]),
        ("''''=1", [PerfData("'", 1)]),
        ("'a=b'=1", [PerfData("a=b", 1)]),
        ("time[ms]=12;10;20", [PerfData("time", 12, "ms", "10", "20")]),
        ("'time[ms]'=12", [PerfData("time[ms]", 12)]),
        ("time[ms]=12s", [PerfData("time[ms]", 12, "s")]),
        ("a[]=1", [PerfData("a[]", 1)]),
        ("a=1;10:20;~:30;0;100", [PerfData("a", 1, None, "10:20", "~:30", 0, 100)]),
        ("a=1;10:;@5", [PerfData("a", 1, None, "10:", "@5")]),
        ("a=1;@10:20;:7", [PerfData("a", 1, None, "@10:20", ":7")]),
        ("a=1;-5:-1", [PerfData("a", 1, None, "-5:-1")]),
        ("a=1e5", [PerfData("a", 100000)]),
        ("a=1.5E-3s", [PerfData("a", 0.0015, "s")]),
        ("a=-.5 b=+5. c=,5", [PerfData("a", -0.5), PerfData("b", 5), PerfData("c", 0.5)]),
        ("a=1   b=2\tc=3\n", [PerfData("a", 1), PerfData("b", 2), PerfData("c", 3)]),
        ("a=1, b=2; c=3", [PerfData("a", 1), PerfData("b", 2), PerfData("c", 3)]),
        ("a=1,2=3", [PerfData("a", 1), PerfData("2", 3)]),
        ("a=95%;80%;90%;0%;100%", [PerfData("a", 95, "%", "80", "90", 0, 100)]),
        ("a=1;1,5;2,5:3", [PerfData("a", 1, None, "1.5", "2.5:3")]),
        ("bytes=5B/s t=5µs deg=20°C", [PerfData("bytes", 5, "B/s"), PerfData("t", 5, "µs"), PerfData("deg", 20, "°C")]),
        ("mémoire=5", [PerfData("mémoire", 5)]),
        ("a=1c", [PerfData("a", 1, "c")]),
    ],
)
def test_what_the_grammar_takes(text: str, expected: list[PerfData]) -> None:
    assert parse(text) == expected


def test_items_joined_by_commas_come_apart() -> None:
    text = (
        "/=2643MB;5948;5958;0;5968,/boot=68MB;88;93;0;98,"
        "/home=69357MB;253404;253409;0;253414,/var/log=818MB;970;975;0;980"
    )
    assert parse(text) == [
        PerfData("/", 2643, "MB", "5948", "5958", 0, 5968),
        PerfData("/boot", 68, "MB", "88", "93", 0, 98),
        PerfData("/home", 69357, "MB", "253404", "253409", 0, 253414),
        PerfData("/var/log", 818, "MB", "970", "975", 0, 980),
    ]


@pytest.mark.parametrize(
    "text",
    [
        "bad string",
        "a",
        "=1",
        "a=",
        "a=x",
        "a=1;x",
        "a=1;;;x",
        "a=1;2;3;4;5;6",
        "a=1;20:10",
        "a=1;@",
        "a=1;;~",
        "a b=1",
        "'a=1",
        '"a=1',
        "''=1",
        '""=1',
        "' '=1",
        "'a'b=1",
        "it's=1",
        "a=1e999",
        "a=1;;;-1e999",
        "a=1;1e999:1",
        "a==1",
        "a=1 =2",
        "'a\0b'=1",
        "'" + "x" * 256 + "'=1",
        "a=1" + "u" * 33,
        "a=1.2.3",
        "a=--1",
        "a=nan",
        "a=inf",
        "a=1\0",
    ],
)
def test_what_the_grammar_refuses(text: str) -> None:
    with pytest.raises(InvalidEvent) as caught:
        parse(text)
    assert caught.value.field.startswith("perf_data")


@pytest.mark.parametrize("value", [None, 5, b"a=1", ["a=1"], {}, "a=1 " * 20_000])
def test_perf_data_is_a_text_that_is_not_endless(value: object) -> None:
    with pytest.raises(InvalidEvent) as caught:
        parse(value)
    assert caught.value.field == "perf_data"


def test_the_number_of_values_is_bounded() -> None:
    text = " ".join(f"m{number}=1" for number in range(MAX_ITEMS))
    assert len(parse(text)) == MAX_ITEMS
    with pytest.raises(InvalidEvent, match="at most 256 times"):
        parse(f"{text} one=1")


def test_the_error_shows_the_place_and_the_metric() -> None:
    with pytest.raises(InvalidEvent) as caught:
        parse("a=1 b=x c=2")
    assert caught.value.value == "'b=x c=2'"
    with pytest.raises(InvalidEvent) as caught:
        parse("used=1;20:10")
    assert caught.value.field == "perf_data used warn"


@pytest.mark.parametrize(
    "text", ["a" * 60_000, "'" * 60_001, "a=" + "1" * 60_000 + "x1", "a=1;" * 15_000, "1,1" * 20_000]
)
def test_no_text_takes_long(text: str) -> None:
    """The grammar must not go back and forth: 60,000 characters would take for ever."""
    with pytest.raises(InvalidEvent):
        parse(text)


@given(any_texts)
def test_any_text_is_parsed_or_refused(text: str) -> None:
    try:
        items = parse(text)
    except InvalidEvent:
        return
    assert all(item.metric for item in items)


@given(st.text(alphabet="ab'\"=;:@~U0159.,eE-+%[] \t", max_size=30))
def test_texts_near_the_grammar_are_parsed_or_refused(text: str) -> None:
    try:
        items = parse(text)
    except InvalidEvent:
        return
    assert parse(perfdata.format(items)) == items


ranges = st.one_of(
    st.integers(0, 10**6).map(str),
    st.integers(-(10**6), 10**6).map("{}:".format),
    st.integers(-(10**6), 10**6).map("~:{}".format),
    st.tuples(st.integers(0, 1000), st.integers(1000, 2000)).map(lambda pair: f"@{pair[0]}:{pair[1]}"),
    st.tuples(finite, finite).map(lambda pair: f"{number_text(min(pair))}:{number_text(max(pair))}"),
)
units = st.sampled_from(["s", "ms", "µs", "%", "B", "KB", "MiB", "c", "B/s", "°C", "m2", "e", "eV", "U"])
labels = names | st.sampled_from(["it's", "a b", "''", "=", "C:\\ used", '"', "a[ms]", "é à"])
perf_items = st.builds(
    PerfData,
    metric=labels,
    value=finite,
    unit=st.none() | units,
    warn=st.none() | ranges,
    crit=st.none() | ranges,
    min=st.none() | finite,
    max=st.none() | finite,
)


@given(st.lists(perf_items, max_size=5))
def test_what_is_formatted_is_parsed_back(items: list[PerfData]) -> None:
    assert parse(perfdata.format(items)) == items


@pytest.mark.parametrize(
    ("item", "text"),
    [
        (PerfData("a", 5), "a=5"),
        (PerfData("a", 0.25, "s"), "a=0.25s"),
        (PerfData("a b", 5, "B", "10:20", None, 0, 100), "'a b'=5B;10:20;;0;100"),
        (PerfData("it's", 5, None, None, "@5"), "'it''s'=5;;@5"),
        (PerfData("a", 1e20, None, None, None, None, 1e-7), "a=1e+20;;;;1e-07"),
    ],
)
def test_format_writes_the_shortest_text(item: PerfData, text: str) -> None:
    assert perfdata.format([item]) == text


@given(finite)
def test_a_number_reads_back_as_itself(value: float) -> None:
    assert float(number_text(value)) == value


@pytest.mark.parametrize(
    ("text", "alerts", "quiet"),
    [
        ("10", [-1, 11], [0, 5, 10]),
        ("10:", [9], [10, 1e9]),
        ("~:10", [11], [-1e9, 10]),
        ("10:20", [9, 21], [10, 20]),
        ("@10:20", [10, 15, 20], [9, 21]),
        ("@5", [0, 5], [-1, 6]),
        (":7", [-1, 8], [0, 7]),
        ("-5:-1", [0, -6], [-5, -1]),
        ("1,5", [2], [1.5]),
    ],
)
def test_when_a_range_alerts(text: str, alerts: list[float], quiet: list[float]) -> None:
    threshold = Range.parse(text)
    assert all(threshold.alerts(value) for value in alerts)
    assert not any(threshold.alerts(value) for value in quiet)


def test_the_parts_of_a_range() -> None:
    assert Range.parse("10:20") == Range(10, 20)
    assert Range.parse("@~:20") == Range(float("-inf"), 20, inside=True)
    assert Range.parse("10:") == Range(10, float("inf"))
    assert Range.parse("10:20").contains(10)
    assert not Range.parse("@10:20").contains(21)


@pytest.mark.parametrize("text", ["", "@", "x", "20:10", "1:2:3", "~", "@~", "10 :20", "1e999:5"])
def test_ranges_that_are_none(text: str) -> None:
    with pytest.raises(InvalidEvent) as caught:
        Range.parse(text, "warn")
    assert caught.value.field == "warn"


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        ({"metric": "a", "value": 5}, PerfData("a", 5.0)),
        ({"metric": "a", "value": 5, "unit": "s"}, PerfData("a", 5.0, "s")),
        ({"metric": "a", "value": 5, "unit": ""}, PerfData("a", 5.0)),
        ({"metric": "a", "value": 5, "unit": None, "warn": None, "min": None}, PerfData("a", 5.0)),
        (
            {"metric": "a", "value": -0.5, "warn": "10:20", "crit": 30, "min": 0, "max": 1.5, "type": "DERIVE"},
            PerfData("a", -0.5, None, "10:20", "30", 0.0, 1.5, "DERIVE"),
        ),
        ({"metric": "a", "value": 5, "warn": "", "crit": "", "min": "", "max": ""}, PerfData("a", 5.0)),
        ({"metric": "a", "value": 5, "retention": 3600}, PerfData("a", 5.0)),
        ({"metric": "a", "value": 5, "warn": "1,5", "crit": 2.5}, PerfData("a", 5.0, None, "1.5", "2.5")),
    ],
)
def test_an_item_of_the_array(raw: dict[str, Any], expected: PerfData) -> None:
    assert items_of([raw]) == [expected]


def test_items_whose_value_is_null_are_left_out() -> None:
    assert items_of([{"metric": "a", "value": None}, {"metric": "b", "value": 1}]) == [PerfData("b", 1.0)]


@pytest.mark.parametrize(
    ("value", "field"),
    [
        ("a=1", "perf_data_array"),
        ({"metric": "a", "value": 1}, "perf_data_array"),
        ([{"metric": f"m{n}", "value": 1} for n in range(257)], "perf_data_array"),
        ([5], "perf_data_array[0]"),
        ([{"metric": "a", "value": 1}, []], "perf_data_array[1]"),
        ([{}], "perf_data_array[0].metric"),
        ([{"value": 1}], "perf_data_array[0].metric"),
        ([{"metric": "", "value": 1}], "perf_data_array[0].metric"),
        ([{"metric": "a\0", "value": 1}], "perf_data_array[0].metric"),
        ([{"metric": "x" * 256, "value": 1}], "perf_data_array[0].metric"),
        ([{"metric": 5, "value": 1}], "perf_data_array[0].metric"),
        ([{"metric": "\ud800", "value": 1}], "perf_data_array[0].metric"),
        ([{"metric": "a"}], "perf_data_array[0].value"),
        ([{"metric": "a", "value": "5"}], "perf_data_array[0].value"),
        ([{"metric": "a", "value": True}], "perf_data_array[0].value"),
        ([{"metric": "a", "value": float("nan")}], "perf_data_array[0].value"),
        ([{"metric": "a", "value": float("inf")}], "perf_data_array[0].value"),
        ([{"metric": "a", "value": 10**400}], "perf_data_array[0].value"),
        ([{"metric": "a", "value": [1]}], "perf_data_array[0].value"),
        ([{"metric": "a", "value": 1, "unit": 5}], "perf_data_array[0].unit"),
        ([{"metric": "a", "value": 1, "unit": "a b"}], "perf_data_array[0].unit"),
        ([{"metric": "a", "value": 1, "unit": "e5"}], "perf_data_array[0].unit"),
        ([{"metric": "a", "value": 1, "unit": "u" * 33}], "perf_data_array[0].unit"),
        ([{"metric": "a", "value": 1, "warn": "x"}], "perf_data_array[0].warn"),
        ([{"metric": "a", "value": 1, "warn": True}], "perf_data_array[0].warn"),
        ([{"metric": "a", "value": 1, "warn": "1" * 256}], "perf_data_array[0].warn"),
        ([{"metric": "a", "value": 1, "crit": float("nan")}], "perf_data_array[0].crit"),
        ([{"metric": "a", "value": 1, "crit": {}}], "perf_data_array[0].crit"),
        ([{"metric": "a", "value": 1, "min": "0"}], "perf_data_array[0].min"),
        ([{"metric": "a", "value": 1, "max": []}], "perf_data_array[0].max"),
        ([{"metric": "a", "value": 1, "type": "gauge"}], "perf_data_array[0].type"),
        ([{"metric": "a", "value": 1, "type": []}], "perf_data_array[0].type"),
    ],
)
def test_an_array_that_is_refused(value: object, field: str) -> None:
    with pytest.raises(InvalidEvent) as caught:
        items_of(value)
    assert caught.value.field == field


near_items = st.dictionaries(
    st.sampled_from(["metric", "value", "unit", "warn", "crit", "min", "max", "type"]), anything | finite | names
)


@given(anything | st.lists(near_items, max_size=3))
def test_any_array_is_taken_or_refused(value: object) -> None:
    try:
        items = items_of(value)
    except InvalidEvent as error:
        assert error.field.startswith("perf_data_array")
        return
    assert parse(perfdata.format(items)) == [PerfData(*_without_type(item)) for item in items]


def _without_type(item: PerfData) -> tuple[Any, ...]:
    return item.metric, item.value, item.unit, item.warn, item.crit, item.min, item.max
