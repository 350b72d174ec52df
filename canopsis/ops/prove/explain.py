"""Which of the ways that the site may have gone it went: the model leaves open when it does something by itself.

It resolves alarms that are over, and ends a snooze whose time is over, whenever it looks for them. So every place where
it may have done so is tried against what is seen.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from canopsis.ops.prove.alarm import RESOLVE, SYSTEM, UNSNOOZE, Alarm, Fields, Step
from canopsis.ops.prove.model import Entity


@dataclass(frozen=True, slots=True)
class Delays:
    """Seconds after which an alarm that is OK, or cancelled, may be resolved; not before.

    ``wake``: seconds after the end of a snooze within which the alarm must be back.
    """

    ok: float = 0.0
    cancelled: float = 0.0
    wake: float = float("inf")


def may_resolve(alarm: Alarm, t: float, delays: Delays) -> bool:
    """Tell whether the site may resolve ``alarm`` at ``t``: it is OK, or cancelled, for long enough."""
    over = alarm.state == 0 and t >= alarm.updated + delays.ok
    return over or (alarm.cancel is not None and t >= alarm.cancel.t + delays.cancelled)


def is_overdue(alarm: Alarm, now: float, delays: Delays) -> bool:
    """Tell whether ``alarm`` is snoozed at ``now`` though it must be back."""
    return alarm.open and alarm.snooze is not None and now > alarm.snooze.until + delays.wake


def resolved(entity: Entity, step: Step) -> Entity:
    """Return the entity after the site resolved its open alarm in ``step``."""
    return _with_step(entity, replace(entity.alarms[-1], open=False), step)


def awake(entity: Entity, step: Step) -> Entity:
    """Return the entity after the site ended the snooze of its open alarm in ``step``."""
    return _with_step(entity, replace(entity.alarms[-1], snooze=None), step)


def _with_step(entity: Entity, alarm: Alarm, step: Step) -> Entity:
    return entity.with_last(replace(alarm, steps=(*alarm.steps, step)))


def explain(events: Iterable[Fields], seen: Sequence[Alarm], delays: Delays) -> Entity:
    """Return what must be after ``events``, with what the site did by itself where ``seen`` says so, if that can be.

    What is seen may fit no place: then it is told as if the site had done nothing more by itself.
    """
    steps = Entity(tuple(seen)).steps
    ways = [Entity(ids=tuple(alarm.id for alarm in seen))]
    for event in events:
        tried = [way.take(event) for way in _with_own(ways, steps, delays)]
        ways = list(dict.fromkeys(way for way in tried if way.steps == steps[: len(way.steps)])) or tried[:1]
    found = _with_own(ways, steps, delays)
    # Ways may differ in what leaves no step, such as a check in other words before or after the resolve.
    exact = [way for way in found if _is(way, seen)]
    # Else the longest one: a resolve after the last event is in it too.
    return exact[0] if exact else max(found, key=lambda way: len(way.steps))


def _is(way: Entity, seen: Sequence[Alarm]) -> bool:
    return len(way.alarms) == len(seen) and not any(map(Alarm.differing, way.alarms, seen))


def _with_own(ways: Iterable[Entity], steps: Sequence[tuple[int, Step]], delays: Delays) -> list[Entity]:
    """Return ``ways``, and each with what the site does by itself where this is what is seen next."""
    found = []
    for way in ways:
        after: Entity | None = way
        while after is not None:
            found.append(after)
            after = _own(after, steps, delays)
    return found


def _own(way: Entity, steps: Sequence[tuple[int, Step]], delays: Delays) -> Entity | None:
    """Return ``way`` after the step that is seen next, None unless it is one that the site may make by itself then."""
    alarm, at = way.open_alarm(), len(way.steps)
    if alarm is None or at >= len(steps) or way.steps != steps[:at]:
        return None
    _, step = steps[at]
    if (step.author, step.value) != (SYSTEM, alarm.state):
        return None
    if step.type == RESOLVE and may_resolve(alarm, step.t, delays):
        return resolved(way, step)
    is_awake = step.type == UNSNOOZE and alarm.snooze is not None and step.t >= alarm.snooze.until
    return awake(way, step) if is_awake else None
