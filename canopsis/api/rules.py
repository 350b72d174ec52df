"""Rules over the API: what all kinds of them have in common."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from functools import partial
from typing import Annotated, Any, TypeVar

import msgspec

from canopsis.api.crud import Crud
from canopsis.api.endpoints import Call, Thing
from canopsis.core.rules.rule import Declared, DeclaredKind, demand_storable, parse
from canopsis.store import rules
from canopsis.store.operations import Document
from canopsis.store.rules import RuleQuery, Stored, written

LARGEST = 8 << 20
"""Bytes of a rule or a table; a document of the database holds 16 MiB."""

MOST_TRIED = 200
"""Rules, or what they are tried on, of one trial."""

Few = Annotated[list[dict[str, Any]], msgspec.Meta(max_length=MOST_TRIED)]

D = TypeVar("D", bound=Declared)


class Failure(msgspec.Struct):
    """Why a rule failed the last time, and on which event."""

    reason: str
    event_id: str
    at: datetime


class RuleCounts(msgspec.Struct):
    """What a rule did: events that it matched, of them dropped, and those that it failed on."""

    matched: int
    dropped: int
    failed: int
    last: datetime | None = None
    failure: Failure | None = None


_ADDED = (("rev", int), ("author", str), ("created", datetime), ("updated", datetime), ("counts", RuleCounts))


def crud_of(kind: DeclaredKind[D]) -> Crud[D, RuleQuery]:
    """Return the calls for what is stored of ``kind``; what is not good is refused."""
    stored: Stored[D] = Stored(kind.name)
    return Crud(
        f"/{kind.path}",
        Thing(kind.noun or kind.name, "rule_id", stored.get),
        kind.struct,
        msgspec.defstruct(f"Shown{kind.struct.__name__}", _ADDED, bases=(kind.struct,), kw_only=True),
        query=RuleQuery,
        listing=stored.listing,
        put=stored.put,
        delete=stored.delete,
        written=written,
        parse=partial(parsed, kind),
        limit=LARGEST,
    )


def parsed(kind: DeclaredKind[D], sent: Mapping[str, Any]) -> D:
    """Return the rule of ``kind`` that is ``sent``: one that can be used, and that the database can hold.

    Raises InvalidRule, InputError.
    """
    for name, value in sent.items():
        demand_storable(value, name)
    rule = parse(kind.struct, sent)
    kind.demand_good(rule)
    return rule


def checked(kind: DeclaredKind[D], documents: Sequence[Document], field: str) -> list[D]:
    """Return the rules of ``kind`` that ``documents``, sent in ``field``, are.

    Raises InvalidRule for one that could not be used.
    """
    found = [parse(kind.struct, document, f"{field}[{place}]") for place, document in enumerate(documents)]
    for rule in found:
        kind.demand_good(rule, proven=False)
    return found


def once_stored(call: Call, given: Mapping[str, Sequence[Document]], alone: bool) -> dict[str, list[Document]]:
    """Return the rules that there are, by kind, once those ``given`` are stored; those alone if so wished."""
    found = None if alone else call.ask(rules.changed, tuple(given), {})
    stored = found.of_kind if found is not None else {}
    together = {}
    for kind, documents in given.items():
        replaced = {each["id"] for each in documents}
        together[kind] = [*(each for each in stored.get(kind, ()) if each["id"] not in replaced), *documents]
    return together
