"""Rules of the event filter: what they are, and what they would do with events."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec
from flask import Response

from canopsis.api.body import body_of
from canopsis.api.endpoints import Call, Resource
from canopsis.api.responses import many
from canopsis.api.rules import MOST_TRIED, Few, checked, crud_of, once_stored
from canopsis.core.event import COMPUTED, Event
from canopsis.core.normalise import normalise
from canopsis.core.rules import table
from canopsis.core.rules.event_filter import KIND, explain
from canopsis.core.rules.kernel import make
from canopsis.errors import InputError, InvalidEvent
from canopsis.store import event_log
from canopsis.store.operations import Document

resource = Resource("event_filters", service="event_filters")

_NOT_SENT = COMPUTED | {"_id", "received"}


class Trial(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """Which rules are tried on which events."""

    rules: Annotated[
        Few, msgspec.Meta(description="Rules that are not stored yet, or are to replace stored ones.")
    ] = []
    tables: Annotated[Few, msgspec.Meta(description="Tables, likewise.")] = []
    events: Annotated[Few, msgspec.Meta(description="Events as a source would send them.")] = []
    event_ids: Annotated[
        list[str], msgspec.Meta(max_length=MOST_TRIED, description="Ids of events that are stored.")
    ] = []
    alone: Annotated[bool, msgspec.Meta(description="Leave the rules out that are stored.")] = False


class Step(msgspec.Struct, omit_defaults=True):
    """What one rule did with an event: which fields it changed, or why it failed."""

    rule: str
    type: str
    outcome: Literal["pass", "break", "drop"]
    failure: str = ""
    changes: dict[str, dict[str, Any]] = {}


class Tried(msgspec.Struct, omit_defaults=True):
    """What becomes of an event, and what each rule that it matched does."""

    outcome: Literal["forwarded", "moved", "dropped"]
    event: dict[str, Any]
    trail: list[Step]
    reason: str = ""


RULES = crud_of(KIND)
RULES.declare(resource)


@resource.post(
    "/event-filters/try",
    "Tell what rules would do with events; nothing is changed.",
    role="operator",
    body=body_of(Trial),
    answer=Tried,
)
def attempt(call: Call) -> Response:
    """Have events meet stored and given rules."""
    trial: Trial = call.body
    checked(KIND, trial.rules, "rules")
    checked(table.KIND, trial.tables, "tables")
    found = once_stored(call, {KIND.name: trial.rules, table.KIND.name: trial.tables}, trial.alone)
    filters = make(KIND, found[KIND.name], table.tables_of(found[table.KIND.name]))
    now = call.now
    subjects = [_event(raw, f"events[{place}]", now) for place, raw in enumerate(trial.events)]
    subjects += [_event(_sent(call, name), f"event_ids: {name}", now) for name in trial.event_ids]
    return many([explain(filters, subject, now) for subject in subjects])


def _sent(call: Call, event_id: str) -> Document:
    """Return a stored event as it would be sent. Raises InputError."""
    found = call.ask(event_log.get, event_id)
    if found is None:
        raise InputError("event_ids", event_id, "ids of events that are stored; GET /api/v1/events lists them")
    return {name: value for name, value in found.items() if name not in _NOT_SENT} | {"event_id": event_id}


def _event(raw: Document, where: str, now: float) -> Event:
    try:
        return normalise(raw, now)
    except InvalidEvent as error:
        raise InputError(f"{where}.{error.field}", error.value, error.allowed) from None
