"""Mappers: what the source `generic` makes of payloads, and what they would make of some."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec
from flask import Response

from canopsis.api.body import body_of
from canopsis.api.endpoints import Call, Resource
from canopsis.api.responses import many
from canopsis.api.rules import LARGEST, MOST_TRIED, Few, checked, crud_of, once_stored
from canopsis.core.rules.kernel import make
from canopsis.core.rules.mapper import KIND, explain

resource = Resource("mappers", service="mappers")


class MapperTrial(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """Which mappers are tried on which payloads."""

    rules: Annotated[
        Few,
        msgspec.Meta(description="Mappers that are not stored yet, or are to replace stored ones. Not their tests."),
    ] = []
    payloads: Annotated[
        list[Any], msgspec.Meta(max_length=MOST_TRIED, description="Payloads as the tool sends them, one a request.")
    ] = []
    source: Annotated[str, msgspec.Meta(description="Only mappers for this name; empty: all.")] = ""
    alone: Annotated[bool, msgspec.Meta(description="Leave the mappers out that are stored.")] = False


class Mapping(msgspec.Struct, omit_defaults=True):
    """What a mapper set in an event."""

    rule: str
    type: Literal["mapper"]
    outcome: Literal["accepted", "refused"]
    changes: dict[str, dict[str, Any]] = {}


class Mapped(msgspec.Struct, omit_defaults=True):
    """What becomes of an item of a payload: an event, or the reason why there is none; and by which mapper."""

    outcome: Literal["accepted", "refused"]
    event: dict[str, Any]
    trail: list[Mapping]
    reason: str = ""


MAPPERS = crud_of(KIND)
MAPPERS.declare(resource)


@resource.post(
    "/mappers/try",
    "Tell what mappers would make of payloads; nothing is changed.",
    role="operator",
    body=body_of(MapperTrial, limit=LARGEST),
    answer=Mapped,
)
def attempt(call: Call) -> Response:
    """Have payloads meet stored and given mappers."""
    trial: MapperTrial = call.body
    checked(KIND, trial.rules, "rules")
    mappers = make(KIND, once_stored(call, {KIND.name: trial.rules}, trial.alone)[KIND.name], {})
    return many([told for each in trial.payloads for told in explain(mappers, each, trial.source, call.now)])
