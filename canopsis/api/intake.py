"""Events that come in over HTTP: all of a request, or nothing of it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote_to_bytes

import msgspec

from canopsis.api.ports import Backend, Message
from canopsis.api.problems import members_of
from canopsis.core.event import AnyEvent, Resolve, decode, normalise, routing_key
from canopsis.errors import InputError, InvalidEvent, RequestError
from canopsis.transport.codec import pack
from canopsis.transport.topology import EVENTS

MAX_EVENTS = 20_000
"""Events of one request."""

MAX_REFUSALS = 1000
"""Refused events that an answer lists; it says how many there are in all."""

_ENCODER = msgspec.json.Encoder()
_DIFFERS = "_"


@dataclass(frozen=True, slots=True)
class Taken:
    """An event that may be published, as it came, with its id and its time."""

    event: AnyEvent
    event_id: str
    raw: dict[str, Any]


def take(data: bytes, backend: Backend) -> list[Taken]:
    """Publish the events in ``data`` (a JSON object, or an array of them); return when the broker has them.

    Raises InvalidEvent for what is not a list of events, RequestError (400) listing every event
    that is refused, TransportError. Nothing is published then.
    """
    raws = decode(data)
    if len(raws) > MAX_EVENTS:
        raise InvalidEvent("body", f"{len(raws)} events", f"at most {MAX_EVENTS} events a request")
    return publish(raws, backend)


def publish(raws: Sequence[dict[str, Any]], backend: Backend) -> list[Taken]:
    """Publish decoded events, all or none; return when the broker has them. Raises as ``take`` does."""
    taken = examine(raws, backend)
    backend.broker.publish(list(messages(taken)))
    return taken


def examine(raws: Sequence[dict[str, Any]], backend: Backend) -> list[Taken]:
    """Return what is to be published. Raises RequestError (400) listing every event that is refused."""
    now = backend.now()
    taken: list[Taken] = []
    refused: list[dict[str, object]] = []
    ids: set[str] = set()
    for index, raw in enumerate(raws):
        try:
            found = _examine_one(raw, now, backend, ids)
        except InputError as error:
            refused.append({"index": index, "status": "refused", "detail": str(error), **members_of(error)})
        else:
            ids.add(found.event_id)
            taken.append(found)
    if refused:
        raise _refusal(refused, len(raws))
    return taken


def messages(taken: Sequence[Taken]) -> Iterator[Message]:
    """Yield the messages for the broker: one event by its routing key, several as arrays of about 1 MiB."""
    if len(taken) == 1:
        yield Message(EVENTS, routing_key(taken[0].event), _ENCODER.encode(taken[0].raw))
        return
    key = common_key([each.event for each in taken])
    for body in pack(_ENCODER.encode(each.raw) for each in taken):
        yield Message(EVENTS, key, body)


def common_key(events: Iterable[AnyEvent]) -> str:
    """Return the routing key of several events: what all have in common, ``_`` where they differ."""
    words = [
        [event.connector, event.connector_name, _type(event), event.source_type, event.component, event.resource or ""]
        for event in events
    ]
    common = [column[0] if len(set(column)) == 1 else _DIFFERS for column in zip(*words, strict=True)]
    return ".".join(common if common[-1] else common[:-1])


def form_event(data: bytes) -> bytes:
    """Return the field ``event`` of an urlencoded form. Raises InputError."""
    for pair in data.split(b"&"):
        name, _, value = pair.partition(b"=")
        if unquote_to_bytes(name) == b"event":
            return unquote_to_bytes(value.replace(b"+", b" "))
    raise InputError("event", None, "a form with the field event: a JSON object, or an array of them")


def unwrap(data: bytes) -> bytes:
    """Return the events of ``{"event": …}``; anything else is returned as it is."""
    try:
        outer = msgspec.json.decode(data, type=dict[str, msgspec.Raw])
    except (msgspec.DecodeError, RecursionError, ValueError):
        return data
    return bytes(outer["event"]) if outer.keys() == {"event"} else data


def _examine_one(raw: dict[str, Any], now: float, backend: Backend, ids: set[str]) -> Taken:
    event = normalise(raw, now)
    if isinstance(event, Resolve):
        raise InvalidEvent("event_type", "resolve", "a type that comes from outside: the engines resolve alarms")
    if event.event_id and event.event_id in ids:
        raise InvalidEvent("event_id", event.event_id, "an id that no other event of this request has")
    # The time of receipt is now, and a repeat of the message is the same event.
    stamps: dict[str, Any] = {"event_id": event.event_id or backend.new_id()}
    if raw.get("timestamp") is None:
        stamps["timestamp"] = now
    return Taken(event, stamps["event_id"], raw | stamps)


def _refusal(refused: list[dict[str, object]], total: int) -> RequestError:
    first = refused[0]
    detail = f"{len(refused)} of {total} events are refused, nothing is published; the first: {first['detail']}"
    members = {name: first[name] for name in ("index", "field", "value", "allowed")}
    return RequestError(400, detail, members | {"refused": len(refused), "errors": refused[:MAX_REFUSALS]})


def _type(event: AnyEvent) -> str:
    return str(event.__struct_config__.tag)
