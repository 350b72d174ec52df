"""Users: who may log in, with which keys, in which role."""

from __future__ import annotations

import hashlib
from typing import Literal

import msgspec
from pymongo import ASCENDING, IndexModel
from pymongo.errors import DuplicateKeyError

from canopsis.core.structs import prepare
from canopsis.errors import InputError
from canopsis.store import sessions
from canopsis.store.client import Store, store_errors
from canopsis.store.operations import Document

COLLECTION = "users"

INDEXES = (
    IndexModel(
        [("authkeys.sha256", ASCENDING)],
        name="one_user_a_key",
        unique=True,
        partialFilterExpression={"authkeys.sha256": {"$exists": True}},
    ),
)

Role = Literal["admin", "operator", "reader"]


class AuthKey(msgspec.Struct, frozen=True):
    """A key of a user: its name and the hex SHA-256 of the secret.

    ``role`` is the highest that it gives, where that is less than its user's; ``until`` is when it ends, in seconds
    since the epoch, None for never.
    """

    id: str
    sha256: str
    role: Role | None = None
    until: float | None = None


class User(msgspec.Struct, kw_only=True, frozen=True):
    """A user. ``password`` is an argon2 hash; empty means no login by password."""

    name: str = msgspec.field(name="_id")
    role: Role = "reader"
    password: str = ""
    authkeys: list[AuthKey] = msgspec.field(default_factory=list)
    enabled: bool = True

    @property
    def binding(self) -> str:
        """What a session is bound to: another password, also of a new user of the same name, has another one."""
        return hashlib.sha256(f"{self.name}\0{self.password}".encode()).hexdigest()


prepare(User)


def get(db: Store, name: str) -> User | None:
    """Return a user by name. Raises StoreError."""
    return _one(db, {"_id": name})


def by_key(db: Store, sha256: str) -> User | None:
    """Return the user who has the key with this hash. Raises StoreError."""
    return _one(db, {"authkeys.sha256": sha256})


def listing(db: Store) -> list[User]:
    """Return all users by name. Raises StoreError."""
    with store_errors("reading users"):
        return [msgspec.convert(found, User) for found in db[COLLECTION].find().sort("_id", ASCENDING)]


def save(db: Store, user: User) -> bool:
    """Make or replace a user; False when it was the same already.

    Sessions that began with another password end, all of them when the user is disabled.
    Raises InputError when another user has one of the keys, StoreError.
    """
    document = msgspec.to_builtins(user)
    with store_errors("writing users"):
        try:
            result = db[COLLECTION].replace_one({"_id": user.name}, document, upsert=True)
        except DuplicateKeyError as error:
            raise InputError("authkeys", user.name, "keys that no other user has") from error
    sessions.delete_of(db, user.name, kept=user.binding if user.enabled else None)
    return result.upserted_id is not None or result.modified_count == 1


def delete(db: Store, name: str) -> bool:
    """Delete a user and end their sessions; False when there is none. Raises StoreError."""
    with store_errors("writing users"):
        deleted = db[COLLECTION].delete_one({"_id": name}).deleted_count == 1
    sessions.delete_of(db, name)
    return deleted


def _one(db: Store, condition: Document) -> User | None:
    with store_errors("reading users"):
        found = db[COLLECTION].find_one(condition)
    return msgspec.convert(found, User) if found else None
