"""Entities: components, resources and connectors that events speak of."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from pymongo import ASCENDING, IndexModel

from canopsis.store.client import Store, store_errors
from canopsis.store.operations import Document
from canopsis.store.query import Listing, Page, Paging, fetch, given, search

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


@dataclass(frozen=True, slots=True)
class EntityQuery:
    """Which entities. None means any. ``text`` is searched in the id."""

    type: str | None = None
    name: str | None = None
    component: str | None = None
    connector: str | None = None
    parent: str | None = None
    text: str = ""
    paging: Paging = field(default_factory=Paging)


def listing(db: Store, query: EntityQuery) -> Page:
    """Return a page of entities, by id by default. Raises InputError, StoreError."""
    condition = given(
        type=query.type,
        name=query.name,
        component=query.component,
        connectors=query.connector,
        parents=query.parent,
    ) | search(query.text, ("_id",))
    return fetch(db, _LIST, condition, query.paging)


def get(db: Store, entity_id: str) -> Document | None:
    """Return an entity by its id. Raises StoreError."""
    with store_errors("reading entities"):
        return db[COLLECTION].find_one({"_id": entity_id})


def known(db: Store, entity_ids: Sequence[str]) -> dict[str, Document]:
    """Return the stored entities among ``entity_ids``, by id. Raises StoreError."""
    with store_errors("reading entities"):
        return {found["_id"]: found for found in db[COLLECTION].find({"_id": {"$in": list(entity_ids)}})}
