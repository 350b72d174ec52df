"""How an alarm stays small: its newest steps are in its document, older ones in segments beside it.

A segment is made once and never changed. Its id follows from what is in it and from the segment
before it, so that the same work done again makes the same one.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from hashlib import blake2b

import msgspec
from msgspec import structs

from canopsis.core.alarm import SYSTEM, Alarm, Step

KEPT = 100
"""Steps that stay in an alarm when it is folded."""

MOST = 150
"""Steps that an alarm may have: folding each time that one more came would rewrite them each time."""

_ENCODER = msgspec.json.Encoder()


class Segment(msgspec.Struct, kw_only=True):
    """Steps of an alarm, oldest first; ``older`` is the id of the segment before, empty for none."""

    id: str = msgspec.field(name="_id")
    alarm_id: str
    older: str
    steps: list[Step]


def folded(alarm: Alarm) -> tuple[Alarm, list[Segment]]:
    """Return ``alarm`` with at most ``MOST`` steps, and the segments that took the others, oldest first."""
    counter, own = parts(alarm.steps)
    if len(own) <= MOST:
        return alarm, []
    cut = _cut(own)
    old, kept = own[:cut], own[cut:]
    segments = list(_segments(alarm, old))
    steps = [_counted(counter, old), *kept]
    return structs.replace(alarm, steps=steps, older=segments[-1].id), segments


def _cut(steps: Sequence[Step]) -> int:
    """Return how many of ``steps`` go: those of one event stay together."""
    cut = len(steps) - KEPT
    while steps[cut].e and steps[cut - 1].e == steps[cut].e:
        cut += 1
    return cut


def parts(steps: list[Step]) -> tuple[Step | None, list[Step]]:
    """Return the counter of older steps, if there is one, and the steps after it."""
    return (steps[0], steps[1:]) if steps and steps[0].type == "statecounter" else (None, steps)


def _segments(alarm: Alarm, old: Sequence[Step]) -> Iterator[Segment]:
    older = alarm.older
    for at in range(0, len(old), KEPT):
        steps = list(old[at : at + KEPT])
        content = _ENCODER.encode([alarm.id, older, steps])
        segment = Segment(id=blake2b(content, digest_size=16).hexdigest(), alarm_id=alarm.id, older=older, steps=steps)
        older = segment.id
        yield segment


def _counted(counter: Step | None, old: Sequence[Step]) -> Step:
    """Return ``counter`` with ``old`` counted in."""
    counts = Counter({} if counter is None else counter.counts)
    counts.update(step.type for step in old)
    counts.update(f"state{step.value}" for step in old if step.type in {"stateinc", "statedec"})
    value = len(old) + (0 if counter is None else counter.value)
    return Step("statecounter", old[-1].t, SYSTEM, "", value, "", dict(sorted(counts.items())))
