"""Bodies of messages and requests: good ones, and what is left of good ones, and noise.

Each is made of a seed and a number alone, so that one that did harm can be made again.
"""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable
from dataclasses import dataclass
from random import Random
from typing import Any

from mutations import encoded, mistyped, mutated, torn
from real_events import START, Event, event, mark_of

KIB, MIB = 1 << 10, 1 << 20

RARE = 1000
"""One body in so many is large."""

_SHARED = 9999
"""The index of an event that several messages bring: no list has so many."""

SIZES = (64 * KIB, MIB, 3 * MIB, 8 * MIB - 999, 8 * MIB + 1, 12 * MIB + 999, 16 * MIB - 999, 17 * MIB)
"""About the limits of an event's fields, a message, a dead letter and a request."""


@dataclass(frozen=True)
class Body:
    """A body: ``good`` are the ids of events in it with which nothing is wrong, ``kind`` is for people."""

    kind: str
    data: bytes
    good: tuple[str, ...] = ()

    @property
    def events(self) -> int:
        """How many events it has, each with a fate of its own; what is no list of objects counts as one."""
        text = self.data.removeprefix(b"\xef\xbb\xbf").decode("utf-8", "surrogateescape")
        try:
            found = json.loads(text, parse_int=str, parse_float=str, parse_constant=str)
        except (ValueError, RecursionError):
            return 1
        is_list = isinstance(found, list) and found and all(isinstance(each, dict) for each in found)
        return len(found) if is_list else 1


class Bodies:
    """Makes bodies: the same ones for the same ``seed``."""

    def __init__(self, seed: int) -> None:
        self.seed = seed

    def rng(self, number: int, what: str) -> Random:
        """Return a source of chance for ``what`` of one message."""
        return Random(f"{self.seed}/{number}/{what}")

    def good_event(self, number: int, index: int = 0) -> Event:
        """Return a good event of message ``number``."""
        rng = self.rng(number, f"event {index}")
        return event(rng, mark_of(number, index), START + number / 100 + index / 1e5)

    def make(self, number: int) -> Body:
        """Return the body of message ``number``."""
        rng = self.rng(number, "body")
        if number % RARE == RARE // 2:
            return self._large(rng, number)
        return rng.choice(_KINDS)(self, rng, number)

    def good(self, _rng: Random, number: int) -> Body:
        """Return a body of one good event."""
        return Body("good", json.dumps(self.good_event(number)).encode(), (mark_of(number, 0),))

    def _again(self, _rng: Random, number: int) -> Body:
        """Return an event that other messages bring too, byte for byte: it is to count once."""
        shared = number - number % 100
        return Body("again", json.dumps(self.good_event(shared, _SHARED)).encode(), (mark_of(shared, _SHARED),))

    def _list(self, rng: Random, number: int) -> Body:
        """Return good and bad events in one list."""
        parts, good = [], []
        for index in range(rng.choice((1, 2, 5, 30))):
            one = self.good_event(number, index)
            if rng.random() < 0.7:
                good.append(mark_of(number, index))
                parts.append(json.dumps(one).encode())
            else:
                wrong = mutated(rng, one)
                # A list that holds anything but objects is refused whole.
                parts.append(
                    encoded(rng, wrong if isinstance(wrong, dict) and b"@" not in repr(wrong).encode() else {})
                )
        return Body("list", b"[" + b", ".join(parts) + b"]", tuple(good))

    def _odd_list(self, rng: Random, number: int) -> Body:
        parts: list[Any] = [self.good_event(number, index) for index in range(4)]
        parts.insert(rng.randrange(4), rng.choice((None, 5, "text", [], [{}])))
        return Body("odd list", json.dumps(parts).encode())

    def _mutated(self, rng: Random, number: int) -> Body:
        return Body("mutated", encoded(rng, mutated(rng, self.good_event(number))))

    def _torn(self, rng: Random, number: int) -> Body:
        return Body("torn", torn(rng, json.dumps(self.good_event(number), ensure_ascii=False).encode()))

    def _mistyped(self, rng: Random, number: int) -> Body:
        return Body("mistyped", mistyped(rng, self.good_event(number)))

    def _noise(self, rng: Random, _number: int) -> Body:
        tokens = (
            b"{",
            b"}",
            b"[",
            b"]",
            b":",
            b",",
            b'"',
            b"1",
            b"e",
            b"-",
            b"null",
            b"\\u",
            b'"state"',
            b" ",
            b"\xff",
        )
        noise = rng.randbytes(rng.choice((0, 1, 2, 30, 600)))
        return Body("noise", noise if rng.random() < 0.5 else b"".join(rng.choices(tokens, k=rng.randrange(40))))

    def _packed(self, rng: Random, number: int) -> Body:
        return Body(
            "packed", gzip.compress(rng.choice((json.dumps(self.good_event(number)).encode(), b"[" * MIB)), mtime=0)
        )

    def _large(self, rng: Random, number: int) -> Body:
        """Return a large body: one large value, many events, or no JSON at all."""
        size = SIZES[number // RARE % len(SIZES)]
        one = self.good_event(number)
        chosen = number // RARE % 3
        if chosen == 0:
            field = rng.choice(("output", "long_output", "more", "perf_data"))
            return Body("large", json.dumps(one | {field: "large \u20ac" * (size // 12)}).encode())
        if chosen == 1:
            listed = [self.good_event(number, index) | {"long_output": "x" * 60_000} for index in range(size // 60_600)]
            good = tuple(str(each["event_id"]) for each in listed)
            return Body("large list", json.dumps(listed).encode(), good)
        return Body("large noise", b"[" + b"[]," * (size // 3) + b"]")


_Make = Callable[[Bodies, Random, int], Body]

_KINDS: tuple[_Make, ...] = (
    *([Bodies.good] * 5),
    *([Bodies._mutated] * 7),
    *([Bodies._torn] * 3),
    *([Bodies._list] * 2),
    *(Bodies._again, Bodies._odd_list, Bodies._mistyped, Bodies._noise, Bodies._packed),
)
