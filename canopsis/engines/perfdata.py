"""Measured values: a metric that is new is made known; hours of the event log that are over become hourly documents."""

from __future__ import annotations

from collections.abc import Sequence

from canopsis.core.entity import partition_of
from canopsis.core.event import Event
from canopsis.runtime.contract import Batch, Context, Effects, Engine
from canopsis.runtime.manifest import Manifest, Place
from canopsis.store import event_log, metrics, segments
from canopsis.store.event_log import Progress
from canopsis.store.operations import Operation

HOUR = 3600
QUIET_SECONDS = 600
"""An hour is compacted when it is over for so long: what is a little late is already there."""

SEGMENTS_AT_ONCE = 2000
BYTES_AT_ONCE = 32 << 20
"""What is read of the log at once: what it has of one series is written together."""

VALUES_AT_ONCE = 100_000
"""What one step of the beat writes."""

MOST_REMEMBERED = 1_000_000
"""Series in memory; beyond that all are forgotten and made known again."""

Series = tuple[str, str]
"""Entity id, metric."""


class Perfdata(Engine):
    """Makes metrics known; its beat makes hourly documents of the values in the event log."""

    def __init__(self, partitions: int) -> None:
        self._partitions = partitions
        self._known: set[Series] = set()
        self._compaction = _Compaction()

    def process(self, batch: Batch, ctx: Context) -> Effects:  # noqa: ARG002 - the contract's
        """Forward every event; only a metric that is new is written."""
        effects = Effects(forward=list(batch.events))
        names = self._new_names([event for event in batch.events if event.perf_data_array])
        if names:
            effects.write[metrics.NAMES] = names
        return effects

    def beat(self, now: float, ctx: Context) -> Effects:
        """Put the values of hours that are over into hourly documents, a part at a time. Raises StoreError."""
        return self._compaction.step(segments.position((now - QUIET_SECONDS) // HOUR * HOUR), ctx)

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


class _Compaction:
    """What was read of the log and is not in hourly documents yet, by entity.

    Each step notes in the database how far it came: one that was not written, or another instance that went on
    meanwhile, shows there, and the log is read again.
    """

    def __init__(self) -> None:
        self._left: list[tuple[str, list[bytes]]] = []
        self._goal = 0
        self._reached = Progress()

    def step(self, before: int, ctx: Context) -> Effects:
        """Return the writes of the next part of what the log has up to ``before``."""
        reached = ctx.ask(event_log.progress, event_log.HOURLY)
        if not self._left or reached != self._reached:
            self._read(reached, before, ctx)
            if self._goal == reached.segment:
                return Effects()
        hourly: list[Operation] = []
        count = 0
        while self._left and count < VALUES_AT_ONCE:
            entity, packed = self._left.pop()
            series = segments.series_of(packed)
            count += sum(map(len, series.values()))
            hourly += metrics.hourly(entity, series)
        self._reached = Progress(reached.segment, reached.part + 1) if self._left else Progress(self._goal)
        return Effects(
            write={metrics.HOURLY: hourly, event_log.PROGRESS: [event_log.note(event_log.HOURLY, self._reached)]},
            more=True,
        )

    def _read(self, reached: Progress, before: int, ctx: Context) -> None:
        found = ctx.ask(event_log.values_behind, reached.segment, before, SEGMENTS_AT_ONCE)
        self._goal = reached.segment
        by_entity: dict[str, list[bytes]] = {}
        size = 0
        for segment in found:
            if size > BYTES_AT_ONCE:
                break
            for entity, packed in segments.packed_values(segment).items():
                by_entity.setdefault(entity, []).append(packed)
                size += len(packed)
            self._goal = segment["_id"]
        self._left = [*by_entity.items()]


MANIFEST = Manifest(
    "perfdata", lambda _options, partitions: Perfdata(partitions), place=Place(after=("context", "alarm")), beats=True
)
