"""A store that is full already: events of the hours before, as the engines would have stored them."""

from __future__ import annotations

import json
import random
import time
from collections.abc import Iterator
from itertools import islice

import msgspec
from load import ENTITIES, OUTPUT, RESOURCES, Body, bodies
from msgspec import structs

from canopsis.core.alarm import Alarm, Step
from canopsis.core.event import Event
from canopsis.core.normalise import normalise
from canopsis.engines.eventstore import EventStore
from canopsis.engines.perfdata import Perfdata
from canopsis.ids import new_id
from canopsis.runtime.context import StoreContext
from canopsis.runtime.contract import Engine
from canopsis.store import alarms, event_log, metrics, write
from canopsis.store.client import Store
from canopsis.store.operations import Document, Operation

HOURS = 24
"""The events are spread over so many hours before now."""

_BATCH = 500


def fill(db: Store, count: int, size: int = _BATCH, *, beaten: bool = True) -> None:
    """Store ``count`` events, each entity's in order, ``size`` in a segment; put the log into shape as beats do."""
    if not count:
        return
    began = time.monotonic()
    stored = 0
    known = bodies("stored")
    write.apply(db, {metrics.NAMES: [*_metrics(known)]})
    for batch, received in _batches(known, count, size):
        write.apply(db, {event_log.COLLECTION: [*event_log.inserts(batch, {}, received)]})
        stored += len(batch)
        if stored % 500_000 < size:
            print(f"stored {stored:,} of {count:,} events, {time.monotonic() - began:.0f} s", flush=True)
    for engine in (Perfdata(8), EventStore()) if beaten else ():
        _beat_out(db, engine)
    print(f"the log is filled after {time.monotonic() - began:.0f} s", flush=True)


def _metrics(known: list[Body]) -> Iterator[Operation]:
    for body in known:
        event = _event(body, time.time())
        for value in event.perf_data_array:
            yield metrics.name(event.entity_id, value.metric, value.unit)


def _batches(known: list[Body], count: int, size: int) -> Iterator[tuple[list[Event], float]]:
    now = time.time()
    first = now - HOURS * 3600
    step = HOURS * 3600 / count
    generator = random.Random(1)
    for begin in range(0, count, size):
        moment = first + begin * step
        # The first entity has one in each batch: its series has a point every few seconds.
        chosen = [0, *(generator.randrange(1, ENTITIES) for _ in range(1, min(size, count - begin)))]
        yield [_event(known[entity], moment) for entity in chosen], moment


def _event(body: Body, moment: float) -> Event:
    raw = json.loads(body.by_state[0] + b"%.3f}" % moment)
    return normalise(raw | {"event_id": new_id(moment)}, moment)


def _beat_out(db: Store, engine: Engine) -> None:
    """Beat until there is nothing left to do."""
    more = True
    while more:
        context = StoreContext(db)
        effects = engine.beat(context.now, context)
        write.apply(db, effects.write)
        more = effects.more


def fill_alarms(db: Store, opened: int, resolved: int) -> None:
    """Store ``opened`` open alarms, ten of a component, and ``resolved`` ones that the same entities had before."""
    began = time.monotonic()
    now = time.time()
    documents = (_alarm(number, opened, now) for number in range(opened + resolved))
    stored = 0
    while batch := list(islice(documents, 5000)):
        db[alarms.COLLECTION].insert_many(batch)
        stored += len(batch)
        if stored % 500_000 == 0:
            print(f"stored {stored:,} alarms, {time.monotonic() - began:.0f} s", flush=True)


def _alarm(number: int, opened: int, now: float) -> Document:
    entity = number % opened
    component, resource = f"host{entity // RESOURCES:05d}.example.org", f"service{entity % RESOURCES}"
    is_open = number < opened
    age = (entity if is_open else number) * 7 % 2_000_000
    created = now - age - (0 if is_open else 86400)
    # One in a thousand is unknown, the others are warnings and critical ones.
    state = 3 if entity % 1000 == 0 else 1 + entity % 2
    step = Step(type="stateinc", t=created, author="bench", message=OUTPUT, value=state, e=f"e{number}")
    alarm = Alarm(
        id=f"{number * 2654435761 % (1 << 64):032x}",
        display_name=f"AL-{number}",
        open=is_open,
        entity_id=f"resource:{component}/{resource}",
        source_type="resource",
        connector=("nagios", "zabbix", "prometheus")[entity % 3],
        connector_name="bench",
        component=component,
        resource=resource,
        state=state,
        status=1 if is_open else 0,
        output=OUTPUT,
        initial_output=OUTPUT,
        created=created,
        updated=created + entity % 600,
        last_event=now,
        resolved=None if is_open else created + 3600,
        steps=[step, structs.replace(step, type="statusinc", value=1)],
    )
    return dict(msgspec.to_builtins(alarm))
