"""Counters become rates a second. What was seen last of each counter is the state, and it is explicit."""

from __future__ import annotations

from dataclasses import dataclass, field

from canopsis.core.extra import MAX_FLOAT
from canopsis.sources.types_db import DataSource

FIRST = "first value of a counter"
NOT_NEWER = "not newer than the value before"
WENT_BACK = "the counter went back"
OUT_OF_RANGE = "the rate is outside the range of its type"

_BITS_32 = 1 << 32
_BITS_64 = 1 << 64


@dataclass(frozen=True, slots=True)
class Sample:
    """The last value of a counter, its time in seconds, and what it gave: a rate or the reason why none."""

    value: float
    time: float
    result: float | str


@dataclass(slots=True)
class Counters:
    """The last sample of each counter, by identifier and data source."""

    samples: dict[tuple[str, str], Sample] = field(default_factory=dict)

    def rate(self, identifier: str, source: DataSource, value: float, time: float) -> float | str:
        """Return the rate since the last value, or why there is none; the same value again gives the same."""
        key = (identifier, source.name)
        last = self.samples.get(key)
        if last is not None and time <= last.time:
            return last.result if (last.time, last.value) == (time, value) else NOT_NEWER
        result = FIRST if last is None else _rate(source, value, time, last)
        self.samples[key] = Sample(value, time, result)
        return result

    def expire(self, before: float) -> None:
        """Forget counters whose last value is older than ``before``, in seconds since the epoch."""
        self.samples = {key: sample for key, sample in self.samples.items() if sample.time >= before}


def _rate(source: DataSource, value: float, time: float, last: Sample) -> float | str:
    if source.kind == "ABSOLUTE":
        moved = value
    else:
        moved = value - last.value
        if moved < 0 and source.kind == "COUNTER":
            moved = _wrapped(value, last.value)
    rate = moved / (time - last.time)
    if source.kind != "ABSOLUTE" and moved < 0 and (source.kind == "COUNTER" or source.min is not None):
        return WENT_BACK
    least = -MAX_FLOAT if source.min is None else source.min
    most = MAX_FLOAT if source.max is None else source.max
    return rate if least <= rate <= most else OUT_OF_RANGE


def _wrapped(value: float, last: float) -> float:
    """Return how far a counter went that wrapped at 32 or 64 bits, or a negative number when it was reset."""
    size = _BITS_32 if last < _BITS_32 else _BITS_64
    moved = size - last + value
    # A true wrap moves by little; a counter that starts again at 0 would seem to have moved by a lot.
    return moved if moved < size // 2 else value - last
