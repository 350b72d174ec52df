"""Headers of AMQP messages: whatever a sender put there is read, and nothing is raised.

A sender writes headers as it likes: names and texts that are not UTF-8, times beyond any calendar,
values in values without an end, lengths that are a lie. What cannot be read becomes a text that says so.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from decimal import Decimal
from struct import Struct
from typing import Any

MAX_DEPTH = 32
"""Tables and arrays in one another; what lies deeper is told by its length."""

UNREADABLE = "(unreadable)"
"""The name under which is told that the rest of a table cannot be read."""

_SHOWN = 64
_LENGTH = Struct(">I")

_Read = tuple[Any, int]

_FIXED: dict[int, Struct] = {
    ord(letter): Struct(f">{code}")
    for letter, code in {
        "s": "h",
        "b": "b",
        "B": "B",
        "U": "h",
        "u": "H",
        "I": "i",
        "i": "I",
        "L": "q",
        "l": "q",
        "f": "f",
        "d": "d",
        "t": "?",
        "D": "Bi",
        "T": "Q",
        "V": "0s",
    }.items()
}
_YEAR_10000 = 253_402_300_800


def read_table(data: bytes, at: int) -> tuple[dict[str, object], int]:
    """Return the table that begins at ``at`` with its length, and where it ends. Raises nothing."""
    start, end = _span(data, at)
    return _table(data, start, end, 0), end


def text_of(data: bytes) -> str:
    """Return ``data`` as text, with each byte that is not UTF-8 written as ``\\xNN``."""
    return data.decode("utf-8", "backslashreplace")


def _span(data: bytes, at: int) -> tuple[int, int]:
    """Return where what has its length at ``at`` begins and ends, never beyond the end of ``data``."""
    start = at + _LENGTH.size
    if start > len(data):
        return len(data), len(data)
    return start, min(len(data), start + _LENGTH.unpack_from(data, at)[0])


def _table(data: bytes, at: int, end: int, depth: int) -> dict[str, object]:
    found: dict[str, object] = {}
    while at < end:
        name_end = at + 1 + data[at]
        if name_end >= end:
            found[UNREADABLE] = _told(data, at, end)
            break
        name = text_of(data[at + 1 : name_end])
        value, at = _item(data, name_end, end, depth)
        found[UNREADABLE if at > end else name] = value
    return found


def _array(data: bytes, at: int, end: int, depth: int) -> list[object]:
    found: list[object] = []
    while at < end:
        value, at = _item(data, at, end, depth)
        found.append(value)
    return found


def _item(data: bytes, at: int, end: int, depth: int) -> _Read:
    """Return the value at ``at`` and where it ends; beyond ``end`` when it cannot be read."""
    kind, start = data[at], at + 1
    fixed = _FIXED.get(kind)
    if fixed is not None and start + fixed.size <= end:
        return _number(kind, fixed.unpack_from(data, start)), start + fixed.size
    make = _LONG.get(kind)
    if make is not None and start + _LENGTH.size <= end:
        first, last = _span(data, start)
        if last <= end and last - first == _LENGTH.unpack_from(data, start)[0]:
            return make(data, first, last, depth + 1), last
    return _told(data, at, end), end + 1


def _number(kind: int, parts: tuple[Any, ...]) -> object:
    value = parts[0]
    if kind == ord("V"):
        return None
    if kind == ord("D"):
        return str(Decimal(parts[1]).scaleb(-value))
    if kind == ord("T"):
        return datetime.fromtimestamp(value, UTC) if value < _YEAR_10000 else value
    return value


def _text(data: bytes, start: int, end: int, _depth: int) -> object:
    return text_of(data[start:end])


def _bytes(data: bytes, start: int, end: int, _depth: int) -> object:
    return data[start:end]


def _bounded(read: Callable[[bytes, int, int, int], object]) -> Callable[[bytes, int, int, int], object]:
    def bounded(data: bytes, start: int, end: int, depth: int) -> object:
        if depth > MAX_DEPTH:
            return f"({end - start} bytes nested more than {MAX_DEPTH} deep)"
        return read(data, start, end, depth)

    return bounded


def _told(data: bytes, at: int, end: int) -> str:
    return f"{end - at} bytes that are no AMQP value: {data[at : min(end, at + _SHOWN)]!r}"


_LONG: dict[int, Callable[[bytes, int, int, int], object]] = {
    ord("S"): _text,
    ord("x"): _bytes,
    ord("F"): _bounded(_table),
    ord("A"): _bounded(_array),
}
