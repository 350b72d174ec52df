"""Writing to the database until it is done, however long the database is away."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from concurrent import futures
from functools import partial

import msgspec

from canopsis.errors import Fenced, InputError, StoreError
from canopsis.runtime.contract import Dead
from canopsis.runtime.health import Health
from canopsis.runtime.letters import reduced
from canopsis.store import client, dead_letters, write
from canopsis.store.client import Store
from canopsis.store.fences import UNFENCED, Claim
from canopsis.store.operations import Delete, Document, Insert, Merge, Operation, Writes

_LOG = logging.getLogger(__name__)

_PARALLEL = 4
_FIRST_PAUSE, _LONGEST_PAUSE = 0.1, 1.0


class SafeStore:
    """The database, as the runner uses it. ``alive`` is called between tries; it raises to break off."""

    def __init__(self, db: Store, stop: threading.Event, health: Health) -> None:
        self._db = db
        self._stop = stop
        self._health = health
        # The database works on one collection while another is encoded here.
        self._pool = futures.ThreadPoolExecutor(_PARALLEL, "write")

    def write(
        self, writes: Writes, alive: Callable[[], object], claim: Claim = UNFENCED
    ) -> list[tuple[str, Dead]] | None:
        """Do all ``writes``, guarded ones first, for they may forbid the rest; None once ``stop`` is set.

        The others are tried again until the database took them. Returns the documents that the database cannot hold,
        as dead letters; the others are written. Raises Fenced: also when the database went away, so that what came of
        the guarded ones is not known. Then the batch is to come again; what is written of it already is a repeat.
        """
        guarded, left = write.split(writes)
        try:
            bad = self._guarded(guarded, claim) if guarded else []
        except Fenced:
            raise
        except StoreError as error:
            if not self.wait(error, alive):
                return None
            raise Fenced(f"what is written is read again: {error}") from error
        rest = self._until_done(left, alive)
        return None if rest is None else bad + rest

    def _guarded(self, writes: Writes, claim: Claim) -> list[tuple[str, Dead]]:
        problem = _refusal(partial(write.apply_guarded, self._db, writes, claim))
        return one_by_one(self._db, writes, problem, claim) if problem else []

    def _until_done(self, writes: Writes, alive: Callable[[], object]) -> list[tuple[str, Dead]] | None:
        problem = ""
        while True:
            try:
                problem = problem or _refusal(partial(self._all, writes))
                return one_by_one(self._db, writes, problem) if problem else []
            except StoreError as error:
                if not self.wait(error, alive):
                    return None

    def wait(self, error: StoreError, alive: Callable[[], object]) -> bool:
        """Wait until a primary answers; False once ``stop`` is set."""
        self._health.say(f"waiting for the database: {error}")
        pause = _FIRST_PAUSE
        while not self._stop.wait(pause):
            alive()
            try:
                client.ping(self._db)
            except StoreError:
                pause = min(2 * pause, _LONGEST_PAUSE)
                continue
            self._health.say("running")
            return True
        return False

    def close(self) -> None:
        """Give the threads back."""
        self._pool.shutdown(wait=False, cancel_futures=True)

    def _all(self, writes: Writes) -> None:
        """Do all ``writes`` at once."""
        parts = [{name: operations} for name, operations in writes.items()]
        others = [self._pool.submit(write.apply, self._db, part) for part in parts[:-1]]
        try:
            for part in parts[-1:]:
                write.apply(self._db, part)
        finally:
            futures.wait(others)
        for other in others:
            other.result()


def apply_each(db: Store, writes: Writes) -> list[tuple[str, Dead]]:
    """Do all ``writes``; return the documents that the database cannot hold, as dead letters.

    None of them is guarded. Raises StoreError.
    """
    problem = _refusal(partial(write.apply, db, writes))
    return one_by_one(db, writes, problem) if problem else []


def one_by_one(db: Store, writes: Writes, why: str, claim: Claim = UNFENCED) -> list[tuple[str, Dead]]:
    """Do ``writes``, each by itself; return those that cannot be done. Raises Fenced, StoreError."""
    _LOG.warning("one of the documents cannot be written: %s", why)
    bad = []
    for collection, operations in writes.items():
        for operation in operations:
            problem = _problem(db, collection, operation, claim)
            if problem and collection == dead_letters.COLLECTION:
                _write_least(db, operation, problem)
            elif problem:
                bad.append((collection, _dead_document(operation, problem)))
    return bad


def _write_least(db: Store, letter: Operation, why: str) -> None:
    """Write the least of a dead letter. Raises StoreError."""
    _LOG.warning("a dead letter is kept without its headers: %s", why)
    problem = _problem(db, dead_letters.COLLECTION, reduced(letter, why, time.time()), UNFENCED)
    if problem:
        # Made to fit: the server refuses everything, and nothing may be acknowledged.
        raise StoreError(f"dead letters cannot be written: {problem}")


def _problem(db: Store, collection: str, operation: Operation, claim: Claim) -> str:
    """Return why ``operation`` cannot be written, or an empty text. Raises Fenced, StoreError."""
    if isinstance(operation, Insert):
        try:
            write.check_encodable(operation.document)
        except InputError as error:
            return str(error)
    return _refusal(partial(write.apply, db, {collection: [operation]}, claim))


def _refusal(work: Callable[[], object]) -> str:
    """Do ``work``; return why BSON or the server refuses a document, an empty text when none was. Raises StoreError."""
    try:
        work()
    except StoreError:
        raise
    except Exception as error:  # noqa: BLE001 - pymongo, BSON and the server say it in a dozen ways
        return client.refusal_of(error)
    return ""


def _dead_document(operation: Operation, problem: str) -> Dead:
    document = _content(operation)
    try:
        body = msgspec.json.encode(document, enc_hook=repr)
    except (msgspec.MsgspecError, ValueError, TypeError, RecursionError):
        body = repr(document).encode("utf-8", "backslashreplace")
    return Dead(body, f"the database cannot hold this document: {problem}")


def _content(operation: Operation) -> Document:
    if isinstance(operation, Insert | Merge):
        return operation.document
    return {} if isinstance(operation, Delete) else {"_id": operation.id, **operation.change}
