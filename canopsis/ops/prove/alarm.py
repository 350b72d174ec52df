"""An alarm as far as it is compared: the same form for what must be and for what is seen."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any, NamedTuple

RESOLVE = "resolve"
UNSNOOZE = "unsnooze"
SYSTEM = "canopsis"
"""Author of what the site does by itself: it resolves alarms, and ends a snooze whose time is over."""

APPLIED = "applied"
"""Outcome of an action that changed its alarm; any other text says why it did not."""

Fields = Mapping[str, Any]


class Step(NamedTuple):
    """One thing that happened to an alarm; ``t`` in seconds since the epoch, ``e`` the id of the event that did it."""

    type: str
    value: int
    author: str
    message: str
    t: float
    e: str


class Mark(NamedTuple):
    """Who acknowledged, cancelled, commented or set the state, with which words and when."""

    author: str
    message: str
    t: float


class Snooze(NamedTuple):
    """Who put the alarm off, and until when."""

    author: str
    message: str
    t: float
    until: float


class Ticket(NamedTuple):
    """A ticket of another system."""

    author: str
    message: str
    t: float
    number: str = ""
    system: str = ""
    url: str = ""


class Count(NamedTuple):
    """How many checks an alarm may count: programs that die lose some, and count some again."""

    least: int = 0
    most: int = 0

    def allows(self, seen: Count) -> bool:
        """Tell whether the count that is ``seen`` is possible."""
        return self.least <= seen.least and seen.most <= 2 * self.most


NO_CHECKS = Count()


@dataclass(frozen=True, slots=True)
class Alarm:
    """An alarm; ``updated`` is the time of its last change of state or status.

    ``id`` is the site's, and not compared. ``lock`` is who set the state. ``tickets`` are the newest, oldest first.
    """

    open: bool
    state: int
    status: int
    output: str
    created: float
    updated: float
    initial_output: str = ""
    ack: Mark | None = None
    cancel: Mark | None = None
    snooze: Snooze | None = None
    lock: Mark | None = None
    last_comment: Mark | None = None
    ticket: Ticket | None = None
    tickets: tuple[Ticket, ...] = ()
    count: Count = NO_CHECKS
    steps: tuple[Step, ...] = ()
    id: str = field(default="", compare=False)

    def differing(self, seen: Alarm) -> list[str]:
        """Return the names of what is other in ``seen`` than it must be, steps included."""
        return [name for name in _COMPARED if getattr(self, name) != getattr(seen, name)] + (
            [] if self.count.allows(seen.count) else ["count"]
        )


_COMPARED = tuple(each.name for each in fields(Alarm) if each.name not in ("id", "count"))
