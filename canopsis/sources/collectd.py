"""What collectd says becomes ``perf`` events: ``PUTVAL`` lines and its JSON format.

Component is the host, resource the plugin with its instance. A metric is named by its type, or by
its type instance where it has one; several values of one type add ``-name``. Counters become rates.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any, TypeGuard

import msgspec

from canopsis.core.event import Event
from canopsis.core.extra import MAX_FLOAT
from canopsis.core.fields import EARLIEST
from canopsis.core.normalise import normalise
from canopsis.errors import InvalidEvent
from canopsis.sources.rates import Counters
from canopsis.sources.types_db import KINDS, DataSource, Types

CONNECTOR = "collectd"
UNKNOWN = "the value is unknown (U)"

_WORD = re.compile(r'\s*(?:"((?:[^"\\]|\\.)*)"|([^\s"]\S*))')
_ESCAPED = re.compile(r"\\(.)")
_INTEGER = re.compile(r"[-+]?[0-9]{1,40}")
_NUMBER = re.compile(r"[-+]?(?:[0-9]{1,400}(?:\.[0-9]*)?|\.[0-9]{1,400})(?:[eE][-+]?[0-9]{1,4})?")
_SYNTAX = "PUTVAL host/plugin[-instance]/type[-instance] [interval=seconds] time|N:value[:value…]"
_VALUES = "numbers, or U for an unknown one"

Value = int | float | None
"""None is an unknown one."""


@dataclass(frozen=True, slots=True)
class ValueList:
    """Values of one identifier at one time, in seconds. ``sources`` are given by JSON, else by types.db."""

    host: str
    plugin: str
    type: str
    type_instance: str
    time: float
    values: tuple[Value, ...]
    sources: tuple[DataSource, ...] | None = None

    @property
    def identifier(self) -> str:
        """``host/plugin[-instance]/type[-instance]``."""
        kind = f"{self.type}-{self.type_instance}" if self.type_instance else self.type
        return f"{self.host}/{self.plugin}/{kind}"


@dataclass(frozen=True, slots=True)
class Mapped:
    """What became of one list of values, or of one line that is none.

    ``event`` is None when no value is left; ``notes`` say why values are missing, each with its
    metric; ``error`` says what is wrong, and then there is nothing else. ``source`` is what it came from.
    """

    source: str
    event: Event | None = None
    notes: tuple[str, ...] = ()
    error: InvalidEvent | None = None


def map_message(body: bytes, now: float, types: Types, counters: Counters) -> list[Mapped]:
    """Return what became of each list of values in ``body``; ``counters`` remember their values.

    ``now`` is the time of receipt in seconds: that of values whose time is ``N``. Nothing is raised:
    what is wrong with a line, or with an element of the JSON array, is said in its place.
    """
    read = _read_json(body, now) if body.lstrip()[:1] in {b"[", b"{"} else _read_text(body, now)
    return [item if isinstance(item, Mapped) else _mapped(source, item, now, types, counters) for source, item in read]


def parse_putval(line: str, now: float) -> list[ValueList]:
    """Return the lists of values of one ``PUTVAL`` line. Raises InvalidEvent naming the part that is wrong."""
    words = _words(line.strip())
    if len(words) < 3 or words[0].upper() != "PUTVAL":
        raise InvalidEvent("PUTVAL", line, _SYNTAX)
    host, plugin, kind, instance = _identifier(words[1])
    lists = []
    for word in words[2:]:
        option, equals, value = word.partition("=")
        if equals:
            _check_option(option, value)
        else:
            time, values = _timed_values(word, now)
            lists.append(ValueList(host, plugin, kind, instance, time, values))
    if not lists:
        raise InvalidEvent("PUTVAL", line, f"at least one time:value; {_SYNTAX}")
    return lists


def _read_text(body: bytes, now: float) -> Iterator[tuple[str, ValueList | Mapped]]:
    lines = [line for line in body.splitlines() if line.strip(b" \t\0")]
    if not lines:
        yield "", Mapped("", error=InvalidEvent("body", body, _SYNTAX))
    for line in lines:
        text = line.decode(errors="replace").strip()
        try:
            # Decoded again: a replaced character would be a host or a plugin that does not exist.
            for item in parse_putval(_utf8(line).strip(), now):
                yield text, item
        except InvalidEvent as error:
            yield text, Mapped(text, error=error)


def _utf8(line: bytes) -> str:
    try:
        return line.decode()
    except UnicodeDecodeError as error:
        raise InvalidEvent("PUTVAL", line, f"UTF-8 ({error.reason} at byte {error.start})") from None


def _words(line: str) -> list[str]:
    words: list[str] = []
    at = 0
    while at < len(line):
        found = _WORD.match(line, at)
        if found is None:
            raise InvalidEvent("PUTVAL", line[at:], f"words, or texts in double quotes; {_SYNTAX}")
        words.append(found[2] if found[1] is None else _ESCAPED.sub(r"\1", found[1]))
        at = found.end()
    return words


def _identifier(text: str) -> tuple[str, str, str, str]:
    parts = text.split("/", 2)
    if len(parts) != 3 or not all(parts):
        raise InvalidEvent("PUTVAL identifier", text, "host/plugin[-instance]/type[-instance]")
    kind, _, instance = parts[2].partition("-")
    return parts[0], parts[1], kind, instance


def _check_option(option: str, value: str) -> None:
    """Refuse what cannot be an option; ``interval`` and ``meta:…`` change nothing here."""
    if option == "interval" and not (_NUMBER.fullmatch(_pointed(value)) and float(_pointed(value)) > 0):
        raise InvalidEvent("PUTVAL interval", value, "seconds above 0")
    if option != "interval" and not option.startswith("meta:"):
        raise InvalidEvent("PUTVAL option", option, "interval=seconds, meta:name=value")


def _timed_values(word: str, now: float) -> tuple[float, tuple[Value, ...]]:
    time, *values = map(_pointed, word.split(":"))
    if not values or not (time == "N" or _NUMBER.fullmatch(time)):
        raise InvalidEvent("PUTVAL values", word, "time:value[:value…], where time is in seconds, or N for now")
    return now if time == "N" else float(time), tuple([_value(text) for text in values])


def _pointed(text: str) -> str:
    """Return ``text`` with a point for the comma that collectd writes under a locale such as de_DE."""
    return text.replace(",", ".") if text.count(",") == 1 and "." not in text else text


def _value(text: str) -> Value:
    if _INTEGER.fullmatch(text):
        return int(text)
    if _NUMBER.fullmatch(text) and _is_number(float(text)):
        return float(text)
    if text.upper() in {"U", "NAN", "-NAN"}:
        return None
    raise InvalidEvent("PUTVAL values", text, _VALUES)


def _read_json(body: bytes, now: float) -> Iterator[tuple[str, ValueList | Mapped]]:
    try:
        found = msgspec.json.decode(body)
    except (msgspec.DecodeError, ValueError, RecursionError) as error:
        yield "", Mapped("", error=InvalidEvent("body", body, f"collectd's JSON ({error})"))
        return
    for index, element in enumerate(found if isinstance(found, list) else [found]):
        try:
            item = _json_list(element, now)
        except InvalidEvent as error:
            yield f"[{index}]", Mapped(f"[{index}]", error=error)
        else:
            yield item.identifier, item


def _json_list(raw: object, now: float) -> ValueList:
    if not isinstance(raw, dict):
        raise InvalidEvent("body", raw, "an object with host, plugin, type, time and values")
    plugin, instance = _text(raw, "plugin"), _text(raw, "plugin_instance", "")
    values = raw.get("values")
    if not isinstance(values, list) or not all(value is None or _is_number(value) for value in values):
        raise InvalidEvent("values", values, "a list of numbers, or null for an unknown one")
    time = raw.get("time", now)
    if not _is_number(time):
        raise InvalidEvent("time", time, "seconds since the epoch")
    return ValueList(
        _text(raw, "host"),
        f"{plugin}-{instance}" if instance else plugin,
        _text(raw, "type"),
        _text(raw, "type_instance", ""),
        time,
        tuple(values),
        _json_sources(raw),
    )


def _is_number(value: object) -> TypeGuard[float]:
    return (type(value) is int or type(value) is float) and -MAX_FLOAT <= value <= MAX_FLOAT


def _text(raw: dict[str, Any], name: str, default: str | None = None) -> str:
    value = raw.get(name)
    if value is None and default is not None:
        return default
    if not isinstance(value, str) or (default is None and not value):
        raise InvalidEvent(name, value, "a text")
    return value


def _json_sources(raw: dict[str, Any]) -> tuple[DataSource, ...] | None:
    """Return the data sources that the JSON names itself (``gauge`` where collectd made the rate), or None."""
    names, kinds = raw.get("dsnames"), raw.get("dstypes")
    if names is None or kinds is None:
        return None
    if not isinstance(names, list) or not all(isinstance(name, str) and name for name in names):
        raise InvalidEvent("dsnames", names, "a list of texts")
    if not isinstance(kinds, list) or not all(isinstance(kind, str) and kind.upper() in KINDS for kind in kinds):
        raise InvalidEvent("dstypes", kinds, "a list of gauge, counter, derive or absolute")
    if len(names) != len(kinds):
        raise InvalidEvent("dstypes", kinds, f"as many as dsnames ({len(names)})")
    return tuple([DataSource(name, KINDS[kind.upper()]) for name, kind in zip(names, kinds, strict=True)])


def _mapped(source: str, item: ValueList, now: float, types: Types, counters: Counters) -> Mapped:
    try:
        sources = _sources_of(item, types)
        # Twice: a refused list must leave no trace in the counters.
        normalise(_event(item, []), now)
        _check_time(item.time, now)
        measured, notes = _measure(item, sources, counters)
        event = normalise(_event(item, measured), now) if measured else None
        if event is not None and len(event.perf_data_array) < len(measured):
            field, _, why = event.warnings[0].partition(": ")
            raise InvalidEvent(field, item.values, why)
    except InvalidEvent as error:
        return Mapped(source, error=error)
    return Mapped(source, event, tuple(notes))


def _check_time(time: float, now: float) -> None:
    """Raise InvalidEvent for a time of which no rate can be made."""
    if not EARLIEST <= time <= now + _DAY:
        allowed = "seconds since the epoch (UTC), from 2000-01-01 to one day from now; not milliseconds"
        raise InvalidEvent("timestamp", time, allowed)


def _sources_of(item: ValueList, types: Types) -> tuple[DataSource, ...]:
    sources = types.get(item.type) if item.sources is None else _bounded(item.sources, types.get(item.type))
    if sources is None:
        raise InvalidEvent("type", item.type, "a type of types.db; own ones by collectd_types_db")
    if len(sources) != len(item.values):
        names = ", ".join(source.name for source in sources)
        raise InvalidEvent("values", item.values, f"{len(sources)} of them for the type {item.type}: {names}")
    return sources


def _bounded(given: Sequence[DataSource], known: Sequence[DataSource] | None) -> tuple[DataSource, ...]:
    """Return ``given`` with the bounds of types.db where that knows the same source."""
    by_name = {(source.name, source.kind): source for source in known or ()}
    return tuple([by_name.get((source.name, source.kind), source) for source in given])


def _event(item: ValueList, measured: list[dict[str, Any]]) -> dict[str, Any]:
    stamp = f"{item.identifier}\0{float(item.time)!r}".encode(errors="replace")
    return {
        "event_type": "perf",
        "connector": CONNECTOR,
        "connector_name": CONNECTOR,
        "component": item.host,
        "resource": item.plugin,
        "timestamp": item.time,
        "event_id": blake2b(stamp, digest_size=16).hexdigest(),
        "perf_data_array": measured,
    }


def _measure(
    item: ValueList, sources: tuple[DataSource, ...], counters: Counters
) -> tuple[list[dict[str, Any]], list[str]]:
    measured: list[dict[str, Any]] = []
    notes: list[str] = []
    for source, value in zip(sources, item.values, strict=True):
        metric = _metric(item, source, len(sources) > 1)
        found = _measured(item, source, value, counters)
        if isinstance(found, str):
            notes.append(f"{metric}: {found}")
        else:
            measured.append({"metric": metric, "value": found, "unit": _unit(item.type), **_bounds(source)})
    return measured, notes


def _measured(item: ValueList, source: DataSource, value: Value, counters: Counters) -> float | str:
    """Return the gauge or the rate of ``value``, or why there is none."""
    if value is None:
        return UNKNOWN
    if source.kind == "GAUGE":
        return value
    return counters.rate(item.identifier, source, value, item.time)


def _metric(item: ValueList, source: DataSource, several: bool) -> str:
    name = item.type_instance or item.type
    # ``df_complex-free``, ``df_inodes-free`` and ``percent_bytes-free`` stand side by side in one resource.
    if item.type_instance and (item.type.startswith("percent") or item.type.endswith("_inodes")):
        name = f"{item.type}-{item.type_instance}"
    return f"{name}-{source.name}" if several else name


def _bounds(source: DataSource) -> dict[str, float]:
    if source.kind != "GAUGE":
        return {}
    bounds = {"min": source.min, "max": source.max}
    return {name: bound for name, bound in bounds.items() if bound is not None}


def _unit(kind: str) -> str | None:
    if kind.endswith("_octets"):
        return "B/s"
    return "%" if kind.startswith("percent") else _UNITS.get(kind)


_DAY = 86400
_UNITS = {"memory": "B", "df": "B", "df_complex": "B", "swap": "B", "bytes": "B", "uptime": "s"}
