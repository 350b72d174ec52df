"""What is seen of an entity over the public API: its alarms with their steps, and its events."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

from canopsis.ops.apiclient import PREFIX, Api
from canopsis.ops.prove.model import Alarm, Fields, Mark, Step
from canopsis.ops.walk import pages, parts

_PAGE = 200


def alarms(api: Api, entity_id: str) -> list[Alarm]:
    """Return the alarms of an entity, oldest first. Raises SiteError when they cannot be read."""
    listed = pages(api, f"{PREFIX}/alarms", {"entity_id": entity_id, "show": "all", "sort": "created"}, _PAGE)
    return [_shown(api, f"{PREFIX}/alarms/{quote(each['_id'], safe='')}") for each in listed]


def _shown(api: Api, path: str) -> Alarm:
    found = api.data("GET", path)[0]
    has_more = any(step["type"] == "statecounter" for step in found["steps"])
    return _alarm(found | ({"steps": list(parts(api, f"{path}/steps"))[::-1]} if has_more else {}))


def log(api: Api, entity_id: str) -> list[Fields]:
    """Return the events of an entity, oldest first. Raises SiteError when they cannot be read."""
    return list(pages(api, f"{PREFIX}/events", {"entity_id": entity_id, "sort": "timestamp"}, _PAGE))


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
