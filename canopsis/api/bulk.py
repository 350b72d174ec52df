"""One action on many alarms: named by their ids, or by what a list of alarms can be asked for."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Annotated, Any

import msgspec
from flask import Response
from msgspec import Meta, convert
from werkzeug.datastructures import MultiDict

from canopsis.api import arguments, intake
from canopsis.api.actions import PARAMETERS, event_of, objection
from canopsis.api.body import body_of, read_struct, text
from canopsis.api.endpoints import Call, Resource, Thing
from canopsis.api.responses import one
from canopsis.core.event_types import ACTIONS
from canopsis.core.lifecycle import APPLIED
from canopsis.errors import InputError, RequestError
from canopsis.store import alarms, event_log, tasks
from canopsis.store.alarms import AlarmQuery
from canopsis.store.operations import Document
from canopsis.store.tasks import Refused

MOST = 10_000
"""Alarms of one task."""

MOST_FAILURES = 1000
"""Failures that an answer names; it counts all."""

_CHUNK = 1000
_TASK_IDS = "1 to 50 letters, digits or any of _ : -"


class Bulk(msgspec.Struct, forbid_unknown_fields=True):
    """An action on many alarms: those of ``alarm_ids``, or those that ``filter`` finds, as the list of alarms would."""

    action: Annotated[str, Meta(extra_json_schema={"enum": list(ACTIONS)})]
    parameters: Annotated[
        dict[str, Any], Meta(description="What the action takes for one alarm: `message` and more.")
    ] = {}
    alarm_ids: Annotated[list[str] | None, Meta(description=f"At most {MOST} ids.")] = None
    filter: Annotated[
        dict[str, Any] | None, Meta(description='The parameters of `GET /alarms`, such as `{"component": "web1"}`.')
    ] = None
    task_id: Annotated[str, text("Of a task that is to be sent again.", 50, r"[A-Za-z0-9_:-]{1,50}", _TASK_IDS)] = ""


class Failure(msgspec.Struct):
    """An alarm that the action did nothing to, and why."""

    alarm_id: str
    event_id: str
    reason: str


class Task(msgspec.Struct):
    """How far a task is: ``pending`` are published and not handled yet. ``sent`` is false when it was cut off."""

    task_id: str
    action: str
    author: str
    created: datetime
    sent: bool
    total: int
    pending: int
    applied: int
    failed: int
    failures: list[Failure]


TASK = Thing("task", "task_id", tasks.get)

_ANSWERS = {
    202: "The broker has the events; `GET /alarms/actions/{task_id}` says what comes of them.",
    503: "A server does not answer: send it again with the same `task_id`, then each event counts once.",
}


def declare(resource: Resource) -> None:
    """Declare the calls."""
    resource.post(
        "/alarms/actions",
        "Do something to many alarms.",
        role="operator",
        body=body_of(Bulk, limit=1 << 20),
        answer=Task,
        answers=_ANSWERS,
    )(_start)
    resource.get(
        "/alarms/actions/<task_id>",
        "Show how far an action on many alarms is, and what failed.",
        segments=TASK.segments,
        answer=Task,
        answers={404: TASK.none},
    )(_show)


def _start(call: Call) -> Response:
    given: Bulk = call.body
    if given.action not in ACTIONS:
        raise InputError("action", given.action, ", ".join(ACTIONS))
    parameters = msgspec.structs.asdict(read_struct(given.parameters, PARAMETERS[given.action]))
    task, again = _kept(call, given)
    try:
        refused = _Sending(call, task, parameters, again).send()
    except RequestError as error:
        error.members["task_id"] = task["_id"]
        raise
    call.ask(tasks.sent, task["_id"], refused)
    return one(_task(call, task | {"sent": True, "refused": msgspec.to_builtins(refused)}), status=202)


def _kept(call: Call, given: Bulk) -> tuple[Document, bool]:
    """Return the task, and whether it was there before: then it keeps its alarms, whatever its filter finds now."""
    before = call.ask(tasks.get, given.task_id) if given.task_id else None
    if before is None:
        new = _new(call, given)
        before = call.ask(tasks.create, new)
        if before is None:
            return new, False
    return _same(before, given), True


def _new(call: Call, given: Bulk) -> Document:
    return {
        "_id": given.task_id or call.backend.new_id(),
        "action": given.action,
        "author": call.user,
        "created": datetime.fromtimestamp(call.now, UTC),
        "alarm_ids": _ids(call, given),
        "refused": [],
        "sent": False,
    }


def _same(task: Document, given: Bulk) -> Document:
    if task["action"] != given.action:
        members = {"field": "task_id", "value": given.task_id}
        raise RequestError(409, f"task {given.task_id} is another one: {task['action']} by {task['author']}", members)
    return task


def _show(call: Call) -> Response:
    return one(_task(call, TASK.find(call)))


def _ids(call: Call, given: Bulk) -> Sequence[str]:
    if (given.alarm_ids is None) == (given.filter is None):
        raise InputError("alarm_ids", given.alarm_ids, "alarm_ids or filter, one of them")
    ids = _found(call, given.filter) if given.filter is not None else list(dict.fromkeys(given.alarm_ids or ()))
    if len(ids) > MOST:
        raise InputError("alarm_ids" if given.filter is None else "filter", f"{len(ids)} alarms", f"at most {MOST}")
    return ids


def _found(call: Call, given: Mapping[str, Any]) -> Sequence[str]:
    pairs = [(name, _text(each)) for name, value in given.items() for each in _several(value)]
    query: AlarmQuery = arguments.read(AlarmQuery, MultiDict(pairs), call.now)
    return call.ask(alarms.matching, query, MOST + 1)


def _several(value: object) -> Sequence[object]:
    return value if isinstance(value, list) else [value]


def _text(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


@dataclass(slots=True)
class _Sending:
    """Publishes the events of a task. ``again``: some may be on their way, and what they did refuses no other."""

    call: Call
    task: Document
    parameters: dict[str, Any]
    again: bool
    refused: list[Refused] = field(default_factory=list)

    def send(self) -> list[Refused]:
        """Publish the events; return for which alarms there is none. Raises RequestError, StoreError."""
        for begin in range(0, len(self.task["alarm_ids"]), _CHUNK):
            raws = list(self._events(begin))
            if raws:
                intake.publish(raws, self.call.backend)
        return self.refused

    def _events(self, begin: int) -> Iterator[dict[str, Any]]:
        action, ids = ACTIONS[self.task["action"]], self.task["alarm_ids"][begin : begin + _CHUNK]
        known = {each.id: each for each in self.call.ask(alarms.standing, ids)}
        for number, alarm_id in enumerate(ids, begin):
            alarm = known.get(alarm_id)
            if alarm is None:
                self.refused.append(Refused(alarm_id, "there is no such alarm"))
            elif not self.again and (why := objection(action, alarm)):
                self.refused.append(Refused(alarm_id, why))
            else:
                event_id = tasks.event_id(self.task["_id"], number)
                event = event_of(action, alarm, self.parameters, self.call, event_id)
                # Sent again it is the same event, and it is looked for at this time.
                yield event | {"timestamp": self.task["created"].timestamp()}


def _task(call: Call, task: Document) -> Task:
    refused = convert(task["refused"], list[Refused])
    ids = {alarm_id: tasks.event_id(task["_id"], number) for number, alarm_id in enumerate(task["alarm_ids"])}
    sent = [ids[each] for each in ids.keys() - {each.alarm_id for each in refused}]
    outcomes = call.ask(event_log.outcomes, sent, task["created"].timestamp())
    failures = [Failure(each.alarm_id, "", each.reason) for each in refused]
    failures += [
        Failure(alarm_id, event_id, outcomes[event_id])
        for alarm_id, event_id in ids.items()
        if outcomes.get(event_id, APPLIED) != APPLIED
    ]
    return Task(
        task["_id"],
        task["action"],
        task["author"],
        task["created"],
        task["sent"],
        total=len(ids),
        pending=len(ids) - len(refused) - len(outcomes),
        applied=len(outcomes) + len(refused) - len(failures),
        failed=len(failures),
        failures=failures[:MOST_FAILURES],
    )
