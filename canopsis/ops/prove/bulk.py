"""Actions on many alarms by the call of the API for that, which makes their events: what it must make of them."""

from __future__ import annotations

import http.client
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from canopsis.errors import SiteError
from canopsis.ops.apiclient import PREFIX, Answer
from canopsis.ops.prove.alarm import Fields
from canopsis.ops.prove.compare import Differences
from canopsis.ops.prove.plan import Bulk, Event

_SOURCE = {"connector": "canopsis", "connector_name": "api"}
"""The source of the events that the API makes."""


class Caller(Protocol):
    """Asks the API. Raises SiteError when nobody answers."""

    def __call__(
        self, method: str, path: str, body: bytes | None = None, *, query: Mapping[str, object] | None = None
    ) -> Answer:
        """Return the answer, whatever it is."""
        ...


@dataclass(slots=True)
class Asked:
    """An action as it was asked for: ``ids`` are the alarms, by script, in their order.

    ``author`` is who the answer says did it, empty until it was accepted. ``refused`` are ids of alarms that the API
    made no event for.
    """

    wanted: Bulk
    ids: dict[int, str]
    author: str = ""
    refused: set[str] = field(default_factory=set)

    def events(self) -> Iterator[tuple[int, Event]]:
        """Yield script and event for each alarm, without the time, which the API gives it.

        ``optional``: there need be none, since the API refused; asked twice, it may have made one all the same.
        """
        said = {name: value for name, value in self.wanted.parameters.items() if name != "message"}
        said["output"] = self.wanted.parameters.get("message", "")
        if self.author:
            for number, (script, alarm_id) in enumerate(self.ids.items()):
                event_id = f"{self.wanted.task_id}.{number}"
                head = {"event_type": self.wanted.action, "event_id": event_id, "alarm_id": alarm_id}
                yield script, {**head, **_SOURCE, "author": self.author, "optional": alarm_id in self.refused, **said}


def chosen(call: Caller, wanted: Bulk, entities: Mapping[int, str]) -> Asked:
    """Return an action on those alarms of ``entities`` that are open. Raises SiteError."""
    found = {script: _read(call, "alarms", {"entity_id": entity_id}) for script, entity_id in entities.items()}
    return Asked(wanted, {script: str(alarms[0]["_id"]) for script, alarms in found.items() if alarms})


def _read(call: Caller, path: str, query: Mapping[str, object] | None = None) -> Sequence[Fields]:
    answer = call("GET", f"{PREFIX}/{path}", query=query)
    if not answer.good:
        raise SiteError(f"GET {PREFIX}/{path}: {answer.problem()}")
    found: Sequence[Fields] = answer.json()["data"]
    return found


def ask(call: Caller, asked: Asked) -> str:
    """Ask for an action; return why it was refused, an empty text when it was accepted.

    Raises SiteError when it is to be asked for again: then what it made already counts once.
    """
    wanted = asked.wanted
    given = {"action": wanted.action, "parameters": wanted.parameters, "alarm_ids": list(asked.ids.values())}
    answer = call("POST", f"{PREFIX}/alarms/actions", json.dumps({**given, "task_id": wanted.task_id}).encode())
    if answer.status > http.client.INTERNAL_SERVER_ERROR or answer.status == http.client.TOO_MANY_REQUESTS:
        raise SiteError(answer.problem())
    if answer.status != http.client.ACCEPTED:
        return f"task {wanted.task_id} was refused: {answer.problem()}"
    task = answer.json()["data"][0]
    asked.author = str(task["author"])
    asked.refused = {each["alarm_id"] for each in task["failures"] if not each["event_id"]}
    return ""


def complete(events: Sequence[Event], logged: Sequence[Fields]) -> list[Event]:
    """Return ``events``, those that the API made with the time that the log has of them, if it has them."""
    times = {str(each["_id"]): each["timestamp"] for each in logged}
    made = [{"timestamp": times.get(each["event_id"]), **each} for each in events]
    return [each for each in made if each["timestamp"] is not None or not each.get("optional")]


def of_task(call: Caller, asked: Asked) -> Differences:
    """Return what the API tells wrongly of an action whose events are all handled."""
    task_id = asked.wanted.task_id
    try:
        (task,) = _read(call, f"alarms/actions/{task_id}")
    except SiteError as error:
        return Differences(wrong=1, texts=(f"task {task_id} cannot be read: {error}",))
    told = {name: task[name] for name in ("action", "sent", "total", "pending")}
    must = {"action": asked.wanted.action, "sent": True, "total": len(asked.ids), "pending": 0}
    if told == must and task["applied"] + task["failed"] == task["total"]:
        return Differences()
    return Differences(wrong=1, texts=(f"task {task_id} is {told}, must be {must}",))
