"""Nagios performance data: the whole grammar, both ways; what cannot be read is named and loses nothing else."""

from __future__ import annotations

from typing import Any

import pytest
from core_samples import any_texts, anything, finite, names
from hypothesis import given
from hypothesis import strategies as st

from canopsis.core import perfdata
from canopsis.core.notes import LONGEST, Notes
from canopsis.core.perfdata import MAX_ITEMS, MAX_TEXT, PerfData, Range, number_text
from canopsis.errors import InvalidEvent


def read(text: object) -> tuple[list[PerfData], list[str]]:
    """Return the values of a text, and what is said of the others."""
    notes = Notes()
    return perfdata.parse(text, notes), notes.texts()


def parse(text: object) -> list[PerfData]:
    """Return the values of a text of which all is good."""
    items, warnings = read(text)
    assert warnings == []
    return items


def read_array(value: object) -> tuple[list[PerfData], list[str]]:
    notes = Notes()
    return perfdata.items_of(value, notes), notes.texts()


def items_of(value: object) -> list[PerfData]:
    items, warnings = read_array(value)
    assert warnings == []
    return items


def simple(items: list[PerfData]) -> list[tuple[str, float]]:
    return [(item.metric, item.value) for item in items]


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
        ("a=-.5 b=+5.", [PerfData("a", -0.5), PerfData("b", 5)]),
        ("a=U% b=UB c=1", [PerfData("c", 1)]),
        ("a=1\u00a0b=2", [PerfData("a", 1), PerfData("b", 2)]),
        ("v=3m3 w=2m²", [PerfData("v", 3, "m3"), PerfData("w", 2, "m²")]),
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
        "'a=1",
        '"a=1',
        "''=1",
        '""=1',
        "' '=1",
        "'a'b=1",
        "it's=1",
        "a=1e999",
        "a==1",
        "'a\0b'=1",
        "'" + "x" * 256 + "'=1",
        "a=1" + "u" * 33,
        "a=1.2.3",
        "a=--1",
        "a=nan",
        "a=inf",
        "a=,5",
        "a=1\0",
    ],
)
def test_c1_what_cannot_be_read_is_named_and_what_stands_around_is_kept(text: str) -> None:
    items, warnings = read(text)
    assert items == []
    [warning] = warnings
    assert warning.startswith("perf_data")
    items, warnings = read(f"before=1;2;3 {text} 'after it'=2")
    assert simple(items) == [("before", 1), ("after it", 2)]
    assert len(warnings) == 1


@pytest.mark.parametrize(
    ("text", "expected", "told"),
    [
        ("count=339 source=cli failed=1", [("count", 339), ("failed", 1)], ["source=cli"]),
        ("'Hit'=0.2%;; 'Byte'=%;;", [("Hit", 0.2)], ["Byte=%;;"]),
        ("ok=4 max=NaN", [("ok", 4)], ["max=NaN"]),
        ("ok=4 max=-Infinity min=1", [("ok", 4), ("min", 1)], ["max=-Infinity"]),
        ('a=1 "some text" b=2 "x=3 y" c=4', [("a", 1), ("b", 2), ("c", 4)], ["some text", "x=3 y"]),
        ("a=1 =2 b=3", [("a", 1), ("b", 3)], ["=2"]),
        ("a=1.2.3,b=2", [("b", 2)], ["a=1.2.3"]),
        ("a=x time[ms]=5;y;3", [("time", 5)], ["a=x", "y"]),
        ("free=1 234MB used=5", [("free", 1), ("used", 5)], ["234MB"]),
        ("it was 3 o'clock 'a'=1", [("a", 1)], ["it was 3 o'clock"]),
        ("words u=U 'a'=1", [("a", 1)], ["words"]),
        ("u=U;x b=1", [("b", 1)], []),
        ("x''y=1 b=2", [("b", 2)], ["x''y=1"]),
    ],
)
def test_c1_good_values_survive_beside_bad_ones(text: str, expected: list[Any], told: list[str]) -> None:
    items, warnings = read(text)
    assert simple(items) == expected
    assert len(warnings) == len(told)
    assert all(each in warning for each, warning in zip(told, warnings, strict=True))


@pytest.mark.parametrize(
    ("text", "expected", "told"),
    [
        ("a=0;-1;2", PerfData("a", 0, None, None, "2"), "perf_data a warn: '-1'"),
        ("a=0;1;20:10;0;9", PerfData("a", 0, None, "1", None, 0, 9), "perf_data a crit: '20:10'"),
        ("a=1;x;2", PerfData("a", 1, None, None, "2"), "perf_data a warn: 'x'"),
        ("a=1;@", PerfData("a", 1), "perf_data a warn: '@'"),
        ("a=1;;~", PerfData("a", 1), "perf_data a crit: '~'"),
        ("a=1s;;;x;5s", PerfData("a", 1, "s", max=5), "perf_data a min: 'x'"),
        ("a=1;;;-1e999", PerfData("a", 1), "perf_data a min: '-1e999'"),
        ("a=1;1e999:1", PerfData("a", 1), "perf_data a warn: '1e999:1'"),
        ("a=1;;;U;;9", PerfData("a", 1), "perf_data a: '1;;;U;;9' has more parts"),
        ("a=1;0:,5;3", PerfData("a", 1, None, None, "3"), "perf_data a warn: '0:,5'"),
    ],
)
def test_c1_a_bad_threshold_does_not_cost_its_value(text: str, expected: PerfData, told: str) -> None:
    items, [warning] = read(f"{text} b=2")
    assert items == [expected, PerfData("b", 2)]
    assert warning.startswith(told)


def test_c1_labels_with_blanks_and_without_quotes() -> None:
    items, warnings = read("d:\\ Used=75.4Gb;90;95 Memory usage=1973Mb 'C: x'=1")
    assert items == [
        PerfData("d:\\ Used", 75.4, "Gb", "90", "95"),
        PerfData("Memory usage", 1973, "Mb"),
        PerfData("C: x", 1),
    ]
    assert [warning.partition(";")[0] for warning in warnings] == [
        "perf_data: 'd:\\\\ Used' is taken as one label",
        "perf_data: 'Memory usage' is taken as one label",
    ]


@pytest.mark.parametrize("words", ["x " * 200, "\u3164 " + "x" * 255 + " ", "5 ", '"a" '])
def test_words_that_cannot_be_of_the_label_are_left_out(words: str) -> None:
    items, warnings = read(f"{words}a=1")
    assert simple(items) == [("a", 1)]
    assert len(warnings) == 1


def test_words_that_cannot_be_seen_are_of_no_label() -> None:
    items, _ = read("\u3164 =1 b=2")
    assert simple(items) == [("b", 2)]
    items, warnings = read("a\x01 b=2")
    assert (simple(items), len(warnings)) == ([("b", 2)], 1)


@pytest.mark.parametrize(
    "text",
    [
        "free=1\u00a0234MB",
        "free=1\u202f234MB",
        "free=1\u2009234",
        "free=1\u2019234MB",
        "free=1'234MB",
        "free=1_234MB",
        "free=1,234,567",
        "ha.state=UP",
        "ha.state=Up",
        "a=UNKNOWN",
    ],
)
def test_c2_a_number_that_is_not_clear_is_told_and_never_stored_wrong(text: str) -> None:
    items, [warning] = read(f"{text} b=2")
    assert simple(items) == [("b", 2)]
    assert "is left out" in warning


@pytest.mark.parametrize("value", [None, 5, b"a=1", ["a=1"], {}])
def test_perf_data_is_a_text(value: object) -> None:
    items, [warning] = read(value)
    assert items == []
    assert warning.startswith("perf_data: ")


def test_an_endless_text_is_read_up_to_a_limit() -> None:
    items, warnings = read(f"{'x' * MAX_TEXT} a=1")
    assert items == []
    assert "are too many" in warnings[0]
    items, warnings = read(f"a=1 {'x' * 9} " + " " * MAX_TEXT)
    assert simple(items) == [("a", 1)]


def test_c1_a_switch_of_many_ports_keeps_all_its_values() -> None:
    text = " ".join(f"port{number}=1" for number in range(MAX_ITEMS))
    assert len(parse(text)) == MAX_ITEMS == 4096
    items, [warning] = read(f"{text} one=1 two=x")
    assert len(items) == MAX_ITEMS
    assert warning.startswith("perf_data: 'one=1 two=x' and what follows is left out; allowed: 4096 values")
    items, _ = read(f"one=1 two=x {text}")
    assert len(items) == MAX_ITEMS


def test_the_warning_names_the_value() -> None:
    _, [warning] = read("a=1 b=x c=2")
    assert warning.startswith("perf_data: 'b=x' is left out; allowed: label=value[unit]")


@pytest.mark.parametrize(
    "text",
    [
        "a" * 60_000,
        "'" * 60_001,
        "a=" + "1" * 60_000 + "x1",
        "a=1;" * 15_000,
        "1,1" * 20_000,
        ("' " + "''" + "' ") * 10_000,
        '"a ' * 20_000,
        "x " * 30_000,
        "x=y " * 15_000,
        "a b=1 " * 10_000,
        "a=x" + ",1" * 30_000,
        "a=1\u00a0" * 15_000,
        "1,aaaaaaaa" * 6_000,
    ],
)
def test_c1_no_text_takes_long(text: str) -> None:
    """The grammar must not go back and forth: 60,000 characters would take for ever."""
    _, warnings = read(text)
    assert warnings or text.startswith("a=1")
    assert all(len(warning) <= LONGEST for warning in warnings)


@given(any_texts)
def test_c1_any_text_is_read(text: str) -> None:
    items, warnings = read(text)
    assert all(item.metric for item in items)
    assert all(warning.encode() for warning in warnings)


@given(st.text(alphabet="ab'\"=;:@~U0159.,eE-+%[] \t\u00a0", max_size=30))
def test_texts_near_the_grammar_are_read(text: str) -> None:
    items, _ = read(text)
    assert parse(perfdata.format(items)) == items


junk = st.sampled_from(["x=y", "a=", "=5", "m=NaN", '"a text"', "k=1.2.3", "s=1\u202f234", "t='x'", "12", "o'clock"])


@given(st.data(), st.lists(st.integers(0, 9), min_size=1, max_size=6))
def test_c1_every_quoted_value_among_junk_survives(data: st.DataObject, values: list[int]) -> None:
    good = [f"'label {place}'={value}" for place, value in enumerate(values)]
    around = [" ".join([*data.draw(st.lists(junk, max_size=3)), each]) for each in good]
    items, _ = read(" ".join([*around, *data.draw(st.lists(junk, max_size=3))]))
    assert simple(items) == [(f"label {place}", value) for place, value in enumerate(values)]


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
    ("value", "expected"),
    [("42.5", 42.5), (" -1e3 ", -1000), ("5,5", 5.5)],
)
def test_b10_a_number_as_a_text_is_taken(value: str, expected: float) -> None:
    assert items_of([{"metric": "a", "value": value, "min": value}]) == [PerfData("a", expected, min=expected)]


def test_an_empty_value_is_not_known() -> None:
    assert items_of([{"metric": "a", "value": ""}, {"metric": "b", "value": 0}]) == [PerfData("b", 0)]


@pytest.mark.parametrize(
    ("value", "field"),
    [
        ("a=1", "perf_data_array"),
        ({"metric": "a", "value": 1}, "perf_data_array"),
        ([5], "perf_data_array[0]"),
        ([{}], "perf_data_array[0].metric"),
        ([{"value": 1}], "perf_data_array[0].metric"),
        ([{"metric": "", "value": 1}], "perf_data_array[0].metric"),
        ([{"metric": "a\0b", "value": 1}], "perf_data_array[0].metric"),
        ([{"metric": "x" * 256, "value": 1}], "perf_data_array[0].metric"),
        ([{"metric": True, "value": 1}], "perf_data_array[0].metric"),
        ([{"metric": "a"}], "perf_data_array[0].value"),
        ([{"metric": "a", "value": "x"}], "perf_data_array[0].value"),
        ([{"metric": "a", "value": "1" * 400}], "perf_data_array[0].value"),
        ([{"metric": "a", "value": True}], "perf_data_array[0].value"),
        ([{"metric": "a", "value": float("nan")}], "perf_data_array[0].value"),
        ([{"metric": "a", "value": float("inf")}], "perf_data_array[0].value"),
        ([{"metric": "a", "value": 10**400}], "perf_data_array[0].value"),
        ([{"metric": "a", "value": [1]}], "perf_data_array[0].value"),
    ],
)
def test_c1_an_item_that_cannot_be_read_is_named_and_the_others_are_kept(value: object, field: str) -> None:
    items, [warning] = read_array(value)
    assert items == []
    assert warning.startswith(f"{field}: ")
    if isinstance(value, list):
        items, [warning] = read_array([{"metric": "b", "value": 1}, *value, {"metric": "c", "value": 2}])
        assert simple(items) == [("b", 1), ("c", 2)]


@pytest.mark.parametrize(
    ("part", "field"),
    [
        ({"unit": 5}, "unit"),
        ({"unit": "a b"}, "unit"),
        ({"unit": "e5"}, "unit"),
        ({"unit": "u" * 33}, "unit"),
        ({"warn": "x"}, "warn"),
        ({"warn": True}, "warn"),
        ({"warn": "1" * 256}, "warn"),
        ({"crit": float("nan")}, "crit"),
        ({"crit": {}}, "crit"),
        ({"min": "x"}, "min"),
        ({"max": []}, "max"),
        ({"type": "gauge"}, "type"),
        ({"type": []}, "type"),
    ],
)
def test_c1_a_bad_part_of_an_item_does_not_cost_its_value(part: dict[str, Any], field: str) -> None:
    items, [warning] = read_array([{"metric": "a", "value": 1, "max": 9} | part])
    assert simple(items) == [("a", 1)]
    assert warning.startswith(f"perf_data_array[0].{field}: ")


def test_a_metric_is_trimmed_and_a_number_becomes_its_text() -> None:
    assert simple(items_of([{"metric": " a ", "value": 1}, {"metric": 80, "value": 2}])) == [("a", 1), ("80", 2)]
    items, [_] = read_array([{"metric": 80, "value": 2, "unit": 5}])
    assert items == [PerfData("80", 2)]


def test_c1_more_than_the_most_values_of_an_array_are_told() -> None:
    items, [warning] = read_array([{"metric": f"m{n}", "value": 1} for n in range(MAX_ITEMS + 1)])
    assert len(items) == MAX_ITEMS
    assert "4097 values" in warning


near_items = st.dictionaries(
    st.sampled_from(["metric", "value", "unit", "warn", "crit", "min", "max", "type"]), anything | finite | names
)


@given(anything | st.lists(near_items, max_size=3))
def test_any_array_is_read(value: object) -> None:
    items, _ = read_array(value)
    assert parse(perfdata.format(items)) == [PerfData(*_without_type(item)) for item in items]


def _without_type(item: PerfData) -> tuple[Any, ...]:
    return item.metric, item.value, item.unit, item.warn, item.crit, item.min, item.max
