"""What differs between what must be and what is seen; an empty difference proves the entity."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields

from canopsis.ops.prove.acts import ACTS
from canopsis.ops.prove.alarm import APPLIED, SYSTEM, Alarm, Fields, Step
from canopsis.ops.prove.explain import Delays, explain, is_overdue
from canopsis.ops.prove.model import Entity

_KEPT = 20
"""Differences that are told in words; the others are counted."""

_NAMES = ("event_type", "connector", "connector_name", "component", "resource", "timestamp")
_TOLD = (*_NAMES, "state", "output", "author", "alarm_id", "duration", "ticket", "ticket_system", "ticket_url")


@dataclass(frozen=True, slots=True)
class Differences:
    """How often what went wrong. ``texts`` are the first ones in words; ``for_good``: no waiting makes it right."""

    lost: int = 0
    doubled: int = 0
    disordered: int = 0
    wrong: int = 0
    texts: tuple[str, ...] = ()
    for_good: bool = False

    def __add__(self, other: Differences) -> Differences:
        counts = {name: getattr(self, name) + getattr(other, name) for name in COUNTS}
        texts = (*self.texts, *other.texts)[:_KEPT]
        return Differences(**counts, texts=texts, for_good=self.for_good or other.for_good)

    def __bool__(self) -> bool:
        return any(getattr(self, name) for name in COUNTS)


COUNTS = tuple(each.name for each in fields(Differences) if each.name not in ("texts", "for_good"))


def of_log(entity_id: str, events: Sequence[Fields], logged: Sequence[Fields]) -> Differences:
    """Return what differs between ``events``, as accepted, and the event log of the entity: each is there once."""
    sent = {str(event["event_id"]): event for event in events}
    # What the site says itself, that an alarm or a snooze is over, was sent by nobody.
    found = Counter(str(each["_id"]) for each in logged if each.get("author") != SYSTEM)
    lost = [f"{entity_id}: event {each} is not in the log" for each in sent if each not in found]
    doubled = [f"{entity_id}: event {each} is in the log {n} times" for each, n in found.items() if n > 1]
    wrong = [f"{entity_id}: event {each} in the log was never sent" for each in found if each not in sent]
    wrong += [text for each in logged if each["_id"] in sent for text in _changed(entity_id, sent[each["_id"]], each)]
    return Differences(len(lost), len(doubled), 0, len(wrong), (*lost, *doubled, *wrong)[:_KEPT])


def _changed(entity_id: str, sent: Fields, logged: Fields) -> Iterator[str]:
    for name in _TOLD:
        # An empty text is left out of the log.
        if name in sent and sent[name] != logged.get(name, ""):
            where = f"{entity_id}: {name} of event {sent['event_id']}"
            yield f"{where} is {logged.get(name)!r} in the log, was {sent[name]!r}"


def of_entity(
    entity_id: str, events: Sequence[Fields], seen: Sequence[Alarm], logged: Sequence[Fields], delays: Delays
) -> Differences:
    """Return what differs between what ``events`` must have made of an entity and what is seen and logged of it."""
    must = explain(events, seen, delays)
    return of_log(entity_id, events, logged) + of_alarms(entity_id, must, seen) + of_outcomes(entity_id, must, logged)


def of_outcomes(entity_id: str, must: Entity, logged: Sequence[Fields]) -> Differences:
    """Return of which actions the log says wrongly whether they changed their alarm."""
    actions = [each for each in logged if each["_id"] in must.counted and each["event_type"] in ACTS]
    texts = [
        f"{entity_id}: outcome of event {each['_id']} is {each.get('outcome')!r}, it "
        f"{'changed' if each['_id'] in must.applied else 'did not change'} the alarm"
        for each in actions
        if (each.get("outcome") == APPLIED) != (each["_id"] in must.applied)
    ]
    return Differences(wrong=len(texts), texts=tuple(texts)[:_KEPT])


def of_snoozes(entity_id: str, seen: Sequence[Alarm], delays: Delays, now: float) -> Differences:
    """Return which alarms must be back from their snooze, and are not."""
    late = [alarm.id for alarm in seen if is_overdue(alarm, now, delays)]
    texts = [f"{entity_id}: alarm {each} is snoozed still, though its time is over" for each in late]
    return Differences(lost=len(texts), texts=tuple(texts)[:_KEPT])


def of_alarms(entity_id: str, must: Entity, seen: Sequence[Alarm]) -> Differences:
    """Return what differs between the alarms of ``must`` and those that are seen, oldest first."""
    want, have = must.steps, Entity(tuple(seen)).steps
    found = _missing(entity_id, want, have) + _surplus(entity_id, want, have)
    if not found and _keys(want) != _keys(have):
        found = Differences(disordered=1, texts=(f"{entity_id}: {_first(want, have)}",), for_good=True)
    if not found:
        texts = (*_different_steps(want, have), *_different_alarms(must.alarms, seen))
        found = Differences(wrong=len(texts), texts=tuple(f"{entity_id}: {text}" for text in texts)[:_KEPT])
    return found


_Placed = Sequence[tuple[int, Step]]


def _keys(steps: _Placed) -> list[tuple[int, str, str]]:
    return [(number, step.type, step.e) for number, step in steps]


def _counted(steps: _Placed) -> Counter[tuple[str, str]]:
    return Counter((step.type, step.e) for _, step in steps)


def _missing(entity_id: str, want: _Placed, have: _Placed) -> Differences:
    lost = _counted(want) - _counted(have)
    texts = (f"{entity_id}: step {kind} of event {e} is missing" for kind, e in lost)
    return Differences(lost=lost.total(), texts=tuple(texts)[:_KEPT])


def _surplus(entity_id: str, want: _Placed, have: _Placed) -> Differences:
    wanted = _counted(want)
    more = _counted(have) - wanted
    doubled = sum(count for key, count in more.items() if wanted[key])
    texts = (f"{entity_id}: step {kind} of event {e} is there {n} times too often" for (kind, e), n in more.items())
    return Differences(doubled=doubled, wrong=more.total() - doubled, texts=tuple(texts)[:_KEPT], for_good=bool(more))


def _first(want: _Placed, have: _Placed) -> str:
    at = next(i for i, (one, other) in enumerate(zip(_keys(want), _keys(have), strict=True)) if one != other)
    return f"step {at} is {_shown(have[at])}, must be {_shown(want[at])}"


def _shown(placed: tuple[int, Step]) -> str:
    return f"{placed[1].type} of event {placed[1].e} in alarm {placed[0]}"


def _different_steps(want: _Placed, have: _Placed) -> Iterator[str]:
    for (number, one), (_, other) in zip(want, have, strict=True):
        if one != other:
            yield f"a step of alarm {number} is {other}, must be {one}"


def _different_alarms(want: Sequence[Alarm], have: Sequence[Alarm]) -> Iterator[str]:
    if len(want) != len(have):
        yield f"there are {len(have)} alarms, must be {len(want)}"
    for number, (one, other) in enumerate(zip(want, have, strict=False)):
        for name in one.differing(other):
            if name != "steps":
                yield f"{name} of alarm {number} is {getattr(other, name)!r}, must be {getattr(one, name)!r}"
