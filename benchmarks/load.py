"""The load: events encoded beforehand, sent with pipelined confirms, never more under way than a window."""

from __future__ import annotations

import json
import random
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from canopsis.transport.publisher import ConfirmingPublisher
from canopsis.transport.topology import EVENTS

ENTITIES = 20_000
RESOURCES = 10
REPEATING = 1_800
CHANGING = 2_000
"""Of the entities: so many have an open alarm that is only repeated, so many change their state."""

OUTPUT = "response time 0.042 s, 1532 connections, queue 12 of 400, last reload by deploy 3 h ago, node ready"


@dataclass(frozen=True, slots=True)
class Body:
    """An entity's event but for its end, by state."""

    routing_key: str
    by_state: tuple[bytes, bytes]


@dataclass(slots=True)
class Mix:
    """A sequence of events: ``next`` gives the key and bytes of one more."""

    name: str
    bodies: list[Body]
    order: Callable[[random.Random], Iterator[tuple[int, int]]]
    states: list[int] = field(default_factory=lambda: [0] * ENTITIES)


def bodies(connector: str) -> list[Body]:
    """Return the bodies of all entities; each names ``connector``."""
    return [_body(connector, number) for number in range(ENTITIES)]


def _body(connector: str, number: int) -> Body:
    component, resource = f"host{number // RESOURCES:04d}.example.org", f"service{number % RESOURCES}"

    def encoded(state: int) -> bytes:
        event = {
            "connector": connector,
            "connector_name": "bench",
            "event_type": "check",
            "source_type": "resource",
            "component": component,
            "resource": resource,
            "state": state,
            "output": OUTPUT,
            "perf_data_array": [
                {"metric": "time", "value": 0.042, "unit": "s", "warn": "1", "crit": "5"},
                {"metric": "connections", "value": 1532.0, "max": 4000.0},
            ],
        }
        return json.dumps(event, separators=(",", ":")).encode()[:-1] + b',"timestamp":'

    key = f"{connector}.bench.check.resource.{component}.{resource}"
    return Body(key, (encoded(0), encoded(2)))


def warm_up(mix: Mix) -> Iterator[tuple[str, bytes]]:
    """Yield one event of each entity: it makes the entities, and opens the alarms that are repeated."""
    for number in range(ENTITIES):
        state = 1 if number < REPEATING else 0
        yield _event(mix.bodies[number], state)


def endless(mix: Mix, seed: int = 1) -> Iterator[tuple[str, bytes]]:
    """Yield routing key and body of event after event."""
    for number, state in mix.order(random.Random(seed)):
        yield _event(mix.bodies[number], state)


def _event(body: Body, state: int) -> tuple[str, bytes]:
    return body.routing_key, body.by_state[state] + b"%.3f}" % time.time()


def normal(generator: random.Random) -> Iterator[tuple[int, int]]:
    """90 % quiet checks, 9 % repeats of open alarms, 1 % changes."""
    quiet = range(REPEATING + CHANGING, ENTITIES)
    states = [0] * ENTITIES
    while True:
        dice = [0] * 90 + [1] * 9 + [2]
        generator.shuffle(dice)
        for face in dice:
            if face == 0:
                yield generator.choice(quiet), 0
            elif face == 1:
                yield generator.randrange(REPEATING), 1
            else:
                number = generator.randrange(REPEATING, REPEATING + CHANGING)
                states[number] = 1 - states[number]
                yield number, states[number]


def flips(generator: random.Random) -> Iterator[tuple[int, int]]:
    """Every event flips the alarm of its entity."""
    states = [0] * ENTITIES
    order = list(range(REPEATING, ENTITIES))
    while True:
        generator.shuffle(order)
        for number in order:
            states[number] = 1 - states[number]
            yield number, states[number]


MIXES: dict[str, Callable[[random.Random], Iterator[tuple[int, int]]]] = {"normal": normal, "flips": flips}


class Sender:
    """Sends events one a message or ``size`` in an array, and counts them."""

    def __init__(self, publisher: ConfirmingPublisher, run: str, size: int) -> None:
        self._publisher = publisher
        self._run = run
        self._size = size
        self._messages = 0
        self.sent = 0

    def send(self, events: Iterator[tuple[str, bytes]], count: int) -> None:
        """Send ``count`` events (a multiple of the size, else the last array is shorter)."""
        for begin in range(0, count, self._size):
            part = [next(events) for _ in range(min(self._size, count - begin))]
            key, body = part[0]
            if self._size > 1:
                body = b"[" + b",".join([event for _, event in part]) + b"]"
            self._messages += 1
            self._publisher.send(EVENTS, key, body, message_id=f"{self._run}-{self._messages}")
            self.sent += len(part)

    def push(self) -> None:
        """Write what was sent, without waiting."""
        self._publisher.push()

    def flush(self) -> None:
        """Wait for all confirms."""
        self._publisher.flush(120)
