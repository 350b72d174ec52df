"""Every event that came this far is kept for a while, under its id."""

from __future__ import annotations

from datetime import UTC, datetime

import msgspec

from canopsis.core.event import to_document
from canopsis.runtime.contract import Batch, Context, Effects, Engine
from canopsis.runtime.manifest import Manifest, Place
from canopsis.store.events import COLLECTION
from canopsis.store.keys import escaped
from canopsis.store.operations import Insert, Operation


class EventStore(Engine):
    """Inserts events; the same event again changes nothing. The database deletes what is old."""

    def process(self, batch: Batch, ctx: Context) -> Effects:
        """Forward every event and store it, with what was decided about it."""
        received = datetime.fromtimestamp(ctx.now, UTC)
        inserts: list[Operation] = []
        trail = batch.envelope.trail
        for event in batch.events:
            document = to_document(event)
            document["received"] = received
            if event.extra:
                document["extra"] = escaped(event.extra)
            if event.event_id in trail:
                document["trail"] = [*msgspec.to_builtins(trail[event.event_id])]
            inserts.append(Insert(document))
        return Effects(forward=list(batch.events), write={COLLECTION: inserts} if inserts else {})


MANIFEST = Manifest(
    "eventstore", lambda _options, _partitions: EventStore(), place=Place(after=("context", "alarm", "perfdata"))
)
