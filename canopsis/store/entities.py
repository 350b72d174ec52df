"""Entities: components, resources and connectors that events speak of."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, get_args

import msgspec
from pymongo import ASCENDING, IndexModel

from canopsis.core.entity import EntityType
from canopsis.core.parameters import choice, text, words
from canopsis.store.client import Store, store_errors
from canopsis.store.operations import Document
from canopsis.store.query import Listing, Page, Query, fetch, given, search

COLLECTION = "entities"

INDEXES = (
    IndexModel([("type", ASCENDING), ("name", ASCENDING), ("_id", ASCENDING)], name="by_type"),
    IndexModel([("component", ASCENDING), ("_id", ASCENDING)], name="by_component"),
    IndexModel([("parents", ASCENDING)], name="by_parent"),
)

_LIST = Listing(
    COLLECTION,
    {"_id": "_id", "name": "name", "type": "type", "component": "component", "created": "created"},
    "_id",
    ("_id",),
)


class Entity(msgspec.Struct, kw_only=True):
    """What events speak of. ``connectors`` and ``parents`` are entity ids, ``created`` seconds since the epoch."""

    id: str = msgspec.field(name="_id")
    type: EntityType
    name: str
    component: str | None = None
    connectors: list[str] = msgspec.field(default_factory=list)
    parents: list[str] = msgspec.field(default_factory=list)
    created: float


class EntityQuery(Query, frozen=True):
    """Which entities."""

    LIST = _LIST

    type: Annotated[str | None, choice("Only entities of this type.", get_args(EntityType))] = None
    name: Annotated[str | None, text("Only entities of this name.")] = None
    component: Annotated[str | None, text("Only resources of this component, and itself.")] = None
    connector: Annotated[str | None, text("Only entities that this connector speaks of, by its entity id.")] = None
    parent: Annotated[str | None, text("Only entities with this parent, by its entity id.")] = None
    search: Annotated[str, words("Words that all stand in the id.")] = ""


def listing(db: Store, query: EntityQuery) -> Page:
    """Return a page of entities, by id by default. Raises InputError, StoreError."""
    condition = given(
        type=query.type,
        name=query.name,
        component=query.component,
        connectors=query.connector,
        parents=query.parent,
    ) | search(query.search, ("_id",))
    return fetch(db, _LIST, condition, query.paging)


def get(db: Store, entity_id: str) -> Document | None:
    """Return an entity by its id. Raises StoreError."""
    with store_errors("reading entities"):
        return db[COLLECTION].find_one({"_id": entity_id})


def known(db: Store, entity_ids: Sequence[str]) -> dict[str, Document]:
    """Return the stored entities among ``entity_ids``, by id. Raises StoreError."""
    with store_errors("reading entities"):
        return {found["_id"]: found for found in db[COLLECTION].find({"_id": {"$in": list(entity_ids)}})}
