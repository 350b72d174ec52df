"""Batches on the wire: a message between processes is one JSON array of events."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

BATCH_BYTES = 1 << 20
"""A message is cut here. RabbitMQ 4 refuses bodies over 16 MiB, and one big message holds the others up."""


def pack(parts: Iterable[bytes], limit: int = BATCH_BYTES) -> Iterator[bytes]:
    """Yield JSON arrays of the encoded events ``parts``, in order, each about ``limit`` bytes at most.

    A part longer than ``limit`` travels alone. No part, no message.
    """
    batch: list[bytes] = []
    size = 0
    for part in parts:
        if batch and size + len(part) > limit:
            yield b"[" + b",".join(batch) + b"]"
            batch, size = [], 0
        batch.append(part)
        size += len(part) + 1
    if batch:
        yield b"[" + b",".join(batch) + b"]"
