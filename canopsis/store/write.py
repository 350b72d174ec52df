"""Writes as data become bulk writes."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import bson
from bson.errors import BSONError
from pymongo import DeleteOne, UpdateOne
from pymongo.errors import BulkWriteError

from canopsis.errors import Fenced, InputError, StoreError
from canopsis.store import events
from canopsis.store.client import Store, is_away, store_errors
from canopsis.store.operations import Delete, Document, Guarded, Insert, Operation, Upsert, Writes

MAX_DOCUMENT = 16 * 1024 * 1024 - 4096
"""Bytes of BSON; MongoDB's own limit is 16 MiB."""

_DUPLICATE = 11000


@dataclass(slots=True)
class Written:
    """What a write did, in documents. ``repeated`` were there already."""

    inserted: int = 0
    repeated: int = 0
    updated: int = 0
    deleted: int = 0


def apply(db: Store, writes: Writes) -> Written:
    """Do all ``writes``, unordered across documents; doing them again changes nothing.

    Raises Fenced when a guarded update misses its revision or a second open alarm of an entity is
    inserted; StoreError when the database does not answer (some may be written: do all again).
    Anything else that raises is one bad document: find it with ``check_encodable``.
    """
    done = Written()
    for collection, operations in writes.items():
        if operations:
            with store_errors(f"writing {collection}"):
                _apply_collection(db, collection, operations, done)
    return done


def check_encodable(document: Document) -> None:
    """Raise InputError unless MongoDB can take ``document``."""
    try:
        size = len(bson.encode(document))
    except (BSONError, OverflowError, TypeError, ValueError, UnicodeError, RecursionError) as error:
        raise InputError("document", document.get("_id"), f"what BSON can hold ({error})") from error
    if size > MAX_DOCUMENT:
        raise InputError("document", document.get("_id"), f"at most {MAX_DOCUMENT} bytes, this has {size}")


def _apply_collection(db: Store, collection: str, operations: Sequence[Operation], done: Written) -> None:
    inserts = [operation for operation in operations if isinstance(operation, Insert)]
    updates = [operation for operation in operations if isinstance(operation, (Guarded, Upsert))]
    deletes = [DeleteOne({"_id": operation.id}) for operation in operations if isinstance(operation, Delete)]
    if updates:
        _update(db, collection, updates, done)
    if inserts:
        # After the updates: one of them may close the alarm whose entity opens the next one here.
        _insert(db, collection, inserts, done)
    if deletes:
        _delete(db, collection, deletes, done)


def _delete(db: Store, collection: str, deletes: list[DeleteOne], done: Written) -> None:
    try:
        done.deleted += db[collection].bulk_write(deletes, ordered=False).deleted_count
    except BulkWriteError as error:
        _check_duplicates(collection, error)


def _insert(db: Store, collection: str, inserts: Sequence[Insert], done: Written) -> None:
    documents = [insert.document for insert in inserts]
    try:
        db[collection].insert_many(documents, ordered=False)
    except BulkWriteError as error:
        repeated = _check_duplicates(collection, error, {at for at, insert in enumerate(inserts) if insert.guarded})
        others = events.under_own_ids(db, [documents[at] for at in repeated]) if collection == events.COLLECTION else []
        done.repeated += len(repeated) - len(others)
        done.inserted += len(documents) - len(repeated)
        if others:
            _insert_rest(db, collection, others, done)
    else:
        done.inserted += len(documents)


def _insert_rest(db: Store, collection: str, documents: list[Document], done: Written) -> None:
    """Insert events under ids of their own; those that are there came before."""
    try:
        db[collection].insert_many(documents, ordered=False)
        repeated = 0
    except BulkWriteError as error:
        repeated = len(_check_duplicates(collection, error))
    done.repeated += repeated
    done.inserted += len(documents) - repeated


def _check_duplicates(collection: str, error: BulkWriteError, guarded: Collection[int] = ()) -> list[int]:
    """Return the places of the documents that were there already; raise for any other reason.

    ``guarded`` are the places of those that another instance may have been before with.
    """
    details = error.details or {}
    for failure in details.get("writeErrors", ()):
        code = failure.get("code")
        if code == _DUPLICATE and list(failure.get("keyPattern", ())) == ["_id"]:
            continue
        if code == _DUPLICATE and failure.get("index") in guarded:
            raise Fenced(f"{collection} has another one already: {failure.get('keyValue')}") from error
        if is_away(code):
            raise StoreError(f"writing {collection}: {failure.get('errmsg')}") from error
        raise error
    _check_concern(collection, error, details)
    return [int(failure["index"]) for failure in details.get("writeErrors", ())]


def _update(db: Store, collection: str, operations: list[Guarded | Upsert], done: Written) -> None:
    guarded = sum(isinstance(operation, Guarded) for operation in operations)
    requests: list[Any] = [_request(operation) for operation in operations]
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
    missed = len(operations) - result.matched_count - result.upserted_count
    if missed:
        raise Fenced(f"{missed} of {guarded} guarded writes to {collection} missed their revision")


def _request(operation: Guarded | Upsert) -> UpdateOne:
    if isinstance(operation, Upsert):
        return UpdateOne({"_id": operation.id}, operation.change, upsert=True)
    change = {**operation.change, "$inc": {**operation.change.get("$inc", {}), "rev": 1}}
    # Measured beside: a hint on _id and the bare _id cost mongod the same, a pipeline with $cond a third more.
    return UpdateOne({"_id": operation.id, "rev": operation.rev}, change)


def _check_concern(collection: str, error: BulkWriteError, details: Mapping[str, Any]) -> None:
    concerns = details.get("writeConcernErrors")
    if concerns:
        raise StoreError(f"writing {collection}: not on a majority: {concerns[0].get('errmsg')}") from error
