"""Ids for what has none."""

from __future__ import annotations

import secrets
import time


def new_id(moment: float | None = None) -> str:
    """Return an id that nobody else has: a UUID of version 7 (RFC 9562) in hexadecimal, which begins with its time.

    That is ``moment``, in seconds since the epoch, or now.
    """
    number = secrets.randbits(74)
    milliseconds = int((time.time() if moment is None else moment) * 1000)
    return f"{milliseconds:012x}7{number >> 62:03x}{0x8 | number >> 60 & 0x3:x}{number & (1 << 60) - 1:015x}"
