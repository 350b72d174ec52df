"""Rules over the API: what all kinds of them have in common."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any, TypeVar

import msgspec

from canopsis.api.crud import Crud
from canopsis.api.endpoints import Thing
from canopsis.core.rules.kernel import Kind, ready
from canopsis.core.rules.rule import Declared, parse
from canopsis.store.rules import RuleQuery, Stored, written

LARGEST = 8 << 20
"""Bytes of a rule or a table; a document of the database holds 16 MiB."""

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


def crud_of(
    path: str, stored: Stored[D], noun: str, structs: tuple[type[D], type], kind: Kind[Any, Any] | None = None
) -> Crud[D, RuleQuery]:
    """Return the calls for what is stored under ``stored``: ``structs`` are of what is sent, and of what is answered.

    What ``kind`` cannot make ready is refused as well.
    """

    def parsed(sent: Mapping[str, Any]) -> D:
        rule = parse(structs[0], sent)
        if kind is not None:
            ready(kind, rule, {})
        return rule

    return Crud(
        path,
        Thing(noun, "rule_id", stored.get),
        *structs,
        query=RuleQuery,
        listing=stored.listing,
        put=stored.put,
        delete=stored.delete,
        written=written,
        parse=parsed,
        limit=LARGEST,
    )
