"""Checks of single fields of an event: each takes what came and returns what is kept, or raises InvalidEvent."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from canopsis.errors import InvalidEvent

MAX_EVENT = 1 << 20
"""Bytes of one event's JSON."""

MAX_OUTPUT = 4096
MAX_LONG_OUTPUT = 65536
"""Characters; what is longer is cut and ends with ``…``."""

MAX_NAME = 255
"""Characters of a name, an author, a tag or a metric."""

MAX_TAGS = 256
MAX_DEPTH = 20
MAX_FLOAT = 1.7976931348623157e308

EARLIEST = 946684800
"""2000-01-01, UTC."""

DAY = 86400

_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff]")
_EVENT_ID = re.compile(r"[A-Za-z0-9_.:-]{1,64}")
_SECONDS = re.compile(r"[0-9]{1,12}(?:\.[0-9]{1,9})?")
_TIMES = "seconds since the epoch (UTC), from 2000-01-01 to one day from now; not milliseconds"
_STATES = "0 (OK), 1 (warning), 2 (critical) or 3 (unknown)"
_NAMES = f"a text of 1 to {MAX_NAME} characters without control characters"


class _Missing:
    def __repr__(self) -> str:
        return "nothing"


MISSING = _Missing()
"""Stands in an error for a field that is not there."""


def is_name(value: object) -> bool:
    """Tell whether ``value`` can be a name: a text, not blank, of at most 255 characters, no control characters."""
    if type(value) is not str or len(value) > MAX_NAME:
        return False
    if value.isprintable():
        return value != "" and not value.isspace()
    return not value.isspace() and _CONTROL.search(value) is None


def name_check(field: str) -> Callable[[object], str]:
    """Return the check of the name ``field``."""

    def check(value: object) -> str:
        if is_name(value):
            return str(value)
        raise InvalidEvent(field, value, _NAMES)

    return check


def text_check(field: str, limit: int) -> Callable[[object], str]:
    """Return the check of the text ``field``: NUL is replaced, what is longer than ``limit`` is cut."""

    def check(value: object) -> str:
        if type(value) is not str:
            raise InvalidEvent(field, value, "a text")
        if len(value) <= limit and value.isascii() and "\0" not in value:
            return value
        return _mend(field, value, limit)

    return check


def _mend(field: str, value: str, limit: int) -> str:
    if len(value) > MAX_EVENT:
        raise InvalidEvent(field, value, f"an event of at most {MAX_EVENT} bytes; this field has {len(value)}")
    if len(value) > limit:
        value = value[: limit - 1] + "…"
    _check_unicode(field, value)
    return value.replace("\0", "\ufffd")


def _check_unicode(field: str, value: str) -> None:
    try:
        value.encode()
    except UnicodeEncodeError:
        raise InvalidEvent(field, value, "valid Unicode, no halves of surrogate pairs") from None


def author(value: object) -> str:
    """Return an author; an empty one is none."""
    if value == "" or is_name(value):
        return str(value)
    raise InvalidEvent("author", value, _NAMES)


def event_id(value: object) -> str:
    """Return the client's own id of an event; an empty one is none."""
    if type(value) is str and (value == "" or _EVENT_ID.fullmatch(value)):
        return value
    raise InvalidEvent("event_id", value, "1 to 64 letters, digits or any of _ . : -")


def source_type(value: object) -> str:
    """Return ``component`` or ``resource``."""
    if type(value) is str and value in {"component", "resource"}:
        return value
    raise InvalidEvent("source_type", value, "component or resource")


def resource(value: object) -> str | None:
    """Return a resource; an empty one is none."""
    if value == "":
        return None
    if is_name(value):
        return str(value)
    raise InvalidEvent("resource", value, _NAMES)


def state(value: object) -> int:
    """Return a state 0..3, given as a number or as a digit."""
    return _digit("state", value, 3, _STATES)


def state_type(value: object) -> int:
    """Return a state type, 0 (soft) or 1 (hard)."""
    return _digit("state_type", value, 1, "0 (soft) or 1 (hard)")


def _digit(field: str, value: object, most: int, allowed: str) -> int:
    if type(value) is str and len(value) == 1 and value in "0123":
        value = int(value)
    if (type(value) is int or type(value) is float) and 0 <= value <= most and value == int(value):
        return int(value)
    raise InvalidEvent(field, value, allowed)


def timestamp(value: object, now: float) -> float:
    """Return the time of an event in seconds; none is ``now``, and so is what is up to a day ahead."""
    if value is None:
        return now
    seconds = value
    if type(value) is str and _SECONDS.fullmatch(value.strip()):
        seconds = float(value)
    if (type(seconds) is int or type(seconds) is float) and EARLIEST <= seconds <= now + DAY:
        return now if seconds > now else float(seconds)
    raise InvalidEvent("timestamp", value, _TIMES)


def tags(value: object) -> list[str]:
    """Return tags, each once, in order; a text is one tag."""
    given = [value] if type(value) is str else value
    if type(given) is not list or len(given) > MAX_TAGS:
        raise InvalidEvent("tags", value, f"a list of at most {MAX_TAGS} texts")
    for index, tag in enumerate(given):
        if not is_name(tag):
            raise InvalidEvent(f"tags[{index}]", tag, _NAMES)
    return list(dict.fromkeys(given))


def storable(value: dict[str, Any]) -> dict[str, Any]:
    """Return ``extra``, the keys that no event type knows, once it is known that they can be stored.

    Nested at most 20 deep; keys are not empty and have no dot, no NUL and no ``$`` in front;
    integers fit 64 bits; floats are finite; 1 MiB in all.
    """
    biggest, most, total = "", 0, 0
    for key, item in value.items():
        size = len(check_key(key, "extra")) + _measure(item, key, 1)
        total += size
        if size > most:
            biggest, most = key, size
    if total > MAX_EVENT:
        raise InvalidEvent(biggest, value[biggest], f"an event of at most {MAX_EVENT} bytes; this field has {most}")
    return value


def check_key(key: object, path: str) -> str:
    """Return ``key`` if it can be the name of a stored field."""
    if type(key) is str and key and "." not in key and key[0] != "$" and _CONTROL.search(key) is None:
        return key
    raise InvalidEvent(path, key, "keys without dots, control characters, or a $ in front")


def _measure(value: object, path: str, depth: int) -> int:
    """Return about how many bytes of JSON ``value`` is; raise for what cannot be stored."""
    if type(value) is str:
        if not value.isascii():
            _check_unicode(path, value)
        return len(value) + 3
    if value is None or type(value) is bool:
        return 5
    if type(value) is int or type(value) is float:
        return _measure_number(value, path)
    return _measure_inside(value, path, depth)


def _measure_inside(value: object, path: str, depth: int) -> int:
    if depth >= MAX_DEPTH:
        raise InvalidEvent(path, value, f"values nested at most {MAX_DEPTH} deep")
    if type(value) is dict:
        items = value.items()
        return sum(len(check_key(key, path)) + 4 + _measure(item, f"{path}.{key}", depth + 1) for key, item in items)
    if type(value) is list:
        return sum(_measure(item, f"{path}[{index}]", depth + 1) for index, item in enumerate(value)) + 2
    raise InvalidEvent(path, value, "JSON: texts, numbers, true, false, null, lists and objects")


def _measure_number(value: float, path: str) -> int:
    if type(value) is int:
        if not -(1 << 63) <= value < 1 << 63:
            raise InvalidEvent(path, value, "integers of 64 bits")
    elif not -MAX_FLOAT <= value <= MAX_FLOAT:
        raise InvalidEvent(path, value, "finite numbers")
    return 8
