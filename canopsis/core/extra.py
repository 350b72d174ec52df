"""The keys of an event that no event type knows: kept as they came, as far as they can be stored."""

from __future__ import annotations

from typing import Any

from canopsis.core.notes import Notes
from canopsis.core.text import has_control, whole
from canopsis.errors import InvalidEvent, shorten

MAX_EXTRA = 1 << 20
"""Bytes of JSON, about."""

MAX_DEPTH = 20
MAX_FLOAT = 1.7976931348623157e308

_DEEP = f"values nested at most {MAX_DEPTH} deep"
_KEYS = "keys that are texts without control characters"
_OUT: Any = object()
"""Stands for a value that is left out."""


def storable(value: dict[str, Any], notes: Notes) -> dict[str, Any]:
    """Return what of ``value`` can be stored; it is ``value`` itself when that is all.

    Nested at most 20 deep; keys have no control characters; integers fit 64 bits; floats are finite; 1 MiB in all.
    """
    try:
        sizes = _sizes(value)
    except InvalidEvent:
        value = {key: item for key, item in _mended_items(value, "", 0, notes) if item is not _OUT}
        sizes = _sizes(value)
    return value if sum(sizes.values()) <= MAX_EXTRA else _without_the_biggest(value, sizes, notes)


def _without_the_biggest(value: dict[str, Any], sizes: dict[str, int], notes: Notes) -> dict[str, Any]:
    left, total = dict(value), sum(sizes.values())
    heaviest_last = sorted(sizes, key=sizes.__getitem__)
    while total > MAX_EXTRA:
        key = heaviest_last.pop()
        total -= sizes[key]
        del left[key]
        allowed = f"{MAX_EXTRA} bytes of fields beside the known ones; it has {sizes[key]}"
        notes.add(key, value[key], "is left out", allowed)
    return left


def _sizes(value: dict[str, Any]) -> dict[str, int]:
    """Return about how many bytes of JSON each field is; raise InvalidEvent for what cannot be stored."""
    return {key: _measure_key(key, "extra") + _measure(item, key, 1) for key, item in value.items()}


def _measure_key(key: object, path: str) -> int:
    if type(key) is str and (key.isascii() or key == whole(key)) and (key.isprintable() or not has_control(key)):
        return len(key) + 4
    raise InvalidEvent(path, key, _KEYS)


def _measure(value: object, path: str, depth: int) -> int:
    if type(value) is str:
        if value != whole(value):
            raise InvalidEvent(path, value, "valid Unicode")
        return len(value) + 3
    if value is None or type(value) is bool:
        return 5
    if type(value) is int or type(value) is float:
        return _measure_number(value, path)
    return _measure_inside(value, path, depth)


def _measure_inside(value: object, path: str, depth: int) -> int:
    if depth >= MAX_DEPTH:
        raise InvalidEvent(path, value, _DEEP)
    if type(value) is dict:
        return sum(_measure_key(key, path) + _measure(item, path, depth + 1) for key, item in value.items())
    if type(value) is list:
        return sum(_measure(item, path, depth + 1) for item in value) + 2
    raise InvalidEvent(path, value, "JSON")


def _measure_number(value: float, path: str) -> int:
    if not (-(1 << 63) <= value < 1 << 63 if type(value) is int else -MAX_FLOAT <= value <= MAX_FLOAT):
        raise InvalidEvent(path, value, "integers of 64 bits and finite numbers")
    return 8


def _mended_items(value: dict[Any, Any], path: str, depth: int, notes: Notes) -> list[tuple[str, Any]]:
    found = []
    for key, item in value.items():
        name = _mended_key(key, path or "extra", notes)
        if name is not None:
            found.append((name, _mended(item, f"{path}.{name}" if path else name, depth + 1, notes)))
    return found


def _mended_key(key: object, path: str, notes: Notes) -> str | None:
    if type(key) is not str:
        notes.add(path, key, "is left out", _KEYS)
        return None
    name = "".join(letter if letter.isprintable() or not has_control(letter) else "\ufffd" for letter in whole(key))
    if name != key:
        notes.add(path, key, "has U+FFFD for what cannot be stored", _KEYS)
    return name


def _mended(value: Any, path: str, depth: int, notes: Notes) -> Any:  # noqa: ANN401 - JSON
    if type(value) is str:
        return whole_noted(path, value, notes)
    if value is None or type(value) is bool:
        return value
    if type(value) is int or type(value) is float:
        return _mended_number(value, path, notes)
    if type(value) not in {dict, list} or depth >= MAX_DEPTH:
        notes.add(path, value, "is left out", _DEEP)
        return _OUT
    if type(value) is dict:
        return {key: item for key, item in _mended_items(value, path, depth, notes) if item is not _OUT}
    items = (_mended(item, f"{path}[{index}]", depth + 1, notes) for index, item in enumerate(value))
    return [item for item in items if item is not _OUT]


def _mended_number(value: float, path: str, notes: Notes) -> object:
    try:
        _measure_number(value, path)
    except InvalidEvent as error:
        text = shorten(value)
        notes.add(path, value, "is kept as a text", error.allowed)
        return text
    return value


def whole_noted(path: str, text: str, notes: Notes) -> str:
    """Return ``text`` with U+FFFD for what is not UTF-8, and note it."""
    found = whole(text)
    if found != text:
        notes.add(path, text, "is not UTF-8 everywhere: U+FFFD stands for what is not")
    return found
