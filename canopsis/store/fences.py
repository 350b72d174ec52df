"""Fences: which instance may write for a partition, so that one that lost it unnoticed writes nothing more.

``{_id: "process:partition", holder: token, n}``. Who takes a fence shuts all others out. ``hold`` moves it within the
transaction of a batch: a transaction that began under a token that is none any more ends without a write.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from pymongo.client_session import ClientSession
from pymongo.errors import DuplicateKeyError

from canopsis.errors import Fenced, StoreError
from canopsis.store.client import Store, store_errors

COLLECTION = "fences"


@dataclass(frozen=True, slots=True)
class Claim:
    """What a batch says when it writes: the fences that it took, under which token."""

    holder: str
    names: tuple[str, ...]


UNFENCED = Claim("", ())
"""Of who writes for no partition."""


def names_of(process: str, partitions: Collection[int]) -> tuple[str, ...]:
    """Return the names of fences: each process of the chain has its own; one that reads no partitions has one."""
    return tuple(f"{process}:{number:02d}" for number in sorted(partitions)) or (f"{process}:all",)


def take(db: Store, claim: Claim) -> None:
    """Let nobody but the holder of ``claim`` write from now on. Raises StoreError.

    What is remembered of the partitions is to be read after this.
    """
    with store_errors("taking a fence"):
        for name in claim.names:
            try:
                db[COLLECTION].update_one(
                    {"_id": name}, {"$set": {"holder": claim.holder}, "$inc": {"n": 1}}, upsert=True
                )
            except DuplicateKeyError as error:
                raise StoreError(f"taking a fence: another instance makes {name} at this moment") from error


def hold(db: Store, claim: Claim, session: ClientSession) -> None:
    """Within a transaction, make sure that the holder still has its fences. Raises Fenced.

    It is a write, not a read: only so does it meet another instance that takes one meanwhile.
    """
    mine = {"_id": {"$in": list(claim.names)}, "holder": claim.holder}
    held = db[COLLECTION].update_many(mine, {"$inc": {"n": 1}}, session=session).matched_count
    if held != len(claim.names):
        raise Fenced(f"{len(claim.names) - held} of {', '.join(claim.names)} belong to another instance now")
