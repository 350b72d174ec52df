"""Events: sending them in, and looking at those that came."""

from __future__ import annotations

from flask import Response

from canopsis.api import intake, parameters
from canopsis.api.body import FORM, JSON, Body
from canopsis.api.endpoints import Call, Resource
from canopsis.api.intake import Taken
from canopsis.api.listing import query_of
from canopsis.api.responses import many, page_of
from canopsis.store.events import EventQuery

resource = Resource("events", service="events")
classic = Resource("event", service="events", prefix="")

TYPES = ("check", "log", "perf", "ack", "ackremove", "cancel", "uncancel", "comment", "resolve")

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
_ANSWERS = {
    202: "The broker has every event safely; `data` has one `{index, event_id, status}` for each.",
    400: "At least one event is refused and nothing is published; `errors` lists every refused one.",
    413: "The body is longer than 16 MiB.",
    415: "The body is not of a type that is taken.",
    503: "The broker did not confirm: send the same events again.",
}


@resource.post(
    "/events",
    "Send one event, or a list of them.",
    role="operator",
    body=Body(_EVENTS, example=_EXAMPLE),
    answers=_ANSWERS,
)
def send(call: Call) -> Response:
    """Publish all events of the body, or none."""
    return _accepted(intake.take(call.content.data, call.backend))


@classic.post(
    "/event",
    'Send events in the form of 2015: the form field `event`, or `{"event": …}`, or bare.',
    role="operator",
    body=Body({"oneOf": [{"type": "object", "properties": {"event": _EVENTS}}, *_EVENTS["oneOf"]]}, types=(JSON, FORM)),
    answers=_ANSWERS,
)
def send_classic(call: Call) -> Response:
    """Publish all events of the form or of the body, or none."""
    data = call.content.data
    found = intake.form_event(data) if call.content.type == FORM else intake.unwrap(data)
    return _accepted(intake.take(found, call.backend))


@resource.get(
    "/events",
    "List events, latest received first.",
    parameters=(
        parameters.several("event_type", "Only these types.", TYPES),
        parameters.text("entity_id", "Only events of this entity."),
        parameters.text("connector", "Only events of this connector."),
        parameters.text("component", "Only events of this component."),
        parameters.text("resource", "Only events of this resource."),
        parameters.several("state", "Only these states.", (0, 1, 2, 3)),
        parameters.text("search", "Words that all stand in component, resource or output.", limit=200),
        parameters.moment("from", "Only events whose timestamp is not before this."),
        parameters.moment("to", "Only events whose timestamp is before this."),
        parameters.sorting(("received", "timestamp"), "-received"),
        *parameters.paging(),
    ),
)
def listing(call: Call) -> Response:
    """Return a page of events."""
    return page_of(call.backend.records.events(query_of(EventQuery, call.arguments)))


def _accepted(taken: list[Taken]) -> Response:
    results = [{"index": index, "event_id": each.event_id, "status": "accepted"} for index, each in enumerate(taken)]
    return many(results, status=202)
