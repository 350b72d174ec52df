"""Events: sending them in, and looking at those that came."""

from __future__ import annotations

from flask import Response

from canopsis.api import intake, parameters
from canopsis.api.body import FORM, JSON, MAX_BODY, Body
from canopsis.api.endpoints import Call, Resource
from canopsis.api.intake import Examined, Wish
from canopsis.api.listing import query_of
from canopsis.api.responses import many, page_of, partly
from canopsis.core.body import loads
from canopsis.core.event_types import EVENT_TYPES
from canopsis.store import events
from canopsis.store.events import EventQuery

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
_ANSWERS = {
    202: "The broker has every event safely; `data` has one `{index, event_id, status, warnings?}` for each.",
    207: "Some events are refused, the broker has the others safely; `data` says which: `status`, `detail`, `field`.",
    400: "All events are refused, or some and `atomic` is true; nothing is published, `errors` lists the refused ones.",
    413: "The body is longer than 16 MiB.",
    415: "The body is not of a type that is taken.",
    503: "The broker did not confirm: what became of the events is not known; `data` has their ids to send them again.",
}


_WISHES = (
    parameters.flag("atomic", "All events or none: nothing is published when one is refused."),
    parameters.scale("state_scale", "What the states 0 to 3 mean, in events that do not say it themselves."),
)


@resource.post(
    "/events",
    "Send one event, or a list of them.",
    role="operator",
    parameters=_WISHES,
    body=Body(_EVENTS, example=_EXAMPLE, limit=MAX_BODY),
    answers=_ANSWERS,
)
def send(call: Call) -> Response:
    """Publish the events of the body."""
    return _answer(intake.take(loads(call.content.data), call.backend, _wish(call)))


@classic.post(
    "/event",
    'Send events in the form of 2015: the form field `event`, or `{"event": …}`, or bare.',
    role="operator",
    parameters=_WISHES,
    body=Body(
        {"oneOf": [{"type": "object", "properties": {"event": _EVENTS}}, *_EVENTS["oneOf"]]},
        types=(JSON, FORM),
        limit=MAX_BODY,
    ),
    answers=_ANSWERS,
)
def send_classic(call: Call) -> Response:
    """Publish the events of the form or of the body."""
    data, form = call.content.data, call.content.type == FORM
    found = loads(intake.form_event(data)) if form else intake.unwrap(loads(data))
    return _answer(intake.take(found, call.backend, _wish(call)))


@resource.get(
    "/events",
    "List events, latest received first.",
    parameters=(
        parameters.several("event_type", "Only these types.", tuple(EVENT_TYPES)),
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
    return page_of(call.ask(events.listing, query_of(EventQuery, call)))


def _wish(call: Call) -> Wish:
    return Wish(atomic=bool(call.arguments["atomic"]), state_scale=call.arguments["state_scale"])


def _answer(examined: Examined) -> Response:
    if examined.refused:
        return partly(examined.results, examined.refused)
    return many(examined.results, status=202)
