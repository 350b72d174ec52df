"""What must be: the plain reading of docs/prove.md, "What must be". Nothing here is shared with the engines.

An event acts on its entity in the order of sending, once by its id. Only one thing is not decided by what was sent:
when the site resolves an alarm that is over. So every place where it may have done so is tried against what is seen.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

OFF, ONGOING, CANCELLED = 0, 1, 4

RESOLVE = "resolve"
SYSTEM = "canopsis"

Fields = Mapping[str, Any]


class Step(NamedTuple):
    """One thing that happened to an alarm; ``t`` in seconds since the epoch, ``e`` the id of the event that did it."""

    type: str
    value: int
    author: str
    message: str
    t: float
    e: str


class Mark(NamedTuple):
    """Who acknowledged or cancelled, with which words and when."""

    author: str
    message: str
    t: float


@dataclass(frozen=True, slots=True)
class Alarm:
    """An alarm; ``updated`` is the time of its last change of state or status."""

    open: bool
    state: int
    status: int
    output: str
    created: float
    updated: float
    ack: Mark | None = None
    cancel: Mark | None = None
    steps: tuple[Step, ...] = ()


@dataclass(frozen=True, slots=True)
class Delays:
    """Seconds after which an alarm that is OK, or cancelled, may be resolved; not before."""

    ok: float = 0.0
    cancelled: float = 0.0


@dataclass(frozen=True, slots=True)
class Entity:
    """All alarms of an entity, oldest first. ``newest`` is the time of its newest check; ``counted``: ids that came."""

    alarms: tuple[Alarm, ...] = ()
    newest: float = 0.0
    counted: frozenset[str] = frozenset()

    def take(self, event: Fields) -> Entity:
        """Return the entity after ``event``."""
        if event["event_id"] in self.counted:
            return self
        after = _check(self, event) if event["event_type"] == "check" else _act(self, event)
        return replace(after, counted=self.counted | {event["event_id"]})

    @property
    def steps(self) -> list[tuple[int, Step]]:
        """The steps of all alarms, each with the number of its alarm."""
        return [(number, step) for number, alarm in enumerate(self.alarms) for step in alarm.steps]

    def open_alarm(self) -> Alarm | None:
        """Return the alarm that is open."""
        return self.alarms[-1] if self.alarms and self.alarms[-1].open else None

    def with_last(self, alarm: Alarm) -> Entity:
        """Return the entity with ``alarm`` instead of its last one."""
        return replace(self, alarms=(*self.alarms[:-1], alarm))


def _check(entity: Entity, event: Fields) -> Entity:
    if event["timestamp"] < entity.newest:
        return entity
    entity = replace(entity, newest=event["timestamp"])
    alarm = entity.open_alarm()
    if alarm is not None:
        return entity.with_last(_moved(replace(alarm, output=event["output"]), event, state=event["state"]))
    if event["state"] == 0:
        return entity
    t = event["timestamp"]
    fresh = Alarm(True, 0, OFF, event["output"], t, t)
    return replace(entity, alarms=(*entity.alarms, _moved(fresh, event, state=event["state"])))


def _moved(alarm: Alarm, event: Fields, state: int) -> Alarm:
    """Return ``alarm`` in ``state`` and in the status that goes with it, with a step for each that differs."""
    status = CANCELLED if alarm.cancel else ONGOING if state else OFF
    t = event["timestamp"]
    if state != alarm.state:
        kind = "stateinc" if state > alarm.state else "statedec"
        alarm = replace(_noted(alarm, kind, state, event), state=state, updated=t)
    if status != alarm.status:
        kind = "statusinc" if status > alarm.status else "statusdec"
        alarm = replace(_noted(alarm, kind, status, event), status=status, updated=t)
    return alarm


def _noted(alarm: Alarm, kind: str, value: int, event: Fields) -> Alarm:
    step = Step(kind, value, _author(event), event.get("output", ""), event["timestamp"], event["event_id"])
    return replace(alarm, steps=(*alarm.steps, step))


def _author(event: Fields) -> str:
    return str(event.get("author") or f"{event['connector']}.{event['connector_name']}")


def _act(entity: Entity, event: Fields) -> Entity:
    """An operator acts on an open alarm; on none there is nothing to do."""
    alarm = entity.open_alarm()
    acted = _ACTS[event["event_type"]](alarm, event) if alarm else None
    if alarm is None or acted is None:
        return entity
    acted = replace(acted, steps=alarm.steps)
    return entity.with_last(_moved(_noted(acted, event["event_type"], alarm.state, event), event, alarm.state))


def _mark(event: Fields) -> Mark:
    return Mark(_author(event), event.get("output", ""), event["timestamp"])


def _ack(alarm: Alarm, event: Fields) -> Alarm | None:
    mark = _mark(event)
    return None if alarm.ack and alarm.ack[:2] == mark[:2] else replace(alarm, ack=mark)


def _ackremove(alarm: Alarm, _event: Fields) -> Alarm | None:
    return replace(alarm, ack=None) if alarm.ack else None


def _cancel(alarm: Alarm, event: Fields) -> Alarm | None:
    return None if alarm.cancel else replace(alarm, cancel=_mark(event))


def _uncancel(alarm: Alarm, _event: Fields) -> Alarm | None:
    return replace(alarm, cancel=None) if alarm.cancel else None


def _comment(alarm: Alarm, _event: Fields) -> Alarm | None:
    return alarm


_ACTS: dict[str, Callable[[Alarm, Fields], Alarm | None]] = {
    "ack": _ack,
    "ackremove": _ackremove,
    "cancel": _cancel,
    "uncancel": _uncancel,
    "comment": _comment,
}

ACTIONS = tuple(_ACTS)
"""What operators do, by the types of their events."""


def may_resolve(alarm: Alarm, t: float, delays: Delays) -> bool:
    """Tell whether the site may resolve ``alarm`` at ``t``: it is OK, or cancelled, for long enough."""
    over = alarm.state == 0 and t >= alarm.updated + delays.ok
    return over or (alarm.cancel is not None and t >= alarm.cancel.t + delays.cancelled)


def resolved(entity: Entity, step: Step) -> Entity:
    """Return the entity after the site resolved its open alarm in ``step``."""
    alarm = entity.alarms[-1]
    return entity.with_last(replace(alarm, open=False, steps=(*alarm.steps, step)))


def explain(events: Iterable[Fields], seen: Sequence[Alarm], delays: Delays) -> Entity:
    """Return what must be after ``events``, with the alarms resolved where ``seen`` says so, if that can be.

    What is seen may fit no place: then it is told as if the site had resolved nothing more.
    """
    steps = Entity(tuple(seen)).steps
    ways = [Entity()]
    for event in events:
        tried = [way.take(event) for way in _with_resolves(ways, steps, delays)]
        ways = list(dict.fromkeys(way for way in tried if way.steps == steps[: len(way.steps)])) or tried[:1]
    found = _with_resolves(ways, steps, delays)
    # Ways may differ in what leaves no step, such as a check in other words before or after the resolve.
    exact = [way for way in found if way.alarms == tuple(seen)]
    # Else the longest one: a resolve after the last event is in it too.
    return exact[0] if exact else max(found, key=lambda way: len(way.steps))


def _with_resolves(ways: Iterable[Entity], steps: Sequence[tuple[int, Step]], delays: Delays) -> list[Entity]:
    """Return ``ways``, and each with its open alarm resolved where this is what is seen next."""
    found = []
    for way in ways:
        found.append(way)
        alarm, at = way.open_alarm(), len(way.steps)
        if alarm is None or at >= len(steps) or way.steps != steps[:at]:
            continue
        _, step = steps[at]
        if _is_resolve(step, alarm) and may_resolve(alarm, step.t, delays):
            found.append(resolved(way, step))
    return found


def _is_resolve(step: Step, alarm: Alarm) -> bool:
    return step.type == RESOLVE and (step.author, step.value) == (SYSTEM, alarm.state)
