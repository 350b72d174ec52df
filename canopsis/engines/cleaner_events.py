"""The door of the chain: whatever came becomes a normalised event with an id, or a dead letter."""

from __future__ import annotations

from hashlib import blake2b
from typing import Any

from canopsis.core import body
from canopsis.core.normalise import decode, normalise
from canopsis.errors import InvalidEvent
from canopsis.runtime.bysource import UNKNOWN, source_of, source_of_raw
from canopsis.runtime.contract import Batch, Context, Dead, Effects, Engine, Raw
from canopsis.runtime.manifest import Manifest, Place
from canopsis.transport.topology import EVENTS


class CleanerEvents(Engine):
    """Takes raw messages: a JSON object or an array of objects each."""

    def process(self, batch: Batch, ctx: Context) -> Effects:
        """Forward the good elements of each message; each bad one is a dead letter of its own."""
        effects = Effects()
        for raw in batch.raw:
            _clean(raw, ctx, effects)
        return effects


def _clean(raw: Raw, ctx: Context, effects: Effects) -> None:
    try:
        elements = decode(raw.body)
    except InvalidEvent as error:
        effects.incoming += 1
        effects.count(UNKNOWN, "refused")
        effects.dead.append(Dead.of(raw, str(error), error.field))
        return
    effects.incoming += len(elements)
    received = raw.received
    now = ctx.now if received is None else received
    ids = _Ids(raw, ctx)
    for index, element in enumerate(elements):
        try:
            event = normalise(element, now)
        except InvalidEvent as error:
            effects.dead.append(_dead_element(raw, element, index, len(elements), error))
            effects.count(source_of_raw(element), "refused")
            continue
        if event.warnings:
            effects.count(source_of(event), "warnings")
        if not event.event_id:
            event.event_id = ids.derive(index, has_time=event.timestamp != now)
        effects.forward.append(event)


class _Ids:
    """Ids for the elements of one message: the same ones when the broker delivers it again."""

    def __init__(self, raw: Raw, ctx: Context) -> None:
        self._ctx = ctx
        self._stable = raw.message_id or ("" if raw.stamp is None else str(raw.stamp))
        self._body = raw.body
        self._begun: Any = None

    def derive(self, index: int, *, has_time: bool) -> str:
        """Return the id of the element at ``index``; ``has_time`` tells whether it has a time of its own.

        One that has none, and no message id, looks the same each time that its source says it again.
        """
        if not self._stable and not has_time:
            return self._ctx.new_id()
        if self._begun is None:
            self._begun = blake2b(self._stable.encode() + b"\0" + self._body, digest_size=16)
        digest = self._begun.copy()
        digest.update(b"\0%d" % index)
        return str(digest.hexdigest())


def _dead_element(raw: Raw, element: dict[str, Any], index: int, count: int, error: InvalidEvent) -> Dead:
    if count == 1:
        return Dead.of(raw, str(error), error.field)
    return Dead.of(raw, str(error), error.field, body=body.encode(element), index=index)


MANIFEST = Manifest(
    "cleaner_events",
    lambda _options, _partitions: CleanerEvents(),
    input="raw",
    binding=(EVENTS, "#"),
    place=Place("cleaner"),
)
