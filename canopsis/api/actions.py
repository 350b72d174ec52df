"""What operators do to alarms: each action publishes an event, for one alarm or for many."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec
from flask import Response
from msgspec import Meta, convert

from canopsis.api import intake
from canopsis.api.body import body_of, text
from canopsis.api.endpoints import Call, Resource, Thing
from canopsis.api.responses import one
from canopsis.core.alarm import Alarm
from canopsis.core.event_types import ACTIONS
from canopsis.core.event_types.declaration import EventType
from canopsis.core.fields import EVENT_ID, EVENT_IDS
from canopsis.core.structs import prepare
from canopsis.errors import RequestError

CONNECTOR, CONNECTOR_NAME = "canopsis", "api"
"""The source of the events that actions publish."""


class Said(msgspec.Struct, forbid_unknown_fields=True):
    """What an operator says about an alarm."""

    message: Annotated[str, text("Why; shown with the alarm.")] = ""


class Remark(Said, forbid_unknown_fields=True, kw_only=True):
    """What an operator says, where it is the text that counts."""

    message: Annotated[str, text("The text.")]


class Accepted(msgspec.Struct):
    """An action whose event the broker has."""

    alarm_id: str
    event_id: str
    status: Literal["accepted"] = "accepted"


_ANSWERS = {
    202: "The broker has the event; `data` has its `event_id`. What came of it is the `outcome` of that event.",
    404: "There is no such alarm.",
    409: "The action makes no sense for the alarm as it is now.",
    503: "The database does not answer, or the broker does not confirm: send it again, with the `event_id` of `data`.",
}


def parameters_of(action: EventType) -> type[Said]:
    """Return the struct of what an action takes: its message, and the fields that its event alone has."""
    base = Remark if "output" in action.required else Said
    known = {each.name: each for each in msgspec.structs.fields(action.struct)}
    fields: list[Any] = []
    for name, own in action.fields.items():
        kind: Any = Annotated[known[name].type, _meta(known[name].type, own.help, dict(own.schema))]
        fields.append((name, kind) if name in action.required else (name, kind, known[name].default))
    found = msgspec.defstruct(
        action.struct.__name__, fields, bases=(base,), forbid_unknown_fields=True, kw_only=True, module=__name__
    )
    found.__doc__ = action.summary
    return found  # type: ignore[return-value]


def _meta(kind: object, description: str, schema: dict[str, Any]) -> Meta:
    if kind is str:
        return text(description.capitalize() + ".", 1024)
    return Meta(extra_json_schema=schema, extra={"allowed": description})


PARAMETERS = {name: parameters_of(action) for name, action in ACTIONS.items()}
"""What each action takes."""

prepare(*PARAMETERS.values())


def declare(resource: Resource, thing: Thing) -> None:
    """Declare ``POST /alarms/<alarm_id>/<action>`` for each action."""
    for action in ACTIONS.values():
        _declare(resource, thing, action)


def _declare(resource: Resource, thing: Thing, action: EventType) -> None:
    kind = msgspec.defstruct(
        f"{action.struct.__name__}One",
        [("event_id", Annotated[str, _EVENT_ID], "")],
        bases=(PARAMETERS[action.name],),
        forbid_unknown_fields=True,
        kw_only=True,
        module=__name__,
    )

    def act(call: Call) -> Response:
        given = msgspec.structs.asdict(call.body)
        alarm = convert(thing.find(call), Alarm)
        why = objection(action, alarm)
        if why:
            raise RequestError(409, f"{action.name} makes no sense for alarm {alarm.id}: {why}")
        event_id = given.pop("event_id")
        taken = intake.publish([event_of(action, alarm, given, call, event_id)], call.backend)
        return one(Accepted(alarm.id, taken[0].event_id), status=202)

    act.__name__ = action.name
    is_optional = all(each.default is not msgspec.NODEFAULT for each in msgspec.structs.fields(kind))
    resource.post(
        f"/alarms/<alarm_id>/{action.name}",
        action.summary,
        role="operator",
        segments=thing.segments,
        body=body_of(kind, optional=is_optional),
        answer=Accepted,
        answers=_ANSWERS,
    )(act)


_EVENT_ID = text("Id of the event; with the one of an answer 503 it counts once.", 64, EVENT_ID.pattern, EVENT_IDS)


def objection(action: EventType, alarm: Alarm) -> str:
    """Return why an action makes no sense for an alarm as it is, an empty text when it does."""
    if not alarm.open:
        return "it is resolved"
    return action.objection(alarm) if action.objection is not None else ""


def event_of(action: EventType, alarm: Alarm, given: dict[str, Any], call: Call, event_id: str) -> dict[str, Any]:
    """Return the event of an action on an alarm, as a source would send it. Its author is who asks."""
    event = {
        "connector": CONNECTOR,
        "connector_name": CONNECTOR_NAME,
        "event_type": action.name,
        "source_type": alarm.source_type,
        "component": alarm.component,
        "timestamp": call.now,
        "author": call.user,
        "output": given["message"],
        "event_id": event_id,
        "alarm_id": alarm.id,
        **{name: value for name, value in given.items() if name != "message"},
    }
    return event | ({"resource": alarm.resource} if alarm.resource is not None else {})
