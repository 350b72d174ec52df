"""What is sent: entities and the events of each, in their order, made from a seed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from random import Random
from typing import Any, Literal

Event = dict[str, Any]
How = Literal["new", "late", "again"]

CONNECTOR = "canopsis-prove"
"""The connector of all that is made: what there is of it can be found and taken away."""

MOST_TURNS = 40
"""Events of an entity in a round: its alarm keeps every step in sight."""

OK = 0
_STATES = (0, 1, 2, 3)
_AUTHORS = ("alice", "bob")
_MOST_TOGETHER = 5
_SNOOZES = (1.5, 4.0, 900.0)
"""Seconds: some are over while the round lasts."""

_BULKS = 2
_BULK: dict[str, Event] = {
    "ack": {"message": "all of them are known"},
    "ackremove": {},
    "cancel": {"message": "false ones"},
    "uncancel": {},
    "comment": {"message": "to all"},
    "changestate": {"message": "not that bad", "state": 1},
    "snooze": {"message": "later", "duration": 2.5},
    "unsnooze": {},
    "declareticket": {},
    "assocticket": {"ticket": "BULK-1", "ticket_system": "desk"},
}
"""Parameters of the actions on many alarms."""

_BACK = (1, 1, 2, 3, 5, 8)
"""How many turns before the one is that comes again."""


@dataclass(frozen=True, slots=True)
class Turn:
    """One event as it is to be sent; who sends it adds the ``timestamp``.

    ``new``: later than all before. ``late``: older than all before. ``again``: the very event with this id, once more.
    """

    event: Event
    how: How = "new"


@dataclass(frozen=True, slots=True)
class Script:
    """What happens to one entity. ``closing`` comes after all turns and brings it back to OK."""

    entity_id: str
    turns: tuple[Turn, ...]
    closing: Turn


@dataclass(frozen=True, slots=True)
class Place:
    """A turn of a script, by their indexes."""

    script: int
    turn: int


@dataclass(frozen=True, slots=True)
class Bulk:
    """One action on the open alarms of several scripts, by the call of the API for that."""

    task_id: str
    action: str
    parameters: Event
    scripts: tuple[int, ...]


Request = list[Place] | Bulk


def scripts(rng: Random, name: str, events: int, entities: int) -> list[Script]:
    """Return ``entities`` scripts with ``events`` events in all, closing ones aside. ``name`` makes them unique."""
    sizes = [events // entities + (index < events % entities) for index in range(entities)]
    return [_Writer(rng, name, index).script(max(2, size)) for index, size in enumerate(sizes)]


def lanes(rng: Random, name: str, found: Sequence[Script], count: int) -> list[list[Request]]:
    """Return for each of ``count`` senders its requests. An entity has one sender, and one event in a request."""
    return [
        _lane(rng, f"{name}-b{lane}", found, range(lane, len(found), count)) for lane in range(min(count, len(found)))
    ]


def _lane(rng: Random, name: str, found: Sequence[Script], mine: Sequence[int]) -> list[Request]:
    made: list[Request] = [*_requests(rng, found, mine)]
    # From the middle on: before, most alarms are not open yet.
    places = sorted((rng.randint(len(made) // 2, len(made)) for _ in range(_BULKS)), reverse=True)
    for number, at in enumerate(places):
        action = rng.choice(tuple(_BULK))
        made.insert(at, Bulk(f"{name}-{number}", action, _BULK[action], tuple(mine)))
    return made


def _requests(rng: Random, found: Sequence[Script], mine: Sequence[int]) -> list[list[Place]]:
    at = dict.fromkeys(mine, 0)
    made: list[list[Place]] = []
    while at:
        chosen = rng.sample(sorted(at), rng.randint(1, min(_MOST_TOGETHER, len(at))))
        made.append([Place(index, at[index]) for index in chosen])
        for index in chosen:
            at[index] += 1
            if at[index] == len(found[index].turns):
                del at[index]
    return made


class _Writer:
    """Writes one script. It knows the last check, no more: what comes of it is the model's business."""

    def __init__(self, rng: Random, name: str, index: int) -> None:
        self._rng = rng
        self._name = f"{name}-{index}"
        # Every fourth speaks of a component itself.
        self._who: Event = {"component": name if index % 4 else self._name}
        if index % 4:
            self._who["resource"] = f"r{index}"
        self._turns: list[Turn] = []
        self._state = OK
        self._output = ""
        self._number = 0

    def script(self, size: int) -> Script:
        """Return a script of ``size`` turns that begins with a problem."""
        self._check(self._rng.choice(_STATES[1:]))
        while len(self._turns) < size:
            self._rng.choices(_KINDS, _WEIGHTS)[0](self)
        resource = self._who.get("resource")
        kind, path = (
            ("component", self._name) if resource is None else ("resource", f"{self._who['component']}/{resource}")
        )
        return Script(
            f"{kind}:{path}", tuple(self._turns), Turn(self._event("check", state=OK, output="the proof is over"))
        )

    def _event(self, kind: str, **fields: object) -> Event:
        self._number += 1
        event_id = f"{self._name}-{self._number}"
        source = {"connector": CONNECTOR, "connector_name": "prove"}
        return {"event_type": kind, "event_id": event_id, **source, **self._who, **fields}

    def _add(self, kind: str, how: How = "new", **fields: object) -> None:
        self._turns.append(Turn(self._event(kind, **fields), how))

    def _check(self, state: int) -> None:
        self._state, self._output = state, f"state {state} by {self._number + 1}"
        self._add("check", state=state, output=self._output)

    def change(self) -> None:
        """Another state."""
        self._check(self._rng.choice([state for state in _STATES if state != self._state]))

    def repeat(self) -> None:
        """The same once more, under an id of its own."""
        self._add("check", state=self._state, output=self._output)

    def reword(self) -> None:
        """The same state in other words."""
        self._check(self._state)

    def late(self) -> None:
        """A check that was held up on its way, whatever it would have said."""
        state = self._rng.choice(_STATES)
        self._add("check", "late", state=state, output=f"late state {state}")

    def ack(self) -> None:
        """One of two people looks after it; maybe the one who does already, in the same words."""
        self._add("ack", author=self._rng.choice(_AUTHORS), output="looking into it")

    def ackremove(self) -> None:
        """Nobody looks after it any more."""
        self._add("ackremove", author=self._rng.choice(_AUTHORS))

    def cancel(self) -> None:
        """It is a false alarm."""
        self._add("cancel", author=self._rng.choice(_AUTHORS), output="a false one")

    def uncancel(self) -> None:
        """It is none after all."""
        self._add("uncancel", author=self._rng.choice(_AUTHORS))

    def comment(self) -> None:
        """A word about it."""
        self._add("comment", author=self._rng.choice(_AUTHORS), output=f"comment {self._number + 1}")

    def changestate(self) -> None:
        """An operator says how bad it is, whatever checks say until one is OK."""
        state = self._rng.choice(_STATES)
        self._add("changestate", author=self._rng.choice(_AUTHORS), state=state, output=f"it is {state}")

    def snooze(self) -> None:
        """It is put off; mostly it comes back by itself."""
        duration = self._rng.choice(_SNOOZES)
        self._add("snooze", author=self._rng.choice(_AUTHORS), duration=duration, output="not now")

    def unsnooze(self) -> None:
        """It is wanted back before its time."""
        self._add("unsnooze", author=self._rng.choice(_AUTHORS))

    def declareticket(self) -> None:
        """Another system was told; it may have said under which number."""
        number = self._rng.choice(("", f"T-{self._number + 1}"))
        self._add("declareticket", author=self._rng.choice(_AUTHORS), ticket=number, ticket_system="desk")

    def assocticket(self) -> None:
        """A ticket that was there belongs to it."""
        number = f"T-{self._number + 1}"
        url = f"https://desk.example/{number}"
        self._add("assocticket", author=self._rng.choice(_AUTHORS), ticket=number, ticket_url=url, output="see there")

    def again(self) -> None:
        """An event once more: the one before, as of a sender that got no answer, or an older one."""
        back = self._rng.choice(_BACK)
        self._turns.append(Turn(self._turns[-min(back, len(self._turns))].event, "again"))


_WRITE: dict[Callable[[_Writer], None], int] = {
    _Writer.change: 32,
    _Writer.repeat: 12,
    _Writer.reword: 8,
    _Writer.late: 8,
    _Writer.ack: 8,
    _Writer.ackremove: 5,
    _Writer.cancel: 4,
    _Writer.uncancel: 6,
    _Writer.comment: 9,
    _Writer.changestate: 6,
    _Writer.snooze: 6,
    _Writer.unsnooze: 3,
    _Writer.declareticket: 3,
    _Writer.assocticket: 4,
    _Writer.again: 8,
}
_KINDS, _WEIGHTS = tuple(_WRITE), tuple(_WRITE.values())
