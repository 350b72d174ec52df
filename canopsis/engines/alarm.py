"""The life cycle of alarms: open alarms in memory, one guarded write an alarm a batch, an alert a change."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import msgspec

from canopsis.core.alarm import Alarm, Step
from canopsis.core.alert import alert_body, alert_routing_key
from canopsis.core.entity import partition_of
from canopsis.core.event import AnyEvent, Log, Perf, Resolve, routing_key
from canopsis.core.lifecycle import Change, LifecycleRules, apply
from canopsis.runtime.contract import Batch, Context, Effects, Outgoing, encode
from canopsis.store.alarms import COLLECTION
from canopsis.store.operations import Document, Guarded, Insert, Operation
from canopsis.transport.topology import ALERTS, EVENTS

NAME = "alarm"

RESOLVE_DELAY = 60.0
CANCEL_RESOLVE_DELAY = 3600.0

MOST_REMEMBERED = 1_000_000
"""Entities in memory; beyond that all are forgotten and read again."""

_ENCODER = msgspec.json.Encoder()


@dataclass(slots=True)
class _Pending:
    """What a batch does to one alarm. ``rev`` is the stored revision, None while the alarm is new."""

    rev: int | None
    alarm: Alarm
    fields: set[str] = field(default_factory=set)
    steps: list[Step] = field(default_factory=list)


class AlarmEngine:
    """Remembers for each entity its open alarm, or that it has none: quiet events read and write nothing."""

    name = NAME

    def __init__(self, options: Mapping[str, object], partitions: int) -> None:
        self._partitions = partitions
        self._memory: dict[str, Alarm | None] = {}
        self._rules = LifecycleRules(
            resolve_delay=_seconds(options, "resolve_delay", RESOLVE_DELAY),
            cancel_resolve_delay=_seconds(options, "cancel_resolve_delay", CANCEL_RESOLVE_DELAY),
        )

    def process(self, batch: Batch, ctx: Context) -> Effects:
        """Forward every event; write and tell what it changes. Raises StoreError before anything is remembered."""
        effects = Effects(forward=list(batch.events))
        acting = [event for event in batch.events if not isinstance(event, (Perf, Log))]
        self._recall(acting, ctx)
        resolved = self._resolved_before(acting, ctx)
        memory, rules = self._memory, self._rules
        pending: dict[str, _Pending] = {}
        for event in acting:
            before = memory[event.entity_id]
            change = apply(event, before or resolved.get(event.event_id), rules)
            if change is None or _is_known(event, before, change):
                continue
            if change.kind != "repeat":
                memory[event.entity_id] = change.alarm if change.alarm.open else None
            if change.kind != "seen":
                effects.publish.append(_alert(change, event))
                _collect(pending, before, change)
        if pending:
            _sign(pending.values(), acting)
            effects.write = {COLLECTION: [_operation(work) for work in pending.values()]}
        return effects

    def beat(self, now: float, ctx: Context) -> Effects:
        """Publish a ``resolve`` event for each alarm whose delay is over. Raises StoreError."""
        rules = self._rules
        due = ctx.due_alarms(now - rules.resolve_delay, now - rules.cancel_resolve_delay)
        return Effects(publish=[_resolve(alarm, now) for alarm in due])

    def forget(self, partitions: frozenset[int] | None) -> None:
        """Forget the alarms of ``partitions``."""
        if partitions is None:
            self._memory.clear()
            return
        for entity in [entity for entity in self._memory if partition_of(entity, self._partitions) in partitions]:
            del self._memory[entity]

    def _resolved_before(self, events: Sequence[AnyEvent], ctx: Context) -> dict[str, Alarm]:
        """Return, by event id, the alarms that ``resolve`` events of this batch may have resolved before.

        Such an event comes again when its alert may not have gone out.
        """
        again = {
            event.entity_id: event.event_id
            for event in events
            if isinstance(event, Resolve) and self._memory[event.entity_id] is None
        }
        found = ctx.latest_alarms(sorted(again)) if again else {}
        return {again[entity]: alarm for entity, alarm in found.items() if not alarm.open}

    def _recall(self, events: Sequence[AnyEvent], ctx: Context) -> None:
        memory = self._memory
        unknown = {event.entity_id for event in events if event.entity_id not in memory}
        if not unknown:
            return
        found = ctx.open_alarms(sorted(unknown))
        if len(memory) >= MOST_REMEMBERED:
            memory.clear()
            unknown = {event.entity_id for event in events}
            found = ctx.open_alarms(sorted(unknown))
        memory.update({entity: found.get(entity) for entity in unknown})


def _seconds(options: Mapping[str, object], name: str, default: float) -> float:
    value = options.get(name, default)
    return float(value) if isinstance(value, (int, float, str)) else default


def _collect(pending: dict[str, _Pending], before: Alarm | None, change: Change) -> None:
    alarm = change.alarm
    if change.kind == "repeat":
        return
    work = pending.get(alarm.id)
    if work is None:
        work = pending[alarm.id] = _Pending(None if before is None else before.rev, alarm)
    alarm.rev = 1 if work.rev is None else work.rev + 1
    work.alarm = alarm
    work.fields |= change.fields
    work.steps += change.steps


def _is_known(event: AnyEvent, before: Alarm | None, change: Change) -> bool:
    """Tell whether ``event`` came before and had no effect then: it is to have none now."""
    return before is not None and change.kind != "repeat" and event.event_id in before.written_by


def _sign(works: Iterable[_Pending], events: Sequence[AnyEvent]) -> None:
    """Note in each alarm all events of the batch on its entity: delivered again, they are known.

    One that had no effect (an acknowledge before the alarm opened) could have one the second time.
    """
    ids: dict[str, list[str]] = {work.alarm.entity_id: [] for work in works}
    for event in events:
        if event.entity_id in ids:
            ids[event.entity_id].append(event.event_id)
    for work in works:
        work.alarm.written_by = ids[work.alarm.entity_id]


def _operation(work: _Pending) -> Operation:
    if work.rev is None:
        return Insert(msgspec.to_builtins(work.alarm))
    # Repeats move it in memory alone: whenever anything is written it goes along.
    names = work.fields | {"last_event", "written_by"}
    change: Document = {"$set": {name: msgspec.to_builtins(getattr(work.alarm, name)) for name in names}}
    if work.steps:
        change["$push"] = {"steps": {"$each": msgspec.to_builtins(work.steps)}}
    return Guarded(work.alarm.id, work.rev, change)


def _alert(change: Change, event: AnyEvent) -> Outgoing:
    body: dict[str, Any] = alert_body(change, event)
    return Outgoing(ALERTS, alert_routing_key(change, event), _ENCODER.encode(body))


def _resolve(alarm: Alarm, now: float) -> Outgoing:
    event = Resolve(
        connector=alarm.connector,
        connector_name=alarm.connector_name,
        component=alarm.component,
        resource=alarm.resource,
        source_type="resource" if alarm.resource is not None else "component",
        timestamp=now,
    )
    return Outgoing(EVENTS, routing_key(event), encode(event))
