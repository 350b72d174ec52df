"""What is seen of an entity over the public API: its alarms with their steps, and its events."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import quote

from canopsis.errors import SiteError
from canopsis.ops.apiclient import PREFIX, Api
from canopsis.ops.prove.model import Alarm, Fields, Mark, Step

_PAGE = 200


def alarms(api: Api, entity_id: str) -> list[Alarm]:
    """Return the alarms of an entity, oldest first. Raises SiteError when they cannot be read."""
    listed = _pages(api, "alarms", {"entity_id": entity_id, "show": "all", "sort": "created"})
    return [_shown(api, f"{PREFIX}/alarms/{quote(each['_id'], safe='')}") for each in listed]


def _shown(api: Api, path: str) -> Alarm:
    found = api.data("GET", path)[0]
    has_more = any(step["type"] == "statecounter" for step in found["steps"])
    return _alarm(found | ({"steps": _all_steps(api, f"{path}/steps")} if has_more else {}))


def _all_steps(api: Api, path: str) -> list[Mapping[str, Any]]:
    """Return the steps of an alarm, oldest first, that the API shows newest first, part by part."""
    steps: list[Mapping[str, Any]] = []
    query: dict[str, object] = {}
    while True:
        answer = api.call("GET", path, query=query)
        if not answer.good:
            raise SiteError(f"GET {path}: {answer.problem()}")
        part = answer.json()
        steps += part["data"]
        if part["older"] is None:
            return steps[::-1]
        query = {"older": part["older"]}


def log(api: Api, entity_id: str) -> list[Fields]:
    """Return the events of an entity, oldest first. Raises SiteError when they cannot be read."""
    return list(_pages(api, "events", {"entity_id": entity_id, "sort": "timestamp"}))


def _pages(api: Api, what: str, query: Mapping[str, object]) -> Iterator[Mapping[str, Any]]:
    start = 0
    while page := api.data("GET", f"{PREFIX}/{what}", query={**query, "limit": _PAGE, "start": start}):
        yield from page
        start += len(page)
        if len(page) < _PAGE:
            return


def _alarm(found: Mapping[str, Any]) -> Alarm:
    return Alarm(
        open=found["open"],
        state=found["state"],
        status=found["status"],
        output=found["output"],
        created=found["created"],
        updated=found["updated"],
        ack=_mark(found["ack"]),
        cancel=_mark(found["cancel"]),
        steps=tuple(Step(*(step[name] for name in Step._fields)) for step in found["steps"]),
    )


def _mark(found: Mapping[str, Any] | None) -> Mark | None:
    return Mark(found["author"], found["message"], found["t"]) if found else None
