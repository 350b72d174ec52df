"""Alarms: one document a problem, at most one open an entity."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Annotated, Any, Literal, get_args

import msgspec
from pymongo import ASCENDING, DESCENDING, IndexModel

from canopsis.core import status
from canopsis.core.alarm import Alarm, Step
from canopsis.core.parameters import choice, flag, moment, several, text, words
from canopsis.core.steps import unfolded
from canopsis.core.structs import prepare
from canopsis.store import alarm_steps
from canopsis.store.client import Store, store_errors
from canopsis.store.operations import Document
from canopsis.store.pages import Condition
from canopsis.store.query import Listing, Page, Query, fetch, given, search, window

COLLECTION = "alarms"

_LOG = logging.getLogger(__name__)


def _listed(name: str, *fields: str, **options: Any) -> IndexModel:  # noqa: ANN401 - pymongo's
    """Return the index of a list: open ones, or the others, in the order of ``fields``, equal ones by ``_id``."""
    return IndexModel([(field, ASCENDING) for field in ("open", *fields, "_id")], name=name, **options)


INDEXES = (
    IndexModel([("entity_id", ASCENDING)], name="one_open", unique=True, partialFilterExpression={"open": True}),
    IndexModel([("entity_id", ASCENDING), ("created", ASCENDING), ("_id", ASCENDING)], name="by_entity"),
    IndexModel([("wake_at", ASCENDING)], name="by_wake_at", partialFilterExpression={"wake_at": {"$gt": 0}}),
    _listed("by_created", "created"),
    _listed("by_component", "component", "resource"),
    # ``open`` stands in a partial index too: the planner takes one only where its first field is bounded.
    _listed("by_resolved", "resolved", partialFilterExpression={"open": False}),
)
"""None has what events move: an update that touches no index costs the database a quarter of one that does."""

prepare(Alarm)

_EVERY = ("created", "component")
_SORTABLE = {"open": (*_EVERY, "state"), "resolved": (*_EVERY, "resolved"), "all": _EVERY}
"""What each list can be sorted by: what has an index, and the state, by which open ones are sorted in memory."""

_LIST = Listing(
    COLLECTION,
    {name: name for names in _SORTABLE.values() for name in names},
    "-created",
    without=("steps", "written_by"),
    note="By default the newest first, resolved ones by latest end. By state only open ones, by resolved only resolved "
    "ones.",
    by_key=True,
    then={"state": "created", "component": "resource"},
)
_STANDING = dict.fromkeys((*_LIST.without, "output", "long_output", "initial_output"), False)
"""Projection: how alarms stand, without their steps and texts, which may be a hundred times as much."""

MOST_STEPS = 100
"""Steps that an alarm is shown with, but for those of one write that is larger."""

SEARCHED = ("connector", "connector_name", "component", "resource", "output", "tags")

STATUSES = ", ".join(f"{number} {name}" for number, name in status.NAMES.items())


Show = Literal["open", "resolved", "all"]


class AlarmQuery(Query, frozen=True):
    """Which alarms. ``since`` and ``until`` bound ``created``, in seconds since the epoch."""

    LIST = _LIST

    show: Annotated[Show, choice("Which alarms.", get_args(Show))] = "open"
    state: Annotated[Sequence[int] | None, several("Only these states.", (0, 1, 2, 3))] = None
    status: Annotated[Sequence[int] | None, several(f"Only these: {STATUSES}.", tuple(status.NAMES))] = None
    connector: Annotated[str | None, text("Only alarms of this connector.")] = None
    connector_name: Annotated[str | None, text("Only alarms of this instance of a connector.")] = None
    component: Annotated[str | None, text("Only alarms of this component.")] = None
    resource: Annotated[str | None, text("Only alarms of this resource.")] = None
    entity_id: Annotated[str | None, text("Only alarms of this entity.")] = None
    acked: Annotated[bool | None, flag("Only alarms with, or without, an acknowledge.")] = None
    snoozed: Annotated[bool | None, flag("Only alarms that are, or are not, snoozed.")] = None
    tag: Annotated[str | None, text("Only alarms with this tag.")] = None
    search: Annotated[str, words("Words that all stand in names, output or tags.")] = ""
    since: Annotated[float | None, moment("Only alarms created not before this.")] = msgspec.field(
        name="from", default=None
    )
    until: Annotated[float | None, moment("Only alarms created before this.")] = msgspec.field(name="to", default=None)


@dataclass(frozen=True, slots=True)
class Standing:
    """How many alarms of one kind are open."""

    state: int
    acknowledged: bool
    snoozed: bool
    count: int


def listing(db: Store, query: AlarmQuery) -> Page:
    """Return a page of alarms, the newest first by default, resolved ones by latest end.

    Raises InputError, StoreError.
    """
    sortable = {name: name for name in _SORTABLE[query.show]}
    default = "-resolved" if query.show == "resolved" else _LIST.default_sort
    # An index begins with ``open``: all are those that are and those that are not.
    always: Condition = {"open": {"$in": [True, False]}} if query.show == "all" else {}
    listed = replace(_LIST, sortable=sortable, default_sort=default, always=always)
    return fetch(db, listed, condition(query), query.paging)


def matching(db: Store, query: AlarmQuery, most: int) -> list[str]:
    """Return the ids of at most ``most`` alarms that a query finds, in no order. Raises InputError, StoreError."""
    with store_errors("reading alarms"):
        return [found["_id"] for found in db[COLLECTION].find(condition(query), ["_id"], limit=most)]


def get(db: Store, alarm_id: str) -> Document | None:
    """Return an alarm by its id. Raises StoreError."""
    with store_errors("reading alarms"):
        return db[COLLECTION].find_one({"_id": alarm_id})


def whole(db: Store, alarm_id: str) -> Document | None:
    """Return an alarm by its id, with its newest steps. Raises StoreError."""
    alarm = get(db, alarm_id)
    if alarm is None or not alarm.get("older"):
        return alarm
    steps = msgspec.convert(alarm["steps"], list[Step])
    found = alarm_steps.before(db, alarm_id, alarm["older"], MOST_STEPS - len(steps))
    if found is None:
        return alarm
    shown = unfolded(steps, msgspec.convert(found[0], list[Step]))
    return alarm | {"steps": msgspec.to_builtins(shown), "older": found[1]}


def open_alarms(db: Store, entity_ids: Sequence[str]) -> dict[str, Alarm]:
    """Return the open alarm of each entity that has one, by entity id. Raises StoreError."""
    with store_errors("reading alarms"):
        found = list(db[COLLECTION].find({"entity_id": {"$in": list(entity_ids)}, "open": True}))
    return {document["entity_id"]: msgspec.convert(document, Alarm) for document in found}


def by_ids(db: Store, alarm_ids: Sequence[str]) -> list[Alarm]:
    """Return those of these alarms that there are, open or resolved. Raises StoreError."""
    with store_errors("reading alarms"):
        found = list(db[COLLECTION].find({"_id": {"$in": list(alarm_ids)}}))
    return [msgspec.convert(document, Alarm) for document in found]


def standing(db: Store, alarm_ids: Sequence[str]) -> list[Alarm]:
    """Return those of these alarms that there are, without their steps and texts. Raises StoreError."""
    with store_errors("reading alarms"):
        found = list(db[COLLECTION].find({"_id": {"$in": list(alarm_ids)}}, _STANDING))
    return [msgspec.convert(document, Alarm) for document in found]


def latest(db: Store, entity_ids: Sequence[str], count: int = 5) -> list[Alarm]:
    """Return the last ``count`` alarms of each entity, open or resolved, the newest first. Raises StoreError."""
    found: list[Document] = []
    with store_errors("reading alarms"):
        for entity in entity_ids:
            found += db[COLLECTION].find({"entity_id": entity}, sort=[("created", DESCENDING)], limit=count)
    return [msgspec.convert(document, Alarm) for document in found]


def due(db: Store, now: float, limit: int = 1000) -> list[Alarm]:
    """Return the alarms that are to be looked at again by ``now``, as ``standing`` does, the earliest first.

    Raises StoreError.

    A document that is no alarm is left where it is, and named in the log: the others go on.
    """
    with store_errors("reading alarms"):
        due = db[COLLECTION].find({"wake_at": {"$gt": 0, "$lte": now}}, _STANDING)
        found = list(due.sort("wake_at", ASCENDING).limit(limit))
    return [alarm for alarm in map(_readable, found) if alarm is not None]


def perhaps_mistimed(db: Store, limit: int = 1000) -> list[Alarm]:
    """Return open alarms that something happens to by itself: the delays by which they were timed may be others now.

    Those too that an engine of the release before has changed since the migration: they are not timed at all. For
    the start of an engine, since open alarms are gone through. Raises StoreError.
    """
    untimed: Document = {"wake_at": None, "$or": _TIMED}
    with store_errors("reading alarms"):
        timed: Document = {"open": True, "$or": [{"wake_at": {"$gt": 0}}, untimed]}
        found = list(db[COLLECTION].find(timed, _STANDING).limit(limit))
    return [alarm for alarm in map(_readable, found) if alarm is not None]


def set_wake_at(db: Store) -> None:
    """Have each open alarm looked at that was stored without ``wake_at`` and that something happens to by itself.

    What is looked at too early is timed by the engine. Done again, it goes on where it ended. Raises StoreError.
    """
    with store_errors("timing alarms"):
        old: Document = {"open": True, "wake_at": {"$exists": False}, "$or": _TIMED}
        db[COLLECTION].update_many(old, [{"$set": {"wake_at": "$updated"}}])


def drop_moved_indexes(db: Store) -> None:
    """Drop the indexes of earlier releases whose entries events move. Raises StoreError."""
    with store_errors("dropping an index"):
        for name in {"by_last_event", "by_state"} & set(db[COLLECTION].index_information()):
            db[COLLECTION].drop_index(name)


_TIMED: list[Document] = [{"state": 0}, {"cancel": {"$ne": None}}]
"""What an alarm was resolved by before ``wake_at`` said so."""


def _readable(document: Document) -> Alarm | None:
    try:
        return msgspec.convert(document, Alarm)
    except msgspec.ValidationError as error:
        _LOG.error("the alarm %s is left alone, for it cannot be read: %s", document.get("_id"), error)
        return None


def standing_by_state(db: Store) -> list[Standing]:
    """Return how many alarms are open. It looks at each of them: ask seldom. Raises StoreError."""
    marks: Document = {name: {"$gt": [f"${name}", None]} for name in ("ack", "snooze")}
    kinds: Document = {"state": "$state", **marks}
    stages: list[Document] = [{"$match": {"open": True}}, {"$group": {"_id": kinds, "n": {"$sum": 1}}}]
    with store_errors("counting alarms"):
        found = [(row["_id"], int(row["n"])) for row in db[COLLECTION].aggregate(stages)]
    return [Standing(int(kind["state"]), kind["ack"], kind["snooze"], count) for kind, count in found]


def condition(query: AlarmQuery) -> Condition:
    """Return the MongoDB condition of ``query``."""
    found = given(
        open=None if query.show == "all" else query.show == "open",
        state=query.state,
        status=query.status,
        connector=query.connector,
        connector_name=query.connector_name,
        component=query.component,
        resource=query.resource,
        entity_id=query.entity_id,
        tags=query.tag,
        created=window(query.since, query.until),
    )
    for name, wanted in (("ack", query.acked), ("snooze", query.snoozed)):
        if wanted is not None:
            found[name] = {"$ne": None} if wanted else None
    return found | search(query.search, SEARCHED)
