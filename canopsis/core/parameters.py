"""What a client may ask: kinds of query parameters, for ``Annotated`` in the struct of a query.

One declaration reads the text of a request, says what is allowed, and is the schema in the OpenAPI document.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from canopsis.core.fields import SCALES, is_scale

Reader = Callable[[str, float], Any]
"""From the text of a parameter and the time now to its value; raises ValueError."""

MAX_TEXT = 1024

PRINTABLE = r"^[^\u0000-\u001f\u007f-\u00a0\u00ad\u1680\u2000-\u200f\u2028-\u202f\u205f-\u206f\u3000\ufeff\ufffd]*$"
"""Texts of parameters: nothing that cannot be seen but a blank."""

_STATE_WORD = "[oO][kK]|[wW][aA][rR][nN][iI][nN][gG]|[cC][rR][iI][tT][iI][cC][aA][lL]|[uU][nN][kK][nN][oO][wW][nN]"
_STATE = rf"\s*({_STATE_WORD})\s*"
SCALE = rf"^(nagios|severity|({_STATE},){{3}}{_STATE})$"

_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}
_AGO = re.compile(r"-([0-9]{1,9})([smhd])")
_NUMBER = re.compile(r"[0-9]{1,12}([.][0-9]{1,9})?")
_SPAN = "[0-9]{1,9}[smhd]"
_DAY = "[0-9]{4}-(0[1-9]|1[0-2])-(0[1-9]|[12][0-9]|3[01])"
_HOUR = "([01][0-9]|2[0-3]):[0-5][0-9]"
_DATE = f"{_DAY}[T ]{_HOUR}(:[0-5][0-9]([.][0-9]{{3}}([0-9]{{3}})?)?)?(Z|[+-]{_HOUR})"
_MOMENT = f"^({_NUMBER.pattern}|-{_SPAN}|{_DATE})$"
_LATEST = datetime(9999, 12, 31, tzinfo=UTC).timestamp()
_FLAGS = {"true": True, "1": True, "false": False, "0": False}


@dataclass(frozen=True, slots=True)
class Parameter:
    """A kind of query parameter. ``schema`` is its JSON schema; ``many`` takes several values, with commas.

    ``name`` and ``default`` are those of the field of the struct that it annotates.
    """

    description: str
    allowed: str
    read: Reader
    schema: Mapping[str, object] = field(default_factory=dict)
    many: bool = False
    name: str = ""
    default: Any = None


def _text(least: int, most: int, pattern: str) -> dict[str, object]:
    return {"type": "string", "minLength": least, "maxLength": most, "pattern": pattern}


def text(description: str, limit: int = MAX_TEXT) -> Parameter:
    """Return the kind of free text."""

    def read(value: str, _now: float) -> str:
        if not 0 < len(value) <= limit or not value.isprintable() or "\ufffd" in value:
            raise ValueError(value)
        return value

    allowed = f"1 to {limit} characters of UTF-8 without control characters"
    return Parameter(description, allowed, read, _text(1, limit, PRINTABLE))


def words(description: str) -> Parameter:
    """Return the kind of words that are searched."""
    return text(description, limit=200)


def flag(description: str) -> Parameter:
    """Return the kind that is true or false."""
    return Parameter(description, "true or false", lambda value, _now: _pick(_FLAGS, value), {"type": "boolean"})


def scale(description: str) -> Parameter:
    """Return the kind that is a scale of states."""

    def read(value: str, _now: float) -> str:
        if len(value) > MAX_TEXT or not is_scale(value):
            raise ValueError(value)
        return value

    return Parameter(description, SCALES, read, _text(1, MAX_TEXT, SCALE))


def integer(description: str, low: int, high: int) -> Parameter:
    """Return the kind that is a whole number within bounds."""
    schema = {"type": "integer", "minimum": low, "maximum": high}
    return Parameter(description, f"{low} to {high}", lambda value, _now: _whole(value, low, high), schema)


def choice(description: str, names: Sequence[str]) -> Parameter:
    """Return the kind that is one of ``names``."""
    known = {each: each for each in names}
    schema = {"type": "string", "enum": list(names)}
    return Parameter(description, ", ".join(names), lambda value, _now: _pick(known, value), schema)


def several(description: str, values: Sequence[str | int]) -> Parameter:
    """Return the kind that is some of ``values``, separated by commas or given several times."""
    known = {str(each): each for each in values}
    kind = "integer" if isinstance(values[0], int) else "string"
    schema = {"type": "array", "minItems": 1, "items": {"type": kind, "enum": list(values)}}

    def read(value: str, _now: float) -> list[str | int]:
        return [_pick(known, item.strip()) for item in value.split(",")]

    return Parameter(description, ", ".join(known) + ", several with commas", read, schema, many=True)


def repeated(description: str, allowed: str) -> Parameter:
    """Return the kind of texts that may be given several times; a comma is a part of one."""
    schema = {"type": "array", "items": {"type": "string"}}
    return Parameter(description, allowed, lambda value, _now: [value], schema, many=True)


def moment(description: str) -> Parameter:
    """Return the kind that is a time: seconds since the epoch, ISO 8601 with its zone, or ``-15m`` for before now."""
    allowed = "seconds since the epoch, a date such as 2026-02-28T12:00:00Z, or -90s, -15m, -6h, -7d (before now)"
    return Parameter(description, allowed, read_moment, {"type": "string", "pattern": _MOMENT})


def seconds(description: str, low: float, high: float) -> Parameter:
    """Return the kind that is a number of seconds within bounds, or a number with its unit (``5m``)."""
    allowed = f"{low:g} to {high:g} seconds, or a number with s, m, h or d"

    def read(value: str, _now: float) -> float:
        found = float(value) if _NUMBER.fullmatch(value) else _span(value)
        if not low <= found <= high:
            raise ValueError(value)
        return found

    return Parameter(description, allowed, read, {"type": "string", "pattern": f"^({_NUMBER.pattern}|{_SPAN})$"})


def read_moment(value: str, now: float) -> float:
    """Return a time in seconds since the epoch. Raises ValueError."""
    if _NUMBER.fullmatch(value):
        found = float(value)
    elif value.startswith("-"):
        found = now - _span(value[1:])
    else:
        date = datetime.fromisoformat(value)
        if date.tzinfo is None:
            raise ValueError(value)
        found = date.timestamp()
    if not 0 <= found <= _LATEST:
        raise ValueError(value)
    return found


def _pick(known: Mapping[str, Any], value: str) -> Any:  # noqa: ANN401 - the values of ``known``
    if value not in known:
        raise ValueError(value)
    return known[value]


def _whole(value: str, low: int, high: int) -> int:
    if not re.fullmatch(r"[0-9]{1,18}", value) or not low <= int(value) <= high:
        raise ValueError(value)
    return int(value)


def _span(value: str) -> float:
    found = _AGO.fullmatch(f"-{value}")
    if not found:
        raise ValueError(value)
    span = int(found[1]) * _UNITS[found[2]]
    return float(span) if math.isfinite(span) else 0.0
