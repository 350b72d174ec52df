"""Which instance has which partitions: leases in the database, a rendezvous hash over the living.

The lease only balances. That a partition has one reader at a time is the broker's doing (single
active consumer); that nobody writes from a stale memory is the fence's (guarded writes).
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from hashlib import blake2b

from canopsis.errors import StoreError
from canopsis.store import leases
from canopsis.store.client import Store
from canopsis.store.operations import Document

_LOG = logging.getLogger(__name__)

ANNOUNCE_SECONDS = 2.0
LIFE_SECONDS = 10.0
"""An instance that was not seen for so long is taken for dead."""

_FORGET_SECONDS = 30 * 86400.0
"""A host that is away is missed until somebody says that it will not come back, or for so long."""


def share(partitions: int, instances: Sequence[str], own: str) -> frozenset[int]:
    """Return the partitions of ``own`` among ``instances``: even to one, and few move when one comes or goes."""
    room = {name: -(-partitions // len(instances)) for name in instances}
    mine = set()
    for partition in range(partitions):
        ranked = sorted((name for name in instances if room[name]), key=lambda name: _weight(name, partition))
        room[ranked[0]] -= 1
        if ranked[0] == own:
            mine.add(partition)
    return frozenset(mine)


def _weight(name: str, partition: int) -> bytes:
    return blake2b(f"{name}/{partition}".encode(), digest_size=8).digest()


@dataclass(frozen=True, slots=True)
class Instance:
    """One process of a site: ``number`` counts from 1 on each host."""

    process: str
    host: str
    number: int

    @property
    def id(self) -> str:
        """The id of its lease."""
        return leases.instance_id(self.process, self.host, self.number)


class Lease:
    """The lease of one instance, kept alive by a thread of its own. ``partitions`` 0 means it shares none."""

    def __init__(self, db: Store, instance: Instance, partitions: int, facts: Callable[[], Document]) -> None:
        self._db = db
        self._instance = instance
        self._partitions = partitions
        self._facts = facts
        self.wanted: frozenset[int] = frozenset()
        self._changed = threading.Event()
        self._stop = threading.Event()
        self._begun = False
        self._failure = ""
        self._thread = threading.Thread(target=self._keep, name="lease", daemon=True)

    def start(self) -> None:
        """Begin to announce this instance."""
        self._thread.start()

    def announce(self) -> None:
        """Say that this instance lives, and see which partitions are its. Raises StoreError."""
        who = self._instance
        if not self._begun:
            leases.begin(self._db, who.process, who.host, who.number)
            self._begun = True
        leases.announce(self._db, who.process, who.host, who.number, self._facts())
        if self._partitions:
            living = [found["_id"] for found in leases.instances(self._db, LIFE_SECONDS, who.process)]
            self.wanted = share(self._partitions, living, who.id) if who.id in living else self.wanted

    def hurry(self) -> None:
        """Announce now: what this instance holds has changed."""
        self._changed.set()

    def end(self, failure: str = "") -> None:
        """Withdraw, so that the others take over at once; never raises. With a ``failure`` that stays to be seen."""
        self._failure = failure
        self._stop.set()
        self._changed.set()
        if self._thread.is_alive():
            self._thread.join(ANNOUNCE_SECONDS)
        if self._thread.is_alive() or self._thread.ident is None:
            self._withdraw()

    def _withdraw(self) -> None:
        who = self._instance
        try:
            if self._failure:
                leases.fail(self._db, who.process, who.host, who.number, self._failure)
            else:
                leases.withdraw(self._db, who.process, who.host, who.number)
        except StoreError as error:
            _LOG.warning("the lease ends by itself: %s", error)

    def _keep(self) -> None:
        while not self._stop.is_set():
            try:
                self.announce()
                leases.forget_dead(self._db, _FORGET_SECONDS)
            except StoreError as error:
                # What is held stays held: whoever cannot write here cannot write elsewhere either.
                _LOG.debug("announcing: %s", error)
            self._changed.wait(ANNOUNCE_SECONDS)
            self._changed.clear()
        # Here, not at the end alone: an announcement that the end did not wait for puts the lease back.
        self._withdraw()
