"""Alarms: looking at them, and what an operator does with one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from flask import Response
from msgspec import convert

from canopsis.api import intake, parameters
from canopsis.api.body import Text, object_of, read_texts
from canopsis.api.endpoints import Call, Resource
from canopsis.api.listing import query_of
from canopsis.api.responses import one, page_of, part_of
from canopsis.core import status
from canopsis.core.alarm import Alarm
from canopsis.core.event_types import ACTIONS
from canopsis.core.event_types.declaration import EventType
from canopsis.core.fields import EVENT_ID, EVENT_IDS
from canopsis.errors import RequestError
from canopsis.store import alarm_steps, alarms
from canopsis.store.alarms import AlarmQuery
from canopsis.store.operations import Document

resource = Resource("alarms", service="alarms")

CONNECTOR, CONNECTOR_NAME = "canopsis", "api"
"""The source of the events that actions publish."""

SORTABLE = (
    "last_event",
    "created",
    "updated",
    "resolved",
    "state",
    "status",
    "connector",
    "component",
    "resource",
    "entity_id",
)
STATUSES = ", ".join(f"{number} {name}" for number, name in status.NAMES.items())
_WHICH = {"open": True, "resolved": False, "all": None}
_ID = {"alarm_id": "Id of the alarm."}

_OWN_ID = (EVENT_ID.pattern, EVENT_IDS)
_ACTION_FIELDS = {
    "message": Text("Why; shown with the alarm.", ""),
    "author": Text("Who does it; by default the user of the request.", "", limit=128),
    "event_id": Text("Id of the event; with the one of an answer 503 it counts once.", "", 64, *_OWN_ID),
}
_COMMENT_FIELDS = _ACTION_FIELDS | {"message": Text("The comment.")}
_ACTION_ANSWERS = {
    202: "The broker has the event; `data` has its `event_id`.",
    404: "There is no such alarm.",
    409: "The action makes no sense for the alarm as it is now.",
    503: "The database does not answer, or the broker does not confirm: send it again, with the `event_id` of `data`.",
}


@resource.get(
    "/alarms",
    "List alarms, by default the open ones, latest event first.",
    parameters=(
        parameters.choice("show", "Which alarms.", tuple(_WHICH), "open"),
        parameters.several("state", "Only these states.", (0, 1, 2, 3)),
        parameters.several("status", f"Only these: {STATUSES}.", tuple(status.NAMES)),
        parameters.text("connector", "Only alarms of this connector."),
        parameters.text("connector_name", "Only alarms of this instance of a connector."),
        parameters.text("component", "Only alarms of this component."),
        parameters.text("resource", "Only alarms of this resource."),
        parameters.text("entity_id", "Only alarms of this entity."),
        parameters.flag("acked", "Only alarms with, or without, an acknowledge."),
        parameters.text("tag", "Only alarms with this tag."),
        parameters.text("search", "Words that all stand in names, output or tags.", limit=200),
        parameters.moment("from", "Only alarms created not before this."),
        parameters.moment("to", "Only alarms created before this."),
        parameters.sorting(SORTABLE, note="By default open ones by latest event, resolved by latest end, all by age."),
        *parameters.paging(),
    ),
)
def listing(call: Call) -> Response:
    """Return a page of alarms, without their steps."""
    query = query_of(AlarmQuery, call, open=_WHICH[call.arguments["show"]])
    return page_of(call.ask(alarms.listing, query))


@resource.get(
    "/alarms/<alarm_id>", "Show an alarm with its newest steps.", segments=_ID, answers={404: "There is no such alarm."}
)
def show(call: Call) -> Response:
    """Return an alarm."""
    return one(_find(call))


@resource.get(
    "/alarms/<alarm_id>/steps",
    "List the steps of an alarm, newest first, part by part: `older` of an answer leads to the next part.",
    segments=_ID,
    parameters=(parameters.text("older", "The part that an answer named as `older`.", limit=64),),
    answers={404: "There is no such alarm, or it has no such part."},
)
def steps(call: Call) -> Response:
    """Return a part of the steps of an alarm: a full walk meets each step once, also while new ones come."""
    alarm, older = _find(call), call.arguments["older"]
    listed = alarm["steps"]
    counters = [step["value"] for step in listed if step["type"] == "statecounter"]
    total = sum(counters) + len(listed) - len(counters)
    part = alarm if older is None else _part(call, alarm, older)
    shown = [step for step in reversed(part["steps"]) if step["type"] != "statecounter"]
    return part_of(shown, total, part.get("older") or None)


def _part(call: Call, alarm: Document, older: str) -> Document:
    found = call.ask(alarm_steps.get, older)
    if found is None or found["alarm_id"] != alarm["_id"]:
        raise RequestError(404, f"alarm {alarm['_id']} has no part {older}", {"field": "older", "value": older})
    return found


def _offer(action: EventType) -> None:
    """Declare ``POST /alarms/<alarm_id>/<action>``."""
    fields = _COMMENT_FIELDS if "output" in action.required else _ACTION_FIELDS

    def act(call: Call) -> Response:
        given = read_texts(call.content, fields)
        alarm = _find(call)
        why = _objection(action, alarm)
        if why:
            raise RequestError(409, f"{action.name} makes no sense for alarm {alarm['_id']}: {why}")
        event = _event(action.name, alarm, given | {"author": given["author"] or call.user}, call.backend.now())
        taken = intake.publish([event], call.backend)
        return one({"alarm_id": alarm["_id"], "event_id": taken[0].event_id, "status": "accepted"}, status=202)

    act.__name__ = action.name
    optional = all(each.default is not None for each in fields.values())
    declare = resource.post(
        f"/alarms/<alarm_id>/{action.name}",
        action.summary,
        role="operator",
        segments=_ID,
        body=object_of(fields, optional),
        answers=_ACTION_ANSWERS,
    )
    declare(act)


def _objection(action: EventType, document: Document) -> str:
    alarm = convert(document, Alarm)
    if not alarm.open:
        return "it is resolved"
    return action.objection(alarm) if action.objection is not None else ""


def _find(call: Call) -> Document:
    alarm_id = call.path["alarm_id"]
    found = call.ask(alarms.get, alarm_id)
    if found is None:
        raise RequestError(404, f"there is no alarm {alarm_id}", {"field": "alarm_id", "value": alarm_id})
    return found


def _event(name: str, alarm: Document, given: Mapping[str, str], now: float) -> dict[str, Any]:
    event = {
        "connector": CONNECTOR,
        "connector_name": CONNECTOR_NAME,
        "event_type": name,
        "source_type": alarm["source_type"],
        "component": alarm["component"],
        "timestamp": now,
        "author": given["author"],
        "output": given["message"],
        "event_id": given["event_id"],
    }
    return event | ({"resource": alarm["resource"]} if alarm.get("resource") else {})


for _each in ACTIONS.values():
    _offer(_each)
