"""Every event that came this far is kept for a while, once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from msgspec import structs

from canopsis.core.event import Event
from canopsis.core.event_types import KEPT
from canopsis.core.identity import REUSED, Content, content_of, derived_id
from canopsis.engines import event_log_upkeep
from canopsis.runtime.contract import Batch, Context, Effects, Engine
from canopsis.runtime.manifest import Manifest, Place
from canopsis.store import event_log


class EventStore(Engine):
    """Adds the events of a batch to the event log, but those that are there. The database deletes what is old."""

    def process(self, batch: Batch, ctx: Context) -> Effects:
        """Forward every event and store it if its type is kept, with what was decided about it. Raises StoreError."""
        effects = Effects(forward=list(batch.events))
        kept = [event for event in batch.events if type(event) in KEPT]
        inserts = event_log.inserts(_new(kept, batch.envelope.logged, ctx), batch.envelope.trail, ctx.now)
        if inserts:
            effects.write[event_log.COLLECTION] = [*inserts]
        return effects

    def beat(self, now: float, ctx: Context) -> Effects:
        """Put the log into shape, a part at a time. Raises StoreError."""
        moving = event_log_upkeep.move(ctx)
        return moving if moving.more else event_log_upkeep.merge(now, ctx)


def _new(events: Sequence[Event], logged: Mapping[str, Content | None], ctx: Context) -> list[Event]:
    """Return those of ``events`` that are not stored yet, each once; another's id is replaced by an own one.

    What is ``logged`` is not asked for again.
    """
    stored = _stored(events, logged, ctx)
    new: dict[str, Event] = {}
    again: list[Event] = []
    for event in events:
        if event.event_id in stored or event.event_id in new:
            again.append(event)
        else:
            new[event.event_id] = event
    if again:
        others = [_under_own_id(event) for event in again if content_of(event) != _content(event, stored, new)]
        known = _stored(others, logged, ctx)
        for event in others:
            if event.event_id not in known:
                new.setdefault(event.event_id, event)
    return [*new.values()]


def _stored(events: Sequence[Event], logged: Mapping[str, Content | None], ctx: Context) -> dict[str, Content]:
    named = [(event.event_id, event.timestamp) for event in events if event.event_id not in logged]
    stored = ctx.ask(event_log.contents, named) if named else {}
    if len(named) < len(events):
        known = {event.event_id: logged.get(event.event_id) for event in events}
        stored |= {one: content for one, content in known.items() if content is not None}
    return stored


def _content(event: Event, stored: dict[str, Content], new: dict[str, Event]) -> Content:
    return stored[event.event_id] if event.event_id in stored else content_of(new[event.event_id])


def _under_own_id(event: Event) -> Event:
    own = derived_id(event.event_id, content_of(event))
    return structs.replace(event, event_id=own, warnings=[*event.warnings, REUSED])


MANIFEST = Manifest(
    "eventstore",
    lambda _options, _partitions: EventStore(),
    place=Place(after=("context", "alarm", "perfdata")),
    beats=True,
)
