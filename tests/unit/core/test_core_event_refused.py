"""What makes an event meaningless is refused, all else is mended; both name the field."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from core_samples import NOW, any_texts, anything, good, raw_check
from hypothesis import given
from hypothesis import strategies as st

from canopsis.core.body import encode
from canopsis.core.envelope import decode_batch
from canopsis.core.event import Action, Event, routing_key, to_document
from canopsis.core.extra import MAX_EXTRA
from canopsis.core.normalise import decode, normalise
from canopsis.core.notes import LONGEST, MOST
from canopsis.errors import InvalidEvent


def nested(depth: int) -> Any:
    value: Any = 1
    for level in range(depth):
        value = {"a": value} if level % 2 else [value]
    return value


def refusal(raw: Any) -> InvalidEvent:
    with pytest.raises(InvalidEvent) as caught:
        normalise(raw, NOW)
    return caught.value


BODIES: dict[str, tuple[bytes, str]] = {
    "empty": (b"", "body"),
    "blank": (b"  \n", "body"),
    "not JSON": (b"PUTVAL host/load/load N:1", "body"),
    "half of an object": (b'{"connector": "a"', "body"),
    "two objects": (b"{} {}", "body"),
    "a comma too many": (b'{"a":1,}', "body"),
    "a number": (b"5", "body"),
    "a text": (b'"check"', "body"),
    "null": (b"null", "body"),
    "no event at all": (b"[]", "body"),
    "array of arrays": (b"[[{}]]", "[0]"),
    "array of numbers": (b"[1,2]", "[0]"),
    "array with one text": (b'[{},{},"x"]', "[2]"),
    "bad UTF-8 outside of texts": (b"\xff\xfe{}", "body"),
    "UTF-16": ('{"a":1}'.encode("utf-16"), "body"),
    "a raw NUL": (b'{"component":"a\0b"}', "body"),
    "nothing but NUL": (b"\0" * 100, "body"),
    "arrays 100,000 deep": (b"[" * 100_000, "body"),
    "objects 100,000 deep": (b'{"a":' * 100_000, "body"),
    "BSON": (b"\x16\x00\x00\x00\x02a\x00\x02\x00\x00\x00b\x00\x00", "body"),
}


@pytest.mark.parametrize(("body", "field"), BODIES.values(), ids=BODIES.keys())
def test_a_body_that_is_refused(body: bytes, field: str) -> None:
    with pytest.raises(InvalidEvent) as caught:
        decode(body)
    assert caught.value.field == field
    assert caught.value.allowed
    assert len(str(caught.value)) < 400


EVENTS: dict[str, tuple[dict[str, Any], str]] = {
    "unknown type": ({"event_type": "nothing"}, "event_type"),
    "type in capitals": ({"event_type": "CHECK"}, "event_type"),
    "type is a number": ({"event_type": 5}, "event_type"),
    "type is a list": ({"event_type": ["check"]}, "event_type"),
    "no connector": ({"connector": None}, "connector"),
    "no connector_name": ({"connector_name": None}, "connector_name"),
    "no component": ({"component": None}, "component"),
    "no state": ({"state": None}, "state"),
    "no output of a comment": ({"event_type": "comment", "output": None}, "output"),
    "empty connector": ({"connector": ""}, "connector"),
    "blank component": ({"component": "  "}, "component"),
    "component is a list": ({"component": ["a"]}, "component"),
    "component with NUL": ({"component": "a\0"}, "component"),
    "component with a newline": ({"component": "a\nb"}, "component"),
    "component of 300 letters": ({"component": "x" * 300}, "component"),
    "routing key too long": ({"component": "x" * 200, "resource": "y" * 100}, "routing_key"),
    "routing key too long in UTF-8": ({"component": "é" * 130}, "routing_key"),
    "resource with a tab": ({"resource": "a\tb"}, "resource"),
    "no resource of a resource": ({"resource": None}, "resource"),
    "empty resource of a resource": ({"resource": ""}, "resource"),
    "resource of a component": ({"source_type": "component"}, "resource"),
    "state 7": ({"state": 7}, "state"),
    "state -1": ({"state": -1}, "state"),
    "state abc": ({"state": "abc"}, "state"),
    "state as a word": ({"state": "OK"}, "state"),
    "state 1.5": ({"state": 1.5}, "state"),
    "state true": ({"state": True}, "state"),
    "state NaN": ({"state": float("nan")}, "state"),
    "state infinite": ({"state": float("inf")}, "state"),
    "state is empty": ({"state": ""}, "state"),
    "state in other digits": ({"state": "٣"}, "state"),
    "state is a list": ({"state": [2]}, "state"),
    "state is huge": ({"state": 10**30}, "state"),
    "component is a fraction": ({"component": 1.5}, "component"),
    "component that cannot be seen": ({"component": "\u200b"}, "component"),
    "unknown scale": ({"state_scale": "mine"}, "state_scale"),
}


@pytest.mark.parametrize(("changes", "field"), EVENTS.values(), ids=EVENTS.keys())
def test_an_event_that_is_refused(changes: dict[str, Any], field: str) -> None:
    error = refusal(raw_check(**changes))
    assert error.field == field
    assert error.allowed
    assert len(str(error)) < 400
    str(error).encode()


@pytest.mark.parametrize("raw", [None, 5, "check", [], [{}], b"{}", ()])
def test_what_is_no_object_is_no_event(raw: object) -> None:
    assert refusal(raw).field == "event"


def test_b10_what_is_missing_is_named_all_of_it() -> None:
    error = refusal(raw_check(connector=None, perf_data_array=[{"metric": "a", "value": "x"}]))
    assert (error.field, error.value) == ("connector", "nothing")
    text = "connector: missing; a check event has connector, connector_name, component, state"
    assert str(error) == text
    assert str(refusal({})).startswith("connector, connector_name, component, state: missing; a check event has ")
    assert str(refusal({"event_type": "comment", "output": "x"})).startswith("connector, connector_name, component: ")


def test_the_error_of_the_type_names_those_that_may_come_from_outside() -> None:
    allowed = refusal(raw_check(event_type="nothing")).allowed
    assert allowed.startswith("check, log, perf, ")
    assert "resolve" not in allowed


def test_a_large_array_of_small_events_is_taken() -> None:
    body = b"[" + b",".join([b'{"output":"' + b"x" * 1000 + b'"}'] * 1200) + b"]"
    assert len(body) > MAX_EXTRA
    assert len(decode(body)) == 1200


def test_b6_an_event_of_two_mebibytes_is_decoded() -> None:
    assert decode(b'{"a":"' + b"x" * 2 * MAX_EXTRA + b'"}') == [{"a": "x" * 2 * MAX_EXTRA}]


def test_nesting_of_20_is_the_deepest() -> None:
    event = normalise(raw_check(mine=nested(19)), NOW)
    assert decode_batch(msgspec.json.encode([event])) == [event]
    assert event.warnings == []
    [warning] = normalise(raw_check(mine=nested(500)), NOW).warnings
    assert warning.startswith("mine.a[0]")
    assert "is left out; allowed: values nested at most 20 deep" in warning


DECORATION: dict[str, tuple[dict[str, Any], str]] = {
    "component is a number": ({"component": 5}, "component"),
    "half of a pair in a component": ({"component": "a\udcff"}, "component"),
    "resource is a number": ({"resource": 5}, "resource"),
    "unknown source type": ({"source_type": "host"}, "source_type"),
    "source type is a list": ({"source_type": ["resource"]}, "source_type"),
    "state type 2": ({"state_type": 2}, "state_type"),
    "state type is a list": ({"state_type": []}, "state_type"),
    "year 0": ({"timestamp": -62167219200}, "timestamp"),
    "two days ahead": ({"timestamp": NOW + 2 * 86400}, "timestamp"),
    "milliseconds": ({"timestamp": 1_700_000_000_000}, "timestamp"),
    "a date": ({"timestamp": "2023-11-14T22:13:20Z"}, "timestamp"),
    "time is a list": ({"timestamp": [1]}, "timestamp"),
    "event id is a list": ({"event_id": ["a"]}, "event_id"),
    "event id is negative": ({"event_id": -5}, "event_id"),
    "event id too long": ({"event_id": "x" * 65}, "event_id"),
    "event id with a space": ({"event_id": "a b"}, "event_id"),
    "event id with a newline": ({"event_id": "a\n"}, "event_id"),
    "output is a number": ({"output": 5}, "output"),
    "output is a list": ({"output": ["a"]}, "output"),
    "output with half of a pair": ({"output": "\udfff"}, "output"),
    "long output is an object": ({"long_output": {}}, "long_output"),
    "author is a number": ({"author": 5}, "author"),
    "author with NUL": ({"author": "a\0b"}, "author"),
    "tags is a number": ({"tags": 5}, "tags"),
    "tags is an object": ({"tags": {"a": 1}}, "tags"),
    "a tag is a number": ({"tags": ["a", 5]}, "tags[1]"),
    "a tag is a list": ({"tags": [["a"]]}, "tags[0]"),
    "too many tags": ({"tags": [str(number) for number in range(257)]}, "tags"),
    "level is a number": ({"event_type": "log", "level": 5}, "level"),
    "perf data without a value": ({"perf_data": "a=1 b"}, "perf_data"),
    "perf data is a list": ({"perf_data": ["a=1"]}, "perf_data"),
    "perf data of 2 MB": ({"perf_data": "a=1 " * 500_000}, "perf_data"),
    "perf array is a text": ({"perf_data_array": "a=1"}, "perf_data_array"),
    "perf array of texts": ({"perf_data_array": ["a=1"]}, "perf_data_array[0]"),
    "perf value is a text": ({"perf_data_array": [{"metric": "a", "value": "x"}]}, "perf_data_array[0].value"),
    "extra is a list": ({"extra": []}, "extra"),
    "extra is a text": ({"extra": "a", "mine": 1}, "extra"),
    "key with NUL": ({"a\0": 1}, "extra"),
    "integer of 65 bits": ({"mine": 2**63}, "mine"),
    "NaN in extra": ({"mine": {"a": float("nan")}}, "mine.a"),
    "2 MB in extra": ({"small": "a", "mine": ["x" * 1000] * 2000}, "mine"),
    "2 MB in many keys": ({f"k{number}": "x" * 1000 for number in range(2000)}, "k"),
}


@pytest.mark.parametrize(("changes", "field"), DECORATION.values(), ids=DECORATION.keys())
def test_b6_a_check_is_not_lost_for_its_decoration(changes: dict[str, Any], field: str) -> None:
    event = normalise(raw_check(**changes), NOW)
    assert getattr(event, "state", 2) == 2
    assert event.warnings
    assert event.warnings[0].startswith(field)
    assert all(len(warning) <= LONGEST for warning in event.warnings)
    assert len(event.warnings) <= MOST + 1
    checked(event)
    assert to_document(event)["warnings"] == event.warnings


@pytest.mark.parametrize(
    "changes",
    [
        {"timestamp": 0},
        {"timestamp": ""},
        {"output": ""},
        {"long_output": ""},
        {"author": ""},
        {"event_id": ""},
        {"tags": []},
        {"state_type": "hard"},
        {"event_type": ""},
        {"perf_data": ""},
        {"perf_data_array": [{"metric": "a", "value": ""}]},
    ],
)
def test_b6_what_is_empty_is_not_known(changes: dict[str, Any]) -> None:
    event = normalise(raw_check(**changes), NOW)
    assert event.warnings == []
    assert getattr(event, "state", None) == 2


def test_b6_an_id_that_is_a_number_is_its_text() -> None:
    event = normalise(raw_check(event_id=5), NOW)
    assert (event.event_id, event.warnings) == ("5", ["event_id: 5 is taken as a text"])


def test_b6_a_source_cannot_make_warnings() -> None:
    event = normalise(raw_check(warnings=["mine"], sent_timestamp=5), NOW)
    assert (event.warnings, event.sent_timestamp, event.extra) == ([], None, {})


def test_b8_both_times_are_kept() -> None:
    event = normalise(raw_check(timestamp=NOW + 86401), NOW)
    assert (event.timestamp, event.sent_timestamp) == (NOW, NOW + 86401)
    assert to_document(event)["sent_timestamp"] == NOW + 86401
    assert decode_batch(msgspec.json.encode([event])) == [event]


@pytest.mark.parametrize(("scale", "state", "kept"), [("severity", 3, 2), ("severity", 2, 1), ("nagios", 3, 3)])
def test_b12_a_state_is_read_on_its_scale(scale: str, state: int, kept: int) -> None:
    event = normalise(raw_check(state=state, state_scale=scale), NOW)
    assert getattr(event, "state", None) == kept
    assert event.extra == {}
    (again,) = decode(msgspec.json.encode(event))
    assert normalise(again, NOW) == event


def test_b12_a_scale_without_a_state_means_nothing() -> None:
    event = normalise(raw_check(event_type="perf", state_scale="severity"), NOW)
    assert event.extra == {"state": 2}


def test_b7_labels_are_kept_as_they_came() -> None:
    labels = {"app.kubernetes.io/name": "web", "$where": {"": 1}, "a%2Eb": 1}
    event = normalise(raw_check(labels=labels, **{"x.y": 1}), NOW)
    assert event.extra == {"labels": labels, "x.y": 1}
    assert event.warnings == []
    checked(event)


BROKEN: dict[str, tuple[bytes, Any]] = {
    "a byte order mark": (b'\xef\xbb\xbf{"a":1}', {"a": 1}),
    "a byte of Latin-1": (b'{"output":"caf\xe9","state":2}', {"output": "caf\udce9", "state": 2}),
    "an encoded surrogate": (b'{"a":"\xed\xa0\x80"}', {"a": "\udced\udca0\udc80"}),
    "half of a pair": (b'{"a":"x\\ud800","b":"\\ud83d\\ude00"}', {"a": "x\ud800", "b": "\U0001f600"}),
    "NaN": (b'{"a":NaN,"b":-Infinity}', {"a": "NaN", "b": "-Infinity"}),
    "a number beyond floats": (b'{"a":1e999,"b":1.5}', {"a": "1e999", "b": 1.5}),
    "an endless integer": (b'{"a":NaN,"b":' + b"9" * 5000 + b',"c":7}', {"a": "NaN", "b": "9" * 5000, "c": 7}),
}


@pytest.mark.parametrize(("body", "raw"), BROKEN.values(), ids=BROKEN.keys())
def test_b13_one_bad_byte_or_number_does_not_lose_the_others(body: bytes, raw: dict[str, Any]) -> None:
    assert decode(body) == [raw]
    assert decode(b"[" + body.removeprefix(b"\xef\xbb\xbf") + b",{}]") == [raw, {}]
    assert decode(encode(raw)) == [raw]


def test_b13_a_byte_that_is_not_utf_8_is_replaced_and_told() -> None:
    (raw,) = decode(msgspec.json.encode(raw_check()).replace(b"DISK", b"D\xefSK").replace(b"srv1", b"srv\xff"))
    event = normalise(raw, NOW)
    assert (event.component, event.output) == ("srv\ufffd", "D\ufffdSK CRITICAL")
    assert [warning.partition(":")[0] for warning in event.warnings] == ["component", "output"]
    checked(event)


@pytest.mark.parametrize(
    ("body", "place"),
    [
        (b'{"output":"caf\xe9" 5}', "byte 17"),
        (b'{"a":"\xc3\xa9\xff" 5}', "byte 11"),
        (b'\xef\xbb\xbf{"a" 5}', "byte 8"),
        (b'{"a":"\xc3\xa9" 5}', "byte 10"),
    ],
)
def test_b13_the_place_of_an_error_counts_from_the_start_of_the_body(body: bytes, place: str) -> None:
    with pytest.raises(InvalidEvent) as caught:
        decode(body)
    assert place in caught.value.allowed


def test_what_is_deep_and_not_utf_8_is_refused() -> None:
    with pytest.raises(InvalidEvent, match="nested at most 20 deep"):
        decode(b'["\xff",' + b"[" * 100_000)


def checked(event: Event) -> None:
    """Assert what holds of every event that was taken in."""
    assert 0 < len(routing_key(event).encode()) <= 255
    assert 946684800 <= event.timestamp <= NOW
    assert event.entity_id
    assert decode_batch(msgspec.json.encode([event])) == [event]
    assert to_document(event)["entity_id"] == event.entity_id


keys = st.sampled_from(
    [*raw_check(), "state_type", "event_id", "tags", "author", "perf_data", "perf_data_array", "extra"]
)


@given(st.dictionaries(keys, anything, max_size=4), st.dictionaries(any_texts, anything, max_size=3))
def test_any_values_are_taken_or_refused(known: dict[str, Any], unknown: dict[str, Any]) -> None:
    raw = raw_check() | unknown | known
    try:
        event = normalise(raw, NOW)
    except InvalidEvent as error:
        str(error).encode()
        return
    checked(event)


@given(anything)
def test_any_object_is_taken_or_refused(raw: Any) -> None:
    with pytest.raises(InvalidEvent):
        normalise(raw, NOW)


@given(st.binary(max_size=60) | any_texts.map(lambda text: text.encode(errors="surrogatepass")))
def test_any_bytes_are_decoded_or_refused(body: bytes) -> None:
    for reader in (decode, decode_batch):
        try:
            found = reader(body)
        except InvalidEvent as error:
            str(error).encode()
        else:
            assert isinstance(found, list)


@given(st.lists(st.sampled_from([b"{", b"}", b"[", b"]", b'"a"', b":", b",", b"1", b"null", b"\\", b'"', b"\xc3"])))
def test_bytes_near_json_are_decoded_or_refused(parts: list[bytes]) -> None:
    body = b"".join(parts)
    try:
        found = decode(body)
    except InvalidEvent as error:
        assert error.field
    else:
        assert found
        assert all(type(element) is dict for element in found)


@given(st.recursive(st.none() | st.integers(-3, 3) | st.text(max_size=3), st.lists, max_leaves=6))
def test_a_batch_of_anything_is_decoded_or_refused(value: Any) -> None:
    try:
        found = decode_batch(msgspec.json.encode(value))
    except InvalidEvent as error:
        assert error.field
    else:
        assert found == []


_MARKS = st.sampled_from([*"a1 ='\";,:.@~%U[]", "\u00a0", "\x85", "\udcff", "\ud800", "\u200b", "é"])


@given(st.lists(_MARKS, max_size=30).map("".join))
def test_c1_bytes_that_are_not_utf8_in_measured_values_lose_no_check(text: str) -> None:
    listed = [{"metric": "m" + text[:9], "value": 1, "unit": text[:4], "warn": text[:3], "type": text[:2]}]
    checked(normalise(raw_check() | {"perf_data": "x=1" + text, "perf_data_array": listed}, NOW))


def test_c1_a_byte_that_is_not_utf8_in_a_unit_is_replaced() -> None:
    event = normalise(raw_check() | {"perf_data": "'time tak\udcb3n'=0.2s\udcb8;1 b=5\udcff"}, NOW)
    assert [(item.metric, item.unit) for item in event.perf_data_array] == [
        ("time tak\ufffdn", "s\ufffd"),
        ("b", "\ufffd"),
    ]
    assert [warning.partition(":")[0] for warning in event.warnings] == ["perf_data"]
    assert decode_batch(b"[" + msgspec.json.encode(event) + b"]") == [event]


def test_an_action_names_the_alarm_that_its_author_saw() -> None:
    ack = {"event_type": "ack", "state": None, "outcome": "applied"}
    event = good(**ack, alarm_id="8948bfb7e507262d54ab23a125a79ec1")
    assert isinstance(event, Action)
    assert (event.alarm_id, event.outcome) == ("8948bfb7e507262d54ab23a125a79ec1", "")
    assert event.warnings == ["outcome: 'applied' is left out"]
    for wrong in ("no id", 7, ["a"]):
        with pytest.raises(InvalidEvent, match="alarm_id"):
            good(event_type="ack", state=None, alarm_id=wrong)
