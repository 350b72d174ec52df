"""Events that come in over HTTP: each has its own answer; the good ones are published."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any
from urllib.parse import unquote_to_bytes

import msgspec

from canopsis.api.ports import Backend, Message
from canopsis.api.problems import members_of, unconfirmed
from canopsis.core import body
from canopsis.core.event import Event, event_type, routing_key
from canopsis.core.event_types import SENT_BY_SOURCES
from canopsis.core.normalise import elements_of, normalise
from canopsis.core.parameters import flag, scale
from canopsis.errors import InputError, InvalidEvent, RequestError, TransportError
from canopsis.transport.codec import pack
from canopsis.transport.topology import EVENTS

MAX_EVENTS = 20_000
"""Events of one request."""

MAX_REFUSALS = 1000
"""Refused events of which an answer tells all; of the others it tells that they are."""

_DIFFERS = "_"


@dataclass(frozen=True, slots=True)
class Taken:
    """An event that may be published, as it came, with its id and its time."""

    event: Event
    event_id: str
    raw: dict[str, Any]


@dataclass(slots=True)
class Examined:
    """What is to be published, and what is answered for each event, in their order.

    A result is ``{index, event_id, status, warnings?}``, or ``{index, status, detail, field, value, allowed}``.
    """

    taken: list[Taken] = field(default_factory=list)
    results: list[dict[str, object]] = field(default_factory=list)
    refused: int = 0


class Wish(msgspec.Struct, frozen=True):
    """How a request is to be read: ``atomic``, all or nothing; ``state_scale``, of events that name none."""

    atomic: Annotated[bool, flag("All events or none: nothing is published when one is refused.")] = False
    state_scale: Annotated[
        str | None, scale("What the states 0 to 3 mean, in events that do not say it themselves.")
    ] = None


_PLAIN = Wish()


def take(found: object, backend: Backend, wish: Wish = _PLAIN) -> Examined:
    """Publish the events in ``found`` (an object, or a list of them); return when the broker has them.

    Raises InvalidEvent for what is not a list of events, and as ``send`` does.
    """
    return send(examine(elements_of(found), backend, wish), backend, wish)


def send(examined: Examined, backend: Backend, wish: Wish = _PLAIN) -> Examined:
    """Publish events that were examined; return when the broker has them.

    Raises RequestError (400) when all are refused, or some and all or nothing is wished for: nothing is published
    then. Raises RequestError (503) when the broker does not confirm: whether it has the events is not known, and the
    answer names their ids.
    """
    if examined.refused and (wish.atomic or not examined.taken):
        raise _refusal(examined)
    try:
        backend.broker.publish(list(messages(examined.taken)))
    except TransportError as error:
        raise unconfirmed(error, list(map(_doubtful, examined.results))) from error
    return examined


def publish(raws: Sequence[dict[str, Any]], backend: Backend) -> list[Taken]:
    """Publish decoded events, all or none; return when the broker has them. Raises as ``take`` does."""
    return take(list(raws), backend, Wish(atomic=True)).taken


def examine(raws: Sequence[dict[str, Any] | InvalidEvent], backend: Backend, wish: Wish = _PLAIN) -> Examined:
    """Return what is to be published, and what became of each event; in place of one may stand why there is none.

    Raises InvalidEvent for too many.
    """
    if len(raws) > MAX_EVENTS:
        raise InvalidEvent("body", f"{len(raws)} events", f"at most {MAX_EVENTS} events a request")
    now = backend.now()
    examined = Examined()
    ids: dict[str, dict[str, Any]] = {}
    for index, raw in enumerate(raws):
        try:
            if isinstance(raw, InvalidEvent):
                raise raw
            found = _examine_one(raw, now, backend, wish)
            if _is_new(found, raw, ids):
                examined.taken.append(found)
            examined.results.append(_accepted(index, found))
        except InputError as error:
            examined.results.append(_refused(index, error, examined.refused < MAX_REFUSALS))
            examined.refused += 1
    return examined


def _is_new(found: Taken, raw: dict[str, Any], ids: dict[str, dict[str, Any]]) -> bool:
    """Tell whether an event is not the same as one before. Raises InvalidEvent when it has the id of another."""
    before = ids.setdefault(found.event_id, raw)
    if before is not raw and before != raw:
        raise InvalidEvent("event_id", found.event_id, "an id that no other event of this request has")
    return before is raw


def _accepted(index: int, found: Taken) -> dict[str, object]:
    result: dict[str, object] = {"index": index, "event_id": found.event_id, "status": "accepted"}
    return result | {"warnings": found.event.warnings} if found.event.warnings else result


def _doubtful(result: Mapping[str, object]) -> Mapping[str, object]:
    return result if result["status"] == "refused" else {**result, "status": "unknown"}


def _refused(index: int, error: InputError, whole: bool) -> dict[str, object]:
    result: dict[str, object] = {"index": index, "status": "refused"}
    return result | {"detail": str(error), **members_of(error)} if whole else result


def messages(taken: Sequence[Taken]) -> Iterator[Message]:
    """Yield the messages for the broker: one event by its routing key, several as arrays of about 1 MiB."""
    if len(taken) == 1:
        yield Message(EVENTS, routing_key(taken[0].event), body.encode(taken[0].raw))
        return
    key = common_key([each.event for each in taken])
    for packed in pack(body.encode(each.raw) for each in taken):
        yield Message(EVENTS, key, packed)


def common_key(events: Iterable[Event]) -> str:
    """Return the routing key of several events: what all have in common, ``_`` where they differ."""
    columns = zip(*map(_words, events), strict=True)
    common = [column[0] if len(set(column)) == 1 else _DIFFERS for column in columns]
    return ".".join(common if common[-1] else common[:-1])


def _words(event: Event) -> tuple[str, ...]:
    kind, resource = event_type(event), event.resource or ""
    return event.connector, event.connector_name, kind, event.source_type, event.component, resource


def form_event(data: bytes) -> bytes:
    """Return the field ``event`` of an urlencoded form. Raises InputError."""
    for pair in data.split(b"&"):
        name, _, value = pair.partition(b"=")
        if unquote_to_bytes(name) == b"event":
            return unquote_to_bytes(value.replace(b"+", b" "))
    raise InputError("event", None, "a form with the field event: a JSON object, or an array of them")


def unwrap(found: object) -> object:
    """Return the events of ``{"event": …}``; anything else is returned as it is."""
    return found["event"] if isinstance(found, dict) and found.keys() == {"event"} else found


def _examine_one(raw: dict[str, Any], now: float, backend: Backend, wish: Wish) -> Taken:
    if wish.state_scale is not None and raw.get("state_scale") is None:
        raw = raw | {"state_scale": wish.state_scale}
    event = normalise(raw, now)
    if event_type(event) not in SENT_BY_SOURCES:
        raise InvalidEvent("event_type", event_type(event), f"{', '.join(SENT_BY_SOURCES)}: engines send the others")
    event_id = event.event_id or backend.new_id()
    return Taken(event, event_id, raw | _stamps(raw, event_id, now))


def _stamps(raw: Mapping[str, Any], event_id: str, now: float) -> dict[str, Any]:
    """Return what is set in an event before it goes on: the time of receipt is now, a repeat is the same event."""
    stamps: dict[str, Any] = {"event_id": event_id}
    if raw.get("timestamp") is None or raw["timestamp"] == "":
        stamps["timestamp"] = now
    given = raw.get("event_id")
    if given is not None and given != "" and str(given) != event_id:
        stamps["sent_event_id"] = given
    return stamps


def _refusal(examined: Examined) -> RequestError:
    errors = [each for each in examined.results if each["status"] == "refused"][:MAX_REFUSALS]
    first, total = errors[0], len(examined.results)
    detail = f"{examined.refused} of {total} events are refused, nothing is published; the first: {first['detail']}"
    members = {name: first[name] for name in ("index", "field", "value", "allowed")}
    return RequestError(400, detail, members | {"refused": examined.refused, "errors": errors})
