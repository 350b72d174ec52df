"""Alarms: looking at them, and what an operator does with one."""

from __future__ import annotations

from typing import Annotated

import msgspec
from flask import Response

from canopsis.api import actions, bulk
from canopsis.api.endpoints import Call, Resource, Thing
from canopsis.api.responses import part_of
from canopsis.core import parameters
from canopsis.core.alarm import Alarm, Step
from canopsis.errors import RequestError
from canopsis.store import alarm_steps, alarms
from canopsis.store.alarms import MOST_STEPS, AlarmQuery

resource = Resource("alarms", service="alarms")

ALARM = Thing("alarm", "alarm_id", alarms.get)
WHOLE = Thing("alarm", "alarm_id", alarms.whole)


class StepsQuery(msgspec.Struct, frozen=True):
    """Which part of the steps of an alarm."""

    older: Annotated[str | None, parameters.text("The part that an answer named as `older`.", limit=64)] = None


resource.listing(
    "/alarms", "List alarms, by default the open ones, the newest first.", alarms.listing, AlarmQuery, answer=Alarm
)
resource.item("/alarms/<alarm_id>", "Show an alarm with its newest steps.", WHOLE, answer=Alarm)


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
    counters = [step["value"] for step in alarm["steps"] if step["type"] == "statecounter"]
    own = [step for step in alarm["steps"] if step["type"] != "statecounter"]
    begin, shown = (alarm.get("older", ""), own) if older is None else (older, [])
    found = call.ask(alarm_steps.before, alarm["_id"], begin, MOST_STEPS - len(shown))
    if found is None:
        raise RequestError(404, f"alarm {alarm['_id']} has no part {begin}", {"field": "older", "value": begin})
    return part_of([*found[0], *shown][::-1], sum(counters) + len(own), found[1] or None)


actions.declare(resource, ALARM)
bulk.declare(resource)
