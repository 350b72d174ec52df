"""Events: what is decoded, normalised, addressed and stored, and what it takes to come back the same."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from core_samples import NOW, TYPES, finite, good, json_values, names, raw_check, storable_keys, texts
from hypothesis import assume, given
from hypothesis import strategies as st

from canopsis.core.envelope import decode_batch
from canopsis.core.event import Event, event_type, routing_key, to_document
from canopsis.core.event_types import EVENT_TYPES
from canopsis.core.event_types.check import Check
from canopsis.core.event_types.comment import Comment
from canopsis.core.event_types.log import Log
from canopsis.core.event_types.perf import Perf
from canopsis.core.event_types.resolve import Resolve
from canopsis.core.normalise import decode, normalise
from canopsis.core.perfdata import PerfData
from canopsis.errors import InvalidEvent


def wire(*events: Event) -> bytes:
    return msgspec.json.encode(list(events))


def test_a_check_of_a_resource() -> None:
    assert good() == Check(
        connector="nagios",
        connector_name="nag1",
        component="srv1",
        resource="disk",
        source_type="resource",
        timestamp=1_699_999_000.0,
        entity_id="resource:srv1/disk",
        output="DISK CRITICAL",
        state=2,
        state_type=1,
    )


@pytest.mark.parametrize("kind", TYPES)
def test_every_type_comes_out_as_its_struct(kind: type[Event]) -> None:
    name = str(kind.__struct_config__.tag)
    event = good(event_type=name, **dict.fromkeys(EVENT_TYPES[name].required, "1"))
    assert type(event) is kind
    assert event_type(event) == name
    assert routing_key(event) == f"nagios.nag1.{name}.resource.srv1.disk"


def test_an_event_without_a_type_is_a_check() -> None:
    assert good(event_type=None) == good()
    assert normalise(raw_check() | {"event_type": None}, NOW) == good()


@pytest.mark.parametrize(
    ("changes", "source_type", "resource", "entity_id", "key"),
    [
        ({}, "resource", "disk", "resource:srv1/disk", "nagios.nag1.check.resource.srv1.disk"),
        ({"source_type": None}, "resource", "disk", "resource:srv1/disk", "nagios.nag1.check.resource.srv1.disk"),
        (
            {"source_type": None, "resource": ""},
            "component",
            None,
            "component:srv1",
            "nagios.nag1.check.component.srv1",
        ),
        (
            {"source_type": "component", "resource": None},
            "component",
            None,
            "component:srv1",
            "nagios.nag1.check.component.srv1",
        ),
    ],
)
def test_the_source_type_follows_from_the_resource(
    changes: dict[str, Any], source_type: str, resource: str | None, entity_id: str, key: str
) -> None:
    event = good(**changes)
    assert (event.source_type, event.resource, event.entity_id) == (source_type, resource, entity_id)
    assert routing_key(event) == key


@pytest.mark.parametrize("value", [0, 1, 2, 3, "0", "3", 2.0])
def test_states_are_numbers_or_digits(value: object) -> None:
    event = good(state=value)
    assert isinstance(event, Check)
    assert event.state == int(str(value)[0])
    assert type(event.state) is int


@pytest.mark.parametrize(("value", "expected"), [(0, 0), ("1", 1), (None, 1)])
def test_the_state_type_is_hard_unless_said(value: object, expected: int) -> None:
    event = good(state_type=value)
    assert isinstance(event, Check)
    assert event.state_type == expected


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (None, NOW),
        (946684800, 946684800.0),
        (1_600_000_000, 1_600_000_000.0),
        (1_600_000_000.25, 1_600_000_000.25),
        ("1600000000", 1_600_000_000.0),
        (" 1600000000.5 ", 1_600_000_000.5),
        (NOW, NOW),
        (NOW + 1, NOW),
        (NOW + 86400, NOW),
    ],
)
def test_times_are_seconds_and_never_ahead(value: object, expected: float) -> None:
    event = good(timestamp=value)
    assert event.timestamp == expected
    assert type(event.timestamp) is float


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("one", ["one"]),
        ([], []),
        (["a", "b", "a"], ["a", "b"]),
        (["münchen", "a b"], ["münchen", "a b"]),
    ],
)
def test_tags_are_texts_each_once(value: object, expected: list[str]) -> None:
    assert good(tags=value).tags == expected


@pytest.mark.parametrize("value", ["a", "A.b:c-d_9", "x" * 64])
def test_the_clients_own_id_is_kept(value: str) -> None:
    assert good(event_id=value).event_id == value


def test_without_one_the_id_stays_empty() -> None:
    assert good().event_id == ""
    assert good(event_id="").event_id == ""


def test_the_entity_id_of_a_client_is_not_believed() -> None:
    assert good(entity_id="component:other").entity_id == "resource:srv1/disk"


@pytest.mark.parametrize(("field", "limit"), [("output", 4096), ("long_output", 65536)], ids=["output", "long_output"])
def test_long_texts_are_cut_and_say_so(field: str, limit: int) -> None:
    assert getattr(good(**{field: "x" * limit}), field) == "x" * limit
    cut = getattr(good(**{field: "é" * (limit + 1)}), field)
    assert cut == "é" * (limit - 1) + "…"


def test_nul_in_an_output_is_replaced() -> None:
    assert good(output="a\0b").output == "a\ufffdb"
    assert good(output="é\0").output == "é\ufffd"


def test_newlines_in_an_output_stay() -> None:
    assert good(long_output="a\nb\tc").long_output == "a\nb\tc"


def test_the_level_of_a_log() -> None:
    event = good(event_type="log", level="warning")
    assert isinstance(event, Log)
    assert event.level == "warning"


def test_unknown_keys_are_kept() -> None:
    event = good(criticity="high", hostgroups=["linux", "web"], deep={"a": [1, {"b": None}]}, flag=True)
    assert event.extra == {
        "criticity": "high",
        "hostgroups": ["linux", "web"],
        "deep": {"a": [1, {"b": None}]},
        "flag": True,
    }


def test_what_one_type_knows_is_extra_to_another() -> None:
    assert good(event_type="ack", state_type=0).extra == {"state": 2, "state_type": 0}


def test_null_is_no_value() -> None:
    names_ = [
        "resource",
        "source_type",
        "timestamp",
        "output",
        "tags",
        "perf_data",
        "perf_data_array",
        "extra",
        "author",
    ]
    event = normalise(raw_check(resource=None, source_type=None, timestamp=None) | dict.fromkeys(names_), NOW)
    assert (event.resource, event.output, event.timestamp, event.extra) == (None, "", NOW, {})


def test_a_null_that_no_type_knows_is_kept() -> None:
    assert normalise(raw_check() | {"mine": None}, NOW).extra == {"mine": None}


def test_both_forms_of_perf_data_end_in_the_array() -> None:
    event = good(perf_data="a=1;80;90 b=2B", perf_data_array=[{"metric": "b", "value": 3}, {"metric": "c", "value": 4}])
    assert event.perf_data_array == [PerfData("b", 3), PerfData("c", 4), PerfData("a", 1, None, "80", "90")]
    assert good(perf_data="a=1").perf_data_array == [PerfData("a", 1)]
    assert good(perf_data="a=1", perf_data_array=[]).perf_data_array == [PerfData("a", 1)]
    assert good(perf_data="").perf_data_array == []


def test_a_comment_says_something() -> None:
    event = good(event_type="comment", output="look at the fan", author="ann")
    assert isinstance(event, Comment)
    assert (event.output, event.author) == ("look at the fan", "ann")


def test_the_raw_object_is_left_as_it_was() -> None:
    raw = raw_check(tags=["a", "a"], perf_data="a=1", mine={"b": 1})
    before = msgspec.json.encode(raw)
    normalise(raw, NOW)
    assert msgspec.json.encode(raw) == before


def test_names_may_be_anything_that_can_be_read() -> None:
    event = good(connector="a.b", component="srv 1/ß", resource="C:\\ 50% µ\u00a0used")
    assert event.entity_id == "resource:srv 1%2Fß/C:\\ 50%25 µ\u00a0used"


def test_a_routing_key_of_255_bytes_is_the_longest() -> None:
    fixed = len(routing_key(good(resource="r"))) - 1
    assert len(routing_key(good(resource="r" * (255 - fixed)))) == 255
    with pytest.raises(InvalidEvent) as caught:
        good(resource="r" * (256 - fixed))
    assert caught.value.field == "routing_key"
    assert "these make 256" in caught.value.allowed
    with pytest.raises(InvalidEvent, match="routing_key"):
        good(resource="é" * 120)


@pytest.mark.parametrize("body", [b'{"a":1}', b' {"a":1}\n', b'[{"a":1}]', b'{"a":2,"a":1}'])
def test_an_object_or_an_array_of_objects_is_decoded(body: bytes) -> None:
    assert decode(body) == [{"a": 1}]


def test_several_events_of_one_message_are_decoded() -> None:
    assert decode(b'[{"a":1},{},{"b":[2]}]') == [{"a": 1}, {}, {"b": [2]}]


def test_a_batch_between_engines_comes_back_the_same() -> None:
    events = [good(), good(event_type="perf", perf_data="a=1;2;3"), good(event_type="ack", author="ann")]
    assert decode_batch(wire(*events)) == events


def test_an_empty_batch_is_one() -> None:
    assert decode_batch(b"[]") == []


@pytest.mark.parametrize(
    ("body", "field"),
    [
        (b"", "body"),
        (b"{}", "body"),
        (b"[5]", "[0]"),
        (b"[{}]", "[0]"),
        (b'[{"event_type":"nothing"}]', "[0].event_type"),
        (b'[{"event_type":"check","connector":5}]', "[0].connector"),
        (
            b'[{"event_type":"perf","connector":"a","connector_name":"b","component":"c",'
            b'"perf_data_array":[{"metric":"m","value":"x"}]}]',
            "[0].perf_data_array[0].value",
        ),
        (b"[" * 100_000, "[0]"),
        (b'[{"event_type":"perf","extra":{"a":' + b"[" * 100_000, "body"),
        (b'[{"event_type":"perf","connector":"\xff"}]', "body"),
        (b'[{"event_type":"perf","extra":{"a":1e999}}]', "[0].extra"),
    ],
)
def test_a_batch_that_is_none_names_the_place(body: bytes, field: str) -> None:
    with pytest.raises(InvalidEvent) as caught:
        decode_batch(body)
    assert caught.value.field == field


def test_a_document_has_the_id_and_leaves_out_what_is_empty() -> None:
    assert to_document(good(event_id="e1", perf_data="a=1s;80", mine={"b": 1})) == {
        "_id": "e1",
        "event_type": "check",
        "connector": "nagios",
        "connector_name": "nag1",
        "component": "srv1",
        "resource": "disk",
        "source_type": "resource",
        "timestamp": 1_699_999_000.0,
        "entity_id": "resource:srv1/disk",
        "output": "DISK CRITICAL",
        "state": 2,
        "state_type": 1,
        "perf_data_array": [{"metric": "a", "value": 1.0, "unit": "s", "warn": "80"}],
        "extra": {"mine": {"b": 1}},
    }


def test_a_document_of_a_check_always_has_its_state() -> None:
    document = to_document(good(state=0, resource=None, source_type=None))
    assert (document["state"], document["state_type"], document["source_type"]) == (0, 1, "component")


def test_a_document_of_another_type_has_no_state() -> None:
    assert "state" not in to_document(good(event_type="perf"))


def test_what_an_engine_makes_itself_goes_through_the_door_like_any_other() -> None:
    event = Perf(
        connector="Engine",
        connector_name="engine",
        component="host",
        resource="Engine_alarm",
        source_type="resource",
        timestamp=NOW,
        perf_data_array=[PerfData("cps_evt_per_sec", 12.5)],
    )
    (raw,) = decode(msgspec.json.encode(event))
    again = normalise(raw, NOW)
    assert again.entity_id == "resource:host/Engine_alarm"
    assert again.perf_data_array == event.perf_data_array


def test_resolve_events_keep_their_time_and_entity() -> None:
    event = Resolve(connector="a", connector_name="b", component="c", timestamp=NOW - 5)
    again = normalise(decode(msgspec.json.encode(event))[0], NOW)
    assert (type(again), again.timestamp, again.entity_id) == (Resolve, NOW - 5, "component:c")


good_raws = st.fixed_dictionaries(
    {"connector": names, "connector_name": names, "component": names},
    optional={
        "resource": names,
        "timestamp": st.integers(946684800, int(NOW) + 86400) | st.just(None),
        "output": texts,
        "long_output": texts,
        "author": names,
        "event_id": st.from_regex(r"\A[A-Za-z0-9_.:-]{1,64}\Z"),
        "tags": st.lists(names, max_size=4),
        "perf_data": st.sampled_from(["", "a=1", "b=2s;10:20;~:30 'c d'=U"]),
        "perf_data_array": st.lists(st.fixed_dictionaries({"metric": names, "value": finite}), max_size=3),
        "extra": st.dictionaries(storable_keys, st.integers(-(2**63), 2**63 - 1), max_size=3),
        "mine": st.lists(texts, max_size=3),
    },
)


@given(good_raws, st.sampled_from(["check", "perf", "log", "ack", "cancel"]), st.integers(0, 3))
def test_good_events_come_back_the_same_over_every_hop(raw: dict[str, Any], kind: str, state: int) -> None:
    event = normalise(raw | {"event_type": kind, "state": state}, NOW)
    assert decode_batch(wire(event)) == [event]
    assert decode_batch(wire(*decode_batch(wire(event, event)))) == [event, event]


@given(good_raws)
def test_to_normalise_twice_is_to_normalise_once(raw: dict[str, Any]) -> None:
    event = normalise(raw | {"state": 1}, NOW)
    (again,) = decode(msgspec.json.encode(event))
    event.warnings, event.sent_timestamp = [], None
    assert normalise(again, NOW) == event


@given(good_raws)
def test_an_entity_has_one_id_whoever_speaks_of_it(raw: dict[str, Any]) -> None:
    one = normalise(raw | {"state": 1}, NOW)
    other = normalise(raw | {"event_type": "perf", "connector": "other", "timestamp": None}, NOW)
    assert one.entity_id == other.entity_id


@given(st.dictionaries(texts, json_values, max_size=4))
def test_b7_extra_values_are_kept_as_they_came(extra: dict[str, Any]) -> None:
    assume(not extra.keys() & {*Check.__struct_fields__, "event_type", "perf_data", "state_scale"})
    event = normalise(raw_check() | extra, NOW)
    assert event.extra == extra or event.warnings
    assert decode_batch(wire(event)) == [event]
