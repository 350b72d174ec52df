"""The benchmark's own parts: what it sends, how it counts, how it shows it."""

from __future__ import annotations

import json
import math
import os
import random
import socket
import sys
from collections import Counter
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import pytest

from canopsis.core.event import routing_key
from canopsis.core.normalise import decode, normalise

BENCHMARKS = Path(__file__).resolve().parents[3] / "benchmarks"
sys.path.insert(0, str(BENCHMARKS))

import figures  # noqa: E402 - the path is set above
import load  # noqa: E402

NAME = "benchabc"


class Publisher:
    """Takes what the sender sends."""

    def __init__(self) -> None:
        self.messages: list[tuple[str, bytes, str]] = []

    def send(self, _exchange: str, key: str, body: bytes, *, message_id: str) -> None:
        self.messages.append((key, body, message_id))

    def push(self) -> None:
        """Nothing waits here."""

    def flush(self, _timeout: float) -> None:
        """Nothing waits here."""


@pytest.fixture(scope="module")
def all_bodies() -> list[load.Body]:
    return load.bodies(NAME)


def mix(name: str, all_bodies: list[load.Body]) -> load.Mix:
    return load.Mix(name, all_bodies, load.MIXES[name])


def events(flow: Iterator[tuple[str, bytes]], count: int) -> list[Any]:
    found = []
    for key, body in islice(flow, count):
        event = normalise(decode(body)[0], 4e9)
        assert routing_key(event) == key
        found.append(event)
    return found


def test_there_are_as_many_entities_as_promised(all_bodies: list[load.Body]) -> None:
    assert len(all_bodies) == load.ENTITIES == 20_000
    assert len({body.routing_key for body in all_bodies}) == load.ENTITIES


def test_an_event_is_a_check_with_two_metrics(all_bodies: list[load.Body]) -> None:
    (event,) = events(load.endless(mix("normal", all_bodies)), 1)
    assert event.connector == NAME
    assert len(event.perf_data_array) == 2
    assert event.timestamp > 1.7e9


def test_warm_up_touches_every_entity_and_opens_what_is_repeated(all_bodies: list[load.Body]) -> None:
    found = events(load.warm_up(mix("normal", all_bodies)), load.ENTITIES)
    assert len({event.entity_id for event in found}) == load.ENTITIES
    assert sum(event.state != 0 for event in found) == load.REPEATING


def test_normal_mix_is_90_9_1(all_bodies: list[load.Body]) -> None:
    flow = load.normal(random.Random(3))
    opened = set(range(load.REPEATING))
    kinds: Counter[str] = Counter()
    for number, state in islice(flow, 20_000):
        repeated = number in opened and number < load.REPEATING
        kinds["repeat" if repeated else "change" if number < load.REPEATING + load.CHANGING else "quiet"] += 1
        assert repeated == (state == 1 and number < load.REPEATING)
    assert (kinds["quiet"], kinds["repeat"], kinds["change"]) == (18_000, 1_800, 200)
    assert len(all_bodies) == load.ENTITIES


def test_changes_do_change(all_bodies: list[load.Body]) -> None:
    last: dict[int, int] = {}
    for number, state in islice(load.normal(random.Random(5)), 50_000):
        if load.REPEATING <= number < load.REPEATING + load.CHANGING:
            assert state != last.get(number, 0)
            last[number] = state
    assert len(last) > 100
    assert all_bodies[0].by_state[0] != all_bodies[0].by_state[1]


def test_flips_alternate_for_each_entity() -> None:
    last: dict[int, int] = {}
    for number, state in islice(load.flips(random.Random(1)), 60_000):
        assert state == 1 - last.get(number, 0)
        last[number] = state
    assert len(last) == load.ENTITIES - load.REPEATING


@pytest.mark.parametrize(("size", "count", "messages"), [(1, 7, 7), (50, 100, 2), (50, 120, 3)])
def test_the_sender_counts_events_and_names_messages(
    size: int, count: int, messages: int, all_bodies: list[load.Body]
) -> None:
    publisher = Publisher()
    sender = load.Sender(publisher, "run", size)  # type: ignore[arg-type]
    sender.send(load.endless(mix("normal", all_bodies)), count)
    sender.push()
    sender.flush()
    assert sender.sent == count
    assert len(publisher.messages) == messages
    assert len({name for *_, name in publisher.messages}) == messages
    decoded = [json.loads(body) for _, body, _ in publisher.messages]
    assert sum(len(part) if isinstance(part, list) else 1 for part in decoded) == count


def test_cpu_time_of_a_process_grows_with_work() -> None:
    before = figures.cpu_seconds([os.getpid()])
    while figures.cpu_seconds([os.getpid()]) < before + 0.05:
        sum(range(10_000))
    assert figures.cpu_seconds([os.getpid(), 999_999_999]) >= before + 0.05


def test_listeners_of_a_port_are_found() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        assert figures.listeners(port) == [os.getpid()]
    assert figures.listeners(port) == []


def test_percentiles() -> None:
    values = [float(value) for value in range(1, 101)]
    assert figures.percentile(values, 0.5) == 51.0
    assert figures.percentile(values, 0.99) == 100.0
    assert figures.percentile([5.0], 0.99) == 5.0
    assert math.isnan(figures.percentile([], 0.5))


def test_table_lines_up_and_shouts_what_is_wrong() -> None:
    text = figures.table([{"case": "a", "rate": 12345.6, "ok": True}, {"case": "bb", "rate": 1.5, "ok": False}])
    head, rule, first, second = text.splitlines()
    assert len({len(line) for line in (head, rule, first, second)}) == 1
    assert "12,346" in first
    assert "yes" in first
    assert "NO" in second
    assert figures.table([]) == "(nothing)"
