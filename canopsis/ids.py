"""Ids for what has none."""

from __future__ import annotations

import secrets
import time


def new_id() -> str:
    """Return an id that nobody else has: a UUID of version 7 (RFC 9562) in hexadecimal, which begins with its time."""
    number = secrets.randbits(74)
    return f"{int(time.time() * 1000):012x}7{number >> 62:03x}{0x8 | number >> 60 & 0x3:x}{number & (1 << 60) - 1:015x}"
