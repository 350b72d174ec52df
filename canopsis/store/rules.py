"""Rules of all kinds, the tables that they look into, and what they did.

``rules``: ``{_id: "<kind>/<id>", kind, id, rule: {…}, rev, author, created, updated}``, times as dates.
``rule_versions``: ``{_id: <kind>, version}``, raised in the same transaction as each change: a worker asks for it once
a second, and reads the rules when it is another. ``rule_counts``: what rules did, under the same ids as ``rules``.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Annotated, Generic, TypeVar

from pymongo import ASCENDING, IndexModel, UpdateOne
from pymongo.client_session import ClientSession

from canopsis.core.parameters import flag, text, words
from canopsis.core.rules.rule import ADDED, Declared, document_of
from canopsis.store.client import Store, store_errors
from canopsis.store.operations import Document
from canopsis.store.query import Listing, Page, Query, fetch, given, search

COLLECTION = "rules"
VERSIONS = "rule_versions"
COUNTS = "rule_counts"

INDEXES = (IndexModel([("kind", ASCENDING), ("rule.priority", ASCENDING), ("id", ASCENDING)], name="by_kind"),)

_LIST = Listing(COLLECTION, {"priority": "rule.priority", "id": "id", "updated": "updated"}, "priority")
_SEARCHED = ("id", "rule.description")
_FIRST_FORM = "filter_rules"
_NO_ID = re.compile(r"[^A-Za-z0-9_.-]")


class RuleQuery(Query, frozen=True):
    """Which rules of a kind."""

    LIST = _LIST

    type: Annotated[str | None, text("Only rules of this type.", 64)] = None
    enabled: Annotated[bool | None, flag("Only rules that are, or are not, enabled.")] = None
    search: Annotated[str, words("Words that all stand in the id or the description.")] = ""


@dataclass(frozen=True, slots=True)
class Rules:
    """The rules of some kinds, by kind, and the version of each kind that they are of."""

    versions: Mapping[str, int]
    of_kind: Mapping[str, Sequence[Document]]


@dataclass(slots=True)
class RuleCount:
    """What a rule did: events that it matched, of them dropped, and failed, with why the newest of them did."""

    matched: int = 0
    dropped: int = 0
    failed: int = 0
    reason: str = ""
    event_id: str = ""
    at: float = 0.0

    def add(self, other: RuleCount) -> None:
        """Count ``other``, which is newer, in."""
        self.matched += other.matched
        self.dropped += other.dropped
        self.failed += other.failed
        self.at = other.at
        if other.reason:
            self.reason, self.event_id = other.reason, other.event_id


Counts = dict[tuple[str, str], RuleCount]
"""By kind and id of the rule."""


@dataclass(frozen=True, slots=True)
class Change:
    """A rule to be stored: ``document`` is the rule itself, ``author`` who wants it so."""

    kind: str
    document: Document
    author: str = ""
    at: datetime = field(default_factory=lambda: datetime.now(UTC))


def changed(db: Store, kinds: Collection[str], known: Mapping[str, int]) -> Rules | None:
    """Return the rules of ``kinds``, or None where their versions are still those ``known``. Raises StoreError."""
    with store_errors("reading rules"):
        found = dict.fromkeys(kinds, 0)
        found |= {each["_id"]: each["version"] for each in db[VERSIONS].find({"_id": {"$in": list(kinds)}})}
        if found == known:
            return None
        # Read after the version: a change in between is read twice, and none is missed.
        of_kind: dict[str, list[Document]] = {name: [] for name in kinds}
        for each in db[COLLECTION].find({"kind": {"$in": list(kinds)}}, {"kind": True, "rule": True}):
            of_kind[each["kind"]].append(each["rule"])
    return Rules(found, of_kind)


def listing(db: Store, kind: str, query: RuleQuery) -> Page:
    """Return a page of the rules of ``kind``, each with its counts, in their order. Raises InputError, StoreError."""
    condition = given(**{"rule.enabled": query.enabled, "rule.type": query.type})
    page = fetch(db, _LIST, {"kind": kind} | condition | search(query.search, _SEARCHED), query.paging)
    with store_errors("reading rules"):
        names = [each["_id"] for each in page.data]
        counts = {each["_id"]: each for each in db[COUNTS].find({"_id": {"$in": names}})}
    return replace(page, data=[_shown(each, counts.get(each["_id"])) for each in page.data])


def get(db: Store, kind: str, rule_id: str) -> Document | None:
    """Return a rule with its counts, or None. Raises StoreError."""
    with store_errors("reading a rule"):
        found = db[COLLECTION].find_one({"_id": _key(kind, rule_id)})
        return None if found is None else _shown(found, db[COUNTS].find_one({"_id": found["_id"]}))


def _shown(stored: Document, counts: Document | None) -> Document:
    """Return the fields of a rule beside those that the store adds."""
    own = {name: (counts or {}).get(name, 0) for name in ("matched", "dropped", "failed")}
    told = {name: counts[name] for name in ("last", "failure") if name in counts} if counts else {}
    rule: Document = stored["rule"]
    return rule | {name: stored[name] for name in ADDED if name in stored} | {"counts": own | told}


def written(shown: Document) -> Document:
    """Return the rule alone of one that the store shows."""
    return {name: value for name, value in shown.items() if name not in ADDED}


def put(db: Store, change: Change, rev: int | None = None) -> Document | None:
    """Store a rule, a new one or in place of another; ``rev`` is the revision that is replaced, 0 for none.

    Returns the rule as it is stored; None when it has another revision. Raises StoreError.
    """
    key = _key(change.kind, change.document["id"])

    def replace(session: ClientSession) -> Document | None:
        old = db[COLLECTION].find_one({"_id": key}, session=session)
        if rev is not None and rev != (old["rev"] if old else 0):
            return None
        facts = {"_id": key, "kind": change.kind, "id": change.document["id"], "rule": change.document}
        dates = {"created": old["created"] if old else change.at, "updated": change.at}
        document = facts | {"rev": old["rev"] + 1 if old else 1, "author": change.author} | dates
        db[COLLECTION].replace_one({"_id": key}, document, upsert=True, session=session)
        return document

    stored = _in_force(db, change.kind, replace)
    return None if stored is None else get(db, change.kind, change.document["id"]) or _shown(stored, None)


def delete(db: Store, kind: str, rule_id: str, rev: int | None = None) -> bool:
    """Delete a rule and what is counted of it; False when there is none, of revision ``rev``. Raises StoreError."""
    key = _key(kind, rule_id)
    condition: Document = {"_id": key} if rev is None else {"_id": key, "rev": rev}

    def remove(session: ClientSession) -> Document | None:
        found = db[COLLECTION].find_one_and_delete(condition, session=session)
        if found is not None:
            db[COUNTS].delete_one({"_id": key}, session=session)
        return found

    return _in_force(db, kind, remove) is not None


def _in_force(db: Store, kind: str, change: Callable[[ClientSession], Document | None]) -> Document | None:
    """Do ``change`` and raise the version of ``kind``, both or neither; a change that returns None changes nothing."""

    def both(session: ClientSession) -> Document | None:
        done = change(session)
        if done is not None:
            db[VERSIONS].update_one({"_id": kind}, {"$inc": {"version": 1}}, upsert=True, session=session)
        return done

    with store_errors("writing rules"), db.client.start_session() as session:
        return session.with_transaction(both)


D = TypeVar("D", bound=Declared)


class Stored(Generic[D]):
    """The functions of this module for one kind of rule."""

    def __init__(self, kind: str) -> None:
        self.kind = kind

    def listing(self, db: Store, query: RuleQuery) -> Page:
        """See ``listing``."""
        return listing(db, self.kind, query)

    def get(self, db: Store, rule_id: str) -> Document | None:
        """See ``get``."""
        return get(db, self.kind, rule_id)

    def put(self, db: Store, rule: D, author: str, rev: int | None) -> Document | None:
        """See ``put``."""
        return put(db, Change(self.kind, document_of(rule), author), rev)

    def delete(self, db: Store, rule_id: str, rev: int | None) -> bool:
        """See ``delete``."""
        return delete(db, self.kind, rule_id, rev)


def count(db: Store, counts: Counts) -> None:
    """Add to what is counted of rules; of one that was deleted meanwhile a count may be left. Raises StoreError."""
    updates = [UpdateOne({"_id": _key(*name)}, _added(name, told), upsert=True) for name, told in counts.items()]
    if updates:
        with store_errors("counting what rules did"):
            db[COUNTS].bulk_write(updates, ordered=False)


def _added(name: tuple[str, str], told: RuleCount) -> Document:
    at = datetime.fromtimestamp(told.at, UTC)
    facts: Document = {"kind": name[0], "id": name[1], "last": at}
    if told.reason:
        facts["failure"] = {"reason": told.reason, "event_id": told.event_id, "at": at}
    return {"$inc": {"matched": told.matched, "dropped": told.dropped, "failed": told.failed}, "$set": facts}


def _key(kind: str, rule_id: str) -> str:
    return f"{kind}/{rule_id}"


def adopt_first_form(db: Store) -> None:
    """Make rules of the event filter of what the collection ``filter_rules`` holds, and drop it. Raises StoreError."""
    with store_errors("reading the rules of an earlier release"):
        found = list(db[_FIRST_FORM].find())
    for old in found:
        put(db, Change("event-filter", _of_first_form(old), "migration"))
    with store_errors("dropping the rules of an earlier release"):
        db.drop_collection(_FIRST_FORM)


def _of_first_form(old: Document) -> Document:
    """Return the rule that an old one is: ``pass`` let an event through at once, and no pattern was any event."""
    priority = old.get("priority")
    return {
        "id": _NO_ID.sub("-", str(old["_id"]))[:64] or "-",
        "description": str(old.get("description") or "")[:1000],
        "type": "drop" if old.get("type") == "drop" else "break",
        "priority": max(0, int(priority)) if isinstance(priority, (int, float)) else 0,
        "enabled": old.get("enabled") is True,
        "pattern": old.get("pattern") or {"connector": {"$exists": True}},
    }
