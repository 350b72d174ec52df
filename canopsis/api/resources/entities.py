"""Entities: what events speak of."""

from __future__ import annotations

from flask import Response

from canopsis.api import parameters
from canopsis.api.endpoints import Call, Resource
from canopsis.api.listing import query_of
from canopsis.api.responses import page_of
from canopsis.store import entities
from canopsis.store.entities import EntityQuery

resource = Resource("entities", service="entities")

TYPES = ("component", "resource", "connector")
SORTABLE = ("_id", "name", "type", "component", "created")


@resource.get(
    "/entities",
    "List entities, by id.",
    parameters=(
        parameters.choice("type", "Only entities of this type.", TYPES),
        parameters.text("name", "Only entities of this name."),
        parameters.text("component", "Only resources of this component, and itself."),
        parameters.text("connector", "Only entities that this connector speaks of, by its entity id."),
        parameters.text("parent", "Only entities with this parent, by its entity id."),
        parameters.text("search", "Words that all stand in the id.", limit=200),
        parameters.sorting(SORTABLE, "_id"),
        *parameters.paging(),
    ),
)
def listing(call: Call) -> Response:
    """Return a page of entities."""
    return page_of(call.ask(entities.listing, query_of(EntityQuery, call)))
