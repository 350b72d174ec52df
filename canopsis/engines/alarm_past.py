"""What is known of the past of those events of a batch that may change something.

An event that was handled before is in the event log, under its id. When a crash came between the
write of alarms and that of events, it is in the alarm: in a step that it made, or in ``written_by``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from msgspec import structs

from canopsis.core.alarm import Alarm, Step
from canopsis.core.change import Change, alarm_id
from canopsis.core.event import Event
from canopsis.core.event_types.check import Check
from canopsis.core.event_types.resolve import Resolve
from canopsis.core.identity import REUSED, Content, content_of, derived_id
from canopsis.core.lifecycle import made_by
from canopsis.runtime.contract import Context
from canopsis.store import alarm_steps, event_log
from canopsis.store import alarms as stored_alarms


class Past:
    """Asks once for all events of a batch that may act. Raises StoreError when made, at no other time.

    ``events`` are in order; ``alarms`` has the open alarm of each of their entities, or None. ``logged`` is what the
    event log has under their ids, None for nothing.
    """

    def __init__(self, events: Sequence[Event], alarms: Mapping[str, Alarm | None], ctx: Context) -> None:
        self.logged = _logged(events, ctx)
        self._log = {one: content for one, content in self.logged.items() if content is not None}
        self._ended = _ended(events, alarms, self._log, ctx)
        self._steps = self._steps_made(events, alarms, ctx)

    def identify(self, event: Event) -> tuple[Event, bool]:
        """Return the event, under an id of its own where its is another's, and whether it came before."""
        if not event.event_id:
            return event, False
        content = content_of(event)
        known = self._log.setdefault(event.event_id, content)
        if known is content:
            return event, False
        if known == content:
            return event, True
        own = structs.replace(event, event_id=derived_id(event.event_id, content), warnings=[*event.warnings, REUSED])
        came = own.event_id in self._log
        self._log[own.event_id] = content
        return own, came

    def is_written(self, event: Event, alarm: Alarm | None) -> bool:
        """Tell whether ``event`` is one of those that an alarm of its entity was last written by, or made steps."""
        return any(event.event_id in one.written_by or self._made(event, one) for one in self._alarms(event, alarm))

    def again(self, event: Event, alarm: Alarm | None) -> Change | None:
        """Return what an event that came before did then, None when it did nothing that is still known."""
        for found in self._alarms(event, alarm):
            made = self._made(event, found)
            if made:
                return Change("repeat", found, made, frozenset())
        return None

    def _alarms(self, event: Event, alarm: Alarm | None) -> list[Alarm]:
        """Return the alarms that ``event`` may have changed before: the open one, and those that ended."""
        ended = self._ended.get(event.entity_id, [])
        return ended if alarm is None else [alarm, *ended]

    def _made(self, event: Event, alarm: Alarm) -> tuple[Step, ...]:
        return made_by(event.event_id, alarm) or tuple(self._steps.get((alarm.id, event.event_id), ()))

    def _steps_made(
        self, events: Sequence[Event], alarms: Mapping[str, Alarm | None], ctx: Context
    ) -> dict[tuple[str, str], list[Step]]:
        """Return steps of events that came before and are in an alarm no more, by alarm and event."""
        known: dict[str, tuple[Alarm, set[str]]] = {}
        for event in events:
            for alarm in self._alarms(event, alarms[event.entity_id]):
                if alarm.older:
                    known.setdefault(alarm.id, (alarm, set()))[1].update(self._ids_of(event, alarm))
        found: dict[tuple[str, str], list[Step]] = {}
        for alarm, ids in known.values():
            there = {step.e for step in alarm.steps}
            if ids - there:
                # Those of its last write are together: none of them, and the search is over.
                for step in ctx.ask(alarm_steps.made_by, alarm.older, ids.union(alarm.written_by)):
                    found.setdefault((alarm.id, step.e), []).append(step)
        return found

    def _ids_of(self, event: Event, alarm: Alarm) -> list[str]:
        """Return the ids under which ``event`` came before, none when it did not."""
        return [one for one in _ids(event, self._log) if one in self._log or one in alarm.written_by]


def _logged(events: Sequence[Event], ctx: Context) -> dict[str, Content | None]:
    """Return what the event log has under the ids of ``events``, and under those derived where theirs are others'."""
    named = [(event.event_id, event.timestamp) for event in events]
    log = ctx.ask(event_log.contents, named)
    seen = dict(log)
    derived: set[tuple[str, float]] = set()
    for event in events:
        content = content_of(event)
        if seen.setdefault(event.event_id, content) != content:
            derived.add((derived_id(event.event_id, content), event.timestamp))
    if derived:
        log |= ctx.ask(event_log.contents, derived)
    return {one: log.get(one) for one, _ in (*named, *derived)}


def _ids(event: Event, log: Mapping[str, Content]) -> tuple[str, ...]:
    """Return the ids that ``event`` may have: its own, and one derived where that is another's."""
    if event.event_id not in log:
        return (event.event_id,)
    return event.event_id, derived_id(event.event_id, content_of(event))


def _is_new_to(alarm: Alarm | None, event: Resolve) -> bool:
    """Tell whether the alarm can be one that opened after ``event`` resolved another."""
    return alarm is None or event.event_id in alarm.written_by


def _ended(
    events: Sequence[Event], alarms: Mapping[str, Alarm | None], log: Mapping[str, Content], ctx: Context
) -> dict[str, list[Alarm]]:
    """Return, by entity, alarms that ended and that one of ``events`` may have opened or resolved before.

    The event comes again when its alert may not have gone out, or when the event log holds it no more.
    """
    resolving = [event for event in events if type(event) is Resolve]
    resolved = {event.entity_id for event in resolving}
    again = {event.entity_id for event in resolving if _is_new_to(alarms[event.entity_id], event)}
    without = {entity for entity, alarm in alarms.items() if alarm is None}
    checks = [event for event in events if type(event) is Check and event.state]
    opening = {
        alarm_id(event.entity_id, one)
        for event in checks
        if event.entity_id in without or event.entity_id in resolved
        for one in _ids(event, log)
    }
    found = ctx.ask(stored_alarms.by_ids, sorted(opening)) if opening else []
    latest = ctx.ask(stored_alarms.latest, sorted(again)) if again else []
    ended: dict[str, list[Alarm]] = {}
    for alarm in {alarm.id: alarm for alarm in (*latest, *found) if not alarm.open}.values():
        ended.setdefault(alarm.entity_id, []).append(alarm)
    return ended
