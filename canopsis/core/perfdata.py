"""Nagios performance data: ``'label'=value[unit];[warn];[crit];[min];[max] …``."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Literal

import msgspec

from canopsis.core.extra import MAX_FLOAT, whole_noted
from canopsis.core.fields import MISSING
from canopsis.core.notes import Notes
from canopsis.core.text import MAX_NAME, is_name, name_of
from canopsis.errors import InvalidEvent

MetricType = Literal["GAUGE", "COUNTER", "DERIVE", "ABSOLUTE"]

MAX_ITEMS = 4096
MAX_TEXT = 262144
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


_NUMBER = r"[-+]?(?:[0-9]+(?:\.[0-9]*|,[0-9]+)?|\.[0-9]+)(?:[eE][-+]?[0-9]+)?"
# Digits stand in a unit after a letter only (m3): behind any other sign they are the rest of a number.
_UNIT = (
    r"(?![eE][-+]?[0-9])(?:[^\W\d_][^\x00-\x20\x7f\s;,='\"]*"
    r"|[^\x00-\x20\x7f\s\d_;,='\"+.\-][^\x00-\x20\x7f\s\d;,='\"]*)"
)
_UNKNOWN = r"U(?:%|[a-zµ]?s|[kKMGTPE]?i?[bB]|c)?"
_RANGE = rf"@?(?:(?:~|{_NUMBER})?:(?:{_NUMBER})?|{_NUMBER})"
_BLANK = r" \t\n\r\f\v"
# A comma before a digit is inside a number, unless a label begins there; so is a blank of Unicode between digits.
_LABEL_AHEAD = r"(?=[^\s,;='\"]{1,255}=)"
_END = rf"(?=[{_BLANK}]|[^\S{_BLANK}](?![0-9])|,(?:(?![0-9])|{_LABEL_AHEAD})|$)"
_LABEL = r"""(?: '(?P<single>(?>[^']*(?:''[^']*)*))' | "(?P<double>[^"]*+)" | (?P<bare>[^\s='"]++) ) ="""
_NAGIOS_ITEM = re.compile(
    rf"""{_LABEL} (?: (?P<value>{_NUMBER})(?P<unit>{_UNIT})? | {_UNKNOWN} )
    (?: ;(?:(?P<warn>{_RANGE})(?P=unit)?)? (?: ;(?:(?P<crit>{_RANGE})(?P=unit)?)?
    (?: ;(?:(?P<min>{_NUMBER})(?P=unit)?|U)? (?: ;(?:(?P<max>{_NUMBER})(?P=unit)?|U)? )? )? )? )? ;?
    {_END}""",
    re.VERBOSE,
)
_ANY_LABEL = re.compile(_LABEL, re.VERBOSE)
# Atomic groups, not possessive repeats of groups: Python 3.11.2 (Debian 12) ends those one character early.
_SEGMENT = re.compile(rf"(?>(?:[^\s,]|(?<=[0-9])[^\S{_BLANK}](?=[0-9])|,(?=[0-9])(?!{_LABEL_AHEAD}))*)")
_WORD = re.compile(rf"(?:\"[^\"]*+\"|[^{_BLANK}]++|.)", re.DOTALL)
_VALUE = re.compile(rf"(?P<value>{_NUMBER})(?P<unit>{_UNIT})?|{_UNKNOWN}")
_GAP = re.compile(r"[\s,;]*+")
_BARE_UNIT = re.compile(rf"(.+)\[({_UNIT})\]")
_BARE_LABEL = re.compile(r"[A-Za-z0-9_/\\:.%{}?()-]+")
_WHOLE_NUMBER = re.compile(_NUMBER)
_WHOLE_UNIT = re.compile(_UNIT)
_WHOLE_RANGE = re.compile(rf"(?P<inside>@)?(?:(?P<start>~|{_NUMBER})?(?P<colon>:))?(?P<end>{_NUMBER})?")
_PLAIN_WORDS = re.compile(r"[^\s\d'\"=;,][^\s'\"=;,]*+(?>(?:[ ]+[^\s\d'\"=;,][^\s'\"=;,]*+)*)[ ]+")
_SYNTAX = "label=value[unit];warn;crit;min;max, labels with blanks in quotes"
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


def parse(text: object, notes: Notes) -> list[PerfData]:
    """Return the measured values of a performance data string; those that are ``U`` are left out.

    A comma is a decimal point when digits stand on both sides, else it separates. What cannot be
    read is left out and noted, one by one; never raises. Takes time in proportion to the text.
    """
    if type(text) is not str:
        notes.add("perf_data", text, "is left out", f"a text: {_SYNTAX}")
        return []
    if len(text) > MAX_TEXT:
        notes.add("perf_data", f"{len(text)} characters", f"are too many: the first {MAX_TEXT} are read")
        text = text[:MAX_TEXT].rpartition(" ")[0]
    text = whole_noted("perf_data", text, notes)
    items: list[PerfData] = []
    at = _after_gap(text, 0)
    while at < len(text):
        found = _NAGIOS_ITEM.match(text, at)
        item = _nagios_item(found) if found is not None else None
        if found is None or item is None or len(items) == MAX_ITEMS:
            return items + _Patience(text, notes).items(at, MAX_ITEMS - len(items))
        items.append(item)
        at = _after_gap(text, found.end())
    return items


class _Patience:
    """Reads a performance data string from the first place that is not as it should be.

    ``_words`` is where words that are no value begin, or -1.
    """

    def __init__(self, text: str, notes: Notes) -> None:
        self._text = text
        self._notes = notes
        self._words = -1

    def items(self, at: int, most: int) -> list[PerfData]:
        """Return up to ``most`` values from ``at`` on."""
        text = self._text
        items: list[PerfData] = []
        while at < len(text):
            if len(items) == most:
                self._notes.add("perf_data", text[at : at + 80], "and what follows is left out", f"{MAX_ITEMS} values")
                return items
            found = _NAGIOS_ITEM.match(text, at)
            end, item = self._item(found) if found else self._unclear(at)
            if item is not None:
                items.append(item)
            at = _after_gap(text, end)
        self._end_words(at)
        return items

    def _item(self, found: re.Match[str]) -> tuple[int, PerfData | None]:
        """Return the end and the value of what looks right."""
        if found["value"] is None:
            self._end_words(found.start())
            return found.end(), None
        if self._words < 0 and (item := _nagios_item(found)):
            return found.end(), item
        return self._unclear(found.start())

    def _unclear(self, at: int) -> tuple[int, PerfData | None]:
        """Return the end and the value, if there is one, of what is not as it should be."""
        text = self._text
        label = _ANY_LABEL.match(text, at)
        if label is None:
            self._words = at if self._words < 0 else self._words
            return _match_end(_WORD, text, at), None
        end = _match_end(_SEGMENT, text, label.end())
        metric = self._label(label)
        if metric:
            return end, self._value(metric, text[label.end() : end], bare=label["bare"] is not None)
        self._leave_out(at, end)
        return end, None

    def _label(self, found: re.Match[str]) -> str:
        """Return the name of a value, with the words before it that are part of it; empty when it is none."""
        start, self._words = self._words, -1
        single, double, bare = found.groups()
        if bare is None:
            self._leave_out_words(start, found.start())
            return name_of(double if single is None else single.replace("''", "'"))
        if start < 0:
            return name_of(bare)
        if found.end() - start <= MAX_NAME and _PLAIN_WORDS.fullmatch(self._text, start, found.start()):
            joined = name_of(self._text[start : found.end() - 1])
            if joined:
                self._notes.add("perf_data", joined, "is taken as one label", "labels with blanks in quotes")
                return joined
        self._leave_out_words(start, found.start())
        return name_of(bare)

    def _value(self, metric: str, segment: str, *, bare: bool) -> PerfData | None:
        number, *rest = segment.split(";")
        found = _VALUE.fullmatch(number)
        if found is None or len(found["unit"] or "") > MAX_UNIT:
            self._notes.add("perf_data", f"{metric}={segment}", "is left out", _SYNTAX)
            return None
        if found["value"] is None:
            return None
        value = _number(found["value"])
        unit = found["unit"]
        if bare and unit is None:
            metric, unit = _split(metric)
        if not _is_finite(value):
            self._notes.add(f"perf_data {metric} value", found["value"], "is left out", "a finite number")
            return None
        parts = [self._part(metric, name, text, unit) for name, text in zip(_PARTS, rest, strict=False)]
        if any(rest[len(_PARTS) :]):
            self._notes.add(f"perf_data {metric}", segment, "has more parts than are read", _SYNTAX)
        low, high = (None if part is None else _number(part) for part in [*parts, None, None, None, None][2:4])
        warn, crit = [*parts, None, None][:2]
        return PerfData(metric, value, unit, warn, crit, low, high)

    def _part(self, metric: str, name: str, text: str, unit: str | None) -> str | None:
        """Return a threshold or a bound as it is kept."""
        text = text.removesuffix(unit or "")
        if name in _BOUNDS:
            good = text in {"", "U"} or (_WHOLE_NUMBER.fullmatch(text) and _is_finite(_number(text)))
            kept = text if good and text != "U" else None
        else:
            kept = _range_text(text) if text else None
            good = kept is not None or not text
        if not good:
            self._notes.add(f"perf_data {metric} {name}", text, "is left out", _RANGES)
        return kept or None

    def _end_words(self, end: int) -> None:
        start, self._words = self._words, -1
        self._leave_out_words(start, end)

    def _leave_out_words(self, start: int, end: int) -> None:
        if start >= 0:
            self._leave_out(start, end)

    def _leave_out(self, start: int, end: int) -> None:
        self._notes.add("perf_data", self._text[start : min(end, start + 80)].rstrip(), "is left out", _SYNTAX)


_PARTS = ("warn", "crit", "min", "max")
_BOUNDS = frozenset({"min", "max"})


def _match_end(pattern: re.Pattern[str], text: str, at: int) -> int:
    found = pattern.match(text, at)
    return found.end() if found else at


def _after_gap(text: str, at: int) -> int:
    gap = _GAP.match(text, at)
    return gap.end() if gap else at


def _nagios_item(found: re.Match[str]) -> PerfData | None:
    """Return the value of what looks right, or None when something of it is not, or ``U``."""
    single, double, metric, value, unit, warn, crit, low, high = found.groups()
    if value is None:
        return None
    if metric is None:
        metric = double if single is None else single.replace("''", "'")
    elif unit is None and metric[-1] == "]":
        metric, unit = _split(metric)
    if not is_name(metric):
        return None
    item = PerfData(
        metric,
        _number(value),
        unit,
        _range_text(warn) if warn else None,
        _range_text(crit) if crit else None,
        _number(low) if low else None,
        _number(high) if high else None,
    )
    return item if _is_good(item, warn, crit) else None


def _split(metric: str) -> tuple[str, str | None]:
    """Return name and unit of a label without quotes: ``time[ms]=5`` is the metric time in ms."""
    found = _BARE_UNIT.fullmatch(metric)
    return (found[1], found[2]) if found else (metric, None)


def _is_good(item: PerfData, warn: str | None, crit: str | None) -> bool:
    """Tell whether nothing of ``item`` is infinite, too long, or was lost: thresholds that are no ranges."""
    if (warn and item.warn is None) or (crit and item.crit is None) or len(item.unit or "") > MAX_UNIT:
        return False
    return _is_finite(item.value) and _is_finite(item.min or 0.0) and _is_finite(item.max or 0.0)


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


def _is_finite(value: float) -> bool:
    return -MAX_FLOAT <= value <= MAX_FLOAT


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


def items_of(value: object, notes: Notes) -> list[PerfData]:
    """Return the values of a ``perf_data_array``; never raises.

    Items whose value is null or empty are left out; those that cannot be read too, and are noted.
    """
    if type(value) is not list:
        notes.add("perf_data_array", value, "is left out", "a list of objects")
        return []
    items: list[PerfData] = []
    for index, raw in enumerate(value):
        if len(items) == MAX_ITEMS:
            notes.add("perf_data_array", f"{len(value)} values", f"are too many: the first {MAX_ITEMS} are kept")
            break
        if type(raw) is not dict:
            notes.add(f"perf_data_array[{index}]", raw, "is left out", "an object with metric and value")
        elif raw.get("value", MISSING) not in _NOT_KNOWN:
            items += _read_item(raw, index, notes)
    return items


def _read_item(raw: dict[str, Any], index: int, notes: Notes) -> list[PerfData]:
    try:
        return [_item(raw, index)]
    except InvalidEvent:
        return _mended_item(raw, index, notes)


def _mended_item(raw: dict[str, Any], index: int, notes: Notes) -> list[PerfData]:
    """Return what of an item can be read: nothing without its name and its value."""
    metric, value = raw.get("metric"), raw.get("value")
    if type(metric) is str:
        metric = whole_noted(f"perf_data_array[{index}].metric", metric, notes)
    name = name_of(metric if type(metric) is str else str(metric) if type(metric) is int else "")
    good: dict[str, Any] = {"metric": name or metric, "value": value}
    try:
        _item(good, index)
        for key in _OPTIONAL:
            try:
                _item(good | {key: raw.get(key)}, index)
                good[key] = raw.get(key)
            except InvalidEvent as error:
                notes.refused(error)
    except InvalidEvent as error:
        notes.refused(error)
        return []
    return [_item(good, index)]


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
    if type(value) is str and len(value) <= MAX_NAME and _WHOLE_NUMBER.fullmatch(value.strip()):
        value = _number(value.strip())
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
    if type(value) in {float, int}:
        value = number_text(_array_number(value, index, key))
    if type(value) is str and len(value) <= 255:
        found = _range_text(value)
        if found is None:
            Range.parse(value, f"perf_data_array[{index}].{key}")
        return found
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


_NOT_KNOWN = (None, "")
_OPTIONAL = ("unit", "warn", "crit", "min", "max", "type")
_TYPES: dict[str, MetricType] = {"GAUGE": "GAUGE", "COUNTER": "COUNTER", "DERIVE": "DERIVE", "ABSOLUTE": "ABSOLUTE"}
