"""A line worth keeping: it is stored, and changes no alarm."""

from __future__ import annotations

from canopsis.core import fields
from canopsis.core.event import Event
from canopsis.core.event_types.declaration import EventType, Field
from canopsis.core.text import MAX_NAME


class Log(Event, tag="log"):
    """A line worth keeping; ``level`` is free text."""

    level: str = ""


_LEVEL = Field(
    fields.text_check("level", MAX_NAME),
    {"type": "string", "description": "Of a log event."},
    "level of a log event",
)

DECLARED = (EventType(Log, "A line worth keeping.", {"level": _LEVEL}),)
