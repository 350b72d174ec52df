"""Dead letters as documents: what came, where it came from, why it could not be processed.

Each function here gives an answer whatever it is given: what makes a letter must not fail on it.
"""

from __future__ import annotations

import re
import uuid
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from hashlib import blake2b

import bson
import msgspec
from bson.errors import BSONError

from canopsis.errors import shorten
from canopsis.runtime.contract import Dead
from canopsis.store.dead_letters import COLLECTION
from canopsis.store.operations import Delete, Document, Insert, Merge, Operation, Upsert, Writes

KEPT_BYTES = 12 << 20
"""Bytes of a body that are kept; a document of MongoDB holds 16 MiB."""

_REASON_LENGTH = 4096
_NAME_LENGTH = 1024
_READ_BYTES = 1 << 20
_LOOKED_AT = 4096
_WHO = ("connector", "connector_name", "event_type", "component", "resource")
_NUMBER = re.compile(r"(?<![\w/.-])[-+]?[0-9][0-9.,:TZ+-]*")
_FIRST_MOMENT, _LAST_MOMENT = 0.0, 253_402_300_799.0


def letters(dead: Iterable[tuple[str, Dead]], now: float) -> Writes:
    """Return the writes of dead letters, each with the engine that refused it.

    What a sender is to blame for (it names a field) is counted where an equal letter is there
    already: same engine, same field, same reason but for its numbers, same source. What we failed
    on is kept each by itself; the same message again changes nothing then.
    """
    equal: dict[str, Upsert] = {}
    single: dict[str, Insert] = {}
    for engine, letter in dead:
        document = _document(engine, letter, now)
        key = document["_id"]
        if letter.field:
            equal[key] = _counted(document, equal.get(key))
        else:
            single[key] = Insert(document)
    operations: list[Operation] = [*equal.values(), *single.values()]
    return {COLLECTION: operations} if operations else {}


def minimal(engine: str, body: bytes, reason: str, now: float, origin: tuple[str, str] = ("", "")) -> Insert:
    """Return a letter of the least there is to say: for when the whole one cannot be made or written.

    ``origin`` is the exchange that the message came by, and its key.
    """
    facts = {"engine": engine, "reason": reason, "exchange": origin[0], "routing_key": origin[1]}
    document: Document = {name: _text(value, _REASON_LENGTH) for name, value in facts.items()}
    return Insert({"_id": uuid.uuid4().hex, "field": ""} | document | _times(now) | _body(body))


def reduced(operation: Operation, problem: str, now: float) -> Insert:
    """Return the least of a letter that the database would not take, with the ``problem``."""
    document: Document = {}
    if isinstance(operation, Insert):
        document = operation.document
    elif not isinstance(operation, Delete | Merge):
        document = operation.change.get("$setOnInsert", {})
    reason = f"{document.get('reason', '')} (without headers: {problem})"
    origin = str(document.get("exchange", "")), str(document.get("routing_key", ""))
    return minimal(str(document.get("engine", "")), bytes(document.get("body", b"")), reason, now, origin)


def _document(engine: str, dead: Dead, now: float) -> Document:
    origin = dead.origin
    document: Document = {
        "_id": _equal_id(engine, dead) if dead.field else _own_id(engine, dead),
        "engine": engine,
        "reason": _text(dead.reason, _REASON_LENGTH),
        "field": _text(dead.field),
        "exchange": _text(origin.exchange),
        "routing_key": _text(origin.routing_key),
        "content_type": _text(origin.content_type),
        "message_id": _text(origin.message_id),
        "headers": plain(origin.headers),
    }
    return document | _times(now if origin.received is None else origin.received) | _body(dead.body)


def _times(moment: float) -> Document:
    # A comparison with what is no number is false: such a time is the first one.
    date = datetime.fromtimestamp(moment if _FIRST_MOMENT < moment < _LAST_MOMENT else _FIRST_MOMENT, UTC)
    return {"received": date, "count": 1, "first": date, "last": date}


def _body(body: bytes) -> Document:
    return {"body": body[:KEPT_BYTES]} | ({"cut_from_bytes": len(body)} if len(body) > KEPT_BYTES else {})


def _counted(document: Document, before: Upsert | None) -> Upsert:
    """Return the write that makes ``document`` or counts it; ``before`` is the one of those that came with it."""
    change = (
        {"$inc": {"count": 1}, "$min": {"first": document["first"]}, "$max": {}} if before is None else before.change
    )
    change["$inc"]["count"] += before is not None
    change["$min"]["first"] = min(change["$min"]["first"], document["first"])
    last = max(change["$max"].get("last", document["last"]), document["last"])
    change["$max"] = {"last": last, "received": last}
    kept = {name: value for name, value in document.items() if name not in {"_id", *_MOVING}}
    change.setdefault("$setOnInsert", kept)
    # It came again: what somebody did about it has not helped.
    change["$unset"] = {"replayed": "", "discarded": ""}
    return Upsert(document["_id"], change)


_MOVING = ("count", "first", "last", "received")


def _own_id(engine: str, dead: Dead) -> str:
    return (
        _digest(engine.encode(), dead.key.encode(errors="backslashreplace"), dead.body)
        if dead.key
        else uuid.uuid4().hex
    )


def _equal_id(engine: str, dead: Dead) -> str:
    parts = (engine, dead.field, shape(dead.reason), dead.origin.exchange, source_of(dead.body))
    return _digest(*(part.encode(errors="backslashreplace") for part in parts))


def _digest(*parts: bytes) -> str:
    digest = blake2b(digest_size=16)
    for part in parts:
        digest.update(len(part).to_bytes(8, "big") + part)
    return digest.hexdigest()


def shape(text: str) -> str:
    """Return ``text`` without the numbers that stand alone: times and values differ, names stay."""
    return _NUMBER.sub("#", text)


def source_of(body: bytes) -> str:
    """Return who sent ``body``, as far as it says; else its beginning but for the numbers."""
    found: object = None
    if len(body) <= _READ_BYTES:
        try:
            found = msgspec.json.decode(body)
        except (msgspec.MsgspecError, ValueError, RecursionError):
            found = None
    if isinstance(found, dict) and any(name in found for name in _WHO):
        return repr([shorten(found.get(name), 256) for name in _WHO])
    return shape(body[:_LOOKED_AT].decode("utf-8", "backslashreplace"))


def plain(headers: Mapping[str, object]) -> Document:
    """Return ``headers`` with whatever MongoDB cannot hold put as text."""
    return {
        _text(name).replace("\0", "\\0"): value if _fits(value) else shorten(value, _NAME_LENGTH)
        for name, value in headers.items()
    }


def _text(value: str, limit: int = _NAME_LENGTH) -> str:
    return value[:limit].encode("utf-8", "backslashreplace").decode()


def _fits(value: object) -> bool:
    try:
        bson.encode({"value": value})
    except (BSONError, OverflowError, TypeError, ValueError, UnicodeError, RecursionError):
        return False
    return True
