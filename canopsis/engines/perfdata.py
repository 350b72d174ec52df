"""Measured values become metrics: one document an event now, one an hour and series later."""

from __future__ import annotations

from collections.abc import Sequence

from canopsis.core.entity import partition_of
from canopsis.core.event import Event
from canopsis.runtime.contract import Batch, Context, Dead, Effects, Engine
from canopsis.runtime.manifest import Manifest, Place
from canopsis.store import metrics
from canopsis.store.operations import Document, Operation

HOUR = 3600
QUIET_SECONDS = 600
"""An hour is compacted when it is over for so long: what is a little late is already there."""

COMPACTED_AT_ONCE = 5000
"""Raw documents of one step of the beat."""

MOST_REMEMBERED = 1_000_000
"""Series in memory; beyond that all are forgotten and made known again."""

Series = tuple[str, str]
"""Entity id, metric."""


class Perfdata(Engine):
    """Writes the values of each event under entity, time and event id: a repeat changes nothing."""

    def __init__(self, partitions: int) -> None:
        self._partitions = partitions
        self._known: set[Series] = set()
        self._compacted: Document | None = None

    def process(self, batch: Batch, ctx: Context) -> Effects:
        """Forward every event; events without values add nothing."""
        effects = Effects(forward=list(batch.events))
        measured = [event for event in batch.events if event.perf_data_array]
        if measured:
            effects.write[metrics.RAW] = [_raw(event, ctx.now) for event in measured]
            names = self._new_names(measured)
            if names:
                effects.write[metrics.NAMES] = names
        return effects

    def beat(self, now: float, ctx: Context) -> Effects:
        """Turn raw documents of hours that are over into hourly ones, a part at a time. Raises StoreError."""
        before = (now - QUIET_SECONDS) // HOUR * HOUR
        found = ctx.ask(metrics.compactable, before, COMPACTED_AT_ONCE, self._compacted)
        self._compacted = found[-1]["_id"] if metrics.is_full(found, COMPACTED_AT_ONCE) else None
        dead = [_unreadable(document) for document in found if not metrics.is_compactable(document)]
        return Effects(write=metrics.compaction(found), dead=dead, more=self._compacted is not None)

    def forget(self, partitions: frozenset[int] | None) -> None:
        """Forget the series of ``partitions``."""
        if partitions is None:
            self._known.clear()
        else:
            self._known = {key for key in self._known if partition_of(key[0], self._partitions) not in partitions}

    def _new_names(self, events: Sequence[Event]) -> list[Operation]:
        known = self._known
        new: dict[Series, str | None] = {}
        for event in events:
            entity = event.entity_id
            for item in event.perf_data_array:
                if (entity, item.metric) not in known:
                    new[entity, item.metric] = item.unit
        if len(known) >= MOST_REMEMBERED:
            known.clear()
        known.update(new)
        return [metrics.name(entity, metric, unit) for (entity, metric), unit in new.items()]


def _unreadable(document: Document) -> Dead:
    body = repr(document).encode("utf-8", "backslashreplace")
    return Dead(body, "no hour can be made of these stored values", key=repr(document["_id"]))


def _raw(event: Event, now: float) -> Operation:
    items = event.perf_data_array
    values = {item.metric: item.value for item in items}
    units = {item.metric: item.unit for item in items if item.unit}
    return metrics.raw(event.entity_id, event.event_id, event.timestamp, values, units, received=now)


MANIFEST = Manifest(
    "perfdata", lambda _options, partitions: Perfdata(partitions), place=Place(after=("context", "alarm")), beats=True
)
