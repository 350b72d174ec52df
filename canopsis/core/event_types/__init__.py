"""The types of events: one module a family, one ``EventType`` a type. A new one is listed here and nowhere else."""

from __future__ import annotations

from functools import reduce
from operator import or_
from typing import TYPE_CHECKING

from canopsis.core.event import Event
from canopsis.core.event_types import (
    ack,
    cancel,
    changestate,
    check,
    comment,
    log,
    perf,
    resolve,
    snooze,
    ticket,
    trap,
    user,
    wake,
)
from canopsis.core.event_types.declaration import EventType

_MODULES = (check, log, perf, trap, user, ack, cancel, changestate, comment, snooze, ticket, resolve, wake)

EVENT_TYPES: dict[str, EventType] = {each.name: each for module in _MODULES for each in module.DECLARED}
"""All of them, by ``event_type``."""

SENT_BY_SOURCES = tuple(name for name, each in EVENT_TYPES.items() if each.from_sources)
"""Those that may come from outside."""

KEPT = frozenset(each.struct for each in EVENT_TYPES.values() if each.kept)
"""The structs of those that the event log has."""

ACTIONS = {name: each for name, each in EVENT_TYPES.items() if each.objection is not None}
"""What operators may do to an alarm."""

if TYPE_CHECKING:
    AnyEvent = Event
else:
    AnyEvent = reduce(or_, (each.struct for each in EVENT_TYPES.values()))
"""What an event is when it is decoded: one of all types."""
