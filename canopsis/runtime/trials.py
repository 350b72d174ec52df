"""Messages that came back from a process that ended: each is handled alone, and not for ever.

What makes an engine raise is caught and put aside at once. What ends the process itself (memory, a
fault in a library) leaves nothing but the broker's count of deliveries.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Sequence
from hashlib import blake2b

from canopsis.errors import StoreError
from canopsis.store import trials
from canopsis.store.client import Store
from canopsis.transport.consumer import Delivery

RETURNED = 2
"""A message that came back so often is suspected: once happens to every message under way at a restart."""

MOST_DEATHS = 2
"""Processes that may end with a message alone in their hands. One may have been killed by somebody just then."""

_LOG = logging.getLogger(__name__)


def is_suspect(delivery: Delivery) -> bool:
    """Tell whether ``delivery`` came back more often than restarts explain."""
    if not delivery.redelivered:
        return False
    returned = delivery.deliveries
    # A classic queue only says that it came back.
    return returned is None or returned >= RETURNED


def groups(deliveries: Sequence[Delivery]) -> Iterator[list[Delivery]]:
    """Yield ``deliveries`` in order: each suspect alone, what stands between them together."""
    group: list[Delivery] = []
    for delivery in deliveries:
        if not is_suspect(delivery):
            group.append(delivery)
            continue
        if group:
            yield group
        yield [delivery]
        group = []
    if group:
        yield group


def key_of(delivery: Delivery) -> str:
    """Return what tells a message from others over redeliveries. Equal messages are one."""
    digest = blake2b(digest_size=16)
    for part in (delivery.queue.encode(), delivery.message_id.encode(), delivery.body):
        digest.update(len(part).to_bytes(8, "big") + part)
    return digest.hexdigest()


def end_all(db: Store, keys: Iterable[str]) -> None:
    """Take the marks of ``keys`` away; never raises: one that stays is forgotten a day later."""
    try:
        for key in keys:
            trials.end(db, key)
    except StoreError as error:
        _LOG.warning("the mark of a trial stays: %s", error)
