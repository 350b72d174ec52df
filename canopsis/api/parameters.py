"""Query parameters as data: the same table reads requests and writes the OpenAPI document."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any
from urllib.parse import unquote_to_bytes

from werkzeug.datastructures import MultiDict

from canopsis.api.schemas import PRINTABLE, SCALE
from canopsis.core.fields import SCALES, is_scale
from canopsis.errors import InputError

Reader = Callable[[str, float], Any]
"""From the text of a parameter and the time now to its value; raises ValueError."""

EVERYWHERE = ("authkey",)
"""Parameters that any request may have."""

MAX_TEXT = 1024
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
    """One query parameter. ``schema`` is its JSON schema; ``many`` takes several values, with commas."""

    name: str
    description: str
    allowed: str
    read: Reader
    schema: Mapping[str, object] = field(default_factory=dict)
    default: Any = None
    many: bool = False


def _text(least: int, most: int, pattern: str) -> dict[str, object]:
    return {"type": "string", "minLength": least, "maxLength": most, "pattern": pattern}


def text(name: str, description: str, limit: int = MAX_TEXT) -> Parameter:
    """Return a parameter of free text."""
    allowed = f"1 to {limit} characters of UTF-8 without control characters"

    def read(value: str, _now: float) -> str:
        if not 0 < len(value) <= limit or not value.isprintable() or "\ufffd" in value:
            raise ValueError(value)
        return value

    return Parameter(name, description, allowed, read, _text(1, limit, PRINTABLE))


def flag(name: str, description: str) -> Parameter:
    """Return a parameter that is true or false."""
    return Parameter(name, description, "true or false", lambda value, _now: _pick(_FLAGS, value), {"type": "boolean"})


def scale(name: str, description: str) -> Parameter:
    """Return a parameter that is a scale of states."""

    def read(value: str, _now: float) -> str:
        if len(value) > MAX_TEXT or not is_scale(value):
            raise ValueError(value)
        return value

    return Parameter(name, description, SCALES, read, _text(1, MAX_TEXT, SCALE))


def integer(name: str, description: str, low: int, high: int, default: int) -> Parameter:
    """Return a whole number within bounds."""
    schema = {"type": "integer", "minimum": low, "maximum": high}
    return Parameter(
        name, description, f"{low} to {high}", lambda value, _now: _whole(value, low, high), schema, default
    )


def choice(name: str, description: str, names: Sequence[str], default: str | None = None) -> Parameter:
    """Return a parameter that is one of ``names``."""
    known = {each: each for each in names}
    schema = {"type": "string", "enum": list(names)}
    return Parameter(name, description, ", ".join(names), lambda value, _now: _pick(known, value), schema, default)


def several(name: str, description: str, values: Sequence[str | int]) -> Parameter:
    """Return a parameter that is some of ``values``, separated by commas or given several times."""
    known = {str(each): each for each in values}
    kind = "integer" if isinstance(values[0], int) else "string"
    schema = {"type": "array", "minItems": 1, "items": {"type": kind, "enum": list(values)}}

    def read(value: str, _now: float) -> list[str | int]:
        return [_pick(known, item.strip()) for item in value.split(",")]

    return Parameter(name, description, ", ".join(known) + ", several with commas", read, schema, many=True)


def moment(name: str, description: str) -> Parameter:
    """Return a time: seconds since the epoch, ISO 8601 with its zone, or ``-15m`` for before now."""
    allowed = "seconds since the epoch, a date such as 2026-02-28T12:00:00Z, or -90s, -15m, -6h, -7d (before now)"
    return Parameter(name, description, allowed, read_moment, {"type": "string", "pattern": _MOMENT})


def seconds(name: str, description: str, low: float, high: float) -> Parameter:
    """Return a number of seconds within bounds, or a number with its unit (``5m``)."""
    allowed = f"{low:g} to {high:g} seconds, or a number with s, m, h or d"

    def read(value: str, _now: float) -> float:
        found = float(value) if _NUMBER.fullmatch(value) else _span(value)
        if not low <= found <= high:
            raise ValueError(value)
        return found

    return Parameter(name, description, allowed, read, {"type": "string", "pattern": f"^({_NUMBER.pattern}|{_SPAN})$"})


def sorting(fields: Sequence[str], default: str = "", note: str = "") -> Parameter:
    """Return the parameter ``sort``: a field, or ``-`` and a field for descending; ``note`` tells another default."""
    names = [sign + each for each in fields for sign in ("", "-")]
    description = "Order of the list; - before a name for descending."
    return choice("sort", f"{description} {note}".strip(), names, default or None)


def paging(limit: int = 50, highest: int = 1000, deepest: int = 100_000) -> tuple[Parameter, ...]:
    """Return the parameters ``limit`` and ``start`` of every list."""
    return (
        integer("limit", "How many at most.", 0, highest, limit),
        integer("start", "How many to leave out at the beginning.", 0, deepest, 0),
    )


def read_all(parameters: Sequence[Parameter], given: MultiDict[str, str], now: float) -> dict[str, Any]:
    """Return the values by name, with None or its default for each that is not given.

    Raises InputError naming the parameter that is unknown, given twice, or has a wrong value.
    """
    known = {each.name for each in parameters}
    for name in given:
        if name not in known and name not in EVERYWHERE:
            raise InputError(name, given[name], "the parameters " + (", ".join(sorted(known)) or "(none)"))
    return {each.name: _value(each, given.getlist(each.name), now) for each in parameters}


def check_encoding(query: bytes) -> None:
    """Raise InputError naming ``query`` unless it is percent-encoded UTF-8."""
    try:
        unquote_to_bytes(query).decode()
    except UnicodeDecodeError as error:
        raise InputError("query", query[:80].decode("latin-1"), "percent-encoded UTF-8") from error


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


def _value(parameter: Parameter, texts: Sequence[str], now: float) -> Any:  # noqa: ANN401 - each parameter has its type
    if not texts:
        return parameter.default
    try:
        if parameter.many:
            return [item for each in texts for item in parameter.read(each, now)]
        if len(texts) > 1:
            raise InputError(parameter.name, texts[1], "one value")
        return parameter.read(texts[0], now)
    except (ValueError, OverflowError) as error:
        raise InputError(parameter.name, texts[0], parameter.allowed + _escape(parameter, texts[0], now)) from error


def _escape(parameter: Parameter, given: str, now: float) -> str:
    """Return a hint where ``given`` would be right with the ``+`` that became a blank on its way."""
    if " " not in given:
        return ""
    try:
        parameter.read(given.replace(" ", "+"), now)
    except (ValueError, OverflowError):
        return ""
    return "; a + is written %2B in an address"


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
