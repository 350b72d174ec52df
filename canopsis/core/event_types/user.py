"""User: a note in the log of an entity, alarm or not."""

from __future__ import annotations

from canopsis.core.event import Event
from canopsis.core.event_types.declaration import EventType


class User(Event, tag="user"):
    """``author`` says ``output``; it changes no alarm."""


DECLARED = (EventType(User, "A note about an entity.", required=("author", "output")),)
