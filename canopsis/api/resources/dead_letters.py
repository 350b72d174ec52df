"""Dead letters: what could not be processed, why, and once more."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Literal

import msgspec
from flask import Response

from canopsis.api.body import body_of, text
from canopsis.api.endpoints import Call, Resource, Thing
from canopsis.api.ports import Message
from canopsis.api.responses import one
from canopsis.errors import RequestError
from canopsis.store import dead_letters
from canopsis.store.dead_letters import DeadLetter, DeadLetterQuery
from canopsis.store.operations import Document
from canopsis.transport.topology import ALERTS, DEAD, DOORS, EVENTS

resource = Resource("dead_letters", service="dead_letters")

LETTER = Thing("dead letter", "letter_id", dead_letters.get, weighed=True)
_HEADER_BYTES = 1 << 16
"""Bytes of headers: they stand in one frame."""

_SHORT_BYTES = 255
_NONE = {404: LETTER.none}


class Mended(msgspec.Struct, forbid_unknown_fields=True):
    """What is published."""

    body: Annotated[str, text("What is published in place of the original bytes.", limit=1 << 20)] = ""


class Reason(msgspec.Struct, forbid_unknown_fields=True):
    """Why nothing more is to be done."""

    comment: Annotated[str, text("Why nothing more is to be done.")] = ""


class Whole(DeadLetter, kw_only=True):
    """A dead letter with its body."""

    body: str
    body_encoding: Literal["utf-8", "base64"]


class Marked(msgspec.Struct):
    """What was done with a letter."""

    id: str = msgspec.field(name="_id")
    status: Literal["accepted", "discarded"]


resource.listing(
    "/dead-letters",
    "List dead letters without their bodies, latest first.",
    dead_letters.listing,
    DeadLetterQuery,
    answer=DeadLetter,
)


def whole(letter: Document) -> Document:
    """Return a letter with its body as text; ``body_encoding`` says how it is written."""
    body = bytes(letter["body"])
    try:
        return letter | {"body": body.decode(), "body_encoding": "utf-8"}
    except UnicodeDecodeError:
        return letter | {"body": body, "body_encoding": "base64"}


resource.item("/dead-letters/<letter_id>", "Show a dead letter with its body.", LETTER, whole, answer=Whole)


@resource.post(
    "/dead-letters/<letter_id>/replay",
    "Publish the original bytes, or mended ones, again.",
    role="admin",
    segments=LETTER.segments,
    body=body_of(Mended, optional=True),
    answer=Marked,
    answers=_NONE
    | {
        202: "The broker has the message.",
        409: "Only a part of its body was kept, or it is no event.",
        503: "The database does not answer, or the broker does not confirm: replay it again, it counts once.",
    },
)
def replay(call: Call) -> Response:
    """Publish a dead letter again."""
    letter = LETTER.find(call)
    mended = call.body.body.encode()
    if "cut_from_bytes" in letter and not mended:
        raise RequestError(
            409, f"of {letter['cut_from_bytes']} bytes only the first are kept: nothing to publish again; send a body"
        )
    call.backend.broker.publish([message_of(letter, mended)])
    call.ask(dead_letters.mark_replayed, letter, call.user, bool(mended))
    return one(Marked(letter["_id"], "accepted"), status=202)


@resource.post(
    "/dead-letters/<letter_id>/discard",
    "Say that a dead letter needs nothing more.",
    role="admin",
    segments=LETTER.segments,
    body=body_of(Reason, optional=True),
    answer=Marked,
    answers=_NONE | {503: "The database does not answer."},
)
def discard(call: Call) -> Response:
    """Mark a dead letter: it stays until its time is over."""
    letter = LETTER.find(call)
    comment = call.body.comment
    call.ask(dead_letters.mark_discarded, letter["_id"], call.user, comment)
    return one(Marked(letter["_id"], "discarded"))


def message_of(letter: Document, mended: bytes = b"") -> Message:
    """Return the message that brings a dead letter, or ``mended`` in its place, to the door of the chain again.

    What the original had and a message cannot have (it came in bytes that are no text) is left out.
    Raises RequestError when it never was an event.
    """
    exchange, key = _origin(letter)
    if exchange == ALERTS:
        raise RequestError(409, "it was an alert, not an event: the alarm shows what it said; discard the letter")
    return Message(
        # What was on its way between two engines goes through the door again: its event id is in it.
        exchange if exchange in DOORS else EVENTS,
        key if _is_short(key) else "",
        mended or bytes(letter["body"]),
        _short(letter.get("content_type")) or "application/octet-stream",
        # One of the letter and of how often it was replayed: sent again after a doubtful answer it counts once.
        _short(letter.get("message_id")) or f"{letter['_id']}.{letter.get('replays', 0)}",
        _headers(letter.get("headers") or {}),
    )


def _origin(letter: Document) -> tuple[str, str]:
    """Return exchange and routing key by which the message first came."""
    exchange, key = letter.get("exchange", ""), letter.get("routing_key", "")
    if exchange != DEAD:
        return exchange, key
    deaths = (letter.get("headers") or {}).get("x-death")
    first = deaths[-1] if isinstance(deaths, list) and deaths else None
    found = first.get("exchange") if isinstance(first, Mapping) else None
    # The key is the one that it had: a queue gives up under that.
    return found if isinstance(found, str) else "", key


def _headers(headers: Mapping[str, object]) -> dict[str, object]:
    kept: dict[str, object] = {}
    room = _HEADER_BYTES
    for name, value in headers.items():
        room -= len(name.encode()) + (len(value.encode()) if isinstance(value, str) else 0) + 16
        if room >= 0 and _is_plain(name, value):
            kept[name] = value
    return kept


def _is_plain(name: str, value: object) -> bool:
    # What the broker added (x-death, its time stamp …) is of the journey that ended; CC sends to many.
    added = name.startswith("x-") or name in {"timestamp_in_ms", "CC", "BCC"}
    return not added and _is_short(name) and isinstance(value, (str, bool, int, float))


def _short(value: str | None) -> str:
    return value if value and _is_short(value) else ""


def _is_short(text: str) -> bool:
    """Tell whether ``text`` is one that AMQP can carry as a name, as it was: nothing in it was replaced."""
    return len(text.encode()) <= _SHORT_BYTES and "\ufffd" not in text
