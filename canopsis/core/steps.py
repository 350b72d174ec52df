"""How an alarm stays small: the steps of its last write are in its document, older ones in segments beside it.

A segment is made once and never changed. What an alarm costs to write does not grow with what happened to it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import msgspec
from msgspec import structs

from canopsis.core.alarm import SYSTEM, Alarm, Step

KEPT = 10
"""Steps that stay in an alarm at most: those of its last write."""

MOST = 100
"""Steps of a segment."""

_MOVES = frozenset({"stateinc", "statedec"})

Name = Callable[[int], str]
"""Gives a segment of so many steps its id."""


class Segment(msgspec.Struct, kw_only=True):
    """Steps of an alarm, oldest first; ``older`` is the id of the segment before, empty for none."""

    id: str = msgspec.field(name="_id")
    alarm_id: str
    older: str
    steps: list[Step]


def folded(alarm: Alarm, fresh: int, name: Name) -> tuple[Alarm, list[Segment]]:
    """Return ``alarm`` with the newest of its steps, and the segments that took the others, oldest first.

    ``fresh`` is how many steps are new; without any nothing changes.
    """
    counter, own = parts(alarm.steps)
    cut = _cut(own, min(fresh, KEPT)) if fresh else 0
    if not cut:
        return alarm, []
    old, kept = own[:cut], own[cut:]
    segments = list(_segments(alarm, old, name))
    steps = [_counted(counter, old), *kept]
    return structs.replace(alarm, steps=steps, older=segments[-1].id), segments


def _cut(steps: Sequence[Step], kept: int) -> int:
    """Return how many of ``steps`` go: those of one event stay together."""
    cut = len(steps) - kept
    while 0 < cut < len(steps) and steps[cut].e and steps[cut - 1].e == steps[cut].e:
        cut += 1
    return cut


def parts(steps: list[Step]) -> tuple[Step | None, list[Step]]:
    """Return the counter of older steps, if there is one, and the steps after it."""
    return (steps[0], steps[1:]) if steps and steps[0].type == "statecounter" else (None, steps)


def _segments(alarm: Alarm, old: Sequence[Step], name: Name) -> Iterator[Segment]:
    older = alarm.older
    for at in range(0, len(old), MOST):
        steps = list(old[at : at + MOST])
        segment = Segment(id=name(len(steps)), alarm_id=alarm.id, older=older, steps=steps)
        older = segment.id
        yield segment


def _counted(counter: Step | None, old: Sequence[Step]) -> Step:
    """Return ``counter`` with ``old`` counted in."""
    counts = {} if counter is None else dict(counter.counts)
    for step in old:
        counts[step.type] = counts.get(step.type, 0) + 1
        if step.type in _MOVES:
            state = f"state{step.value}"
            counts[state] = counts.get(state, 0) + 1
    value = len(old) + (0 if counter is None else counter.value)
    return Step("statecounter", old[-1].t, SYSTEM, "", value, "", dict(sorted(counts.items())))


def unfolded(steps: list[Step], older: Sequence[Step]) -> list[Step]:
    """Return the steps of an alarm with those ``older`` ones that came right before its own; its counter without."""
    counter, own = parts(steps)
    if counter is None or counter.value <= len(older):
        return [*older, *own]
    gone = _counted(None, older).counts if older else {}
    counts = {name: count - gone.get(name, 0) for name, count in counter.counts.items() if count > gone.get(name, 0)}
    return [structs.replace(counter, value=counter.value - len(older), counts=counts), *older, *own]
