"""Nagios performance data: ``'label'=value[unit];[warn];[crit];[min];[max] …``."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Literal

import msgspec

from canopsis.core.fields import MAX_FLOAT, MISSING, is_name
from canopsis.errors import InvalidEvent

MetricType = Literal["GAUGE", "COUNTER", "DERIVE", "ABSOLUTE"]

MAX_ITEMS = 256
MAX_TEXT = 65536
MAX_UNIT = 32


class PerfData(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
    """One measured value. Thresholds are Nagios ranges kept as text (``10:20``, ``@5``)."""

    metric: str
    value: float
    unit: str | None = None
    warn: str | None = None
    crit: str | None = None
    min: float | None = None
    max: float | None = None
    type: MetricType = "GAUGE"


_NUMBER = r"[-+]?(?:[0-9]+(?:[.,][0-9]*)?|[.,][0-9]+)(?:[eE][-+]?[0-9]+)?"
_UNIT = r"(?![eE][-+]?[0-9])[^\x00-\x20\x7f0-9;,='\"+.\-][^\x00-\x20\x7f;,='\"]*"
_RANGE = rf"@?(?:(?:~|{_NUMBER})?:(?:{_NUMBER})?|{_NUMBER})"
_NAGIOS_ITEM = re.compile(
    rf"""(?: '(?P<single>[^']*+(?:''[^']*+)*+)' | "(?P<double>[^"]*+)" | (?P<bare>[^\s='"]++) )
    = (?: (?P<value>{_NUMBER})(?P<unit>{_UNIT})? | U(?:{_UNIT})? )
    (?: ;(?:(?P<warn>{_RANGE})(?P=unit)?)? (?: ;(?:(?P<crit>{_RANGE})(?P=unit)?)?
    (?: ;(?:(?P<min>{_NUMBER})(?P=unit)?|U)? (?: ;(?:(?P<max>{_NUMBER})(?P=unit)?|U)? )? )? )? )? ;?
    (?=[\s,]|$)""",
    re.VERBOSE,
)
_GAP = re.compile(r"[\s,;]*+")
_BARE_UNIT = re.compile(rf"(.+)\[({_UNIT})\]")
_BARE_LABEL = re.compile(r"[A-Za-z0-9_/\\:.%{}?()-]+")
_WHOLE_NUMBER = re.compile(_NUMBER)
_WHOLE_UNIT = re.compile(_UNIT)
_WHOLE_RANGE = re.compile(rf"(?P<inside>@)?(?:(?P<start>~|{_NUMBER})?(?P<colon>:))?(?P<end>{_NUMBER})?")
_SYNTAX = "label=value[unit];[warn];[crit];[min];[max], separated by spaces, labels with spaces in quotes"
_RANGES = "a range: 10, 10:, ~:10, 10:20 or @10:20"


@dataclass(frozen=True, slots=True)
class Range:
    """A Nagios threshold: it alerts outside ``start..end``, or inside when ``inside`` (``@``)."""

    start: float
    end: float
    inside: bool = False

    @classmethod
    def parse(cls, text: str, field: str = "range") -> Range:
        """Return the range of ``text``. Raises InvalidEvent naming ``field``."""
        found = _WHOLE_RANGE.fullmatch(text)
        if found is None or not (found["colon"] or found["end"]):
            raise InvalidEvent(field, text, _RANGES)
        start = float("-inf") if found["start"] == "~" else _number(found["start"] or "0")
        end = _number(found["end"]) if found["end"] else float("inf")
        if not start <= end:
            raise InvalidEvent(field, text, f"{_RANGES}; the first number is not above the second")
        return cls(start, end, found["inside"] is not None)

    def contains(self, value: float) -> bool:
        """Tell whether ``value`` lies from ``start`` to ``end``, both included."""
        return self.start <= value <= self.end

    def alerts(self, value: float) -> bool:
        """Tell whether a plugin with this threshold alerts at ``value``."""
        return self.contains(value) == self.inside


def parse(text: object) -> list[PerfData]:
    """Return the measured values of a performance data string; those that are ``U`` are left out.

    A comma is a decimal point when digits stand on both sides, else it separates. Raises
    InvalidEvent naming ``perf_data`` and the place.
    """
    if type(text) is not str or len(text) > MAX_TEXT:
        raise InvalidEvent("perf_data", text, f"a text of at most {MAX_TEXT} characters: {_SYNTAX}")
    items: list[PerfData] = []
    at = _after_gap(text, 0)
    while at < len(text):
        found = _NAGIOS_ITEM.match(text, at)
        if found is None or len(items) == MAX_ITEMS:
            raise InvalidEvent("perf_data", text[at : at + 80], f"at most {MAX_ITEMS} times {_SYNTAX}")
        if found["value"] is not None:
            items.append(_nagios_item(found))
        at = _after_gap(text, found.end())
    return items


def _after_gap(text: str, at: int) -> int:
    gap = _GAP.match(text, at)
    return gap.end() if gap else at


def _nagios_item(found: re.Match[str]) -> PerfData:
    single, double, bare, value, unit, warn, crit, low, high = found.groups()
    if unit is not None and len(unit) > MAX_UNIT:
        raise InvalidEvent("perf_data", found[0], f"units of at most {MAX_UNIT} characters")
    metric = bare
    if metric is None:
        metric = double if single is None else single.replace("''", "'")
    elif unit is None and metric[-1] == "]" and (split := _BARE_UNIT.fullmatch(metric)):
        # Without quotes, time[ms]=5 is the metric time in ms.
        metric, unit = split[1], split[2]
    if not is_name(metric):
        raise InvalidEvent("perf_data", found[0], "labels of 1 to 255 characters without control characters")
    return PerfData(
        metric,
        _finite(value, metric, "value"),
        unit,
        _threshold(warn, metric, "warn") if warn else None,
        _threshold(crit, metric, "crit") if crit else None,
        _finite(low, metric, "min") if low else None,
        _finite(high, metric, "max") if high else None,
    )


def _threshold(text: str, metric: str, part: str) -> str | None:
    found = _range_text(text)
    if found is None:
        Range.parse(text, f"perf_data {metric} {part}")
    return found


@lru_cache(maxsize=4096)
def _range_text(text: str) -> str | None:
    """Return the range as it is kept, or None when it is none. Remembered: thresholds come with every value."""
    try:
        Range.parse(text)
    except InvalidEvent:
        return None
    return text.replace(",", ".")


def _number(text: str) -> float:
    return float(text.replace(",", "."))


def _finite(text: str, metric: str, part: str) -> float:
    value = _number(text)
    if -MAX_FLOAT <= value <= MAX_FLOAT:
        return value
    raise InvalidEvent(f"perf_data {metric} {part}", text, "a finite number")


def format(items: Iterable[PerfData]) -> str:
    """Return ``items`` as a performance data string that ``parse`` reads back (types are not part of it)."""
    return " ".join(map(_format_item, items))


def _format_item(item: PerfData) -> str:
    label = item.metric if _BARE_LABEL.fullmatch(item.metric) else "'" + item.metric.replace("'", "''") + "'"
    rest = [item.warn or "", item.crit or "", _optional_text(item.min), _optional_text(item.max)]
    return f"{label}={number_text(item.value)}{item.unit or ''};{';'.join(rest)}".rstrip(";")


def _optional_text(value: float | None) -> str:
    return "" if value is None else number_text(value)


def number_text(value: float) -> str:
    """Return the shortest text that reads back as ``value``: ``5``, ``0.25``, ``1e+20``."""
    text = repr(float(value))
    return text[:-2] if text.endswith(".0") else text


def items_of(value: object) -> list[PerfData]:
    """Return the values of a ``perf_data_array``; items whose value is null are left out. Raises InvalidEvent."""
    if type(value) is not list or len(value) > MAX_ITEMS:
        raise InvalidEvent("perf_data_array", value, f"a list of at most {MAX_ITEMS} objects")
    items = []
    for index, raw in enumerate(value):
        if type(raw) is not dict:
            raise InvalidEvent(f"perf_data_array[{index}]", raw, "an object with metric and value")
        if raw.get("value", MISSING) is not None:
            items.append(_item(raw, index))
    return items


def _item(raw: dict[str, Any], index: int) -> PerfData:
    metric = raw.get("metric", MISSING)
    if not is_name(metric):
        raise _refusal(index, "metric", metric, "a text of 1 to 255 characters without control characters")
    value = _array_number(raw.get("value", MISSING), index, "value")
    unit = raw.get("unit")
    if unit is not None:
        unit = _array_unit(unit, index)
    if len(raw) - (unit is not None) == 2:
        return PerfData(metric, value, unit)
    return PerfData(
        metric,
        value,
        unit,
        _array_range(raw.get("warn"), index, "warn"),
        _array_range(raw.get("crit"), index, "crit"),
        _array_bound(raw.get("min"), index, "min"),
        _array_bound(raw.get("max"), index, "max"),
        _array_type(raw.get("type"), index),
    )


def _refusal(index: int, key: str, value: object, allowed: str) -> InvalidEvent:
    return InvalidEvent(f"perf_data_array[{index}].{key}", value, allowed)


def _array_number(value: object, index: int, key: str) -> float:
    # The comparison refuses NaN, the infinities and integers that no float can hold.
    if (type(value) is float or type(value) is int) and -MAX_FLOAT <= value <= MAX_FLOAT:
        return float(value)
    raise _refusal(index, key, value, "a finite number")


def _array_unit(value: object, index: int) -> str | None:
    if value == "":
        return None
    if type(value) is str and len(value) <= MAX_UNIT and _is_unit(value):
        return value
    raise _refusal(index, "unit", value, f"a text of at most {MAX_UNIT} characters such as ms, %, B/s")


@lru_cache(maxsize=1024)
def _is_unit(text: str) -> bool:
    return is_name(text) and _WHOLE_UNIT.fullmatch(text) is not None


def _array_range(value: object, index: int, key: str) -> str | None:
    if value is None or value == "":
        return None
    if type(value) is str and len(value) <= 255:
        found = _range_text(value)
        if found is None:
            Range.parse(value, f"perf_data_array[{index}].{key}")
        return found
    if type(value) in {float, int}:
        return number_text(_array_number(value, index, key))
    raise _refusal(index, key, value, _RANGES)


def _array_bound(value: object, index: int, key: str) -> float | None:
    return None if value is None or value == "" else _array_number(value, index, key)


def _array_type(value: object, index: int) -> MetricType:
    found = _TYPES.get(value) if type(value) is str else None
    if value is None:
        return "GAUGE"
    if found is None:
        raise _refusal(index, "type", value, "GAUGE, COUNTER, DERIVE or ABSOLUTE")
    return found


_TYPES: dict[str, MetricType] = {"GAUGE": "GAUGE", "COUNTER": "COUNTER", "DERIVE": "DERIVE", "ABSOLUTE": "ABSOLUTE"}
