"""What every list of the API has in common: its parameters become the query of the store."""

from __future__ import annotations

from dataclasses import fields
from typing import TypeVar

from canopsis.api.endpoints import Call
from canopsis.store.query import Paging

Query = TypeVar("Query")

_PARAMETERS = {"text": "search", "since": "from", "until": "to"}
"""Fields of a query whose parameter has another name."""


def query_of(kind: type[Query], call: Call, **chosen: object) -> Query:
    """Return a query of the dataclass ``kind``: each field from the parameter of ``call`` for it.

    A parameter that is not given leaves the field's default; ``chosen`` fields are as they are.
    """
    given = call.arguments
    names = {field.name: _PARAMETERS.get(field.name, field.name) for field in fields(kind)}  # type: ignore[arg-type]
    values = {field: given[name] for field, name in names.items() if given.get(name) is not None}
    paging = Paging(given["start"], given["limit"], given["sort"] or "", call.weigh)
    return kind(**values | {"paging": paging} | chosen)
