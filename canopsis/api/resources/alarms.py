"""Alarms: looking at them, and what an operator does with one."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec
from flask import Response
from msgspec import convert

from canopsis.api import intake
from canopsis.api.body import body_of, text
from canopsis.api.endpoints import Call, Resource, Thing
from canopsis.api.responses import one, part_of
from canopsis.core import parameters
from canopsis.core.alarm import Alarm, Step
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

ALARM = Thing("alarm", "alarm_id", alarms.get)


class Action(msgspec.Struct, forbid_unknown_fields=True):
    """What an operator says about an alarm."""

    message: Annotated[str, text("Why; shown with the alarm.")] = ""
    author: Annotated[str, text("Who does it; by default the user of the request.", limit=128)] = ""
    event_id: Annotated[
        str, text("Id of the event; with the one of an answer 503 it counts once.", 64, EVENT_ID.pattern, EVENT_IDS)
    ] = ""


class Remark(Action, forbid_unknown_fields=True, kw_only=True):
    """What an operator says, where it is the text that counts."""

    message: Annotated[str, text("The comment.")]


class Accepted(msgspec.Struct):
    """An action whose event the broker has."""

    alarm_id: str
    event_id: str
    status: Literal["accepted"] = "accepted"


class StepsQuery(msgspec.Struct, frozen=True):
    """Which part of the steps of an alarm."""

    older: Annotated[str | None, parameters.text("The part that an answer named as `older`.", limit=64)] = None


_ACTION_ANSWERS = {
    202: "The broker has the event; `data` has its `event_id`.",
    404: "There is no such alarm.",
    409: "The action makes no sense for the alarm as it is now.",
    503: "The database does not answer, or the broker does not confirm: send it again, with the `event_id` of `data`.",
}


resource.listing(
    "/alarms", "List alarms, by default the open ones, latest event first.", alarms.listing, AlarmQuery, answer=Alarm
)
resource.item("/alarms/<alarm_id>", "Show an alarm with its newest steps.", ALARM, answer=Alarm)


@resource.get(
    "/alarms/<alarm_id>/steps",
    "List the steps of an alarm, newest first, part by part: `older` of an answer leads to the next part.",
    segments=ALARM.segments,
    query=StepsQuery,
    answer=Step,
    answers={404: "There is no such alarm, or it has no such part."},
)
def steps(call: Call) -> Response:
    """Return a part of the steps of an alarm: a full walk meets each step once, also while new ones come."""
    alarm, older = ALARM.find(call), call.query.older
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
    kind = Remark if "output" in action.required else Action

    def act(call: Call) -> Response:
        given: Action = call.body
        alarm = ALARM.find(call)
        why = _objection(action, alarm)
        if why:
            raise RequestError(409, f"{action.name} makes no sense for alarm {alarm['_id']}: {why}")
        event = _event(action.name, alarm, given, given.author or call.user, call.backend.now())
        taken = intake.publish([event], call.backend)
        return one(Accepted(alarm["_id"], taken[0].event_id), status=202)

    act.__name__ = action.name
    declare = resource.post(
        f"/alarms/<alarm_id>/{action.name}",
        action.summary,
        role="operator",
        segments=ALARM.segments,
        body=body_of(kind, optional=kind is Action),
        answer=Accepted,
        answers=_ACTION_ANSWERS,
    )
    declare(act)


def _objection(action: EventType, document: Document) -> str:
    alarm = convert(document, Alarm)
    if not alarm.open:
        return "it is resolved"
    return action.objection(alarm) if action.objection is not None else ""


def _event(name: str, alarm: Document, given: Action, author: str, now: float) -> dict[str, Any]:
    event = {
        "connector": CONNECTOR,
        "connector_name": CONNECTOR_NAME,
        "event_type": name,
        "source_type": alarm["source_type"],
        "component": alarm["component"],
        "timestamp": now,
        "author": author,
        "output": given.message,
        "event_id": given.event_id,
    }
    return event | ({"resource": alarm["resource"]} if alarm.get("resource") else {})


for _each in ACTIONS.values():
    _offer(_each)
