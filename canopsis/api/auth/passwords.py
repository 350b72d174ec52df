"""Password hashes: argon2id, a few at a time."""

from __future__ import annotations

import os
import threading
from concurrent import futures

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

from canopsis.errors import InputError, RequestError

MIN_LENGTH, MAX_LENGTH = 8, 1024

PLACES = 4
"""Passwords that are verified or wait for it; others are told to try again, and hold nobody up."""

_HASHER = PasswordHasher()
_SLOTS = threading.BoundedSemaphore(PLACES)


def _step_back() -> None:
    """Let the verifying thread, and those that argon2 begins in it, work when nobody else wants to."""
    os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), 10)


# One verification takes 64 MiB and a quarter of a second of all processors: one at a time.
_VERIFYING = futures.ThreadPoolExecutor(1, "password", initializer=_step_back)
# Verified against when there is no such user: the time tells nothing then.
_NOBODY = "$argon2id$v=19$m=65536,t=3,p=4$c2l4dGVlbiBieXRlcyEhIQ$wqS8aZCXlwMJLDKm1DLNMd3SyBGVd2Kd0oVWe6wjbm0"


def hash_password(password: str) -> str:
    """Return what is stored of ``password``. Raises InputError naming ``password``."""
    if not MIN_LENGTH <= len(password) <= MAX_LENGTH:
        raise InputError("password", f"{len(password)} characters", f"{MIN_LENGTH} to {MAX_LENGTH} characters")
    return _HASHER.hash(password)


def verify(stored: str, password: str) -> bool:
    """Tell whether ``password`` belongs to ``stored``; an empty ``stored`` takes as long and is never right.

    Raises RequestError (503) when there is no place for it.
    """
    if not _SLOTS.acquire(blocking=False):
        raise RequestError(503, "too many logins at once", headers={"Retry-After": "2"})
    try:
        return _VERIFYING.submit(_verify, stored, password).result()
    finally:
        _SLOTS.release()


def _verify(stored: str, password: str) -> bool:
    try:
        return _HASHER.verify(stored or _NOBODY, password) and bool(stored)
    except (VerificationError, InvalidHashError):
        return False
