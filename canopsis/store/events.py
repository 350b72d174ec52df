"""Events as they came, kept for a while."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any

import msgspec
from pymongo import ASCENDING, DESCENDING, IndexModel

from canopsis.core.event_types import EVENT_TYPES
from canopsis.core.identity import CONTENT_FIELDS, REUSED, Content, derived_id, stored_content
from canopsis.core.parameters import moment, several, text, words
from canopsis.core.perfdata import PerfData
from canopsis.store.client import Store, store_errors
from canopsis.store.keys import unescaped
from canopsis.store.operations import Document
from canopsis.store.query import Listing, Page, Query, fetch, given, search, window

COLLECTION = "events"

INDEXES = (IndexModel([("entity_id", ASCENDING), ("timestamp", DESCENDING)], name="by_entity"),)
"""Each index costs every event: the TTL index (made by migrations) also serves the newest-first list."""

_SORTABLE = {"received": "received", "timestamp": "timestamp"}
_LIST = Listing(COLLECTION, _SORTABLE, "-received", indexed=("received",))
_LIST_OF_ENTITY = Listing(COLLECTION, _SORTABLE, "-timestamp", indexed=("timestamp",))
_CLOCKS_APART = timedelta(minutes=5)
_LOOKED_AT = 1000
"""Newest events of an entity among which its newest check is looked for: one may have measures alone."""

SEARCHED = ("component", "resource", "output")


class StoredEvent(msgspec.Struct, kw_only=True):
    """An event as it is kept: as the engines understood it, what is empty left out; each type has fields of its own."""

    id: str = msgspec.field(name="_id")
    event_type: str
    entity_id: str
    connector: str
    connector_name: str = ""
    component: str
    resource: str | None = None
    source_type: str = "component"
    timestamp: float
    received: datetime
    state: int | None = None
    state_type: int | None = None
    output: str = ""
    long_output: str = ""
    author: str = ""
    tags: list[str] = msgspec.field(default_factory=list)
    perf_data_array: list[PerfData] = msgspec.field(default_factory=list)
    extra: dict[str, Any] = msgspec.field(default_factory=dict)
    warnings: list[str] = msgspec.field(default_factory=list)
    sent_timestamp: float | None = None
    outcome: str | None = None


class EventQuery(Query, frozen=True):
    """Which events. ``since`` and ``until`` bound ``timestamp``, in seconds since the epoch."""

    LIST = _LIST

    event_type: Annotated[Sequence[str] | None, several("Only these types.", tuple(EVENT_TYPES))] = None
    entity_id: Annotated[str | None, text("Only events of this entity.")] = None
    connector: Annotated[str | None, text("Only events of this connector.")] = None
    component: Annotated[str | None, text("Only events of this component.")] = None
    resource: Annotated[str | None, text("Only events of this resource.")] = None
    state: Annotated[Sequence[int] | None, several("Only these states.", (0, 1, 2, 3))] = None
    search: Annotated[str, words("Words that all stand in component, resource or output.")] = ""
    since: Annotated[float | None, moment("Only events whose timestamp is not before this.")] = msgspec.field(
        name="from", default=None
    )
    until: Annotated[float | None, moment("Only events whose timestamp is before this.")] = msgspec.field(
        name="to", default=None
    )


def listing(db: Store, query: EventQuery) -> Page:
    """Return a page of events, latest received first by default. Raises InputError, StoreError."""
    condition = given(
        event_type=query.event_type,
        entity_id=query.entity_id,
        connector=query.connector,
        component=query.component,
        resource=query.resource,
        state=query.state,
        timestamp=window(query.since, query.until),
    ) | search(query.search, SEARCHED)
    if query.since is not None and query.entity_id is None:
        # No event is received before its own time (a later time is refused): bounds what is read.
        condition["received"] = {"$gte": datetime.fromtimestamp(query.since, UTC) - _CLOCKS_APART}
    listed = _LIST_OF_ENTITY if query.entity_id else _LIST
    page = fetch(db, listed, condition, query.paging)
    for document in page.data:
        _read_back(document)
    return page


def get(db: Store, event_id: str) -> Document | None:
    """Return an event by its id. Raises StoreError."""
    with store_errors("reading events"):
        found = db[COLLECTION].find_one({"_id": event_id})
    return None if found is None else _read_back(found)


def _read_back(document: Document) -> Document:
    """Let an event that was read have its keys as they were sent."""
    if "extra" in document:
        document["extra"] = unescaped(document["extra"])
    return document


def outcomes(db: Store, event_ids: Sequence[str]) -> dict[str, str]:
    """Return what came of those of these actions that are stored, by event id. Raises StoreError."""
    with store_errors("reading events"):
        found = db[COLLECTION].find({"_id": {"$in": list(event_ids)}}, projection=["outcome"])
        return {document["_id"]: document.get("outcome", "") for document in found}


def contents(db: Store, event_ids: Collection[str]) -> dict[str, Content]:
    """Return what counts of those of these events that are stored, by id. Raises StoreError."""
    with store_errors("reading events"):
        found = db[COLLECTION].find({"_id": {"$in": list(event_ids)}}, projection=CONTENT_FIELDS)
        return {document["_id"]: stored_content(document) for document in found}


def newest_checks(db: Store, entity_ids: Collection[str], now: float) -> dict[str, float]:
    """Return the time of the newest check of each entity that has one, of those not later than ``now``.

    One question for all, one search in the index for each. Raises StoreError.
    """
    newest: list[Document] = [
        {"$match": {"timestamp": {"$lte": now}}},
        {"$sort": {"timestamp": DESCENDING}},
        {"$limit": _LOOKED_AT},
        {"$match": {"event_type": "check"}},
        {"$limit": 1},
        {"$project": {"_id": 0, "timestamp": 1}},
    ]
    joined = {"from": COLLECTION, "localField": "e", "foreignField": "entity_id", "pipeline": newest, "as": "found"}
    stages: list[Document] = [
        {"$documents": [{"e": entity} for entity in entity_ids]},
        {"$lookup": joined},
        {"$unwind": "$found"},
    ]
    with store_errors("reading events"):
        return {row["e"]: float(row["found"]["timestamp"]) for row in db.aggregate(stages)}


def under_own_ids(db: Store, documents: Sequence[Document]) -> list[Document]:
    """Return those of ``documents``, whose ids are stored already, that are other events, each under an id of its own.

    Raises StoreError.
    """
    known = contents(db, [document["_id"] for document in documents])
    others = [document for document in documents if stored_content(document) != known.get(document["_id"])]
    for document in others:
        document["_id"] = derived_id(document["_id"], stored_content(document))
        document["warnings"] = [*document.get("warnings", ()), REUSED]
    return others
