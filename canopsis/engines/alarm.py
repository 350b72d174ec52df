"""The life cycle of alarms: open alarms in memory, one guarded write an alarm a batch, an alert a change."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Annotated

import msgspec
from msgspec import structs

from canopsis.core.alarm import Alarm
from canopsis.core.alert import alert_body, alert_routing_key
from canopsis.core.change import Change, LifecycleRules
from canopsis.core.entity import partition_of
from canopsis.core.event import Action, Event, routing_key
from canopsis.core.event_types.check import Check
from canopsis.core.lifecycle import ACTING, WAKE_AT, apply, is_late, is_quiet, outcome_of
from canopsis.core.timers import next_wake, woken
from canopsis.engines.alarm_past import Past
from canopsis.engines.alarm_writes import Writing
from canopsis.runtime.bysource import source_of
from canopsis.runtime.contract import Batch, Context, Effects, Engine, Outgoing, encode
from canopsis.runtime.manifest import Manifest, Options, Place, about, seconds
from canopsis.store import alarms, event_log
from canopsis.transport.topology import ALERTS, EVENTS

_LONGEST_DELAY = 3.2e7

MOST_DUE = 10_000
"""Alarms that one beat wakes."""

MOST_REMEMBERED = 1_000_000
"""Entities in memory; beyond that all are forgotten and read again."""

_ENCODER = msgspec.json.Encoder()


class AlarmOptions(Options, frozen=True):
    """How long alarms stay open, and what opens them."""

    resolve_delay: Annotated[
        float, seconds(0, _LONGEST_DELAY, "An alarm that is back to OK is resolved after this.")
    ] = 60.0
    cancel_resolve_delay: Annotated[float, seconds(0, _LONGEST_DELAY, "A cancelled alarm is resolved after this.")] = (
        3600.0
    )
    soft_states: Annotated[bool, about("Whether soft states (`state_type` 0) open, move and close alarms.")] = False


@dataclass(slots=True)
class _Known:
    """What is remembered of an entity: its open alarm, and the time of its newest check.

    ``newest`` is that of checks that came since the entity is remembered; of those before too once the
    event log was ``asked``. ``unwritten`` is how many checks came since the alarm changed.
    """

    alarm: Alarm | None
    newest: float | None = None
    asked: bool = False
    unwritten: int = 0

    def see(self, timestamp: float | None, now: float) -> None:
        """Take note of the time of a check; one that is yet to come (a clock was ahead) is none."""
        if self.newest is not None and self.newest > now:
            self.newest, self.asked = None, False
        if timestamp is not None and (self.newest is None or timestamp > self.newest):
            self.newest = min(timestamp, now)

    def current(self, now: float) -> Alarm | None:
        """Return the alarm, with the time of the newest check and how many came: both move in memory alone."""
        alarm, newest = self.alarm, self.newest
        if alarm is None or newest is None or (alarm.last_event == newest and not self.unwritten):
            return alarm
        is_behind = alarm.last_event < newest or alarm.last_event > now
        last = newest if is_behind else alarm.last_event
        return structs.replace(alarm, last_event=last, events_count=alarm.events_count + self.unwritten)


@dataclass(slots=True)
class _Work:
    """What comes of a batch."""

    effects: Effects
    writing: Writing
    now: float


class AlarmEngine(Engine):
    """Remembers for each entity its open alarm, or that it has none: quiet events read and write nothing."""

    def __init__(self, options: AlarmOptions, partitions: int) -> None:
        self._partitions = partitions
        self._memory: dict[str, _Known] = {}
        self._checked = False
        """Whether the beat has looked for alarms that were timed by other delays."""
        self._rules = LifecycleRules(**structs.asdict(options))

    def process(self, batch: Batch, ctx: Context) -> Effects:
        """Forward every event; write and tell what it changes. Raises StoreError before anything is remembered."""
        effects = Effects(forward=list(batch.events))
        acting = [place for place, event in enumerate(batch.events) if type(event) in ACTING]
        events = [batch.events[place] for place in acting]
        self._recall(events, ctx)
        memory, now = self._memory, ctx.now
        moving = {event.entity_id for event in events if not is_quiet(event, *self._where(event), now)}
        past = self._past([event for event in events if event.entity_id in moving], moving, ctx)
        if past is not None:
            effects.envelope.logged = past.logged
        work = _Work(effects, Writing(ctx.new_id), now)
        for place, event in zip(acting, events, strict=True):
            if past is not None and event.entity_id in moving:
                effects.forward[place] = self._act(event, work, past)
                continue
            own = event if past is None else past.identify(event)[0]
            effects.forward[place] = _let_pass(own, memory[own.entity_id], effects, now)
        effects.write = work.writing.writes(events, [effects.forward[place] for place in acting])
        return effects

    def beat(self, now: float, ctx: Context) -> Effects:
        """Publish an event for each thing that is due to happen to an alarm by itself. Raises StoreError."""
        rules = self._rules
        due = ctx.ask(alarms.due, now, MOST_DUE)
        if not self._checked:
            perhaps = ctx.ask(alarms.perhaps_mistimed, MOST_DUE)
            seen = {alarm.id for alarm in due}
            due += [each for each in perhaps if each.id not in seen and next_wake(each, rules) != each.wake_at]
            self._checked = True
        events = [event for alarm in due for event in woken(alarm, rules, now)]
        return Effects(publish=[Outgoing(EVENTS, routing_key(event), encode(event)) for event in events])

    def forget(self, partitions: frozenset[int] | None) -> None:
        """Forget the alarms of ``partitions``."""
        if partitions is None:
            self._memory.clear()
            return
        for entity in [entity for entity in self._memory if partition_of(entity, self._partitions) in partitions]:
            del self._memory[entity]

    def _where(self, event: Event) -> tuple[Alarm | None, LifecycleRules]:
        return self._memory[event.entity_id].alarm, self._rules

    def _past(self, events: Sequence[Event], moving: Collection[str], ctx: Context) -> Past | None:
        """Ask for the past of ``events``, all those on the entities that may change: quiet ones cost nothing."""
        if not events:
            return None
        memory, now = self._memory, ctx.now
        past = Past(events, {entity: memory[entity].alarm for entity in moving}, ctx)
        for entity in moving:
            memory[entity].see(None, now)
        unknown: dict[str, float] = {}
        for event in events:
            if type(event) is Check and not memory[event.entity_id].asked:
                unknown[event.entity_id] = min(event.timestamp, unknown.get(event.entity_id, event.timestamp))
        newest = ctx.ask(event_log.newest_checks, unknown, now) if unknown else {}
        for entity in unknown:
            memory[entity].see(newest.get(entity), now)
            memory[entity].asked = True
        return past

    def _act(self, event: Event, work: _Work, past: Past) -> Event:
        """Do what ``event`` does to the alarm of its entity; return it as it is to go on."""
        known, effects, now = self._memory[event.entity_id], work.effects, work.now
        alarm = known.current(now)
        own, came = past.identify(event)
        came = came or past.is_written(own, alarm)
        if came or own is not event:
            effects.count(source_of(event), "repeated")
        if came:
            again = past.again(own, alarm)
            if again is not None:
                _tell(again, own, effects)
            return _with_outcome(own, alarm, again)
        change = apply(own, alarm, self._rules, now, known.newest)
        own = _see(own, known, effects, now) if type(own) is Check else own
        if change is not None:
            known.alarm, known.unwritten = _take(change, alarm, own, work), 0
        return _with_outcome(own, alarm, change)

    def _recall(self, events: Sequence[Event], ctx: Context) -> None:
        memory = self._memory
        unknown = {event.entity_id for event in events if event.entity_id not in memory}
        if not unknown:
            return
        found = ctx.ask(alarms.open_alarms, sorted(unknown))
        if len(memory) >= MOST_REMEMBERED:
            memory.clear()
            unknown = {event.entity_id for event in events}
            found = ctx.ask(alarms.open_alarms, sorted(unknown))
        for entity in unknown:
            alarm = found.get(entity)
            memory[entity] = _Known(alarm, None if alarm is None else alarm.last_event)


def _take(change: Change, before: Alarm | None, event: Event, work: _Work) -> Alarm | None:
    """Have a change written and told; return the alarm to remember."""
    after = change.alarm
    if change.kind != "seen":
        if change.steps or change.fields != WAKE_AT:
            _tell(change, event, work.effects)
        after = work.writing.add(before, change)
    return after if after.open else None


def _let_pass(event: Event, known: _Known, effects: Effects, now: float) -> Event:
    """Return a quiet event as it is to go on."""
    if type(event) is not Check:
        return _with_outcome(event, known.alarm, None)
    known.unwritten += 1
    return _see(event, known, effects, now)


def _with_outcome(event: Event, alarm: Alarm | None, change: Change | None) -> Event:
    """Return an event, an action with what came of it."""
    if not isinstance(event, Action):
        return event
    return structs.replace(event, outcome=outcome_of(event, alarm, change))


def _see(event: Check, known: _Known, effects: Effects, now: float) -> Check:
    """Take note of a check; return it, marked where it is late."""
    if is_late(event.timestamp, known.newest, now):
        effects.count(source_of(event), "late")
        return structs.replace(event, late=True)
    known.see(event.timestamp, now)
    return event


def _tell(change: Change, event: Event, effects: Effects) -> None:
    """Tell subscribers and the engines to come what became of an alarm."""
    body = alert_body(change, event)
    effects.envelope.alerts[event.event_id] = body
    effects.publish.append(Outgoing(ALERTS, alert_routing_key(change, event), _ENCODER.encode(body)))


MANIFEST = Manifest("alarm", AlarmEngine, options=AlarmOptions, place=Place(after=("context",)), beats=True)
