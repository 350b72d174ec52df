"""Dead letters: what could not be processed, why, and once more."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from flask import Response

from canopsis.api import parameters
from canopsis.api.endpoints import Call, Resource
from canopsis.api.listing import query_of
from canopsis.api.ports import Message
from canopsis.api.responses import one, page_of
from canopsis.errors import RequestError
from canopsis.store.dead_letters import DeadLetterQuery
from canopsis.store.operations import Document
from canopsis.transport.topology import EVENTS

resource = Resource("dead_letters", service="dead_letters")

SORTABLE = ("received", "engine", "reason")
_ID = {"letter_id": "Id of the dead letter."}
_NONE = {404: "There is no such dead letter."}


@resource.get(
    "/dead-letters",
    "List dead letters without their bodies, latest first.",
    parameters=(
        parameters.text("engine", "Only letters of this engine."),
        parameters.text("field", "Only letters refused for this field."),
        parameters.flag("replayed", "Only letters that were, or were not, replayed."),
        parameters.text("search", "Words that all stand in the reason.", limit=200),
        parameters.moment("from", "Only letters received not before this."),
        parameters.moment("to", "Only letters received before this."),
        parameters.sorting(SORTABLE, "-received"),
        *parameters.paging(),
    ),
)
def listing(call: Call) -> Response:
    """Return a page of dead letters."""
    given = call.arguments
    query = query_of(DeadLetterQuery, given, since=_date(given["from"]), until=_date(given["to"]))
    return page_of(call.backend.records.dead_letters(query))


@resource.get("/dead-letters/<letter_id>", "Show a dead letter with its body.", segments=_ID, answers=_NONE)
def show(call: Call) -> Response:
    """Return a dead letter; ``body_encoding`` says how its body is written."""
    letter = _find(call)
    return one(letter | _readable(bytes(letter["body"])))


@resource.post(
    "/dead-letters/<letter_id>/replay",
    "Publish the original bytes again, where they came in.",
    role="admin",
    segments=_ID,
    answers=_NONE
    | {
        202: "The broker has the message.",
        409: "Only a part of its body was kept.",
        503: "The broker or the database does not answer.",
    },
)
def replay(call: Call) -> Response:
    """Publish a dead letter again."""
    letter = _find(call)
    if "cut_from_bytes" in letter:
        raise RequestError(
            409, f"of {letter['cut_from_bytes']} bytes only the first are kept: nothing to publish again"
        )
    call.backend.broker.publish([_message(letter)])
    call.backend.records.mark_replayed(letter["_id"], call.user)
    return one({"_id": letter["_id"], "status": "accepted"}, status=202)


def _find(call: Call) -> Document:
    letter_id = call.path["letter_id"]
    found = call.backend.records.dead_letter(letter_id)
    if found is None:
        raise RequestError(404, f"there is no dead letter {letter_id}", {"field": "letter_id", "value": letter_id})
    return found


def _message(letter: Document) -> Message:
    # A letter of a queue between processes has no exchange of its own, only the queue's name as key.
    exchange = letter.get("exchange", "")
    return Message(
        exchange if exchange or letter.get("routing_key") else EVENTS,
        letter.get("routing_key", ""),
        bytes(letter["body"]),
        letter.get("content_type") or "application/octet-stream",
        letter.get("message_id") or "",
        {name: value for name, value in (letter.get("headers") or {}).items() if _is_plain(name, value)},
    )


def _is_plain(name: str, value: object) -> bool:
    # What the broker added (x-death, its time stamp …) is of the journey that ended.
    return not name.startswith("x-") and name != "timestamp_in_ms" and isinstance(value, (str, bool, int, float))


def _readable(body: bytes) -> dict[str, Any]:
    try:
        return {"body": body.decode(), "body_encoding": "utf-8"}
    except UnicodeDecodeError:
        return {"body": body, "body_encoding": "base64"}


def _date(moment: float | None) -> datetime | None:
    return None if moment is None else datetime.fromtimestamp(moment, UTC)
