"""Tables that rules look into."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from canopsis.core.rules.rule import Declared, DeclaredKind, parse
from canopsis.core.structs import prepare
from canopsis.errors import InvalidRule

Rows = Mapping[str, Mapping[str, Any]]
"""What rules look into: a row, a field and its value each, by key."""

Tables = Mapping[str, Rows]


class Table(Declared, kw_only=True):
    """A table that rules look into: ``rows`` by key."""

    rows: dict[str, dict[str, Any]]


prepare(Table)

KIND: DeclaredKind[Table] = DeclaredKind("table", Table, columns=("rows",))


def tables_of(documents: Sequence[object]) -> dict[str, Rows]:
    """Return the rows of the tables among ``documents`` that can be read, by id of the table."""
    found: dict[str, Rows] = {}
    for document in documents:
        try:
            table = parse(Table, document)
        except InvalidRule:
            continue
        found[table.id] = table.rows
    return found
