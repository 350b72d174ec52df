"""Tables that rules look into."""

from __future__ import annotations

from canopsis.api.endpoints import Resource
from canopsis.api.rules import crud_of
from canopsis.core.rules.table import KIND

resource = Resource("tables", service="tables")

ROWS = crud_of(KIND)
ROWS.declare(resource)
