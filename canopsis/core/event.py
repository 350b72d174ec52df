"""What every event has, and how it is addressed. What sorts of events there are stands in ``event_types``.

On the wire an event is a flat JSON object. Keys that no struct knows are kept in ``extra``.
"""

from __future__ import annotations

from typing import Any, Literal

import msgspec

from canopsis.core.perfdata import PerfData

COMPUTED = frozenset({"entity_id", "warnings", "sent_timestamp", "moved_by"})
"""Fields of every event that we alone say."""

SourceType = Literal["component", "resource"]


class Event(msgspec.Struct, kw_only=True, omit_defaults=True, tag_field="event_type", gc=False):
    """What every event has. ``timestamp`` is in seconds since the epoch, UTC.

    ``warnings`` are made by ``normalise``: what of the event as it came was left out or mended;
    ``sent_timestamp`` is the time that came where it was not one of an event. ``moved_by`` is the
    rule of the event filter that gave the event another entity.
    """

    connector: str
    connector_name: str
    component: str
    resource: str | None = None
    source_type: SourceType = "component"
    timestamp: float = 0.0
    event_id: str = ""
    entity_id: str = ""
    output: str = ""
    long_output: str = ""
    author: str = ""
    tags: list[str] = msgspec.field(default_factory=list)
    perf_data_array: list[PerfData] = msgspec.field(default_factory=list)
    extra: dict[str, Any] = msgspec.field(default_factory=dict)
    warnings: list[str] = msgspec.field(default_factory=list)
    sent_timestamp: float | None = None
    moved_by: str = ""


class Action(Event):
    """What an operator does to an alarm: a base of event types, no type itself.

    ``alarm_id`` is the alarm that its author saw: it does nothing to another one of the entity. Without one it is for
    whichever is open. ``outcome`` is set by the alarm engine: ``applied``, or why the action had no effect.
    """

    alarm_id: str = ""
    outcome: str = ""


def event_type(event: Event) -> str:
    """Return the ``event_type`` of ``event`` as it stands on the wire."""
    return str(event.__struct_config__.tag)


def routing_key(event: Event) -> str:
    """Return ``connector.connector_name.event_type.source_type.component[.resource]``."""
    kind = event.__struct_config__.tag
    head = f"{event.connector}.{event.connector_name}.{kind}.{event.source_type}.{event.component}"
    return head if event.resource is None else f"{head}.{event.resource}"


def to_document(event: Event) -> dict[str, Any]:
    """Return ``event`` as it stands in the collection ``events``: ``_id`` is its id, what is empty is left out."""
    document: dict[str, Any] = msgspec.to_builtins(event)
    document["_id"] = document.pop("event_id", "")
    document["source_type"] = event.source_type
    for name in ("state", "state_type"):
        if hasattr(event, name):
            document[name] = getattr(event, name)
    return document
