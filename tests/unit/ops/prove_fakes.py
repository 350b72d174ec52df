"""A site in memory that does as the model says, or, told so, something else."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Any
from urllib.parse import unquote

from canopsis.errors import SiteError
from canopsis.ops.apiclient import Answer
from canopsis.ops.prove.acts import ACTS
from canopsis.ops.prove.alarm import APPLIED, Alarm, Step
from canopsis.ops.prove.model import Entity

NOW = 1_800_000_000.0
"""When the API of a site in memory makes events."""

Event = dict[str, Any]
Spoil = Callable[[Entity], Entity]


def event(kind: str, number: float, **fields: object) -> Event:
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
    tasks: dict[str, Event] = field(default_factory=dict)
    task_answers: list[Answer] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def call(
        self, method: str, path: str, body: bytes | None = None, *, query: Mapping[str, Any] | None = None
    ) -> Answer:
        if method == "GET":
            return Answer(200, "OK", json.dumps({"data": self.data(method, path, query=query)}).encode())
        assert method == "POST"
        assert body is not None
        found = json.loads(body)
        if path == "/api/v1/alarms/actions":
            return self._act(found)
        assert path == "/api/v1/events"
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

    def _act(self, asked: Event) -> Answer:
        """Do an action on many alarms: each that is named is open."""
        if self.task_answers:
            return self.task_answers.pop(0)
        with self.lock:
            for number, alarm_id in enumerate(asked["alarm_ids"]):
                said = {"output": asked["parameters"].get("message", ""), **asked["parameters"]}
                head = {"connector": "canopsis", "connector_name": "api", "author": "me", "timestamp": self.now()}
                ids = {"event_id": f"{asked['task_id']}.{number}", "alarm_id": alarm_id}
                self._note(alarm_id.rpartition("#")[0], {"event_type": asked["action"], **head, **ids, **said})
        count = len(asked["alarm_ids"])
        task = {name: asked[name] for name in ("task_id", "action")} | {"author": "me", "sent": True, "failures": []}
        self.tasks[asked["task_id"]] = task | {"total": count, "pending": 0, "applied": count, "failed": 0}
        return Answer(202, "Accepted", json.dumps({"data": [self.tasks[asked["task_id"]]]}).encode())

    def now(self) -> float:
        """Return a time not before that of any event."""
        return max([NOW, *(each["timestamp"] for logged in self.log.values() for each in logged)])

    def _take(self, events: Sequence[Event]) -> None:
        for each in events:
            self._note(entity_of(each), each)

    def _note(self, name: str, event: Event) -> None:
        ids = tuple(f"{name}#{number}" for number in range(40))
        after = self.entities.get(name, Entity(ids=ids)).take(event)
        self.entities[name] = after
        logged = self.log.setdefault(name, [])
        if all(other["event_id"] != event["event_id"] for other in logged):
            outcome = APPLIED if event["event_id"] in after.applied else "nothing to do"
            logged.append(event | ({"outcome": outcome} if event["event_type"] in ACTS else {}))

    def data(self, method: str, path: str, *, query: Mapping[str, Any] | None = None) -> list[Any]:
        assert method == "GET"
        given = query or {}
        if path == "/api/v1/events":
            logged = [{**each, "_id": each["event_id"]} for each in self.log.get(given["entity_id"], [])]
            return _page(self.spoil_log(logged), given)
        if path.startswith("/api/v1/alarms/actions/"):
            return [self.tasks[path.rpartition("/")[2]]]
        if path == "/api/v1/alarms":
            name = given["entity_id"]
            found = [f"{name}#{number}" for number in range(len(self._shown(name).alarms))]
            return _page([{"_id": each} for each in (found if "show" in given else found[-1:])], given)
        name, _, number = unquote(path.removeprefix("/api/v1/alarms/")).rpartition("#")
        return [document(self._shown(name).alarms[int(number)]) | {"_id": f"{name}#{number}"}]

    def _shown(self, name: str) -> Entity:
        return self.spoil(self.entities.get(name, Entity()))


def _page(items: list[Any], query: Mapping[str, Any]) -> list[Any]:
    start = query.get("start", 0)
    return items[start : start + query.get("limit", 20)]


def document(alarm: Alarm) -> dict[str, Any]:
    """Return the alarm as the API shows it."""
    found = {each.name: _plain(getattr(alarm, each.name)) for each in fields(alarm)}
    found["state_lock"], found["events_count"] = found.pop("lock"), alarm.count.most
    return found | {name: [_plain(each) for each in getattr(alarm, name)] for name in ("tickets", "steps")}


def _plain(value: Any) -> Any:
    return value._asdict() if hasattr(value, "_asdict") else value


def doubled(entity: Entity) -> Entity:
    """Return ``entity`` with the first step of its last alarm there twice."""
    return with_steps(entity, lambda steps: [steps[0], *steps]) if entity.alarms else entity


def with_steps(entity: Entity, change: Callable[[list[Step]], Sequence[Step]]) -> Entity:
    """Return ``entity`` with the steps of its last alarm changed."""
    alarm = entity.alarms[-1]
    return entity.with_last(replace(alarm, steps=tuple(change(list(alarm.steps)))))
