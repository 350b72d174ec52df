"""Writes as data become bulk writes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any

import bson
from bson.errors import BSONError
from pymongo import DeleteOne, UpdateOne
from pymongo.client_session import ClientSession
from pymongo.errors import BulkWriteError

from canopsis.errors import Fenced, InputError, StoreError
from canopsis.store import fences
from canopsis.store.client import Store, is_away, store_errors
from canopsis.store.fences import UNFENCED, Claim
from canopsis.store.operations import (
    Delete,
    Document,
    Guarded,
    Insert,
    Merge,
    Operation,
    Upsert,
    Writes,
    is_guarded,
    no_writes,
)

MAX_DOCUMENT = 16 * 1024 * 1024 - 4096
"""Bytes of BSON; MongoDB's own limit is 16 MiB."""

_DUPLICATE = 11000


@dataclass(slots=True)
class Written:
    """What a write did that was not guarded, in documents. ``repeated`` were there already."""

    inserted: int = 0
    repeated: int = 0
    updated: int = 0
    deleted: int = 0


def apply(db: Store, writes: Writes, claim: Claim = UNFENCED) -> Written:
    """Do all ``writes``: what is guarded first (``apply_guarded``), the rest unordered across documents.

    Doing those of the rest again changes nothing. Raises Fenced; StoreError when the database does not answer (some may
    be written). Anything else that raises is one bad document: find it with ``check_encodable``.
    """
    done = Written()
    guarded, others = split(writes)
    if guarded:
        apply_guarded(db, guarded, claim)
    for collection, operations in others.items():
        with store_errors(f"writing {collection}"):
            _apply_collection(db, collection, operations, done)
    return done


def split(writes: Writes) -> tuple[Writes, Writes]:
    """Return the guarded operations of ``writes``, and the others."""
    guarded, others = no_writes(), no_writes()
    for collection, operations in writes.items():
        for wanted, part in ((True, guarded), (False, others)):
            found = [operation for operation in operations if is_guarded(operation) is wanted]
            if found:
                part[collection] = found
    return guarded, others


def apply_guarded(db: Store, writes: Writes, claim: Claim) -> None:
    """Do ``writes``, guarded inserts and updates, in one transaction under the fences of ``claim``: all or none.

    Within a collection updates come first: one of them may close the alarm whose entity opens the next one here.
    Raises Fenced when another instance has one of the fences, or a document is in the way or is not there: nothing is
    written. StoreError when the database does not answer: whether all is written is not known. Anything else
    that raises is one bad document, and nothing is written.
    """
    what = f"writing {', '.join(writes)}"
    # Not with_transaction: it tries for two minutes, and who holds the partition may be another by then.
    with store_errors(what), _session_of(db, claim) as session, session.start_transaction():
        _together(db, writes, claim, session)


def _session_of(db: Store, claim: Claim) -> AbstractContextManager[ClientSession]:
    return nullcontext(claim.session) if claim.session else db.client.start_session()


def _together(db: Store, writes: Writes, claim: Claim, session: ClientSession) -> None:
    fences.hold(db, claim, session)
    for collection, operations in writes.items():
        updates = [_guarded(each) for each in operations if isinstance(each, Guarded)]
        inserts = [each.document for each in operations if isinstance(each, Insert)]
        try:
            if updates:
                found = db[collection].bulk_write(updates, session=session).matched_count
                if found != len(updates):
                    raise Fenced(f"{len(updates) - found} of {len(updates)} documents of {collection} are not there")
            if inserts:
                db[collection].insert_many(inserts, session=session)
        except BulkWriteError as error:
            raise _why_not(collection, error) from error


def _guarded(operation: Guarded) -> UpdateOne:
    # By ``_id`` alone: any other field in the condition costs the database twice as much (measured).
    return UpdateOne(
        {"_id": operation.id}, {**operation.change, "$inc": {**operation.change.get("$inc", {}), "rev": 1}}
    )


def _why_not(collection: str, error: BulkWriteError) -> Exception:
    """Return what a refused write within a transaction means; its first error ended it."""
    failure: Document = next(iter((error.details or {}).get("writeErrors", ())), {})
    if failure.get("code") == _DUPLICATE:
        return Fenced(f"{collection} has another one already: {failure.get('keyValue')}")
    if is_away(failure.get("code")):
        return StoreError(f"writing {collection}: {failure.get('errmsg')}")
    return error


def check_encodable(document: Document) -> None:
    """Raise InputError unless MongoDB can take ``document``."""
    try:
        size = len(bson.encode(document))
    except (BSONError, OverflowError, TypeError, ValueError, UnicodeError, RecursionError) as error:
        raise InputError("document", document.get("_id"), f"what BSON can hold ({error})") from error
    if size > MAX_DOCUMENT:
        raise InputError("document", document.get("_id"), f"at most {MAX_DOCUMENT} bytes, this has {size}")


def _apply_collection(db: Store, collection: str, operations: Sequence[Operation], done: Written) -> None:
    updates = [operation for operation in operations if isinstance(operation, Upsert)]
    inserts = [operation.document for operation in operations if isinstance(operation, Insert)]
    deletes = [DeleteOne({"_id": operation.id}) for operation in operations if isinstance(operation, Delete)]
    if updates:
        _update(db, collection, updates, done)
    if inserts:
        _insert(db, collection, inserts, done)
    if deletes:
        _delete(db, collection, deletes, done)
    for operation in operations:
        if isinstance(operation, Merge):
            _merge(db, collection, operation)


def _merge(db: Store, collection: str, operation: Merge) -> None:
    with db.client.start_session() as session, session.start_transaction():
        gone = db[collection].delete_many({"_id": {"$in": list(operation.ids)}}, session=session).deleted_count
        if gone == len(operation.ids):
            db[collection].insert_one(operation.document, session=session)
        else:
            session.abort_transaction()


def _delete(db: Store, collection: str, deletes: list[DeleteOne], done: Written) -> None:
    try:
        done.deleted += db[collection].bulk_write(deletes, ordered=False).deleted_count
    except BulkWriteError as error:
        _check_duplicates(collection, error)


def _insert(db: Store, collection: str, documents: Sequence[Document], done: Written) -> None:
    repeated = 0
    try:
        db[collection].insert_many(documents, ordered=False)
    except BulkWriteError as error:
        repeated = _check_duplicates(collection, error)
    done.repeated += repeated
    done.inserted += len(documents) - repeated


def _check_duplicates(collection: str, error: BulkWriteError) -> int:
    """Return how many documents were there already; raise for any other reason."""
    details = error.details or {}
    for failure in details.get("writeErrors", ()):
        code = failure.get("code")
        if code == _DUPLICATE and list(failure.get("keyPattern", ())) == ["_id"]:
            continue
        if is_away(code):
            raise StoreError(f"writing {collection}: {failure.get('errmsg')}") from error
        raise error
    _check_concern(collection, error, details)
    return len(details.get("writeErrors", ()))


def _update(db: Store, collection: str, operations: list[Upsert], done: Written) -> None:
    requests = [UpdateOne({"_id": operation.id}, operation.change, upsert=True) for operation in operations]
    try:
        result = db[collection].bulk_write(requests, ordered=False)
    except BulkWriteError as error:
        details = error.details or {}
        _check_concern(collection, error, details)
        if all(failure.get("code") == _DUPLICATE or is_away(failure.get("code")) for failure in details["writeErrors"]):
            # Two upserts of one new document at once: the second finds it the next time.
            raise StoreError(f"writing {collection}: {details['writeErrors'][0].get('errmsg')}") from error
        raise
    done.updated += result.matched_count
    done.inserted += result.upserted_count


def _check_concern(collection: str, error: BulkWriteError, details: Mapping[str, Any]) -> None:
    concerns = details.get("writeConcernErrors")
    if concerns:
        raise StoreError(f"writing {collection}: not on a majority: {concerns[0].get('errmsg')}") from error
