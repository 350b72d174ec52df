"""A store that is full already: events of the hours before, as the engines would have stored them."""

from __future__ import annotations

import json
import random
import time
from collections.abc import Iterator

from load import ENTITIES, Body, bodies

from canopsis.core.event import Event
from canopsis.core.normalise import normalise
from canopsis.engines.eventstore import EventStore
from canopsis.engines.perfdata import Perfdata
from canopsis.runtime.context import StoreContext
from canopsis.runtime.contract import Engine
from canopsis.store import event_log, write
from canopsis.store.client import Store

HOURS = 24
"""The events are spread over so many hours before now."""

_BATCH = 500


def fill(db: Store, count: int) -> None:
    """Store ``count`` events, each entity's in order, and put the log into shape as the beats do."""
    if not count:
        return
    began = time.monotonic()
    stored = 0
    for batch, received in _batches(bodies("stored"), count):
        write.apply(db, {event_log.COLLECTION: [*event_log.inserts(batch, {}, received)]})
        stored += len(batch)
        if stored % 500_000 < _BATCH:
            print(f"stored {stored:,} of {count:,} events, {time.monotonic() - began:.0f} s", flush=True)
    for engine in (Perfdata(8), EventStore()):
        _beat_out(db, engine)
    print(f"the log is in shape after {time.monotonic() - began:.0f} s", flush=True)


def _batches(known: list[Body], count: int) -> Iterator[tuple[list[Event], float]]:
    now = time.time()
    first = now - HOURS * 3600
    step = HOURS * 3600 / count
    generator = random.Random(1)
    for begin in range(0, count, _BATCH):
        moment = first + begin * step
        yield [_event(known, generator, begin + at, moment) for at in range(min(_BATCH, count - begin))], moment


def _event(known: list[Body], generator: random.Random, number: int, moment: float) -> Event:
    raw = json.loads(known[generator.randrange(ENTITIES)].by_state[0] + b"%.3f}" % moment)
    return normalise(raw | {"event_id": f"stored{number:026d}"}, moment)


def _beat_out(db: Store, engine: Engine) -> None:
    """Beat until there is nothing left to do."""
    more = True
    while more:
        context = StoreContext(db)
        effects = engine.beat(context.now, context)
        write.apply(db, effects.write)
        more = effects.more
