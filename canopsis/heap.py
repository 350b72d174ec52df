"""Memory of large messages and requests is given back to the system when they are done.

glibc has a heap for each of many threads, and after the first large block that is freed it puts large blocks
there too, up to 32 MiB: each then keeps the size of the largest that it ever had, and what stands behind.
"""

from __future__ import annotations

import ctypes

LARGE = 256 << 10
"""Bytes from which a block has pages of its own, which go when it is freed."""

HEAPS = 2

_MMAP_THRESHOLD, _ARENA_MAX = -3, -8
"""``mallopt``'s names of both, from ``malloc.h``."""


def give_back() -> bool:
    """Have this process give large blocks back; before it has threads. False where the C library cannot be told."""
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):
        return False
    return bool(mallopt(_MMAP_THRESHOLD, LARGE)) and bool(mallopt(_ARENA_MAX, HEAPS))
