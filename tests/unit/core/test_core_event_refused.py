"""Every kind of bad event is refused with an error that names the field, and nothing else is ever raised."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from core_samples import NOW, any_texts, anything, raw_check
from hypothesis import given
from hypothesis import strategies as st

from canopsis.core.event import AnyEvent, decode, decode_batch, normalise, routing_key, to_document
from canopsis.core.fields import MAX_EVENT
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
    "NaN": (b'{"state":NaN}', "body"),
    "Infinity": (b'{"state":-Infinity}', "body"),
    "a number beyond floats": (b'{"state":1e999}', "body"),
    "an endless integer": (b'{"state":' + b"9" * 5000 + b"}", "body"),
    "bad UTF-8 outside of texts": (b"\xff\xfe{}", "body"),
    "bad UTF-8 in a text": (b'{"component":"\xff"}', "body"),
    "an encoded surrogate": (b'{"component":"\xed\xa0\x80"}', "body"),
    "half of a surrogate pair": (b'{"component":"\\ud800"}', "body"),
    "a byte order mark": (b"\xef\xbb\xbf{}", "body"),
    "UTF-16": ('{"a":1}'.encode("utf-16"), "body"),
    "a raw NUL": (b'{"component":"a\0b"}', "body"),
    "nothing but NUL": (b"\0" * 100, "body"),
    "arrays 100,000 deep": (b"[" * 100_000, "body"),
    "objects 100,000 deep": (b'{"a":' * 100_000, "body"),
    "BSON": (b"\x16\x00\x00\x00\x02a\x00\x02\x00\x00\x00b\x00\x00", "body"),
    "2 MB of output": (b'{"component":"a","output":"' + b"x" * 2_000_000 + b'"}', "output"),
    "2 MB of something": (b'{"output":"a","mine":["' + b"x" * 2_000_000 + b'"]}', "mine"),
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
    "type is empty": ({"event_type": ""}, "event_type"),
    "no connector": ({"connector": None}, "connector"),
    "no connector_name": ({"connector_name": None}, "connector_name"),
    "no component": ({"component": None}, "component"),
    "no state": ({"state": None}, "state"),
    "no output of a comment": ({"event_type": "comment", "output": None}, "output"),
    "empty connector": ({"connector": ""}, "connector"),
    "blank component": ({"component": "  "}, "component"),
    "component is a number": ({"component": 5}, "component"),
    "component is a list": ({"component": ["a"]}, "component"),
    "component with NUL": ({"component": "a\0"}, "component"),
    "component with a newline": ({"component": "a\nb"}, "component"),
    "component with half of a pair": ({"component": "\ud800"}, "component"),
    "component of 300 letters": ({"component": "x" * 300}, "component"),
    "routing key too long": ({"component": "x" * 200, "resource": "y" * 100}, "routing_key"),
    "routing key too long in UTF-8": ({"component": "é" * 130}, "routing_key"),
    "resource is a number": ({"resource": 5}, "resource"),
    "resource with a tab": ({"resource": "a\tb"}, "resource"),
    "no resource of a resource": ({"resource": None}, "resource"),
    "empty resource of a resource": ({"resource": ""}, "resource"),
    "resource of a component": ({"source_type": "component"}, "resource"),
    "unknown source type": ({"source_type": "host"}, "source_type"),
    "source type is a list": ({"source_type": ["resource"]}, "source_type"),
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
    "state type 2": ({"state_type": 2}, "state_type"),
    "state type soft": ({"state_type": "SOFT"}, "state_type"),
    "year 0": ({"timestamp": -62167219200}, "timestamp"),
    "1970": ({"timestamp": 0}, "timestamp"),
    "1999": ({"timestamp": 946684799}, "timestamp"),
    "year 9999": ({"timestamp": 253402300799}, "timestamp"),
    "two days ahead": ({"timestamp": NOW + 2 * 86400}, "timestamp"),
    "milliseconds": ({"timestamp": 1_700_000_000_000}, "timestamp"),
    "a date": ({"timestamp": "2023-11-14T22:13:20Z"}, "timestamp"),
    "an endless text of digits": ({"timestamp": "1" * 5000}, "timestamp"),
    "time nan": ({"timestamp": "nan"}, "timestamp"),
    "time NaN": ({"timestamp": float("nan")}, "timestamp"),
    "time infinite": ({"timestamp": float("inf")}, "timestamp"),
    "time true": ({"timestamp": True}, "timestamp"),
    "time is a list": ({"timestamp": [1]}, "timestamp"),
    "time is huge": ({"timestamp": 10**400}, "timestamp"),
    "time with underscores": ({"timestamp": "1_700_000_000"}, "timestamp"),
    "event id is a number": ({"event_id": 5}, "event_id"),
    "event id too long": ({"event_id": "x" * 65}, "event_id"),
    "event id with a space": ({"event_id": "a b"}, "event_id"),
    "event id with a newline": ({"event_id": "a\n"}, "event_id"),
    "output is a number": ({"output": 5}, "output"),
    "output is a list": ({"output": ["a"]}, "output"),
    "output of 2 MB": ({"output": "x" * 2_000_000}, "output"),
    "output with half of a pair": ({"output": "\udfff"}, "output"),
    "long output is an object": ({"long_output": {}}, "long_output"),
    "long output of 2 MB": ({"long_output": "x" * 2_000_000}, "long_output"),
    "author is a number": ({"author": 5}, "author"),
    "author with NUL": ({"author": "a\0"}, "author"),
    "tags is a number": ({"tags": 5}, "tags"),
    "tags is an object": ({"tags": {"a": 1}}, "tags"),
    "a tag is a number": ({"tags": ["a", 5]}, "tags[1]"),
    "a tag is empty": ({"tags": [""]}, "tags[0]"),
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
    "extra is a text": ({"extra": "a"}, "extra"),
    "key with a dot": ({"a.b": 1}, "extra"),
    "key with a dollar": ({"$where": "1"}, "extra"),
    "key with NUL": ({"a\0": 1}, "extra"),
    "key is empty": ({"": 1}, "extra"),
    "key with half of a pair": ({"\ud800": 1}, "extra"),
    "inner key with a dot": ({"mine": {"a.b": 1}}, "mine"),
    "inner key with a dollar": ({"mine": [{"$set": 1}]}, "mine[0]"),
    "deep inner key": ({"mine": {"a": {"b": {"$c": 1}}}}, "mine.a.b"),
    "nested 21 deep": ({"mine": nested(21)}, "mine" + "[0].a" * 9 + "[0]"),
    "nested 500 deep": ({"mine": nested(500)}, "mine" + ".a[0]" * 9 + ".a"),
    "integer of 65 bits": ({"mine": 2**63}, "mine"),
    "negative integer of 65 bits": ({"mine": [-(2**63) - 1]}, "mine[0]"),
    "NaN in extra": ({"mine": {"a": float("nan")}}, "mine.a"),
    "infinity in extra": ({"mine": float("-inf")}, "mine"),
    "half of a pair in extra": ({"mine": ["\ud800"]}, "mine[0]"),
    "bytes in extra": ({"mine": b"a"}, "mine"),
    "2 MB in extra": ({"small": "a", "mine": ["x" * 1000] * 2000}, "mine"),
    "2 MB in many keys": ({f"k{number}": "x" * 1000 for number in range(2000)}, "k1000"),
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


def test_what_is_missing_is_called_missing() -> None:
    assert refusal({}).value == "nothing"
    assert "component: nothing is refused" in str(refusal(raw_check(component=None)))


def test_the_error_of_the_time_says_that_milliseconds_are_none() -> None:
    assert "not milliseconds" in str(refusal(raw_check(timestamp=1_700_000_000_000)))


def test_the_error_of_the_type_names_those_that_may_come_from_outside() -> None:
    allowed = refusal(raw_check(event_type="nothing")).allowed
    assert "check, log, perf, ack" in allowed
    assert "resolve" not in allowed


def test_a_large_array_of_small_events_is_taken() -> None:
    body = b"[" + b",".join([b'{"output":"' + b"x" * 1000 + b'"}'] * 1200) + b"]"
    assert len(body) > MAX_EVENT
    assert len(decode(body)) == 1200


def test_an_event_of_one_mebibyte_with_blanks_around_is_taken() -> None:
    assert decode(b'{"a":1}' + b" " * MAX_EVENT) == [{"a": 1}]


def test_nesting_of_20_is_the_deepest() -> None:
    event = normalise(raw_check(mine=nested(19)), NOW)
    assert decode_batch(msgspec.json.encode([event])) == [event]
    assert refusal(raw_check(mine=nested(20))).allowed == "values nested at most 20 deep"


def checked(event: AnyEvent) -> None:
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
