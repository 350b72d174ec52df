"""What an event is: one struct an ``event_type``, told apart by that field (a tagged union).

On the wire an event is a flat JSON object. Keys that no struct knows are kept in ``extra``.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, TypeVar

import msgspec

from canopsis.core import fields, perfdata
from canopsis.core.entity import id_of
from canopsis.core.perfdata import PerfData
from canopsis.errors import InvalidEvent

__all__ = [
    "Ack",
    "AckRemove",
    "AnyEvent",
    "Cancel",
    "Check",
    "Comment",
    "Event",
    "Log",
    "Perf",
    "PerfData",
    "Resolve",
    "SourceType",
    "Uncancel",
    "decode",
    "decode_batch",
    "event_type",
    "normalise",
    "routing_key",
    "to_document",
]

_T = TypeVar("_T")

SourceType = Literal["component", "resource"]

MAX_ROUTING_KEY = 255
"""Bytes of UTF-8: the limit of AMQP."""


class Event(msgspec.Struct, kw_only=True, omit_defaults=True, tag_field="event_type"):
    """What every event has. ``timestamp`` is in seconds since the epoch, UTC.

    ``warnings`` are made by ``normalise``: what of the event as it came was left out or mended.
    """

    connector: str
    connector_name: str
    component: str
    resource: str | None = None
    source_type: SourceType = "component"
    timestamp: float = 0.0
    event_id: str = ""
    entity_id: str = ""
    output: str = ""
    long_output: str = ""
    author: str = ""
    tags: list[str] = msgspec.field(default_factory=list)
    perf_data_array: list[PerfData] = msgspec.field(default_factory=list)
    extra: dict[str, Any] = msgspec.field(default_factory=dict)
    warnings: list[str] = msgspec.field(default_factory=list)


class Check(Event, tag="check"):
    """The state of an entity: 0 OK, 1 warning, 2 critical, 3 unknown."""

    state: int = 0
    state_type: int = 1


class Log(Event, tag="log"):
    """A line worth keeping; ``level`` is free text."""

    level: str = ""


class Perf(Event, tag="perf"):
    """Measured values alone."""


class Ack(Event, tag="ack"):
    """``author`` looks after the open alarm of the entity."""


class AckRemove(Event, tag="ackremove"):
    """The acknowledge is taken back."""


class Cancel(Event, tag="cancel"):
    """The open alarm is a false one."""


class Uncancel(Event, tag="uncancel"):
    """The cancel is taken back."""


class Comment(Event, tag="comment"):
    """``output`` is added to the open alarm."""


class Resolve(Event, tag="resolve"):
    """The alarm engine's own: the delay of an alarm that is back to OK, or cancelled, is over."""


AnyEvent = Check | Log | Perf | Ack | AckRemove | Cancel | Uncancel | Comment | Resolve

_TYPES: tuple[type[AnyEvent], ...] = (Check, Log, Perf, Ack, AckRemove, Cancel, Uncancel, Comment, Resolve)


def event_type(event: AnyEvent) -> str:
    """Return the ``event_type`` of ``event`` as it stands on the wire."""
    return str(event.__struct_config__.tag)


_COMMON: dict[str, Callable[[Any], Any]] = {
    "connector": fields.name_check("connector"),
    "connector_name": fields.name_check("connector_name"),
    "component": fields.name_check("component"),
    "resource": fields.resource,
    "source_type": fields.source_type,
    "event_id": fields.event_id,
    "output": fields.text_check("output", fields.MAX_OUTPUT),
    "long_output": fields.text_check("long_output", fields.MAX_LONG_OUTPUT),
    "author": fields.author,
    "tags": fields.tags,
    "perf_data": perfdata.parse,
    "perf_data_array": perfdata.items_of,
}
_OWN: dict[type[AnyEvent], dict[str, Callable[[Any], Any]]] = {
    Check: {"state": fields.state, "state_type": fields.state_type},
    Log: {"level": fields.text_check("level", fields.MAX_NAME)},
}
_REQUIRED: dict[type[AnyEvent], str] = {Check: "state", Comment: "output"}
_ELSEWHERE = frozenset({"event_type", "timestamp", "entity_id", "extra", "warnings"})


@dataclass(frozen=True, slots=True)
class _Kind:
    """How events of one type are normalised: a check a known field, and what must be there."""

    struct: type[AnyEvent]
    checks: dict[str, Callable[[Any], Any]]
    required: tuple[str, ...]


def _kind(struct: type[AnyEvent]) -> _Kind:
    own = _REQUIRED.get(struct)
    required = ("connector", "connector_name", "component", *([own] if own else []))
    return _Kind(struct, _COMMON | _OWN.get(struct, {}), required)


_KINDS = {str(struct.__struct_config__.tag): _kind(struct) for struct in _TYPES}


def normalise(raw: dict[str, Any], now: float) -> AnyEvent:
    """Return the event that the JSON object ``raw`` is; ``now`` is the time of its receipt, in seconds.

    Sets ``entity_id``; ``event_id`` stays empty when the client gave none. What is null is not
    there. Raises InvalidEvent, and nothing else whatever ``raw`` holds.
    """
    if type(raw) is not dict:
        raise InvalidEvent("event", raw, "an object")
    kind = _kind_of(raw)
    checks = kind.checks
    known: dict[str, Any] = {}
    unknown: dict[str, Any] = {}
    for key, value in raw.items():
        check = checks.get(key)
        if check is None:
            if key not in _ELSEWHERE:
                unknown[key] = value
        elif value is not None:
            known[key] = check(value)
    for name in kind.required:
        if name not in known:
            raise InvalidEvent(name, fields.MISSING, f"every {raw.get('event_type') or 'check'} event has one")
    _complete(known, raw, unknown)
    event = kind.struct(timestamp=fields.timestamp(raw.get("timestamp"), now), **known)
    event.entity_id = id_of(event.component, event.resource)
    _check_routing_key(event)
    return event


def _kind_of(raw: dict[str, Any]) -> _Kind:
    value = raw.get("event_type")
    kind = _KINDS.get("check" if value is None else value) if value is None or type(value) is str else None
    if kind is None:
        raise InvalidEvent("event_type", value, ", ".join(name for name in _KINDS if name != "resolve"))
    return kind


def _complete(known: dict[str, Any], raw: dict[str, Any], unknown: dict[str, Any]) -> None:
    """Settle in ``known`` what several fields say together."""
    resource = known.get("resource")
    source_type = known.setdefault("source_type", "component" if resource is None else "resource")
    if source_type == "resource" and resource is None:
        raise InvalidEvent("resource", raw.get("resource", fields.MISSING), "a name, as source_type is resource")
    if source_type == "component" and resource is not None:
        raise InvalidEvent("resource", resource, "no resource, as source_type is component")
    if "perf_data" in known:
        known["perf_data_array"] = _merge(known.pop("perf_data"), known.get("perf_data_array"))
    if unknown or raw.get("extra") is not None:
        known["extra"] = fields.storable(_with_given(raw.get("extra"), unknown))


def _merge(parsed: list[PerfData], listed: list[PerfData] | None) -> list[PerfData]:
    """Return all values; of two with one name the listed one."""
    if not listed:
        return parsed
    names = {item.metric for item in listed}
    return listed + [item for item in parsed if item.metric not in names]


def _with_given(given: object, unknown: dict[str, Any]) -> dict[str, Any]:
    """Return unknown keys beside those that are in ``extra`` already, as in an event that engines publish."""
    if given is None:
        return unknown
    if type(given) is not dict:
        raise InvalidEvent("extra", given, "an object")
    return given | unknown


def routing_key(event: AnyEvent) -> str:
    """Return ``connector.connector_name.event_type.source_type.component[.resource]``."""
    kind = event.__struct_config__.tag
    head = f"{event.connector}.{event.connector_name}.{kind}.{event.source_type}.{event.component}"
    return head if event.resource is None else f"{head}.{event.resource}"


def _check_routing_key(event: AnyEvent) -> None:
    key = routing_key(event)
    size = len(key) if key.isascii() else len(key.encode())
    if size > MAX_ROUTING_KEY:
        allowed = f"connector, connector_name, component and resource that make at most {MAX_ROUTING_KEY} bytes of it"
        raise InvalidEvent("routing_key", key, f"{allowed}; these make {size}")


def decode(body: bytes) -> list[dict[str, Any]]:
    """Return the JSON objects in ``body``: one object, or an array of them.

    Raises InvalidEvent for what is not JSON or not UTF-8, has NaN, is nested too deep or is an
    event of more than 1 MiB; and for anything but objects, and for nothing.
    """
    found = _decode(_RAW, body)
    several = isinstance(found, list)
    elements: list[Any] = found if isinstance(found, list) else [found]
    if not elements:
        raise InvalidEvent("body", found, "an object, or an array of at least one")
    for index, element in enumerate(elements):
        if type(element) is not dict:
            raise InvalidEvent(f"[{index}]" if several else "body", element, "an object, or an array of objects")
    if len(body) > fields.MAX_EVENT and not several:
        _refuse_size(elements[0])
    return elements


def _refuse_size(raw: dict[str, Any]) -> None:
    sizes = {key: len(_ENCODER.encode(value)) for key, value in raw.items()}
    if sum(sizes.values()) > fields.MAX_EVENT:
        biggest = max(sizes, key=sizes.__getitem__)
        allowed = f"an event of at most {fields.MAX_EVENT} bytes; this field has {sizes[biggest]}"
        raise InvalidEvent(biggest, raw[biggest], allowed)


def decode_batch(body: bytes) -> list[AnyEvent]:
    """Return the events of a message between engines: an array of normalised events. Raises InvalidEvent."""
    return _decode(_TYPED, body)


def _decode(decoder: msgspec.json.Decoder[_T], body: bytes) -> _T:
    try:
        return decoder.decode(body)
    except msgspec.ValidationError as error:
        raise _translated(error, body) from None
    except msgspec.DecodeError as error:
        raise InvalidEvent("body", body, f"JSON ({error})") from None
    except UnicodeDecodeError as error:
        raise InvalidEvent("body", body, f"JSON in UTF-8 ({error.reason} at byte {error.start})") from None
    except RecursionError:
        raise InvalidEvent("body", body, f"values nested at most {fields.MAX_DEPTH} deep") from None


def _translated(error: msgspec.ValidationError, body: bytes) -> InvalidEvent:
    """Return an error that names the field of msgspec's ``what - at `$.path```."""
    what, _, path = str(error).partition(" - at `$")
    # Of a key of an untyped object msgspec tells nothing but ``[...]``.
    known = path.partition("[...]")[0].rstrip("`").lstrip(".")
    return InvalidEvent(known or "body", body, what)


_RAW = msgspec.json.Decoder(object)
_TYPED: msgspec.json.Decoder[list[AnyEvent]] = msgspec.json.Decoder(list[AnyEvent])
_ENCODER = msgspec.json.Encoder()


def to_document(event: AnyEvent) -> dict[str, Any]:
    """Return ``event`` as it stands in the collection ``events``: ``_id`` is its id, what is empty is left out."""
    document: dict[str, Any] = msgspec.to_builtins(event)
    document["_id"] = document.pop("event_id", "")
    document["source_type"] = event.source_type
    if type(event) is Check:
        document["state"] = event.state
        document["state_type"] = event.state_type
    return document
