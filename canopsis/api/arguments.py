"""The query of a request: read into the struct that an endpoint declares for it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cache
from typing import Any
from urllib.parse import unquote_to_bytes

import msgspec
from werkzeug.datastructures import MultiDict

from canopsis.core.parameters import Parameter, choice, integer, text
from canopsis.errors import InputError
from canopsis.store.query import MAX_LIMIT, MAX_SKIP, Listing, Paging, Query, Weigh, free

EVERYWHERE = ("authkey",)
"""Parameters that any request may have."""

_PLACE = 4096
"""Characters of the place where a page ends: it has names of entities."""

_LIMIT = replace(integer("How many at most.", 0, MAX_LIMIT), name="limit", default=50)
_START = replace(integer("How many to leave out at the beginning.", 0, MAX_SKIP), name="start", default=0)
_AFTER = replace(text("Where to go on: the `next` of the page before.", _PLACE), name="after")
_PAGING = "paging"


@cache
def parameters_of(kind: type[msgspec.Struct] | None) -> Mapping[str, Parameter]:
    """Return the parameters of a query by the fields of its struct; a list has order and page too."""
    if kind is None:
        return {}
    fields = msgspec.structs.fields(kind)
    found = {each.name: _parameter(each) for each in fields if each.name != _PAGING}
    if issubclass(kind, Query):
        found |= {each.name: each for each in (*_sorting(kind.LIST), _LIMIT, _AFTER if kind.LIST.by_key else _START)}
    return found


def _parameter(field: msgspec.structs.FieldInfo) -> Parameter:
    [declared] = [each for each in field.type.__metadata__ if isinstance(each, Parameter)]
    default = None if field.default in (msgspec.NODEFAULT, "", False) else field.default
    return replace(declared, name=field.encode_name, default=default)


def _sorting(listing: Listing) -> tuple[Parameter, ...]:
    """Return the parameter ``sort`` where there is a choice: a field, or ``-`` and a field for descending."""
    if len(listing.sortable) < 2:
        return ()
    names = [sign + each for each in listing.sortable for sign in ("", "-")]
    description = f"Order of the list; - before a name for descending. {listing.note}".strip()
    return (replace(choice(description, names), name="sort", default=None if listing.note else listing.default_sort),)


def read(kind: type[msgspec.Struct] | None, given: MultiDict[str, str], now: float, weigh: Weigh = free) -> Any:  # noqa: ANN401 - of that kind
    """Return the query of a request, of the struct ``kind``; None where a call has none.

    Raises InputError naming the parameter that is unknown, given twice, or has a wrong value.
    """
    parameters = parameters_of(kind)
    known = {each.name: field for field, each in parameters.items()}
    for name in given:
        if name not in known and name not in EVERYWHERE:
            raise InputError(name, given[name], "the parameters " + (", ".join(sorted(known)) or "(none)"))
    values = {known[name]: _value(parameters[known[name]], given.getlist(name), now) for name in given if name in known}
    if kind is None:
        return None
    if issubclass(kind, Query):
        default = "" if kind.LIST.note else kind.LIST.default_sort
        page = values.pop("start", 0), values.pop("limit", 50), values.pop("sort", default)
        values[_PAGING] = Paging(*page, weigh, values.pop("after", ""))
    return kind(**values)


def check_encoding(query: bytes) -> None:
    """Raise InputError naming ``query`` unless it is percent-encoded UTF-8."""
    try:
        unquote_to_bytes(query).decode()
    except UnicodeDecodeError as error:
        raise InputError("query", query[:80].decode("latin-1"), "percent-encoded UTF-8") from error


def _value(parameter: Parameter, texts: Sequence[str], now: float) -> Any:  # noqa: ANN401 - each parameter has its type
    try:
        if parameter.many:
            return [item for each in texts for item in parameter.read(each, now)]
        if len(texts) > 1:
            raise InputError(parameter.name, texts[1], "one value")
        return parameter.read(texts[0], now)
    except (ValueError, OverflowError) as error:
        raise InputError(parameter.name, texts[0], parameter.allowed + _escape(parameter, texts[0], now)) from error


def _escape(parameter: Parameter, given: str, now: float) -> str:
    """Return a hint where ``given`` would be right with the ``+`` that became a blank on its way."""
    if " " not in given:
        return ""
    try:
        parameter.read(given.replace(" ", "+"), now)
    except (ValueError, OverflowError):
        return ""
    return "; a + is written %2B in an address"
