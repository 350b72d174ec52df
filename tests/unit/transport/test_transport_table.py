"""Headers: whatever a sender wrote is read, and nothing is raised."""

from __future__ import annotations

import struct
import time
from datetime import UTC, datetime
from typing import Any

import bson
import pytest
from amqp.serialization import dumps
from hypothesis import given
from hypothesis import strategies as st
from test_transport_wire import deliver, handled

from canopsis.runtime.letters import plain
from canopsis.transport import table, wire
from canopsis.transport.table import MAX_DEPTH, UNREADABLE, read_table
from canopsis.transport.wire import AHEAD, OLDEST, Delivery, read_properties


def packed(content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + content


def named(name: bytes, value: bytes) -> bytes:
    return bytes((len(name),)) + name + value


def nested(depth: int, kind: bytes = b"F") -> bytes:
    inner = b"t\x01"
    for _ in range(depth):
        inner = b"F" + packed(named(b"n", inner)) if kind == b"F" else b"A" + packed(inner)
    return inner


def header(content: bytes) -> bytes:
    return struct.pack(">HHQH", 60, 0, 1, 0x2000) + packed(content)


@given(st.binary(max_size=200))
def test_a1_any_bytes_are_read(data: bytes) -> None:
    for content in (data, packed(data), packed(named(b"a", data)), packed(named(b"a", b"A" + packed(data)))):
        found, end = read_table(content, 0)
        assert end <= len(content)
        assert bson.encode(plain(found))


@given(st.binary(max_size=60), st.integers(0, 0xFFFF))
def test_a1_any_content_header_is_read(data: bytes, flags: int) -> None:
    content_type, message_id, headers = read_properties(struct.pack(">HHQH", 60, 0, 1, flags) + data)
    assert isinstance(content_type, str)
    assert isinstance(message_id, str)
    assert bson.encode(plain(headers))


@pytest.mark.parametrize("depth", [1, MAX_DEPTH, MAX_DEPTH + 1, 3000, 12_000])
@pytest.mark.parametrize("kind", [b"F", b"A"])
def test_a1_nesting_is_bounded(depth: int, kind: bytes) -> None:
    content = packed(named(b"deep", nested(depth, kind)) + named(b"next", b"t\x01"))
    found, end = read_table(content, 0)
    assert end == len(content)
    assert found["next"] is True
    level: Any = found["deep"]
    for _ in range(min(depth, MAX_DEPTH)):
        level = level["n"] if kind == b"F" else level[0]
    assert level is True if depth <= MAX_DEPTH else "nested more than" in level
    assert bson.encode(plain(found))


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (b"T" + struct.pack(">Q", 1_700_000_000), datetime.fromtimestamp(1_700_000_000, UTC)),
        (b"T" + struct.pack(">Q", 1 << 63), 1 << 63),
        (b"T" + struct.pack(">Q", 253_402_300_800), 253_402_300_800),
        (b"S" + packed(b"a\xffb"), "a\\xffb"),
        (b"x" + packed(b"a\xff"), b"a\xff"),
        (b"l" + struct.pack(">q", -(1 << 62)), -(1 << 62)),
        (b"D" + struct.pack(">Bi", 2, -314), "-3.14"),
        (b"V", None),
    ],
)
def test_a1_what_fits_no_type_of_python_is_a_number_or_a_text(value: bytes, expected: object) -> None:
    found, _ = read_table(packed(named(b"h", value)), 0)
    assert found == {"h": expected}


def test_a1_a_name_that_is_no_utf8_is_told() -> None:
    assert read_table(packed(named(b"\xff\xfe", b"t\x00")), 0)[0] == {"\\xff\\xfe": False}


@pytest.mark.parametrize(
    "content", [b"\xff", named(b"a", b"?x"), named(b"a", b"S\xff\xff\xff\xff"), named(b"a", b"l\x00"), named(b"a", b"")]
)
def test_a1_what_cannot_be_read_is_told_after_what_can(content: bytes) -> None:
    found, _ = read_table(packed(named(b"good", b"t\x01") + content), 0)
    assert found["good"] is True
    assert "no AMQP value" in str(found[UNREADABLE])


@given(
    st.dictionaries(
        st.text(max_size=20),
        st.one_of(
            st.integers(-(2**63), 2**63 - 1), st.text(max_size=20), st.booleans(), st.none(), st.floats(-1e9, 1e9)
        ),
        max_size=5,
    )
)
def test_what_py_amqp_writes_is_read_back(headers: dict[str, Any]) -> None:
    assert read_table(dumps("F", (headers,)), 0)[0] == headers


def stamped(stamp: object, trusted: bool = True) -> Delivery:
    (got,) = handled(deliver(4, b"x", {"application_headers": {wire.STAMP: stamp}}))
    got.stamped = trusted
    return got


def test_a2_a_stamp_that_the_broker_did_not_write_is_not_believed() -> None:
    now = int(time.time() * 1000)
    assert stamped(now).received == now / 1000
    assert stamped(now, trusted=False).received is None
    assert stamped(now, trusted=False).stamp is None


@pytest.mark.parametrize("off", [AHEAD + 60, 10 * 365 * 86400.0, -OLDEST - 60, -1e12, -(2.0**52)])
def test_a2_a_stamp_that_cannot_be_right_is_no_time_of_receipt(off: float) -> None:
    stamp = int((time.time() + off) * 1000)
    assert stamped(stamp).received is None
    assert stamped(stamp).stamp == stamp, "it still tells this message from others"


@pytest.mark.parametrize("stamp", ["soon", None, "1", {"a": 1}])
def test_a2_a_stamp_that_is_no_number_is_none(stamp: object) -> None:
    assert stamped(stamp).received is None


@pytest.mark.parametrize(
    ("redelivered", "headers", "expected"),
    [
        (False, {"x-delivery-count": 9}, 0),
        (True, {"x-delivery-count": 9}, 9),
        (True, {"x-delivery-count": 1, "x-acquired-count": 3}, 3),
        (True, {}, None),
        (True, {"x-delivery-count": "often"}, None),
    ],
)
def test_a1_only_the_broker_says_how_often_it_delivered(
    redelivered: bool, headers: dict[str, Any], expected: int | None
) -> None:
    (got,) = handled(deliver(4, b"x", {"application_headers": headers}, redelivered=redelivered))
    assert got.deliveries == expected


def test_the_last_value_may_end_with_the_table() -> None:
    assert table.read_table(packed(named(b"a", b"t\x01")), 0) == ({"a": True}, 8)
