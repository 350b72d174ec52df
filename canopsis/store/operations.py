"""Writes as data: what engines return and the store turns into bulk writes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

Document = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Insert:
    """Insert ``document`` (it has an ``_id``). The same ``_id`` again changes nothing.

    One that is ``guarded`` is written in the transaction of its batch, as ``Guarded`` is; a document in its way
    means that another instance was first: that raises ``Fenced``.
    """

    document: Document
    guarded: bool = False


@dataclass(frozen=True, slots=True)
class Guarded:
    """Update the document ``_id`` together with all else of its batch that is guarded: all in one transaction.

    It is under the fence of the batch's partitions; who lost one of them writes nothing and gets ``Fenced``.
    ``change`` is a MongoDB update (``{"$set": …, "$push": …}``); the store adds 1 to ``rev``.
    """

    id: str
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


@dataclass(frozen=True, slots=True)
class Merge:
    """Put ``document`` in the place of the documents ``ids``: one may have its ``_id``.

    All or nothing; where one of them is gone nothing happens: it was done before.
    """

    ids: tuple[Any, ...]
    document: Document


Operation = Insert | Guarded | Upsert | Delete | Merge


def is_guarded(operation: Operation) -> bool:
    """Tell whether a write belongs to the transaction of its batch."""
    return isinstance(operation, Guarded) or (isinstance(operation, Insert) and operation.guarded)


Writes = dict[str, list[Operation]]
"""Operations by collection name. Collections are written in this order; within one, updates come
first, then inserts, then deletes, each unordered: give one operation a document."""


def no_writes() -> Writes:
    """Return an empty set of writes (a typed default factory)."""
    return {}
