"""Events: sending them in, and looking at those that came."""

from __future__ import annotations

from typing import Literal

import msgspec
from flask import Response

from canopsis.api import intake
from canopsis.api.body import FORM, JSON, MAX_BODY, Body
from canopsis.api.endpoints import Call, Resource, Thing
from canopsis.api.intake import Examined, Wish
from canopsis.api.responses import many, partly
from canopsis.core.body import loads
from canopsis.store import event_log, events
from canopsis.store.events import EventQuery, StoredEvent

resource = Resource("events", service="events")
classic = Resource("event", service="events", prefix="")

_EVENT = {"$ref": "#/components/schemas/Event"}
_EVENTS = {"oneOf": [_EVENT, {"type": "array", "items": _EVENT, "minItems": 1, "maxItems": intake.MAX_EVENTS}]}
_EXAMPLE = {
    "connector": "shell",
    "connector_name": "example",
    "event_type": "check",
    "component": "web1",
    "resource": "disk",
    "state": 2,
    "output": "DISK CRITICAL - / 95 %",
    "perf_data": "/=95%;80;90",
}
ANSWERS = {
    202: "The broker has every event safely; `data` has one `{index, event_id, status, warnings?}` for each.",
    207: "Some events are refused, the broker has the others safely; `data` says which: `status`, `detail`, `field`.",
    400: "All events are refused, or some and `atomic` is true; nothing is published, `errors` lists the refused ones.",
    413: "The body is longer than 16 MiB.",
    415: "The body is not of a type that is taken.",
    503: "The broker did not confirm: what became of the events is not known; `data` has their ids to send them again.",
}


class Result(msgspec.Struct):
    """What became of an event: its id when it is published, what is wrong with it when it is refused."""

    index: int
    status: Literal["accepted", "refused", "unknown"]
    event_id: str = ""
    warnings: list[str] = []
    detail: str = ""
    field: str = ""
    value: str = ""
    allowed: str = ""


@resource.post(
    "/events",
    "Send one event, or a list of them.",
    role="operator",
    query=Wish,
    answer=Result,
    body=Body(_EVENTS, example=_EXAMPLE, limit=MAX_BODY),
    answers=ANSWERS,
)
def send(call: Call) -> Response:
    """Publish the events of the body."""
    return answer_of(intake.take(loads(call.content.data), call.backend, call.query))


@classic.post(
    "/event",
    'Send events in the form of 2015: the form field `event`, or `{"event": …}`, or bare.',
    role="operator",
    query=Wish,
    answer=Result,
    body=Body(
        {"oneOf": [{"type": "object", "properties": {"event": _EVENTS}}, *_EVENTS["oneOf"]]},
        types=(JSON, FORM),
        limit=MAX_BODY,
    ),
    answers=ANSWERS,
)
def send_classic(call: Call) -> Response:
    """Publish the events of the form or of the body."""
    data, form = call.content.data, call.content.type == FORM
    found = loads(intake.form_event(data)) if form else intake.unwrap(loads(data))
    return answer_of(intake.take(found, call.backend, call.query))


EVENT = Thing("event", "event_id", event_log.get)

resource.item("/events/<event_id>", "Show an event; of an action also what came of it.", EVENT, answer=StoredEvent)
resource.listing("/events", "List events, latest received first.", events.listing, EventQuery, answer=StoredEvent)


def answer_of(examined: Examined) -> Response:
    """Return the answer to events that were examined, some of them taken."""
    if examined.refused:
        return partly(examined.results, examined.refused)
    return many(examined.results, status=202)
