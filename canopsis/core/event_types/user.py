"""What somebody writes into the log of an entity, alarm or not."""

from __future__ import annotations

from canopsis.core.event import Event
from canopsis.core.event_types.declaration import EventType


class User(Event, tag="user"):
    """``author`` says ``output``; it changes no alarm."""


DECLARED = (EventType(User, "What somebody says of an entity.", required=("author", "output")),)
