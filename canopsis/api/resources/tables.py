"""Tables that rules look into."""

from __future__ import annotations

from datetime import datetime

from canopsis.api.endpoints import Resource
from canopsis.api.rules import RuleCounts, crud_of
from canopsis.core.rules.kernel import Table
from canopsis.store.rules import TABLES, Stored

resource = Resource("tables", service="tables")


class ShownTable(Table, kw_only=True):
    """A table as it is stored."""

    rev: int
    author: str
    created: datetime
    updated: datetime
    counts: RuleCounts


ROWS = crud_of("/tables", Stored(TABLES), "table", (Table, ShownTable))
ROWS.declare(resource)
