"""The cleaner: every element of every message is forwarded or dead, with an id that stays the same."""

from __future__ import annotations

import json
from typing import Any

import pytest
from engines_fakes import NOW, FakeContext, message
from hypothesis import given
from hypothesis import strategies as st

from canopsis.engines.cleaner_events import CleanerEvents
from canopsis.runtime.contract import Batch, Effects, Message

GOOD: dict[str, Any] = {"connector": "c", "connector_name": "n", "component": "web", "state": 1, "timestamp": NOW - 5}
STATELESS = {name: value for name, value in GOOD.items() if name != "timestamp"}


def clean(*messages: Message, ctx: FakeContext | None = None) -> Effects:
    effects = CleanerEvents().process(Batch(raw=messages), ctx or FakeContext())
    assert effects.incoming == len(effects.forward) + len(effects.drop) + len(effects.dead)
    return effects


def body(*events: dict[str, Any]) -> bytes:
    return json.dumps(events[0] if len(events) == 1 else events).encode()


def test_object_becomes_an_event() -> None:
    effects = clean(message(body(GOOD)))
    assert [event.entity_id for event in effects.forward] == ["component:web"]
    assert effects.forward[0].timestamp == NOW - 5
    assert effects.incoming == 1


def test_array_becomes_its_events_in_order() -> None:
    effects = clean(message(body(*(GOOD | {"component": name} for name in "abc"))))
    assert [event.component for event in effects.forward] == ["a", "b", "c"]
    assert effects.incoming == 3


def test_given_id_is_kept() -> None:
    assert clean(message(body(GOOD | {"event_id": "mine"}))).forward[0].event_id == "mine"


@pytest.mark.parametrize("fields", [{"message_id": "m1"}, {"stamp": 1}, {}])
def test_same_message_gives_the_same_ids(fields: dict[str, Any]) -> None:
    ids = [[event.event_id for event in clean(message(body(GOOD, GOOD), **fields)).forward] for _ in range(2)]
    assert ids[0] == ids[1]
    assert len(set(ids[0])) == 2
    assert all(len(name) == 32 for name in ids[0])


@pytest.mark.parametrize("other", [{"message_id": "m2"}, {"stamp": 2}, {"message_id": "m1", "stamp": 1}])
def test_other_message_gives_other_ids(other: dict[str, Any]) -> None:
    first = clean(message(body(GOOD), stamp=1)).forward[0].event_id
    assert clean(message(body(GOOD), **other)).forward[0].event_id != first


def test_ids_differ_by_body() -> None:
    ids = {clean(message(body(GOOD | {"output": text}), message_id="m")).forward[0].event_id for text in "ab"}
    assert len(ids) == 2


def test_nothing_stable_takes_a_new_id() -> None:
    ctx = FakeContext()
    assert clean(message(body(STATELESS)), ctx=ctx).forward[0].event_id == "new-1"
    assert clean(message(body(STATELESS)), ctx=ctx).forward[0].event_id == "new-2"


def test_time_of_receipt_stands_in_for_a_missing_timestamp() -> None:
    assert clean(message(body(STATELESS), received=NOW - 7)).forward[0].timestamp == NOW - 7
    assert clean(message(body(STATELESS))).forward[0].timestamp == NOW


def test_future_is_clamped_to_the_time_of_receipt() -> None:
    ahead = body(GOOD | {"timestamp": NOW + 100})
    assert clean(message(ahead, received=NOW - 7)).forward[0].timestamp == NOW - 7


@pytest.mark.parametrize("broken", [b"", b"{", b"\xff", b"3", b"[]", b"null", b'{"a": NaN}'])
def test_broken_body_is_one_dead_letter_with_its_bytes(broken: bytes) -> None:
    origin = message(broken, message_id="m")
    effects = clean(origin)
    assert [(dead.body, dead.origin, dead.key) for dead in effects.dead] == [(broken, origin, "m/0")]
    assert effects.dead[0].reason
    assert effects.forward == []


def test_bad_element_leaves_its_neighbours() -> None:
    events = (GOOD, GOOD | {"state": 7}, GOOD | {"component": "db"})
    effects = clean(message(body(*events), message_id="m"))
    assert [event.component for event in effects.forward] == ["web", "db"]
    dead = effects.dead[0]
    assert (dead.field, dead.key, json.loads(dead.body)["state"]) == ("state", "m/1", 7)
    assert "7" in dead.reason


def test_bad_single_event_keeps_the_original_bytes() -> None:
    original = b'  {"component": "web",   "state": 1}'
    assert clean(message(original)).dead[0].body == original


def test_several_messages_keep_their_order() -> None:
    effects = clean(*(message(body(GOOD | {"component": name})) for name in "xyz"))
    assert [event.component for event in effects.forward] == ["x", "y", "z"]


@given(st.lists(st.binary(max_size=200) | st.text(max_size=50).map(str.encode), max_size=5))
def test_no_bytes_make_it_raise_or_lose_count(bodies: list[bytes]) -> None:
    effects = clean(*map(message, bodies))
    assert effects.incoming >= len(bodies)


_JSON = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from([*GOOD, "x"]), inner, max_size=4),
    max_leaves=12,
)


@given(st.dictionaries(st.sampled_from([*GOOD, "event_type", "perf_data", "tags", "extra", "$x", "a.b"]), _JSON))
def test_no_field_makes_it_raise(fields: dict[str, Any]) -> None:
    effects = clean(message(json.dumps(GOOD | fields).encode()))
    assert effects.incoming == 1


def test_beat_and_forget_do_nothing() -> None:
    engine = CleanerEvents()
    engine.forget(None)
    assert engine.beat(NOW, FakeContext()) == Effects()


def test_refused_elements_are_counted_by_source() -> None:
    bad = GOOD | {"state": 9}
    nameless = {name: value for name, value in bad.items() if name != "connector_name"}
    effects = clean(message(body(bad, GOOD, nameless)), message(body(bad)), message(b"junk"))
    assert effects.counts == {("c/n", "refused"): 2, ("unknown", "refused"): 2}


def test_b6_mended_events_are_counted_by_source() -> None:
    effects = clean(message(body(GOOD | {"tags": 5}, GOOD, GOOD | {"output": 5})))
    assert effects.counts == {("c/n", "warnings"): 2}
    assert [len(event.warnings) for event in effects.forward] == [1, 0, 1]


def test_b13_a_refused_neighbour_of_bad_bytes_keeps_them() -> None:
    effects = clean(message(b"[" + body(GOOD | {"state": 9, "output": "caf#"}).replace(b"#", b"\xe9") + b",{}]"))
    first, _ = effects.dead
    assert json.loads(first.body)["output"] == "caf\udce9"


@pytest.mark.parametrize("value", [0, "", "yesterday", None, NOW + 9, 253402300799])
def test_b6_a_check_without_a_time_of_its_own_counts_each_time(value: object) -> None:
    ctx = FakeContext()
    sent = message(body(GOOD | {"timestamp": value}))
    assert [clean(sent, ctx=ctx).forward[0].event_id for _ in range(2)] == ["new-1", "new-2"]
