"""collectdgw and dead_letters: foreign messages in, counted to the last line."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from engines_fakes import NOW, FakeContext, message
from hypothesis import given
from hypothesis import strategies as st

from canopsis.core.event_types.perf import Perf
from canopsis.core.normalise import decode, normalise
from canopsis.engines.chain import default_chain
from canopsis.engines.collectdgw import EXPIRY_SECONDS, NO_VALUE, CollectdGateway
from canopsis.engines.dead_letters import DeadLetters, reason_of
from canopsis.engines.registry import registry
from canopsis.errors import ConfigError
from canopsis.runtime.contract import Batch, Effects, Message, encode
from canopsis.sources.rates import FIRST


def through(engine: CollectdGateway, *bodies: bytes, at: float = NOW) -> Effects:
    messages = [message(body, exchange="amq.topic", routing_key="collectd") for body in bodies]
    effects = engine.process(Batch(raw=messages), FakeContext(now=at))
    assert effects.incoming == len(effects.forward) + len(effects.drop) + len(effects.dead)
    return effects


def load(at: float, host: str = "h1") -> bytes:
    return f"PUTVAL {host}/load/load interval=10.000 {at:.3f}:0.06:0.05:0.01".encode()


def counter(at: float, value: int) -> bytes:
    return f"PUTVAL h1/cpu-0/cpu-user interval=10.000 {at:.3f}:{value}".encode()


def test_gauge_line_is_a_perf_event() -> None:
    (event,) = through(CollectdGateway(), load(NOW)).forward
    assert isinstance(event, Perf)
    assert (event.entity_id, event.timestamp) == ("resource:h1/load", NOW)
    assert [item.value for item in event.perf_data_array] == [0.06, 0.05, 0.01]


def test_first_value_of_a_counter_is_dropped_and_the_second_is_a_rate() -> None:
    engine = CollectdGateway()
    first = through(engine, counter(NOW - 10, 1000))
    assert [(drop.rule, FIRST in drop.reason) for drop in first.drop] == [(NO_VALUE, True)]
    (event,) = through(engine, counter(NOW, 1500)).forward
    assert [item.value for item in event.perf_data_array] == [50.0]


def test_counters_survive_a_lost_partition_and_a_repeat() -> None:
    engine = CollectdGateway()
    through(engine, counter(NOW - 10, 1000))
    engine.forget(None)
    first, again = (through(engine, counter(NOW, 1500)).forward for _ in range(2))
    assert first == again
    assert len(first) == 1


def test_counters_that_went_silent_begin_anew() -> None:
    engine = CollectdGateway()
    through(engine, counter(NOW - 10, 1000))
    later = NOW + 2 * EXPIRY_SECONDS
    assert len(through(engine, counter(later, 1500), at=later).drop) == 1


def test_broken_line_is_dead_and_its_neighbours_go_on() -> None:
    body = b"\n".join([load(NOW), b"PUTVAL nonsense", load(NOW, "h2")])
    effects = through(CollectdGateway(), body)
    assert [event.component for event in effects.forward] == ["h1", "h2"]
    assert [dead.body for dead in effects.dead] == [b"PUTVAL nonsense"]
    assert effects.dead[0].origin.exchange == "amq.topic"
    assert effects.dead[0].field


def test_broken_message_keeps_its_bytes() -> None:
    assert through(CollectdGateway(), b"\xff\xfe").dead[0].body == b"\xff\xfe"


def test_what_it_forwards_passes_the_cleaner_unchanged() -> None:
    (event,) = through(CollectdGateway(), load(NOW)).forward
    (raw,) = decode(encode(event))
    assert normalise(raw, NOW) == event


@given(st.lists(st.binary(max_size=80) | st.sampled_from([load(NOW), counter(NOW, 5), b'[{"host": 1}]']), max_size=4))
def test_no_bytes_make_it_raise_or_lose_count(bodies: list[bytes]) -> None:
    assert through(CollectdGateway(), *bodies).incoming >= len(bodies)


def test_collectd_beat_does_nothing() -> None:
    assert CollectdGateway().beat(NOW, FakeContext()) == Effects()


def death(**fields: Any) -> dict[str, Any]:
    return {"x-death": [{"queue": "Engine_alarm.03", "reason": "delivery_limit", "count": 1} | fields]}


def test_every_message_is_a_dead_letter_with_the_brokers_reason() -> None:
    raw: list[Message] = [message(b"\x00 anything", headers=death(), message_id="m")]
    effects = DeadLetters().process(Batch(raw=raw), FakeContext())
    (dead,) = effects.dead
    assert (dead.body, dead.origin, dead.key, effects.incoming) == (b"\x00 anything", raw[0], "m/0", 1)
    assert "Engine_alarm.03: delivered too often" in dead.reason


@pytest.mark.parametrize(
    ("headers", "said"),
    [
        (death(reason="rejected", count=3), "refused by its consumer (3 times)"),
        (death(reason="expired"), "too old"),
        (death(reason="maxlen"), "its queue was full"),
        (death(reason="something new"), "something new"),
        (death(reason=""), "no reason given"),
        ({}, "does not say why"),
        ({"x-death": []}, "does not say why"),
        ({"x-death": "odd"}, "does not say why"),
        ({"x-death": ["odd"]}, "does not say why"),
    ],
)
def test_reason_of_the_broker(headers: dict[str, Any], said: str) -> None:
    assert said in reason_of(headers)


@pytest.mark.parametrize("name", sorted(registry()))
def test_registry_makes_every_engine_by_its_name(name: str) -> None:
    engine = registry()[name].engine({}, 8)
    assert engine.name == name
    assert engine.process(Batch(), FakeContext()) == Effects()


def test_registry_knows_every_engine_of_the_default_chain() -> None:
    default_chain().check(registry())
    assert {engine.name for engine in default_chain().engines} == set(registry())


UPS = b"PUTVAL h1/ups/ups_power N:3:4"


def test_e2_own_types_are_known_besides_the_bundled_ones(tmp_path: Path) -> None:
    own = tmp_path / "ups.db"
    own.write_text("ups_power in:GAUGE:0:U, out:GAUGE:0:U\nload value:GAUGE:U:U # ours has one value\n")
    (letter,) = through(CollectdGateway(), UPS).dead
    assert letter.reason.endswith("collectd_types_db")
    engine = registry()["collectdgw"].engine({"types_db": (str(own),)}, 8)
    assert isinstance(engine, CollectdGateway)
    events = through(engine, UPS, b"PUTVAL h1/users/users N:5", b"PUTVAL h1/load/load N:1").forward
    assert [[(m.metric, m.value) for m in event.perf_data_array] for event in events if isinstance(event, Perf)] == [
        [("ups_power-in", 3.0), ("ups_power-out", 4.0)],
        [("users", 5.0)],
        [("load", 1.0)],
    ]


@pytest.mark.parametrize(
    ("content", "what"),
    [(b"ups value", r"own\.db line 1: 'value'"), (b"\xff", "cannot be read: not UTF-8"), (None, "No such file")],
)
def test_e2_own_types_that_are_none_are_told(tmp_path: Path, content: bytes | None, what: str) -> None:
    own = tmp_path / "own.db"
    if content is not None:
        own.write_bytes(content)
    with pytest.raises(ConfigError, match=what):
        CollectdGateway([str(own)])
