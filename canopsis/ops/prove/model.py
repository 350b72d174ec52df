"""What must be: the plain reading of docs/prove.md, "What must be". Nothing here is shared with the engines.

An event acts on its entity in the order of sending, once by its id.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from canopsis.ops.prove.acts import ACTS, author_of, message_of, value_of
from canopsis.ops.prove.alarm import Alarm, Count, Fields, Step

OFF, ONGOING, CANCELLED = 0, 1, 4


@dataclass(frozen=True, slots=True)
class Entity:
    """All alarms of an entity, oldest first.

    ``newest`` is the time of its newest check; ``counted``: ids that came; ``applied``: those of actions that changed
    something. ``ids`` are those of its alarms, in their order, as the site made them.
    """

    alarms: tuple[Alarm, ...] = ()
    newest: float = 0.0
    counted: frozenset[str] = frozenset()
    applied: frozenset[str] = frozenset()
    ids: tuple[str, ...] = ()

    def take(self, event: Fields) -> Entity:
        """Return the entity after ``event``."""
        is_check = event["event_type"] == "check"
        if event["event_id"] in self.counted:
            return _seen(self) if is_check else self
        after = _check(self, event) if is_check else _act(self, event)
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

    def means(self, alarm_id: str) -> bool:
        """Tell whether an action that names ``alarm_id``, or none, is for the last alarm."""
        return not alarm_id or self.ids[len(self.alarms) - 1 : len(self.alarms)] == (alarm_id,)


def _seen(entity: Entity) -> Entity:
    """Return the entity after a check that changes nothing: the site may count it or not."""
    alarm = entity.open_alarm()
    if alarm is None:
        return entity
    return entity.with_last(replace(alarm, count=Count(alarm.count.least, alarm.count.most + 1)))


def _check(entity: Entity, event: Fields) -> Entity:
    if event["timestamp"] < entity.newest:
        return _seen(entity)
    entity = replace(entity, newest=event["timestamp"])
    alarm = entity.open_alarm()
    if alarm is not None:
        return entity.with_last(_checked(alarm, event))
    if event["state"] == 0:
        return entity
    t, output = event["timestamp"], event["output"]
    fresh = Alarm(True, 0, OFF, output, t, t, output, count=Count(1, 1))
    return replace(entity, alarms=(*entity.alarms, _moved(fresh, event, state=event["state"])))


def _checked(alarm: Alarm, event: Fields) -> Alarm:
    """Return ``alarm`` after a check; one whose state an operator set stays in it until a check is OK."""
    state = alarm.state if event["state"] and alarm.lock else event["state"]
    lock = alarm.lock if event["state"] else None
    after = _moved(replace(alarm, output=event["output"], lock=lock), event, state)
    is_change = replace(after, count=alarm.count) != alarm
    return replace(after, count=Count(alarm.count.least + is_change, alarm.count.most + 1))


def _moved(alarm: Alarm, event: Fields, state: int) -> Alarm:
    """Return ``alarm`` in ``state`` and in the status that goes with it, with a step for each that differs."""
    status = CANCELLED if alarm.cancel else ONGOING if state else OFF
    t = _time_of(alarm, event)
    if state != alarm.state:
        kind = "stateinc" if state > alarm.state else "statedec"
        alarm = replace(_noted(alarm, kind, state, event), state=state, updated=t)
    if status != alarm.status:
        kind = "statusinc" if status > alarm.status else "statusdec"
        alarm = replace(_noted(alarm, kind, status, event), status=status, updated=t)
    return alarm


def _time_of(alarm: Alarm, event: Fields) -> float:
    """Return the time of what ``event`` does: its own, and never before what was done already."""
    last = alarm.steps[-1].t if alarm.steps else alarm.updated
    return max(float(event["timestamp"]), alarm.updated, last)


def _noted(alarm: Alarm, kind: str, value: int, event: Fields, message: str | None = None) -> Alarm:
    text = event.get("output", "") if message is None else message
    step = Step(kind, value, author_of(event), text, _time_of(alarm, event), event["event_id"])
    return replace(alarm, steps=(*alarm.steps, step))


def _act(entity: Entity, event: Fields) -> Entity:
    """An operator acts on an open alarm; on none there is nothing to do, nor on another than the one that is meant."""
    alarm = entity.open_alarm()
    if alarm is None or not entity.means(event.get("alarm_id", "")):
        return entity
    acted = ACTS[event["event_type"]](alarm, event, _time_of(alarm, event))
    if acted is None:
        return entity
    noted = _noted(
        replace(acted, updated=alarm.updated), event["event_type"], value_of(event, acted), event, message_of(event)
    )
    after = entity.with_last(_moved(replace(noted, updated=acted.updated), event, acted.state))
    return replace(after, applied=entity.applied | {event["event_id"]})
