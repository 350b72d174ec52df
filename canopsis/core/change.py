"""What an event changes in an alarm, as it is worked out. Alarms are never changed in place.

Clocks differ, and one that was ahead may have left its times behind: a time after ``now`` is no
measure of anything, and nothing is stamped later than ``now``.
"""

from __future__ import annotations

from base64 import b32encode
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any, Literal

from msgspec import structs

from canopsis.core.alarm import Alarm, Mark, Step
from canopsis.core.event import Event

MAX_MESSAGE = 1024
"""Bytes of UTF-8 in the message of a step that a source made; the event itself has the whole text."""

Kind = Literal["opened", "changed", "seen", "repeat", "resolved"]


@dataclass(frozen=True, slots=True)
class LifecycleRules:
    """Seconds an alarm stays open once it is back to OK, or cancelled; whether soft states count."""

    resolve_delay: float
    cancel_resolve_delay: float
    soft_states: bool = False


@dataclass(frozen=True, slots=True)
class Change:
    """What an event did to ``alarm`` (the new one). ``fields`` are the names of what changed but steps.

    ``steps`` are new ones. Two kinds are not to be written: ``seen`` (only ``last_event`` moved:
    keep it in memory so that late checks are known, tell nobody) and ``repeat`` (the event came
    before: ``steps`` are those it made then, tell again).
    """

    kind: Kind
    alarm: Alarm
    steps: tuple[Step, ...]
    fields: frozenset[str]


def alarm_id(entity_id: str, event_id: str) -> str:
    """Return the id of the alarm that the event opens: the same one when the event comes again."""
    return blake2b(f"{entity_id}\0{event_id}".encode(), digest_size=16).hexdigest()


def display_name(alarm_id: str) -> str:
    """Return a short name that people can say, such as ``K7QX-29AB``; it follows from the id."""
    digits = b32encode(blake2b(alarm_id.encode(), digest_size=5).digest()).decode()
    return f"{digits[:4]}-{digits[4:]}"


def is_ahead(alarm: Alarm, now: float) -> bool:
    """Tell whether a clock that was ahead left a time from which a delay would be counted."""
    return alarm.updated > now or any(mark is not None and mark.t > now for mark in (alarm.cancel, alarm.snooze))


class Draft:
    """Collects what one event changes in an alarm."""

    def __init__(self, event: Event, alarm: Alarm, now: float) -> None:
        self.event = event
        self.alarm = alarm
        self.now = now
        # Clocks differ: nothing happens before what it follows, unless that is yet to come.
        before = [alarm.updated, *(step.t for step in alarm.steps[-1:])]
        self.t = max([min(event.timestamp, now), *(t for t in before if t <= now)])
        self.fields: dict[str, Any] = {}
        self.steps: list[Step] = []

    def set(self, **fields: object) -> None:
        """Set those ``fields`` that differ."""
        alarm = self.alarm
        for name, value in fields.items():
            if getattr(alarm, name) != value:
                self.fields[name] = value

    def put_right(self) -> None:
        """Set times that are yet to come to the present: delays are counted from them."""
        alarm, t = self.alarm, self.t
        if is_ahead(alarm, self.now):
            cancel = alarm.cancel and Mark(alarm.cancel.author, alarm.cancel.message, min(alarm.cancel.t, t))
            snooze = alarm.snooze
            if snooze is not None and snooze.t > t:
                snooze = structs.replace(snooze, t=t, until=t + snooze.until - snooze.t)
            self.set(created=min(alarm.created, t), updated=min(alarm.updated, t), cancel=cancel, snooze=snooze)

    def step(self, kind: str, author: str, value: int, message: str | None = None) -> None:
        """Add a step in which an operator says something, by default the output of the event."""
        text = self.event.output if message is None else message
        self.steps.append(Step(kind, self.t, author, text, value, self.event.event_id))

    def move(self, name: Literal["state", "status"], value: int) -> None:
        """Set the state or the status, with a step."""
        old: int = getattr(self.alarm, name)
        if value == old:
            return
        self.set(updated=self.t, **{name: value})
        kind, event = MOVES[name, value > old], self.event
        self.steps.append(Step(kind, self.t, speaker(event), shortened(event.output), value, event.event_id))

    def change(self, kind: Kind = "changed") -> Change:
        """Return the change."""
        fields = self.fields
        steps = self.alarm.steps + self.steps if self.steps else self.alarm.steps
        alarm = structs.replace(self.alarm, steps=steps, **fields)
        return Change(kind, alarm, tuple(self.steps), frozenset(fields))


MOVES: dict[tuple[str, bool], str] = {
    ("state", True): "stateinc",
    ("state", False): "statedec",
    ("status", True): "statusinc",
    ("status", False): "statusdec",
}


def speaker(event: Event) -> str:
    """Return who is the author of a step that ``event`` makes."""
    return event.author or f"{event.connector}.{event.connector_name}"


def shortened(text: str) -> str:
    """Return the message of a step that a source made: at most ``MAX_MESSAGE`` bytes."""
    if 4 * len(text) <= MAX_MESSAGE:
        return text
    encoded = text.encode()
    return text if len(encoded) <= MAX_MESSAGE else encoded[: MAX_MESSAGE - 3].decode(errors="ignore") + "…"
