"""What a type of event is: one declaration, of which everything that lists types or their fields is made."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from canopsis.core.alarm import Alarm
from canopsis.core.change import Change, LifecycleRules
from canopsis.core.event import Event
from canopsis.core.fields import FieldCheck

Act = Callable[[Any, Alarm, LifecycleRules, float], Change | None]
"""What an event does to the open alarm of its entity, at ``now``; None for nothing. It changes no alarm in place."""

Objection = Callable[[Alarm], str]
"""Why an action makes no sense for an alarm as it is, an empty text when it does."""


Due = Callable[[Alarm, LifecycleRules], float | None]
"""When an event happens by itself to an open alarm, in seconds since the epoch; None for never."""


def never(_alarm: Alarm) -> str:
    """Object to nothing."""
    return ""


@dataclass(frozen=True, slots=True)
class Field:
    """A field that only this type has: how it is checked, its JSON schema, what it is in a few words."""

    check: FieldCheck
    schema: Mapping[str, Any]
    help: str


@dataclass(frozen=True, slots=True)
class EventType:
    """A type of event.

    ``required`` are fields beside connector, connector_name and component. ``from_sources``: whether it may come
    from outside; engines alone publish the others. ``kept``: whether the event log has it. ``act`` changes the open
    alarm of the entity. One with an ``objection`` is an action of operators: the API offers it, on one alarm and on
    many, and so does ``canopsis act``. One that is ``due`` happens by itself: the alarm has its time in ``wake_at``,
    and the alarm engine publishes it when that has come.
    """

    struct: type[Event]
    summary: str
    fields: Mapping[str, Field] = field(default_factory=dict)
    required: tuple[str, ...] = ()
    from_sources: bool = True
    kept: bool = True
    act: Act | None = None
    objection: Objection | None = None
    due: Due | None = None

    @property
    def name(self) -> str:
        """The ``event_type``, as it stands on the wire."""
        return str(self.struct.__struct_config__.tag)
