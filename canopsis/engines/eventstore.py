"""Every event that came this far is kept for a while, under its id."""

from __future__ import annotations

from datetime import UTC, datetime

from canopsis.core.event import to_document
from canopsis.runtime.contract import Batch, Context, Effects
from canopsis.store.events import COLLECTION
from canopsis.store.keys import escaped
from canopsis.store.operations import Insert, Operation

NAME = "eventstore"


class EventStore:
    """Inserts events; the same event again changes nothing."""

    name = NAME

    def process(self, batch: Batch, ctx: Context) -> Effects:
        """Forward every event and store it."""
        received = datetime.fromtimestamp(ctx.now, UTC)
        inserts: list[Operation] = []
        for event in batch.events:
            document = to_document(event)
            document["received"] = received
            if event.extra:
                document["extra"] = escaped(event.extra)
            inserts.append(Insert(document))
        return Effects(forward=list(batch.events), write={COLLECTION: inserts} if inserts else {})

    def beat(self, now: float, ctx: Context) -> Effects:  # noqa: ARG002 - the contract's
        """Do nothing: the database deletes what is old."""
        return Effects()

    def forget(self, partitions: frozenset[int] | None) -> None:
        """Nothing is remembered."""
