"""Pages of a list that is read by key: where a page goes on, as a text, and as a condition.

A page that follows costs what the first one does, however many came before, and what comes or goes meanwhile neither
repeats nor hides the others.
"""

from __future__ import annotations

from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Mapping
from typing import Any

import msgspec

from canopsis.errors import InputError
from canopsis.store.operations import Document

Condition = dict[str, Any]

Order = list[tuple[str, int]]
"""What a list is sorted by: fields and directions (1 or -1), as MongoDB has them. The last one tells all apart."""

Value = str | float | int | bool | None
Place = list[Value]
"""The values of the fields of an order in the last document of a page."""

_PLACES = msgspec.json.Decoder(tuple[str, Place])


def text(sort: str, order: Order, last: Mapping[str, Any]) -> str:
    """Return what a client gives back as ``after``: the place of ``last`` in the order ``sort``."""
    named = msgspec.json.encode((sort, [last.get(name) for name, _ in order]))
    return urlsafe_b64encode(named).decode().rstrip("=")


def place(after: str, sort: str, order: Order) -> Place:
    """Return what ``text`` said. Raises InputError naming ``after``."""
    try:
        of, values = _PLACES.decode(urlsafe_b64decode(after + "=" * (-len(after) % 4)))
    except ValueError:
        of, values = "", []
    if of != sort or len(values) != len(order):
        raise InputError("after", after, f"the next of a page of this list in the order {sort}")
    return values


def behind(condition: Condition, order: Order, place: Place | None) -> list[Condition]:
    """Return conditions that find what stands behind ``place``, one after the other; each reads a part of an index.

    Without a place that is ``condition`` itself.
    """
    if place is None:
        return [condition]
    found: list[Condition] = []
    for depth in reversed(range(len(order))):
        name, direction = order[depth]
        beyond = _beyond(place[depth], direction)
        if beyond is not None:
            equal: Document = {same: value for (same, _), value in zip(order[:depth], place, strict=False)}
            found.append({"$and": [condition, equal | {name: beyond}]})
    return found


def _beyond(value: Value, direction: int) -> Condition | None:
    """Return what a field behind ``value`` has; None where nothing is. MongoDB puts null before all else."""
    if value is None:
        return {"$ne": None} if direction > 0 else None
    return {"$gt": value} if direction > 0 else {"$not": {"$gte": value}}
