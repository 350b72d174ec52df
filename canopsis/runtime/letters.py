"""Dead letters as documents: what came, where it came from, why it could not be processed."""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from hashlib import blake2b

import bson
from bson.errors import BSONError

from canopsis.errors import shorten
from canopsis.runtime.contract import Dead
from canopsis.store.dead_letters import COLLECTION
from canopsis.store.operations import Document, Insert, Writes

KEPT_BYTES = 12 << 20
"""Bytes of a body that are kept; a document of MongoDB holds 16 MiB."""

_REASON_LENGTH = 4096


def letters(dead: Iterable[tuple[str, Dead]], now: float) -> Writes:
    """Return the writes of dead letters, each with the engine that refused it. The same again changes nothing."""
    documents = {}
    for engine, letter in dead:
        document = _document(engine, letter, now)
        documents[document["_id"]] = document
    return {COLLECTION: [Insert(document) for document in documents.values()]} if documents else {}


def _document(engine: str, dead: Dead, now: float) -> Document:
    origin = dead.origin
    received = now if origin.received is None else origin.received
    document: Document = {
        "_id": _id(engine, dead),
        "engine": engine,
        "reason": dead.reason[:_REASON_LENGTH],
        "field": dead.field,
        "received": datetime.fromtimestamp(received, UTC),
        "exchange": origin.exchange,
        "routing_key": origin.routing_key,
        "content_type": origin.content_type,
        "message_id": origin.message_id,
        "headers": plain(origin.headers),
        "body": dead.body[:KEPT_BYTES],
    }
    if len(dead.body) > KEPT_BYTES:
        document["cut_from_bytes"] = len(dead.body)
    return document


def _id(engine: str, dead: Dead) -> str:
    if not dead.key:
        return uuid.uuid4().hex
    digest = blake2b(digest_size=16)
    for part in (engine.encode(), dead.key.encode(), dead.body):
        digest.update(len(part).to_bytes(8, "big") + part)
    return digest.hexdigest()


def plain(headers: Mapping[str, object]) -> Document:
    """Return ``headers`` with whatever MongoDB cannot hold put as text."""
    return {
        name.replace("\0", "\\0"): value if _fits(value) else shorten(value, 1024) for name, value in headers.items()
    }


def _fits(value: object) -> bool:
    try:
        bson.encode({"value": value})
    except (BSONError, OverflowError, TypeError, ValueError, UnicodeError, RecursionError):
        return False
    return True
