"""Writes as data: what engines return and the store turns into bulk writes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

Document = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Insert:
    """Insert ``document`` (it has an ``_id``). The same ``_id`` again changes nothing.

    One that is ``guarded`` is written with the guarded updates, before all that is not. When another unique index
    refuses it, another instance was first: that raises ``Fenced``.
    """

    document: Document
    guarded: bool = False


@dataclass(frozen=True, slots=True)
class Guarded:
    """Update the document ``_id`` only if its ``rev`` is ``rev``; a miss raises ``Fenced``.

    ``change`` is a MongoDB update (``{"$set": …, "$push": …}``); the store adds ``rev + 1``.
    """

    id: str
    rev: int
    change: Document


@dataclass(frozen=True, slots=True)
class Upsert:
    """Update or make the document ``_id``; ``change`` must give the same result when repeated."""

    id: Any
    change: Document


@dataclass(frozen=True, slots=True)
class Delete:
    """Delete the document ``_id``; gone already is as good."""

    id: Any


Operation = Insert | Guarded | Upsert | Delete


def is_guarded(operation: Operation) -> bool:
    """Tell whether a write may be refused since another instance was first, and so comes before the others."""
    return isinstance(operation, Guarded) or (isinstance(operation, Insert) and operation.guarded)


Writes = dict[str, list[Operation]]
"""Operations by collection name. Collections are written in this order; within one, updates come
first, then inserts, then deletes, each unordered: give one operation a document."""


def no_writes() -> Writes:
    """Return an empty set of writes (a typed default factory)."""
    return {}
