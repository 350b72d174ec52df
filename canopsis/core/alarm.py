"""The alarm document and its steps. Plain data; what changes it stands in ``lifecycle.py``."""

from __future__ import annotations

from collections.abc import Iterable
from types import UnionType
from typing import Any, get_args

import msgspec

SYSTEM = "canopsis"
"""Author of what no operator and no source did."""


class Step(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
    """One thing that happened. ``e`` is the id of the event that did it: a repeat is seen by it.

    A ``statecounter`` stands for the steps before it, which are kept beside the alarm: ``value`` says how
    many there are, ``counts`` how many of each type and of each state (``state0`` to ``state3``).
    """

    type: str
    t: float
    author: str
    message: str
    value: int
    e: str
    counts: dict[str, int] = msgspec.field(default_factory=dict)


class Mark(msgspec.Struct, frozen=True):
    """Who did something to an alarm, when and why."""

    author: str
    message: str
    t: float


class Snoozed(Mark, frozen=True):
    """Who put an alarm off, and until when."""

    until: float


class Ticket(msgspec.Struct, frozen=True, omit_defaults=True):
    """A ticket in another system. ``number`` is empty while it is declared and not known."""

    author: str
    message: str
    t: float
    number: str = ""
    system: str = ""
    url: str = ""


class Alarm(msgspec.Struct, kw_only=True, gc=False):
    """One problem of one entity, from its first non-OK check until it is resolved.

    Times are seconds since the epoch: ``updated`` that of the last change of state or status,
    ``last_event`` that of the newest check. ``open`` and ``entity_id`` carry the invariant of the
    database: one open alarm an entity. ``rev`` counts the writes; who writes raises it, and notes
    in ``written_by`` the ids of all events on the entity that it had in hand, without effect too.
    ``steps`` are the newest ones; ``older`` is the id of the segment before them, empty for none.
    ``state_lock`` is who set the state: checks do not move it until one is OK.
    ``wake_at`` is when the next thing happens to it by itself: who looks for what is due finds it by that.
    ``events_count`` is how many checks were counted when it last changed: not one of those that were lost or repeated
    in a crash.
    """

    id: str = msgspec.field(name="_id")
    display_name: str = ""
    rev: int = 1
    open: bool = True
    entity_id: str
    source_type: str
    connector: str
    connector_name: str
    component: str
    resource: str | None = None
    state: int
    status: int
    output: str = ""
    long_output: str = ""
    initial_output: str = ""
    created: float
    updated: float
    last_event: float
    events_count: int = 0
    resolved: float | None = None
    wake_at: float | None = None
    ack: Mark | None = None
    cancel: Mark | None = None
    snooze: Snoozed | None = None
    state_lock: Mark | None = None
    last_comment: Mark | None = None
    ticket: Ticket | None = None
    tickets: list[Ticket] = msgspec.field(default_factory=list)
    tags: list[str] = msgspec.field(default_factory=list)
    steps: list[Step] = msgspec.field(default_factory=list)
    older: str = ""
    written_by: list[str] = msgspec.field(default_factory=list)


def _is_plain(kind: object) -> bool:
    return kind in (str, int, float, bool, type(None)) or (
        isinstance(kind, UnionType) and all(map(_is_plain, get_args(kind)))
    )


_NESTED = frozenset(each.name for each in msgspec.structs.fields(Alarm) if not _is_plain(each.type))
"""Fields whose values are no plain objects."""


def builtins_of(alarm: Alarm, names: Iterable[str]) -> dict[str, Any]:
    """Return fields of an alarm as plain objects, by name."""
    found = {name: getattr(alarm, name) for name in names}
    for name in found.keys() & _NESTED:
        if found[name] is not None:
            found[name] = msgspec.to_builtins(found[name])
    return found
