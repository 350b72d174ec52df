"""The fences of an engine process: that it may write for the partitions it reads, and nobody else."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace
from functools import cached_property

from canopsis.store import fences
from canopsis.store.client import Store
from canopsis.store.fences import Claim


class Fence:
    """Takes the fence of a partition before anything of it is remembered. For one thread."""

    def __init__(self, db: Store, process: str) -> None:
        self._db = db
        self._process = process
        self._taken: set[str] = set()

    @cached_property
    def _me(self) -> Claim:
        return fences.new_holder(self._db)

    def claim(self, partitions: Collection[int]) -> Claim:
        """Return the claim for a batch of ``partitions``; takes those that are not taken yet. Raises StoreError."""
        names = fences.names_of(self._process, partitions)
        new = tuple(name for name in names if name not in self._taken)
        if new:
            fences.take(self._db, replace(self._me, names=new))
            self._taken.update(new)
        return replace(self._me, names=names)

    def lose(self, partitions: Collection[int] | None = None) -> None:
        """Take those of ``partitions`` (None: all) anew before the next batch of them.

        Only where all that is remembered of them is forgotten too: another instance may have had them meanwhile.
        """
        self._taken -= set(self._taken if partitions is None else fences.names_of(self._process, partitions))
