"""A site in memory that does as the model says, or, told so, something else."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any
from urllib.parse import unquote

from canopsis.errors import SiteError
from canopsis.ops.apiclient import Answer
from canopsis.ops.prove.model import Alarm, Entity, Step

Event = dict[str, Any]
Spoil = Callable[[Entity], Entity]


def event(kind: str, number: int, **fields: object) -> Event:
    """Return an event ``e<number>`` at the second of that number."""
    source = {"connector": "c", "connector_name": "n", "component": "a"}
    return {"event_type": kind, "event_id": f"e{number}", "timestamp": float(number), **source, **fields}


def check(number: int, state: int, output: str = "o", **fields: object) -> Event:
    return event("check", number, state=state, output=output, **fields)


def told(entity: Entity) -> list[tuple[int, str, int, str]]:
    """Return number of the alarm, type, value and event of each step."""
    return [(number, step.type, step.value, step.e) for number, step in entity.steps]


def entity_of(found: Mapping[str, Any]) -> str:
    """Return the id of the entity that an event speaks of."""
    return (
        f"resource:{found['component']}/{found['resource']}"
        if "resource" in found
        else f"component:{found['component']}"
    )


@dataclass
class FakeSite:
    """Takes events and shows alarms as the API does. ``spoil`` changes what is shown of an entity.

    ``answers`` are given first, each once: an answer, or an error in place of one. ``lies``: such an answer hides
    that the events were taken all the same.
    """

    answers: list[Answer | SiteError] = field(default_factory=list)
    lies: bool = False
    spoil: Spoil = lambda entity: entity
    spoil_log: Callable[[list[Event]], list[Event]] = lambda logged: logged
    entities: dict[str, Entity] = field(default_factory=dict)
    log: dict[str, list[Event]] = field(default_factory=dict)
    posts: list[list[Event]] = field(default_factory=list)
    unanswered: list[list[Event]] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def call(
        self, method: str, path: str, body: bytes | None = None, *, query: Mapping[str, Any] | None = None
    ) -> Answer:
        if method == "GET":
            return Answer(200, "OK", json.dumps({"data": self.data(method, path, query=query)}).encode())
        assert (method, path) == ("POST", "/api/v1/events")
        assert body is not None
        found = json.loads(body)
        events = found if isinstance(found, list) else [found]
        with self.lock:
            self.posts.append(events)
            answer = self.answers.pop(0) if self.answers else None
            if answer is None or self.lies:
                self._take(events)
            if answer is not None:
                self.unanswered.append(events)
        if isinstance(answer, SiteError):
            raise answer
        return answer or Answer(202, "Accepted", b"{}")

    def post(self, body: bytes) -> Answer:
        return self.call("POST", "/api/v1/events", body)

    def _take(self, events: Sequence[Event]) -> None:
        for each in events:
            name = entity_of(each)
            self.entities[name] = self.entities.get(name, Entity()).take(each)
            logged = self.log.setdefault(name, [])
            if all(other["event_id"] != each["event_id"] for other in logged):
                logged.append(each)

    def data(self, method: str, path: str, *, query: Mapping[str, Any] | None = None) -> list[Any]:
        assert method == "GET"
        given = query or {}
        if path == "/api/v1/events":
            logged = [{**each, "_id": each["event_id"]} for each in self.log.get(given["entity_id"], [])]
            return _page(self.spoil_log(logged), given)
        if path == "/api/v1/alarms":
            name = given["entity_id"]
            return _page([{"_id": f"{name}#{number}"} for number in range(len(self._shown(name).alarms))], given)
        name, _, number = unquote(path.removeprefix("/api/v1/alarms/")).rpartition("#")
        return [document(self._shown(name).alarms[int(number)])]

    def _shown(self, name: str) -> Entity:
        return self.spoil(self.entities.get(name, Entity()))


def _page(items: list[Any], query: Mapping[str, Any]) -> list[Any]:
    return items[query["start"] : query["start"] + query["limit"]]


def document(alarm: Alarm) -> dict[str, Any]:
    """Return the alarm as the API shows it."""
    names = ("open", "state", "status", "output", "created", "updated")
    marks = {name: mark._asdict() if (mark := getattr(alarm, name)) else None for name in ("ack", "cancel")}
    return {name: getattr(alarm, name) for name in names} | marks | {"steps": [step._asdict() for step in alarm.steps]}


def doubled(entity: Entity) -> Entity:
    """Return ``entity`` with the first step of its last alarm there twice."""
    return with_steps(entity, lambda steps: [steps[0], *steps]) if entity.alarms else entity


def with_steps(entity: Entity, change: Callable[[list[Step]], Sequence[Step]]) -> Entity:
    """Return ``entity`` with the steps of its last alarm changed."""
    alarm = entity.alarms[-1]
    return entity.with_last(replace(alarm, steps=tuple(change(list(alarm.steps)))))
