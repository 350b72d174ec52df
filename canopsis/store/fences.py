"""Fences: which instance may write for a partition, so that one that lost it unnoticed writes nothing more.

``{_id: "process:partition", holder: token, n}``. Who takes a fence shuts all others out. ``hold`` moves it within the
transaction of a batch: a transaction that began under a token that is none any more ends without a write.

The token is the id of the session whose transactions hold the fence. MongoDB keeps the transaction of a killed client,
and what it locks, for a minute; who takes a fence and finds it locked ends that session.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field

from bson.binary import UUID_SUBTYPE, Binary
from pymongo import timeout
from pymongo.client_session import ClientSession
from pymongo.errors import DuplicateKeyError

from canopsis.errors import Fenced, StoreError
from canopsis.store.client import GONE, Store, store_errors

COLLECTION = "fences"

_PATIENCE_SECONDS = 1.0
"""How long one that lives is given to end its batch."""


@dataclass(frozen=True, slots=True)
class Claim:
    """What a batch says when it writes: the fences that it took, under which token, and the session to write in."""

    holder: str
    names: tuple[str, ...]
    session: ClientSession | None = field(default=None, compare=False, repr=False)
    """For one thread. None: a session of its own for each write."""


UNFENCED = Claim("", ())
"""Of who writes for no partition."""


def new_holder(db: Store) -> Claim:
    """Return a claim to no fence, under a token that nobody else has. Does not ask the database."""
    session = db.client.start_session()
    return Claim(session.session_id["id"].hex(), (), session)


def names_of(process: str, partitions: Collection[int]) -> tuple[str, ...]:
    """Return the names of fences: each process of the chain has its own; one that reads no partitions has one."""
    return tuple(f"{process}:{number:02d}" for number in sorted(partitions)) or (f"{process}:all",)


def take(db: Store, claim: Claim) -> None:
    """Let nobody but the holder of ``claim`` write from now on. Raises StoreError.

    A transaction of the former holder that lasts is undone. What is remembered of the partitions is to be read after
    this.
    """
    with store_errors("taking a fence"):
        try:
            with timeout(_PATIENCE_SECONDS):
                _take(db, claim)
        except GONE:
            _end_sessions(db, claim)
            _take(db, claim)


def _take(db: Store, claim: Claim) -> None:
    for name in claim.names:
        try:
            db[COLLECTION].update_one({"_id": name}, {"$set": {"holder": claim.holder}, "$inc": {"n": 1}}, upsert=True)
        except DuplicateKeyError as error:
            raise StoreError(f"taking a fence: another instance makes {name} at this moment") from error


def _end_sessions(db: Store, claim: Claim) -> None:
    """Abort what the present holders of the fences of ``claim`` have begun: they may be dead, and their locks stay."""
    others = {"_id": {"$in": list(claim.names)}, "holder": {"$ne": claim.holder}}
    holders = db[COLLECTION].distinct("holder", others)
    sessions = [{"id": Binary(bytes.fromhex(each), UUID_SUBTYPE)} for each in holders]
    if sessions:
        db.client.admin.command("killSessions", sessions)


def hold(db: Store, claim: Claim, session: ClientSession) -> None:
    """Within a transaction, make sure that the holder still has its fences. Raises Fenced.

    It is a write, not a read: only so does it meet another instance that takes one meanwhile.
    """
    mine = {"_id": {"$in": list(claim.names)}, "holder": claim.holder}
    held = db[COLLECTION].update_many(mine, {"$inc": {"n": 1}}, session=session).matched_count
    if held != len(claim.names):
        raise Fenced(f"{len(claim.names) - held} of {', '.join(claim.names)} belong to another instance now")
