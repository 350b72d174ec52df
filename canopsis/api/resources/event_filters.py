"""Rules of the event filter: what they are, and what they would do with events."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Annotated, Any, Literal

import msgspec
from flask import Response

from canopsis.api.body import body_of
from canopsis.api.endpoints import Call, Resource
from canopsis.api.responses import many
from canopsis.api.rules import RuleCounts, crud_of
from canopsis.core.event import Event
from canopsis.core.normalise import normalise
from canopsis.core.rules.event_filter import KIND, FilterRule, explain
from canopsis.core.rules.kernel import Table, make, ready, tables_of
from canopsis.core.rules.rule import parse
from canopsis.errors import InputError, InvalidEvent
from canopsis.store import events, rules
from canopsis.store.operations import Document
from canopsis.store.rules import TABLES, Stored

resource = Resource("event_filters", service="event_filters")

MOST_TRIED = 200
"""Rules, tables or events of one trial."""

_NOT_SENT = frozenset({"_id", "received", "entity_id", "warnings", "sent_timestamp", "moved_by"})


class ShownRule(FilterRule, kw_only=True):
    """A rule as it is stored, with what it did."""

    rev: int
    author: str
    created: datetime
    updated: datetime
    counts: RuleCounts


Few = Annotated[list[dict[str, Any]], msgspec.Meta(max_length=MOST_TRIED)]


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


RULES = crud_of("/event-filters", Stored(KIND.name), "rule of the event filter", (FilterRule, ShownRule), KIND)
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
    _check_all(trial)
    found = {name: [] for name in (KIND.name, TABLES)} if trial.alone else _stored(call)
    tables = tables_of(_with(found[TABLES], trial.tables))
    filters = make(KIND, _with(found[KIND.name], trial.rules), tables)
    now = call.backend.now()
    subjects = [_event(raw, f"events[{place}]", now) for place, raw in enumerate(trial.events)]
    subjects += [_event(_sent(call, name), f"event_ids: {name}", now) for name in trial.event_ids]
    return many([explain(filters, subject, now) for subject in subjects])


def _check_all(trial: Trial) -> None:
    """Raise InputError for rules and tables that could not be stored."""
    for place, document in enumerate(trial.rules):
        ready(KIND, parse(FilterRule, document, f"rules[{place}]"), {})
    for place, document in enumerate(trial.tables):
        parse(Table, document, f"tables[{place}]")


def _stored(call: Call) -> Mapping[str, Sequence[Document]]:
    found = call.ask(rules.changed, (KIND.name, TABLES), {})
    return found.of_kind if found is not None else {KIND.name: [], TABLES: []}


def _with(stored: Sequence[Document], given: Sequence[Document]) -> list[Document]:
    """Return the rules that there are once those ``given`` are stored."""
    replaced = {each["id"] for each in given}
    return [*(each for each in stored if each["id"] not in replaced), *given]


def _sent(call: Call, event_id: str) -> Document:
    """Return a stored event as it would be sent. Raises InputError."""
    found = call.ask(events.get, event_id)
    if found is None:
        raise InputError("event_ids", event_id, "ids of events that are stored; GET /api/v1/events lists them")
    return {name: value for name, value in found.items() if name not in _NOT_SENT} | {"event_id": event_id}


def _event(raw: Document, where: str, now: float) -> Event:
    try:
        return normalise(raw, now)
    except InvalidEvent as error:
        raise InputError(f"{where}.{error.field}", error.value, error.allowed) from None
