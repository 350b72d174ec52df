"""Segments: the events of a batch as one document of the event log, compressed, with what they are found by.

``{_id, n, t0, t1, at, ids, entities, types, states, z, v}``: how many events, their first and last time, when the last
was received, keys of their ids (``id_key``) and of their entities (``entity_keys``), which types and states there are,
all groups of events, all measured values. Many small segments become a larger one; then ``z`` has several groups.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from hashlib import blake2b
from typing import Any

import msgspec
import zstandard

from canopsis.core.envelope import Decision
from canopsis.core.event import Event, event_type
from canopsis.core.event_types import AnyEvent
from canopsis.store.operations import Document

MOST_EVENTS = 1000
MOST_BYTES = 1 << 20
"""Of one segment: events, and bytes of them before they are compressed. One large event may have more."""

HOUR = 3600
RANDOM_BITS = 21
"""Of an ``_id``: its upper bits are milliseconds since the epoch, so that what came later has the larger one."""

_HASH_BITS = 43
"""Of a key, behind its hour."""

_TAIL_BITS = 21
"""Of the key of an id that tells its time: behind the milliseconds within the hour, which have the 22 others."""

_PART_BITS = 4
_ENTITY_BITS = _HASH_BITS - _PART_BITS
"""Of the key of an entity: behind the part of the hour, counted from 1; 0 is the whole of it."""

_PART_SECONDS = 300
_PARTS = HOUR // _PART_SECONDS

_LAST_HOUR = (1 << 20) - 1
_LEVEL = 1
_BOUNDARY = 600.0

Value = tuple[int, float]
"""Milliseconds since the epoch, value."""


class Group(msgspec.Struct, omit_defaults=True):
    """Events that were received together, in order; ``received`` is in seconds. ``trail`` is by event id."""

    received: float
    events: list[AnyEvent]
    trail: dict[str, list[Decision]] = {}


def entity_keys(hour: int, entity_id: str) -> list[int]:
    """Return all keys that an entity may have in an hour, counted from the epoch: as a whole, and in its parts.

    What is stored now has keys of these five minutes: an index of them grows at its end, and what is older costs
    nothing. What is merged has those of the hour: fewer. Two entities may have one key; who reads compares the id too.
    """
    own = hour << _HASH_BITS | _hash(entity_id, _ENTITY_BITS)
    return [own | part << _ENTITY_BITS for part in range(_PARTS + 1)]


def _fresh_key(part: int, entity_id: str) -> int:
    """Return the key of an entity in a part of an hour; the parts are counted from the epoch."""
    hour, number = divmod(part, _PARTS)
    return hour << _HASH_BITS | (number + 1) << _ENTITY_BITS | _hash(entity_id, _ENTITY_BITS)


def _key_of_hour(key: int) -> int:
    """Return the key of the same entity in the whole hour."""
    return key & ~(((1 << _PART_BITS) - 1) << _ENTITY_BITS)


def _hash(text: str, bits: int) -> int:
    digest = blake2b(text.encode(errors="surrogatepass"), digest_size=8).digest()
    return int.from_bytes(digest, "big") >> 64 - bits


def id_key(hour: int, event_id: str) -> int:
    """Return the key of an id in an hour, counted from the epoch: of one that tells its time in the order of time.

    What is stored together has keys side by side then, at the end of the index: a page is written once, not again for
    each key that falls into it.
    """
    inside = time_in(event_id)
    if inside is None:
        return hour << _HASH_BITS | _hash(event_id, _HASH_BITS)
    within = round(inside * 1000) % (HOUR * 1000)
    return hour << _HASH_BITS | within << _TAIL_BITS | _hash(event_id, _HASH_BITS) & (1 << _TAIL_BITS) - 1


def hour_of(moment: float) -> int:
    """Return the hour of a time, counted from the epoch."""
    return int(min(max(moment, 0.0), float(_LAST_HOUR * HOUR)) // HOUR)


def _part_of(moment: float) -> int:
    """Return the part of an hour of a time, counted from the epoch."""
    return hour_of(moment) * _PARTS + int(moment % HOUR // _PART_SECONDS)


def first_key(hour: int) -> int:
    """Return the lowest key that an hour may have, of an id or of an entity."""
    return hour << _HASH_BITS


def hour_in(key: int) -> int:
    """Return the hour of a key."""
    return key >> _HASH_BITS


def time_in(event_id: str) -> float | None:
    """Return the time in an id that is a UUID of version 7 in hexadecimal; None for any other."""
    if len(event_id) != 32 or event_id[12] != "7" or event_id[16] not in "89ab":
        return None
    try:
        return int(event_id[:12], 16) / 1000
    except ValueError:
        return None


def hours_of_id(event_id: str, timestamp: float) -> tuple[int, ...]:
    """Return the hours in which an event is looked for by its id; the first is the one that it is stored in.

    That of the time in the id, where there is one; else that of its timestamp. A source that sends again may stamp
    anew: early in an hour the one before counts too.
    """
    inside = time_in(event_id)
    if inside is not None:
        return (hour_of(inside),)
    hour = hour_of(timestamp)
    return (hour, hour - 1) if timestamp % HOUR < _BOUNDARY and hour else (hour,)


def position(received: float, low: int = 0) -> int:
    """Return the ``_id`` of what was received then; ``low`` tells apart what came in one millisecond."""
    return int(received * 1000) << RANDOM_BITS | low


def received_at(segment_id: int) -> float:
    """Return when the last event of a segment was received, in seconds, to the millisecond."""
    return (segment_id >> RANDOM_BITS) / 1000


def pack(events: Sequence[Event], trail: Mapping[str, Sequence[Decision]], received: float) -> list[Document]:
    """Return the segments of what was received together, in order."""
    if not events:
        return []
    # Two instances that write in one millisecond write other events.
    first = position(received, _hash(events[0].event_id, _HASH_BITS) & (1 << RANDOM_BITS) - 1)
    parts = _parts(events)
    # Each has a time of its own: by that a page of a list goes on behind the one where it ended.
    times = [received + place / 1e6 for place in range(len(parts))]
    return [
        _document(first + place, part, _payload(part, trail, moment), moment)
        for place, (part, moment) in enumerate(zip(parts, times, strict=True))
    ]


def _parts(events: Sequence[Event]) -> list[Sequence[Event]]:
    """Return ``events`` in parts that are no larger than a segment."""
    if len(events) > 1 and (len(events) > MOST_EVENTS or sum(map(_about, events)) > MOST_BYTES):
        middle = len(events) // 2
        return _parts(events[:middle]) + _parts(events[middle:])
    return [events]


def _about(event: Event) -> int:
    """Return about how many bytes an event has that may have many."""
    large = len(event.output) + len(event.long_output) + 50 * len(event.perf_data_array)
    return large + (len(_JSON.encode(event.extra)) if event.extra else 0)


def _payload(events: Sequence[Event], trail: Mapping[str, Sequence[Decision]], received: float) -> bytes:
    known = {each.event_id: [*trail[each.event_id]] for each in events if each.event_id in trail} if trail else {}
    return _JSON.encode([Group(received, [*events], known)])


def _document(segment_id: int, events: Sequence[Event], payload: bytes, received: float) -> Document:
    times = [event.timestamp for event in events]
    entities = {(_part_of(event.timestamp), event.entity_id) for event in events}
    return {
        "_id": segment_id,
        "n": len(events),
        "t0": min(times),
        "t1": max(times),
        "at": datetime.fromtimestamp(received, UTC),
        "ids": [id_key(hours_of_id(each.event_id, each.timestamp)[0], each.event_id) for each in events],
        "entities": [_fresh_key(part, entity) for part, entity in entities],
        "types": sorted({event_type(event) for event in events}),
        "states": sorted({getattr(event, "state", None) for event in events} - {None}),
        "z": compress(payload),
        "v": _packed_values(events),
    }


def _packed_values(events: Sequence[Event]) -> bytes:
    values: dict[str, dict[str, list[Value]]] = {}
    for event in events:
        if event.perf_data_array:
            moment = int(event.timestamp * 1000)
            own = values.setdefault(event.entity_id, {})
            for item in event.perf_data_array:
                own.setdefault(item.metric, []).append((moment, item.value))
    return compress(_MSGPACK.encode(values)) if values else b""


def groups(segment: Mapping[str, Any]) -> list[Group]:
    """Return the events of a segment, oldest first."""
    return _GROUPS.decode(decompress(segment["z"]))


def raw_groups(segment: Mapping[str, Any]) -> list[RawGroup]:
    """Return the groups of a segment, oldest first, with events that are not decoded."""
    return _RAW_GROUPS.decode(decompress(segment["z"]))


def events(group: RawGroup, needle: bytes = b"") -> Iterator[Event]:
    """Yield the events of a group whose JSON has ``needle`` in it, oldest first; of the others nothing is decoded."""
    for raw in group.events:
        if needle in bytes(raw):
            yield _EVENT.decode(raw)


def needle(name: str, value: str) -> bytes:
    """Return what stands in the JSON of every event whose field ``name`` is ``value``."""
    return b'"%s":%s' % (name.encode(), _JSON.encode(value))


def heads(segment: Mapping[str, Any]) -> Iterator[Head]:
    """Yield the heads of the events of a segment, oldest first; costs less than ``groups``."""
    for group in _HEADS.decode(decompress(segment["z"])):
        yield from group.events


def values(segment: Mapping[str, Any], entity_id: str, metric: str) -> list[Value]:
    """Return the values of one series in a segment, in order of their arrival."""
    if not segment["v"]:
        return []
    found = _BY_ENTITY.decode(decompress(segment["v"])).get(entity_id)
    return [] if found is None else _BY_METRIC.decode(found).get(metric, [])


def packed_values(segment: Mapping[str, Any]) -> dict[str, bytes]:
    """Return the values in a segment by entity, for ``series_of``."""
    found = _BY_ENTITY.decode(decompress(segment["v"])) if segment["v"] else {}
    return {entity: bytes(packed) for entity, packed in found.items()}


def series_of(packed: Iterable[bytes]) -> dict[str, list[Value]]:
    """Return the values of an entity by metric; ``packed`` are those of several segments, in order."""
    found: dict[str, list[Value]] = {}
    for part in packed:
        for metric, points in _BY_METRIC.decode(part).items():
            found.setdefault(metric, []).extend(points)
    return found


def merged(parts: Sequence[Mapping[str, Any]], *, values: bool = True) -> Document:
    """Return the one segment that ``parts``, in order, become; without ``values`` where they are kept elsewhere."""
    payload = b"[" + b",".join(decompress(part["z"])[1:-1] for part in parts) + b"]"
    packed: dict[str, list[bytes]] = {}
    for part in parts:
        for entity, own in packed_values(part).items():
            packed.setdefault(entity, []).append(own)
    together = {entity: series_of(own) for entity, own in packed.items()} if values else {}
    return {
        "_id": parts[-1]["_id"],
        "n": sum(part["n"] for part in parts),
        "t0": min(part["t0"] for part in parts),
        "t1": max(part["t1"] for part in parts),
        "at": max(part["at"] for part in parts),
        "ids": [each for part in parts for each in part["ids"]],
        "entities": _union(map(_key_of_hour, part["entities"]) for part in parts),
        "types": _union(part["types"] for part in parts),
        "states": _union(part["states"] for part in parts),
        "z": compress(payload),
        "v": compress(_MSGPACK.encode(together)) if together else b"",
    }


def _union(lists: Iterable[Iterable[Any]]) -> list[Any]:
    return sorted({each for found in lists for each in found})


def compress(data: bytes) -> bytes:
    """Return ``data`` compressed."""
    return zstandard.ZstdCompressor(level=_LEVEL).compress(data)


def decompress(data: bytes) -> bytes:
    """Return what ``compress`` was given."""
    return zstandard.ZstdDecompressor().decompress(data)


class RawGroup(msgspec.Struct):
    """A group whose events are not decoded."""

    received: float
    events: list[msgspec.Raw]
    trail: dict[str, list[Decision]] = {}


class Head(msgspec.Struct):
    """Of which entity an event is, when it was, and what came of an action."""

    event_type: str
    entity_id: str
    event_id: str
    timestamp: float
    outcome: str = ""


class _HeadGroup(msgspec.Struct):
    events: list[Head]


_JSON = msgspec.json.Encoder()
_MSGPACK = msgspec.msgpack.Encoder()
_GROUPS = msgspec.json.Decoder(list[Group])
_RAW_GROUPS = msgspec.json.Decoder(list[RawGroup])
_EVENT = msgspec.json.Decoder(AnyEvent)
_HEADS = msgspec.json.Decoder(list[_HeadGroup])
_BY_ENTITY = msgspec.msgpack.Decoder(dict[str, msgspec.Raw])
_BY_METRIC = msgspec.msgpack.Decoder(dict[str, list[Value]])
