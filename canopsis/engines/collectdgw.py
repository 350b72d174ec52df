"""What collectd publishes becomes ``perf`` events of the chain; counters become rates."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated

from canopsis.runtime.contract import Batch, Context, Dead, Drop, Effects, Engine, Raw
from canopsis.runtime.manifest import Manifest, Options, Place, paths
from canopsis.sources import types_db
from canopsis.sources.collectd import Mapped, map_message
from canopsis.sources.rates import FIRST, Counters
from canopsis.transport.topology import COLLECTD

EXPIRY_SECONDS = 3600.0
"""A counter that was not heard of for so long begins anew."""

NO_VALUE = "no-value"
"""What a drop names: there is a list of values, but no value to go on with."""


class CollectdOptions(Options, frozen=True):
    """Which types of values are known."""

    types_db: Annotated[tuple[str, ...], paths("Own types.db files of collectd; `collectd_types_db` writes them.")] = ()


class CollectdGateway(Engine):
    """Takes raw messages of collectd's amqp plugin.

    The last value of each counter is in memory, and not forgotten with partitions: no other instance
    changes it, and without it a rate is missing.
    ``own_types`` are types.db files. Raises ConfigError for one that cannot be read or understood.
    """

    def __init__(self, own_types: Iterable[str] = ()) -> None:
        self._types = types_db.types_with(own_types)
        self._counters = Counters()
        self._expired_at = 0.0

    def process(self, batch: Batch, ctx: Context) -> Effects:
        """Forward an event for each list of values; a line that is wrong is a dead letter of its own."""
        self._expire(ctx.now)
        effects = Effects()
        for raw in batch.raw:
            now = ctx.now if raw.received is None else raw.received
            found = map_message(raw.body, now, self._types, self._counters)
            effects.incoming += len(found)
            for index, mapped in enumerate(found):
                _sort(raw, index, mapped, len(found) == 1, effects)
        return effects

    def _expire(self, now: float) -> None:
        if now - self._expired_at > EXPIRY_SECONDS / 4:
            self._counters.expire(now - EXPIRY_SECONDS)
            self._expired_at = now


def _sort(raw: Raw, index: int, mapped: Mapped, alone: bool, effects: Effects) -> None:
    if mapped.error is not None:
        body = raw.body if alone else mapped.source.encode()
        effects.dead.append(Dead.of(raw, str(mapped.error), mapped.error.field, body=body, index=index))
    elif mapped.event is not None:
        effects.forward.append(mapped.event)
    else:
        effects.drop.append(Drop(mapped.source, NO_VALUE, "; ".join(mapped.notes) or FIRST))


MANIFEST = Manifest(
    "collectdgw",
    lambda options, _partitions: CollectdGateway(options.types_db),
    input="raw",
    binding=(COLLECTD, "collectd"),
    options=CollectdOptions,
    place=Place("cleaner", next=("cleaner_events",)),
    check=lambda options: types_db.types_with(options.types_db),
)
