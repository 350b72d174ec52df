"""The client of the database, and the one way its errors come out."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from pymongo import MongoClient
from pymongo.database import Database
from pymongo.errors import (
    AutoReconnect,
    BulkWriteError,
    ConfigurationError,
    ConnectionFailure,
    ExecutionTimeout,
    NetworkTimeout,
    OperationFailure,
    ServerSelectionTimeoutError,
    WaitQueueTimeoutError,
    WTimeoutError,
)

from canopsis.errors import StoreError, bounded, reason_of
from canopsis.store.operations import Document
from canopsis.store.settings import StoreSettings

Store = Database[Document]
"""The database of a site, as every function of this package takes it."""

GONE = (
    AutoReconnect,
    ConnectionFailure,
    ExecutionTimeout,
    NetworkTimeout,
    ServerSelectionTimeoutError,
    WaitQueueTimeoutError,
    WTimeoutError,
)
"""Errors that say: the server is not there, or not in time. Try again."""

_AWAY_CODES = frozenset(
    {
        *(6, 7, 24, 43, 46, 50, 63, 64, 89, 91, 94, 100, 109, 112, 117, 133, 134, 145, 175),
        *(189, 202, 206, 208, 215, 216, 237, 239, 246, 262, 279, 290, 308, 314, 355, 358, 363, 365, 371),
        *(384, 402, 407, 433, 449, 9001, 10107, 11600, 11601, 11602, 13388, 13435, 13436, 46841),
        *(204, 205, 209, 210, 211),  # started a moment ago: it does not know yet with which keys its set signs the time
        *(11, 13, 18, 31, 391),  # a password or a user is being changed
        *(261, 264, 14031),  # no room: sessions, open files, its disk
    }
)
"""Codes of a server that is starting, stopping, stepping down, too busy, or not letting us in.

Nothing of them is about the document. One that lacks here costs events: what is asked about an
event is then taken for the event's fault, and it becomes a dead letter.
"""

_AWAY_LABELS = (
    "RetryableWriteError",
    "TransientTransactionError",
    "UnknownTransactionCommitResult",
    "RetryableError",
    "SystemOverloadedError",
)
"""By these a server says itself that the same may be tried again, whatever the code."""

_DISTRUST = "CERTIFICATE_VERIFY_FAILED"


def connect(settings: StoreSettings) -> MongoClient[Document]:
    """Return a client; it connects when first used. Make it after a fork, close it at the end.

    Raises StoreError when a file for TLS cannot be read.
    """
    options: dict[str, Any] = {
        "replicaSet": settings.replica_set,
        "w": "majority",
        "journal": True,
        "retryWrites": True,
        "retryReads": True,
        "readConcernLevel": "majority",
        "timeoutMS": int(settings.timeout * 1000),
        "serverSelectionTimeoutMS": int(settings.selection_timeout * 1000),
        "connectTimeoutMS": int(settings.connect_timeout * 1000),
        "maxPoolSize": settings.pool_size,
        "appname": "canopsis",
        "tz_aware": True,
        "connect": False,
    }
    if settings.user:
        options |= {"username": settings.user, "password": settings.password, "authSource": settings.auth_source}
    if settings.tls:
        files = {"tlsCAFile": settings.ca_file, "tlsCertificateKeyFile": settings.certificate_key_file}
        options |= {"tls": True} | {name: path for name, path in files.items() if path}
    addresses = [f"{host}:{port}" for host, port in settings.hosts]
    try:
        return MongoClient(addresses, **options)
    except (OSError, ConfigurationError) as error:
        if not settings.tls:
            raise
        used = " and ".join(path for path in (settings.ca_file, settings.certificate_key_file) if path)
        raise StoreError(f"{', '.join(addresses)}: cannot use {used} for TLS: {error}") from error


@contextmanager
def opened(settings: StoreSettings) -> Iterator[Store]:
    """Give the database of a client of its own, closed at the end."""
    client = connect(settings)
    try:
        yield client[settings.database]
    finally:
        client.close()


@contextmanager
def store_errors(what: str) -> Iterator[None]:
    """Turn "not there, not in time" into StoreError; anything else passes, for it is a bug."""
    try:
        yield
    except GONE as error:
        hint = "; see ca_file in etc/storage.conf" if _DISTRUST in str(error) else ""
        raise StoreError(f"{what}: the database does not answer: {bounded(str(error))}{hint}") from error
    except OperationFailure as error:
        if is_away(error.code) or any(error.has_error_label(label) for label in _AWAY_LABELS):
            raise StoreError(f"{what}: the database cannot now: {bounded(str(error))}") from error
        raise


def refusal_of(error: Exception) -> str:
    """Return why the server or BSON refuses a write: a text of pymongo's may hold all documents of the write."""
    if not isinstance(error, BulkWriteError):
        return reason_of(error)
    failures = error.details.get("writeErrors") or error.details.get("writeConcernErrors") or [{}]
    first = bounded(f"{failures[0].get('errmsg')} (code {failures[0].get('code')})")
    return f"{first}; {len(failures)} writes are refused" if len(failures) > 1 else first


def is_away(code: int | None) -> bool:
    """Tell whether a server's error code means: try again later."""
    return code in _AWAY_CODES


def ping(db: Store) -> None:
    """Raise StoreError unless a primary answers."""
    with store_errors("ping"):
        db.client.admin.command("ping")
