"""What is seen of an entity over the public API: its alarms with their steps, and its events."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar
from urllib.parse import quote

from canopsis.ops.apiclient import PREFIX, Api
from canopsis.ops.prove.alarm import Alarm, Count, Fields, Mark, Snooze, Step, Ticket
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


_PLAIN = ("open", "state", "status", "output", "created", "updated", "initial_output")


def _alarm(found: Mapping[str, Any]) -> Alarm:
    return Alarm(
        **{name: found[name] for name in _PLAIN},
        ack=_mark(found["ack"]),
        cancel=_mark(found["cancel"]),
        snooze=_made(Snooze, found["snooze"]) if found["snooze"] else None,
        lock=_mark(found["state_lock"]),
        last_comment=_mark(found["last_comment"]),
        ticket=_made(Ticket, found["ticket"]) if found["ticket"] else None,
        tickets=tuple(_made(Ticket, each) for each in found["tickets"]),
        count=Count(found["events_count"], found["events_count"]),
        steps=tuple(_made(Step, step) for step in found["steps"]),
        id=found["_id"],
    )


def _mark(found: Mapping[str, Any] | None) -> Mark | None:
    return _made(Mark, found) if found else None


T = TypeVar("T", bound=tuple[Any, ...])


def _made(kind: type[T], found: Mapping[str, Any]) -> T:
    """Return a ``kind`` of the fields that are shown: what is empty may be left out."""
    names: tuple[str, ...] = kind._fields  # type: ignore[attr-defined] # of each NamedTuple
    return kind(**{name: found[name] for name in names if name in found})
