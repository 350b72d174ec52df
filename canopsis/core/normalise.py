"""From what came to an event: decode JSON, normalise, refuse what says nothing.

On the wire an event is a flat JSON object. Keys that no struct knows are kept in ``extra``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

import msgspec

from canopsis.core import extra, fields, perfdata
from canopsis.core.body import loads
from canopsis.core.entity import id_of
from canopsis.core.event import Action, Event, routing_key
from canopsis.core.event_types import EVENT_TYPES, SENT_BY_SOURCES
from canopsis.core.event_types.declaration import EventType
from canopsis.core.fields import FieldCheck
from canopsis.core.notes import Notes
from canopsis.core.perfdata import PerfData
from canopsis.errors import InvalidEvent

_T = TypeVar("_T")

MAX_ROUTING_KEY = 255
"""Bytes of UTF-8: the limit of AMQP."""

_COMMON: dict[str, FieldCheck] = {
    "connector": fields.name_check("connector"),
    "connector_name": fields.name_check("connector_name"),
    "component": fields.name_check("component"),
    "resource": fields.resource,
    "source_type": fields.source_type,
    "event_id": fields.event_id,
    "output": fields.text_check("output", fields.MAX_OUTPUT),
    "long_output": fields.text_check("long_output", fields.MAX_LONG_OUTPUT),
    "author": fields.label_check("author"),
    "tags": fields.tags,
    "perf_data": perfdata.parse,
    "perf_data_array": perfdata.items_of,
}
_OF_ACTIONS: dict[str, FieldCheck] = {"alarm_id": fields.alarm_id, "outcome": fields.computed_check("outcome")}
_ELSEWHERE = frozenset({"event_type", "timestamp", "state_scale", "entity_id", "extra", "warnings", "sent_timestamp"})
"""Keys that are read, or are not believed, elsewhere."""


@dataclass(frozen=True, slots=True)
class _Kind:
    """How events of one type are normalised: a check a known field, and what must be there."""

    struct: type[Event]
    checks: dict[str, FieldCheck]
    required: tuple[str, ...]


def _kind(declared: EventType) -> _Kind:
    checks = _COMMON | {name: own.check for name, own in declared.fields.items()}
    if issubclass(declared.struct, Action):
        checks |= _OF_ACTIONS
    return _Kind(declared.struct, checks, ("connector", "connector_name", "component", *declared.required))


_KINDS = {name: _kind(declared) for name, declared in EVENT_TYPES.items()}
_CHECK = _KINDS["check"]


def normalise(raw: dict[str, Any], now: float) -> Event:
    """Return the event that the JSON object ``raw`` is; ``now`` is the time of its receipt, in seconds.

    Sets ``entity_id``; ``event_id`` stays empty when the client gave none. What is null is not
    there. What is wrong and not needed to know entity and state is mended or left out, and stands
    in ``warnings``. Raises InvalidEvent, and nothing else whatever ``raw`` holds.
    """
    if type(raw) is not dict:
        raise InvalidEvent("event", raw, "an object")
    kind = _kind_of(raw)
    checks = kind.checks
    notes = Notes()
    known: dict[str, Any] = {}
    unknown: dict[str, Any] = {}
    for key, value in raw.items():
        check = checks.get(key)
        if check is None:
            if key not in _ELSEWHERE:
                unknown[key] = value
        elif value is not None:
            known[key] = check(value, notes)
    for name in kind.required:
        if known.get(name, "") == "":
            raise _missing(kind, known)
    _complete(known, raw, unknown, notes)
    at, sent = fields.timestamp(raw.get("timestamp"), now, notes)
    event = kind.struct(timestamp=at, sent_timestamp=sent, warnings=notes.texts(), **known)
    event.entity_id = id_of(event.component, event.resource)
    _check_routing_key(event)
    return event


def _kind_of(raw: dict[str, Any]) -> _Kind:
    value = raw.get("event_type")
    if value is None or value == "":
        return _CHECK
    kind = _KINDS.get(value) if type(value) is str else None
    if kind is None:
        raise InvalidEvent("event_type", value, ", ".join(SENT_BY_SOURCES))
    return kind


def _missing(kind: _Kind, known: Mapping[str, Any]) -> InvalidEvent:
    """Return the error that names every field that is not there."""
    missing = [name for name in kind.required if known.get(name, "") == ""]
    tag = str(kind.struct.__struct_config__.tag)
    allowed = f"{'an' if tag[0] in 'aeiou' else 'a'} {tag} event has {', '.join(kind.required)}"
    return InvalidEvent(missing[0], fields.MISSING, allowed, f"{', '.join(missing)}: missing; {allowed}")


def _complete(known: dict[str, Any], raw: dict[str, Any], unknown: dict[str, Any], notes: Notes) -> None:
    """Settle in ``known`` what several fields say together."""
    resource = known.get("resource")
    source_type = known.get("source_type") or ("component" if resource is None else "resource")
    known["source_type"] = source_type
    if source_type == "resource" and resource is None:
        raise InvalidEvent("resource", raw.get("resource", fields.MISSING), "a name, as source_type is resource")
    if source_type == "component" and resource is not None:
        raise InvalidEvent("resource", resource, "no resource, as source_type is component")
    if "perf_data" in known:
        known["perf_data_array"] = _merge(known.pop("perf_data"), known.get("perf_data_array"))
    if unknown or raw.get("extra") is not None:
        known["extra"] = extra.storable(_with_given(raw.get("extra"), unknown, notes), notes)
    scale = raw.get("state_scale")
    if scale is not None and "state" in known:
        known["state"] = fields.rescaled(known["state"], scale)


def _merge(parsed: list[PerfData], listed: list[PerfData] | None) -> list[PerfData]:
    """Return all values; of two with one name the listed one."""
    if not listed:
        return parsed
    names = {item.metric for item in listed}
    return listed + [item for item in parsed if item.metric not in names]


def _with_given(given: object, unknown: dict[str, Any], notes: Notes) -> dict[str, Any]:
    """Return unknown keys beside those that are in ``extra`` already, as in an event that engines publish."""
    if given is None:
        return unknown
    if type(given) is not dict:
        notes.add("extra", given, "is left out", "an object")
        return unknown
    return given | unknown


def _check_routing_key(event: Event) -> None:
    key = routing_key(event)
    size = len(key) if key.isascii() else len(key.encode())
    if size > MAX_ROUTING_KEY:
        allowed = f"connector, connector_name, component and resource that make at most {MAX_ROUTING_KEY} bytes of it"
        raise InvalidEvent("routing_key", key, f"{allowed}; these make {size}")


def decode(body: bytes) -> list[dict[str, Any]]:
    """Return the JSON objects in ``body``: one object, or an array of them. Raises InvalidEvent as ``loads`` does.

    A byte that is not UTF-8, and half of a surrogate pair, is a lone surrogate in what is returned.
    """
    return elements_of(loads(body))


def elements_of(found: object) -> list[dict[str, Any]]:
    """Return the objects that ``found`` is, or lists. Raises InvalidEvent for anything but objects, and for nothing."""
    several = isinstance(found, list)
    elements: list[Any] = found if isinstance(found, list) else [found]
    if not elements:
        raise InvalidEvent("body", found, "an object, or an array of at least one")
    for index, element in enumerate(elements):
        if type(element) is not dict:
            raise InvalidEvent(f"[{index}]" if several else "body", element, "an object, or an array of objects")
    return elements


def decode_typed(decoder: msgspec.json.Decoder[_T], body: bytes) -> _T:
    """Return what ``body`` holds. Raises InvalidEvent that names the field."""
    try:
        return decoder.decode(body)
    except msgspec.ValidationError as error:
        raise _translated(error, body) from None
    except msgspec.DecodeError as error:
        raise InvalidEvent("body", body, f"JSON ({error})") from None
    except UnicodeDecodeError as error:
        raise InvalidEvent("body", body, f"JSON in UTF-8 ({error.reason})") from None
    except RecursionError:
        raise InvalidEvent("body", body, f"values nested at most {extra.MAX_DEPTH} deep") from None


def _translated(error: msgspec.ValidationError, body: bytes) -> InvalidEvent:
    """Return an error that names the field of msgspec's ``what - at `$.path```."""
    what, _, path = str(error).partition(" - at `$")
    # Of a key of an untyped object msgspec tells nothing but ``[...]``.
    known = path.partition("[...]")[0].rstrip("`").lstrip(".")
    return InvalidEvent(known or "body", body, what)
