"""collectd's messages become perf events; what is wrong with a line is said in its place."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from canopsis.core.event_types.perf import Perf
from canopsis.core.normalise import decode, normalise
from canopsis.core.perfdata import PerfData
from canopsis.errors import InvalidEvent
from canopsis.sources.collectd import UNKNOWN, Mapped, ValueList, map_message, parse_putval
from canopsis.sources.rates import FIRST, WENT_BACK, Counters
from canopsis.sources.types_db import default_types

NOW = 1_700_000_000.0
AT = 1_699_999_000


def mapped(body: bytes | str, counters: Counters | None = None) -> list[Mapped]:
    data = body.encode() if isinstance(body, str) else body
    return map_message(data, NOW, default_types(), Counters() if counters is None else counters)


def only(body: bytes | str, counters: Counters | None = None) -> Mapped:
    (result,) = mapped(body, counters)
    return result


def event_of(result: Mapped) -> Perf:
    assert result.error is None
    assert isinstance(result.event, Perf)
    return result.event


def values(result: Mapped) -> dict[str, float]:
    return {item.metric: item.value for item in event_of(result).perf_data_array}


def json_list(**changes: Any) -> bytes:
    raw: dict[str, Any] = {
        "values": [1.5],
        "dstypes": ["gauge"],
        "dsnames": ["value"],
        "time": AT + 0.25,
        "interval": 10.0,
        "host": "srv1",
        "plugin": "memory",
        "plugin_instance": "",
        "type": "memory",
        "type_instance": "used",
    }
    return msgspec.json.encode([{key: value for key, value in (raw | changes).items() if value != "absent"}])


def test_a_gauge_becomes_an_event_of_the_plugin_on_the_host() -> None:
    event = event_of(only(f"PUTVAL srv1/memory/memory-used interval=10.000 {AT}.250:1024"))
    assert (event.connector, event.connector_name) == ("collectd", "collectd")
    assert (event.component, event.resource, event.source_type) == ("srv1", "memory", "resource")
    assert event.entity_id == "resource:srv1/memory"
    assert event.timestamp == AT + 0.25
    assert event.perf_data_array == [PerfData("used", 1024, "B", min=0, max=2**48)]


@pytest.mark.parametrize(
    ("identifier", "count", "resource", "metrics"),
    [
        ("cpu-0/cpu-user", 1, "cpu-0", ["user"]),
        ("load/load", 3, "load", ["load-shortterm", "load-midterm", "load-longterm"]),
        ("interface-eth0/if_octets", 2, "interface-eth0", ["if_octets-rx", "if_octets-tx"]),
        ("interface/if_octets-eth0", 2, "interface", ["eth0-rx", "eth0-tx"]),
        ("df/df-root", 2, "df", ["root-used", "root-free"]),
        ("df/df-var-lib-mongo", 2, "df", ["var-lib-mongo-used", "var-lib-mongo-free"]),
        ("df-root/df_complex-free", 1, "df-root", ["free"]),
        ("df-root/df_inodes-free", 1, "df-root", ["df_inodes-free"]),
        ("df-root/percent_bytes-free", 1, "df-root", ["percent_bytes-free"]),
        ("cpu-0/percent-user", 1, "cpu-0", ["percent-user"]),
        ("disk-sda/disk_ops", 2, "disk-sda", ["disk_ops-read", "disk_ops-write"]),
        ("memory/memory-used", 1, "memory", ["used"]),
        ("uptime/uptime", 1, "uptime", ["uptime"]),
        ("users/users", 1, "users", ["users"]),
        ("sensors-a-b/temperature-core/1", 1, "sensors-a-b", ["core/1"]),
    ],
)
def test_the_names_of_resources_and_metrics(identifier: str, count: int, resource: str, metrics: list[str]) -> None:
    counters = Counters()
    only(f"PUTVAL srv1/{identifier} {AT}" + ":1" * count, counters)
    result = only(f"PUTVAL srv1/{identifier} {AT + 10}" + ":1" * count, counters)
    assert event_of(result).resource == resource
    assert list(values(result)) == metrics


@pytest.mark.parametrize(
    ("identifier", "unit"),
    [
        ("memory/memory-used", "B"),
        ("df/df_complex-free", "B"),
        ("cpu-0/percent-user", "%"),
        ("uptime/uptime", "s"),
        ("users/users", None),
    ],
)
def test_the_unit_is_told_where_it_is_known(identifier: str, unit: str | None) -> None:
    event = event_of(only(f"PUTVAL srv1/{identifier} {AT}:1"))
    assert [item.unit for item in event.perf_data_array] == [unit]


def test_octets_are_bytes_a_second() -> None:
    counters = Counters()
    only(f"PUTVAL h/interface-eth0/if_octets {AT}:1000:0", counters)
    event = event_of(only(f"PUTVAL h/interface-eth0/if_octets {AT + 10}:3000:0", counters))
    assert event.perf_data_array == [PerfData("if_octets-rx", 200, "B/s"), PerfData("if_octets-tx", 0, "B/s")]


def test_the_first_value_of_a_counter_gives_no_event_and_says_why() -> None:
    result = only(f"PUTVAL h/cpu-0/cpu-user {AT}:100")
    assert (result.event, result.error) == (None, None)
    assert result.notes == (f"user: {FIRST}",)


def test_every_kind_of_value_of_a_type() -> None:
    lines = ["derive/derive", "counter/counter", "absolute/absolute", "gauge/gauge"]
    counters = Counters()
    mapped("\n".join(f"PUTVAL h/{line} {AT}:100" for line in lines), counters)
    results = mapped("\n".join(f"PUTVAL h/{line} {AT + 10}:200" for line in lines), counters)
    assert [list(values(result).values()) for result in results] == [[10], [10], [20], [200]]


def test_a_counter_keeps_all_its_64_bits() -> None:
    counters = Counters()
    only(f"PUTVAL h/x/counter {AT}:{2**64 - 11}", counters)
    assert values(only(f"PUTVAL h/x/counter {AT + 1}:{2**64 - 1}", counters)) == {"counter": 10}


def test_a_value_that_is_missing_does_not_take_the_others_along() -> None:
    result = only(f"PUTVAL h/load/load {AT}:0.1:U:0.3")
    assert values(result) == {"load-shortterm": 0.1, "load-longterm": 0.3}
    assert result.notes == (f"load-midterm: {UNKNOWN}",)


@pytest.mark.parametrize("text", ["U", "u", "nan", "NaN", "-nan"])
def test_unknown_values_are_skipped(text: str) -> None:
    result = only(f"PUTVAL h/users/users {AT}:{text}")
    assert (result.event, result.notes) == (None, (f"users: {UNKNOWN}",))


def test_a_counter_that_went_back_is_said() -> None:
    counters = Counters()
    only(f"PUTVAL h/cpu-0/cpu-user {AT}:100", counters)
    assert only(f"PUTVAL h/cpu-0/cpu-user {AT + 10}:5", counters).notes == (f"user: {WENT_BACK}",)


@pytest.mark.parametrize(
    "line",
    [
        'PUTVAL "srv 1/a b-c/users-x y" interval=10 1699999000:5',
        r'PUTVAL "srv 1/a b-c/users-x y" "interval=10" 1699999000:5',
        'putval "srv 1/a b-c/users-x y" 1699999000:5',
        '  PUTVAL   "srv 1/a b-c/users-x y"\tinterval=0.5 meta:k=v 1699999000:5  ',
    ],
)
def test_identifiers_may_be_quoted_and_options_may_be_there(line: str) -> None:
    assert parse_putval(line, NOW) == [ValueList("srv 1", "a b-c", "users", "x y", AT, (5,))]


def test_e1_a_comma_of_a_foreign_locale_is_a_point() -> None:
    line = f"PUTVAL srv1/load/load interval=10,000 {AT},250:0,25:0,05:1e-3"
    event = event_of(only(line))
    assert event.timestamp == AT + 0.25
    assert [item.value for item in event.perf_data_array] == [0.25, 0.05, 0.001]


@pytest.mark.parametrize("text", ["1,000,000", "1,000.5", ",", "0,2,5"])
def test_e1_commas_that_are_no_point_are_not_guessed(text: str) -> None:
    assert only(f"PUTVAL srv1/memory/memory-used {AT}:{text}").error is not None


def test_quotes_and_backslashes_may_be_escaped() -> None:
    assert parse_putval(r'PUTVAL "h/p/users-\"a\\b\"" N:1', NOW)[0].type_instance == '"a\\b"'


def test_the_time_n_is_the_time_of_receipt() -> None:
    assert event_of(only("PUTVAL h/users/users N:5")).timestamp == NOW


def test_one_line_may_have_several_times() -> None:
    results = mapped(f"PUTVAL h/users/users interval=10 {AT}:5 {AT + 10}:6")
    assert [(event_of(result).timestamp, values(result)["users"]) for result in results] == [(AT, 5), (AT + 10, 6)]


def test_one_message_may_have_several_lines() -> None:
    body = f"PUTVAL h/users/users {AT}:5\r\n\r\nPUTVAL h/load/load {AT}:1:2:3\n\0\n"
    assert [event_of(result).resource for result in mapped(body)] == ["users", "load"]


def test_a_broken_line_does_not_take_the_others_along() -> None:
    results = mapped(f"PUTVAL h/users/users {AT}:5\nPUTVAL broken\nPUTVAL h/users/users {AT + 1}:6")
    assert [result.error is None for result in results] == [True, False, True]
    assert results[1].source == "PUTVAL broken"


def test_the_same_values_again_are_the_same_event() -> None:
    counters = Counters()
    line = f"PUTVAL h/interface-eth0/if_octets {AT + 10}:3000:0"
    only(f"PUTVAL h/interface-eth0/if_octets {AT}:1000:0", counters)
    assert only(line, counters) == only(line, counters)


def test_ids_differ_by_identifier_and_time() -> None:
    lines = [f"PUTVAL h/users/users {AT}:5", f"PUTVAL h/users/users {AT + 1}:5", f"PUTVAL g/users/users {AT}:5"]
    assert len({event_of(only(line)).event_id for line in lines}) == 3


def test_text_and_json_of_the_same_values_are_the_same_event() -> None:
    text = event_of(only(f"PUTVAL srv1/memory/memory-used {AT}.250:1.5"))
    assert event_of(only(json_list())) == text


REFUSED: dict[str, tuple[bytes, str]] = {
    "empty": (b"", "body"),
    "blank": (b" \n\t\r\n", "body"),
    "another command": (b"GETVAL h/users/users", "PUTVAL"),
    "only the command": (b"PUTVAL", "PUTVAL"),
    "no values": (b"PUTVAL h/users/users", "PUTVAL"),
    "no values but options": (b"PUTVAL h/users/users interval=10", "PUTVAL"),
    "no type": (b"PUTVAL h/users N:1", "PUTVAL identifier"),
    "no host": (b"PUTVAL /users/users N:1", "PUTVAL identifier"),
    "no plugin": (b"PUTVAL h//users N:1", "PUTVAL identifier"),
    "empty type": (b"PUTVAL h/users/ N:1", "PUTVAL identifier"),
    "unknown type": (b"PUTVAL h/users/nothing N:1", "type"),
    "an instance alone": (b"PUTVAL h/users/-a N:1", "type"),
    "too few values": (b"PUTVAL h/load/load N:1:2", "values"),
    "too many values": (b"PUTVAL h/users/users N:1:2", "values"),
    "no time": (b"PUTVAL h/users/users 5", "PUTVAL values"),
    "time is a word": (b"PUTVAL h/users/users now:5", "PUTVAL values"),
    "value is a word": (b"PUTVAL h/users/users N:five", "PUTVAL values"),
    "value is empty": (b"PUTVAL h/users/users N:", "PUTVAL values"),
    "value is infinite": (b"PUTVAL h/users/users N:inf", "PUTVAL values"),
    "value is beyond floats": (b"PUTVAL h/users/users N:1e999", "PUTVAL values"),
    "value is endless": (b"PUTVAL h/users/users N:" + b"9" * 5000, "PUTVAL values"),
    "value has underscores": (b"PUTVAL h/users/users N:1_0", "PUTVAL values"),
    "time is in 1970": (b"PUTVAL h/users/users 5:5", "timestamp"),
    "time is far ahead": (b"PUTVAL h/users/users 99999999999:5", "timestamp"),
    "time is beyond floats": (b"PUTVAL h/users/users 1e999:5", "timestamp"),
    "interval is a word": (b"PUTVAL h/users/users interval=often N:5", "PUTVAL interval"),
    "interval is 0": (b"PUTVAL h/users/users interval=0 N:5", "PUTVAL interval"),
    "unknown option": (b"PUTVAL h/users/users colour=red N:5", "PUTVAL option"),
    "an open quote": (b'PUTVAL "h/users/users N:5', "PUTVAL"),
    "bad UTF-8": (b"PUTVAL h\xff/users/users N:5", "PUTVAL"),
    "NUL in the host": (b"PUTVAL h\0/users/users N:5", "component"),
    "a host too long": (b"PUTVAL " + b"h" * 300 + b"/users/users N:5", "component"),
    "a key too long": (b"PUTVAL " + b"h" * 200 + b"/" + b"p" * 100 + b"/users N:5", "routing_key"),
    "a metric too long": (b"PUTVAL h/users/users-" + b"m" * 300 + b" N:5", "perf_data_array[0].metric"),
    "half of a JSON": (b'[{"values":', "body"),
    "JSON with bad UTF-8": (b'[{"host":"\xff"}]', "body"),
    "JSON 100,000 deep": (b"[" * 100_000, "body"),
    "JSON of numbers": (b"[1]", "body"),
    "JSON object alone without anything": (b"{}", "plugin"),
    "JSON without a host": (json_list(host="absent"), "host"),
    "JSON with an empty host": (json_list(host=""), "host"),
    "JSON host is a number": (json_list(host=5), "host"),
    "JSON without a plugin": (json_list(plugin=None), "plugin"),
    "JSON plugin instance is a list": (json_list(plugin_instance=[]), "plugin_instance"),
    "JSON without a type": (json_list(type="absent"), "type"),
    "JSON type instance is a number": (json_list(type_instance=5), "type_instance"),
    "JSON without values": (json_list(values="absent"), "values"),
    "JSON values are texts": (json_list(values=["1"]), "values"),
    "JSON values are true": (json_list(values=[True]), "values"),
    "JSON value is huge": (b'{"host":"h","plugin":"p","type":"users","values":[1' + b"0" * 400 + b"]}", "values"),
    "JSON too many values": (json_list(values=[1, 2]), "values"),
    "JSON time is a text": (json_list(time="now"), "time"),
    "JSON time is in 1970": (json_list(time=5), "timestamp"),
    "JSON dsnames is a text": (json_list(dsnames="value"), "dsnames"),
    "JSON dsnames are empty": (json_list(dsnames=[""]), "dsnames"),
    "JSON dstypes is a text": (json_list(dstypes="gauge"), "dstypes"),
    "JSON dstypes is unknown": (json_list(dstypes=["histogram"]), "dstypes"),
    "JSON dstypes are too many": (json_list(dstypes=["gauge", "gauge"]), "dstypes"),
    "JSON unknown type without sources": (json_list(type="nothing", dsnames="absent"), "type"),
}


@pytest.mark.parametrize(("body", "field"), REFUSED.values(), ids=REFUSED.keys())
def test_what_is_refused_names_what_is_wrong(body: bytes, field: str) -> None:
    counters = Counters()
    result = only(body, counters)
    assert isinstance(result.error, InvalidEvent)
    assert result.error.field == field
    assert (result.event, result.notes) == (None, ())
    assert counters.samples == {}


def test_a_refused_list_leaves_no_trace_in_the_counters() -> None:
    counters = Counters()
    result = only("PUTVAL h/cpu-0/cpu-user 5:100", counters)
    assert result.error is not None
    assert counters.samples == {}


def test_json_names_its_own_sources() -> None:
    result = only(json_list(type="mine", dsnames=["a", "b"], dstypes=["gauge", "GAUGE"], values=[1, 2]))
    assert values(result) == {"used-a": 1, "used-b": 2}


def test_json_of_rates_that_collectd_made_is_taken_as_it_is() -> None:
    result = only(json_list(plugin="cpu", plugin_instance="0", type="cpu", type_instance="user", values=[12.5]))
    assert event_of(result).resource == "cpu-0"
    assert values(result) == {"user": 12.5}


def test_json_counters_become_rates_within_the_bounds_of_their_type() -> None:
    counters = Counters()
    changes: dict[str, Any] = {"plugin": "cpu", "type": "cpu", "type_instance": "user", "dstypes": ["derive"]}
    only(json_list(**changes, values=[100], time=AT), counters)
    assert values(only(json_list(**changes, values=[200], time=AT + 10), counters)) == {"user": 10}
    assert only(json_list(**changes, values=[5], time=AT + 20), counters).notes == (f"user: {WENT_BACK}",)


def test_json_without_sources_or_time_is_read_with_types_db_and_now() -> None:
    result = only(json_list(dsnames="absent", dstypes="absent", time="absent", type_instance=None))
    assert values(result) == {"memory": 1.5}
    assert event_of(result).timestamp == NOW


def test_json_null_is_an_unknown_value() -> None:
    assert only(json_list(values=[None])).notes == (f"used: {UNKNOWN}",)


def test_json_elements_stand_for_themselves() -> None:
    body = b"[" + json_list()[1:-1] + b",5," + json_list(host="srv2")[1:-1] + b"]"
    results = mapped(body)
    assert [result.error is None for result in results] == [True, False, True]
    assert results[1].source == "[1]"
    assert results[2].source == "srv2/memory/memory-used"


def test_json_may_be_one_object() -> None:
    assert values(only(json_list()[1:-1])) == {"used": 1.5}


def test_an_empty_json_array_says_nothing() -> None:
    assert mapped(b"[]") == []


def test_an_event_goes_through_the_door_like_any_other() -> None:
    event = event_of(only(f"PUTVAL h/load/load {AT}:1:2:3"))
    (raw,) = decode(msgspec.json.encode(event))
    assert normalise(raw, NOW) == event


@pytest.mark.parametrize("name", sorted(default_types()))
def test_every_type_of_types_db_is_mapped(name: str) -> None:
    counters = Counters()
    sources = default_types()[name]
    for step in range(2):
        line = f"PUTVAL h/plugin/{name} {AT + 10 * step}" + f":{step + 1}" * len(sources)
        result = only(line, counters)
        assert result.error is None
    assert len(event_of(result).perf_data_array) == len(sources)


WORDS = ["PUTVAL", " ", "h/load/load", "h/cpu/cpu-a", '"', "\\", "N:1", ":1", "1699999000", "U", "interval=", "10"]
SIGNS = ["\n", "{", "[", "]", "}", "\0", "é", "/", "-", ":"]
lines = st.lists(st.sampled_from(WORDS + SIGNS), max_size=12).map("".join)


@given(lines.map(str.encode) | st.binary(max_size=60))
def test_any_bytes_are_mapped_or_refused(body: bytes) -> None:
    for result in mapped(body):
        assert (result.error is None) or (result.event is None and result.notes == ())
        assert result.error is not None or result.event is not None or result.notes


json_parts = st.dictionaries(
    st.sampled_from(
        ["values", "dstypes", "dsnames", "time", "host", "plugin", "plugin_instance", "type", "type_instance"]
    ),
    st.none()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.sampled_from(["a", "", "load", "gauge", "derive"])
    | st.lists(st.none() | st.integers(-5, 5) | st.sampled_from(["gauge", "a"]), max_size=3),
)


@given(st.lists(json_parts.map(lambda part: msgspec.json.decode(json_list())[0] | part), max_size=3))
def test_any_json_is_mapped_or_refused(elements: list[dict[str, Any]]) -> None:
    results = mapped(msgspec.json.encode(elements))
    assert len(results) == len(elements)
