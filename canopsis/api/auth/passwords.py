"""Password hashes: argon2id, a few at a time."""

from __future__ import annotations

import threading

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

from canopsis.errors import InputError, RequestError

MIN_LENGTH, MAX_LENGTH = 8, 1024

_AT_ONCE = 2
_PATIENCE = 5.0
_HASHER = PasswordHasher()
# One verification takes 64 MiB and a quarter of a second of all processors.
_SLOTS = threading.BoundedSemaphore(_AT_ONCE)
# Verified against when there is no such user: the time tells nothing then.
_NOBODY = "$argon2id$v=19$m=65536,t=3,p=4$c2l4dGVlbiBieXRlcyEhIQ$wqS8aZCXlwMJLDKm1DLNMd3SyBGVd2Kd0oVWe6wjbm0"


def hash_password(password: str) -> str:
    """Return what is stored of ``password``. Raises InputError naming ``password``."""
    if not MIN_LENGTH <= len(password) <= MAX_LENGTH:
        raise InputError("password", f"{len(password)} characters", f"{MIN_LENGTH} to {MAX_LENGTH} characters")
    return _HASHER.hash(password)


def verify(stored: str, password: str, patience: float = _PATIENCE) -> bool:
    """Tell whether ``password`` belongs to ``stored``; an empty ``stored`` takes as long and is never right.

    Raises RequestError (503) when others are being verified for longer than ``patience`` seconds.
    """
    if not _SLOTS.acquire(timeout=patience):
        raise RequestError(503, "too many logins at once", headers={"Retry-After": "2"})
    try:
        return _HASHER.verify(stored or _NOBODY, password) and bool(stored)
    except (VerificationError, InvalidHashError):
        return False
    finally:
        _SLOTS.release()
