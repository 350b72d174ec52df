"""Mappers: what a payload becomes, what is refused and in which words, and tests that must hold before one is saved."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from canopsis.core.rules.kernel import RuleSet, make
from canopsis.core.rules.mapper import KIND, MOST_NAMED, Mapper, Mappers, explain, mapped
from canopsis.core.rules.rule import document_of, parse
from canopsis.errors import InvalidEvent, InvalidRule

NOW = 1_800_000_000.0
EXAMPLES = Path(__file__).parents[3] / "docs" / "mappers"
PAYLOAD: dict[str, Any] = {
    "host": "web1",
    "check": "disk",
    "level": "bad",
    "n": 2,
    "labels": {"team": "ops"},
    "alerts": [{"id": "a"}, {"id": "b"}],
}
FIELDS = {"component": "$.host", "resource": "$.check", "state": 2}


def mapper(fields: dict[str, Any] | None = None, **facts: Any) -> dict[str, Any]:
    return {"id": "m", "pattern": {"host": {"$exists": True}}, "fields": FIELDS if fields is None else fields} | facts


def ready(*documents: dict[str, Any]) -> Mappers:
    made = make(KIND, documents or [mapper()], {})
    assert made.refused == ()
    return made


def become(document: dict[str, Any], payload: object = PAYLOAD) -> list[Any]:
    """Return what a mapper makes of a payload: events, and texts of refusals."""
    found = [each.found for each in mapped(ready(document), payload, "one", NOW)]
    return [str(each) if isinstance(each, InvalidEvent) else each for each in found]


def value(made_of: object, payload: object = PAYLOAD) -> object:
    """Return what becomes of the field ``extra.x``: its value, nothing, or why there is no event."""
    (found,) = become(mapper({"extra.x": made_of}), payload)
    return found if isinstance(found, str) else found.get("extra", {}).get("x", "nothing")


@pytest.mark.parametrize(
    ("made_of", "found"),
    [
        ("$.host", "web1"),
        ("$.none", "nothing"),
        ("$5", "$5"),
        (7, 7),
        (None, None),
        (True, True),
        ("{{ host|upper }} {{ labels.team }}", "WEB1 ops"),
        ("{{ item.host }} {{ payload.n }}", "web1 2"),
        ("{{ '$.host' }}", "$.host"),
        (["$.host", "x", "$.none", None, {"k": "$.n"}], ["web1", "x", {"k": 2}]),
        ({"metric": "load", "value": "$.n", "unit": "$.none"}, {"metric": "load", "value": 2}),
        ({"from": "$.none"}, "nothing"),
        ({"from": "$.none", "default": "d"}, "d"),
        ({"from": "$.none", "default": None}, None),
        ({"from": ["$.none", "{{ nope }}", "{{ '' }}", "$.n"]}, 2),
        ({"from": ["{{ nope }}", "$.none"], "default": 3}, 3),
        ({"from": "$.level", "map": {"bad": 2}}, 2),
        ({"from": "$.n", "map": {"2": "two"}}, "two"),
        ({"from": "$.level", "map": {"good": 0}, "default": 1}, 1),
        ({"from": "$.none", "map": {"good": 0}}, "nothing"),
        ({"from": "$.labels", "map": {"ops": 0}, "default": 1}, 1),
        ({"from": "{{ '2.50' }}", "as": "number"}, 2.5),
        ({"from": "{{ n }}", "as": "number"}, 2),
        ({"from": "$.n", "as": "number"}, 2),
        ({"from": "$.level", "as": "number", "default": 0}, 0),
    ],
    ids=str,
)
def test_what_a_field_is_made_of(made_of: object, found: object) -> None:
    assert (value(made_of), type(value(made_of))) == (found, type(found))


@pytest.mark.parametrize(
    ("given", "found"),
    [
        ("2026-05-01T10:00:00Z", 1777629600.0),
        (1777629600, 1777629600),
        (1777629600250, 1777629600.25),
        ("1777629600250", 1777629600.25),
        ("1777629600", 1777629600.0),
        ("soon", "soon"),
        ([1], [1]),
    ],
)
def test_times(given: object, found: object) -> None:
    assert value({"from": "$.t", "as": "time"}, {"host": "h", "t": given}) == found


@pytest.mark.parametrize(
    ("given", "name"), [(True, "true"), (False, "false"), (2.0, "2"), (2.5, "2.5"), (0, "0"), ("True", "True")]
)
def test_what_a_value_is_called_in_a_table(given: object, name: str) -> None:
    assert value({"from": "$.v", "map": {name: "found"}}, {"host": "h", "v": given}) == "found"


@pytest.mark.parametrize(
    ("fields", "why"),
    [
        ({"output": "{{ nope }}"}, "output: template '{{ nope }}': undefined value"),
        ({"output": ["{{ nope }}"]}, "output: template"),
        ({"output": {"from": ["$.x", "{{ nope }}"]}}, "output: template"),
        ({"state": {"from": "$.level", "map": {"good": 0}}}, "state: 'bad' is not in map, which has ['good'], and no"),
        ({"state": {"from": "$.level", "as": "number"}}, "state: 'bad' is not a number"),
        ({"state": {"from": "$.yes", "as": "number"}}, "state: True is not a number"),
        ({"extra.a": 1, "extra.a.b": 2}, "extra.a.b: a is not an object"),
    ],
)
def test_an_item_that_cannot_be_mapped_is_refused_with_the_field_and_the_reason(fields: Any, why: str) -> None:
    (found,) = become(mapper(fields), PAYLOAD | {"yes": True})
    assert found.startswith(why)


def test_fields_inside_objects_leave_the_payload_as_it_is() -> None:
    payload = {"host": "web1", "labels": {"deep": {"a": 1}}}
    fields = {"extra": "$.labels", "extra.deep.b": 2, "extra.c": "$.labels.deep"}
    assert become(mapper(fields), payload) == [{"extra": {"deep": {"a": 1, "b": 2}, "c": {"a": 1}}}]
    assert payload == {"host": "web1", "labels": {"deep": {"a": 1}}}


def test_each_item_of_a_list_becomes_an_event() -> None:
    fields = {"component": "$.host", "resource": "@.id", "output": "{{ id }} of {{ payload.host }}"}
    assert become(mapper(fields, each="$.alerts")) == [
        {"component": "web1", "resource": "a", "output": "a of web1"},
        {"component": "web1", "resource": "b", "output": "b of web1"},
    ]
    assert become(mapper(fields, each="$.alerts"), {"host": "web1", "alerts": []}) == []
    assert become(mapper({"output": "{{ item }}"}, each="$.alerts"), {"host": "h", "alerts": ["x"]}) == [
        {"output": "x"}
    ]
    refused = "allowed: a list, as each of the mapper says"
    assert become(mapper(each="$.none"))[0] == f"$.none: None is refused; {refused}"
    assert become(mapper(each="$.host"))[0] == f"$.host: 'web1' is refused; {refused}"


def test_json_in_a_text_is_read_and_what_is_none_stays_a_text() -> None:
    document = mapper({"component": "$.m.host", "output": "$.n", "extra.o": "$.o"}, decode=["$.m", "$.n", "$.o", "$.p"])
    payload = {"host": "h", "m": '{"host": "inner"}', "n": "{", "o": 5}
    assert become(document, payload) == [{"component": "inner", "output": "{", "extra": {"o": 5}}]
    assert become(mapper({"output": "$.n"}, decode=["$.n"]), {"host": "h", "n": "\ud800"}) == [{"output": "\ud800"}]


def test_the_first_mapper_that_matches_and_is_for_the_address_takes_it() -> None:
    mappers = ready(
        mapper({"output": "last"}, id="z"),
        mapper({"output": "first"}, id="a", priority=1, pattern={"level": "bad"}),
        mapper({"output": "other"}, id="b", priority=0, sources=["two"]),
        mapper({"output": "over"}, id="c", priority=0, stop=datetime.fromtimestamp(NOW, UTC)),
    )

    def taken(payload: object, source: str) -> list[str]:
        return [each.mapper for each in mapped(mappers, payload, source, NOW)]

    assert (taken(PAYLOAD, "one"), taken({"host": "h"}, "one"), taken(PAYLOAD, "two")) == (["a"], ["z"], ["b"])
    assert taken([{"host": "h"}, {"x": 1}, PAYLOAD], "one") == ["z", "", "a"]
    assert taken([], "one") == []


def test_what_no_mapper_matches_is_refused_and_names_those_there_are() -> None:
    (found,) = (str(each.found) for each in mapped(ready(mapper(), mapper(id="n", sources=["x"])), [5], "one", NOW))
    assert found == "[0]: 5 is refused; allowed: what one of the mappers for 'one' matches: m"
    (found,) = (str(each.found) for each in mapped(RuleSet(), {"a": 1}, "one", NOW))
    assert found.endswith("nothing: there is no mapper for 'one'; PUT one to /api/v1/mappers/ID")
    many = ready(*(mapper(id=f"m{number:02}") for number in range(MOST_NAMED + 2)))
    (found,) = (str(each.found) for each in mapped(many, {}, "one", NOW))
    assert found.endswith("m19 and 2 more")


REFUSED = [
    (mapper({}), "fields", "length >= 1"),
    (mapper({"connector": "x"}), "fields", "the address says connector"),
    (mapper({"entity_id": "x"}), "fields", "not entity_id, late"),
    (mapper({"a..b": "x"}), "fields", "a field of an event"),
    (mapper({"extra.$a": "x"}), "fields", "a field of an event"),
    (mapper({"output": "$.a["}), "fields.output", "a path such as"),
    (mapper({"output": ["{{ x"]}), "fields.output[0]", "a template"),
    (mapper({"output": {"a": {"from": "$..x"}}}), "fields.output.a.from", "a path such as"),
    (mapper({"output": {"from": "$.a", "nope": 1}}), "fields.output.nope", "the fields from, map, default, as"),
    (mapper({"output": {"from": []}}), "fields.output.from", "length >= 1"),
    (mapper({"output": {"from": "$.a", "as": "date"}}), "fields.output.as", "number, time"),
    (mapper({"output": [[[[[[[[[[["deep"]]]]]]]]]]]}), "fields.output[0][0][0][0][0][0][0][0][0][0][0]", "at most 10"),
    (mapper(each="alerts"), "each", "a path such as"),
    (mapper(decode=["Message"]), "decode[0]", "a path such as"),
    (mapper(tests=[{"events": []}]), "tests[0].payload", "missing"),
]


@pytest.mark.parametrize(("document", "field", "allowed"), REFUSED, ids=str)
def test_a_mapper_that_cannot_be_used_is_refused(document: Any, field: str, allowed: str) -> None:
    (error,) = make(KIND, [document], {}).refused
    assert error.field == field
    assert allowed in str(error)


def trial(**facts: Any) -> dict[str, Any]:
    return {"payload": PAYLOAD} | facts


def prove(*tests: dict[str, Any], **facts: Any) -> None:
    KIND.demand_good(parse(Mapper, mapper(tests=list(tests), **facts)))


def test_tests_that_hold() -> None:
    found = {"component": "web1", "state": 2, "source_type": "resource", "event_type": "check", "nope": None}
    prove(trial(events=[found]), trial(payload={"x": 1}, refused="payload"))
    prove(trial(payload=[PAYLOAD, {"host": "h"}, 7], events=[{}, {"component": "h"}], refused="[2]"))
    prove(trial(payload={"host": ""}, refused="component"), trial(payload=[]))


@pytest.mark.parametrize(
    ("test", "field", "told"),
    [
        (trial(events=[{"state": 1}]), "events[0].state", "the test wants 1 and found 2"),
        (trial(events=[{"state": True}], name="yes"), "events[0].state", "the test 'yes' wants True and found 2"),
        (trial(events=[{"none": "x"}]), "events[0].none", "wants 'x' and found None"),
        (trial(), "events", "wants 0 and found 1"),
        (trial(events=[{}, {}]), "events", "wants 2 and found 1"),
        (trial(refused="state"), "refused", "wants 'state' and found ''"),
        (
            trial(payload={"host": ""}, events=[{}]),
            "refused",
            "wants '' and found 'component' (component: ''",
        ),
        (trial(payload={}, events=[{}]), "refused", "found 'payload' (payload: {} is refused; allowed: what pattern"),
    ],
)
def test_a_test_that_fails_says_field_wanted_and_found(test: dict[str, Any], field: str, told: str) -> None:
    with pytest.raises(InvalidRule) as caught:
        prove(trial(events=[{}]), test)
    assert caught.value.field == f"tests[1].{field}"
    assert str(caught.value).startswith(f"rule m: tests[1].{field}: ")
    assert told in str(caught.value)


def test_a_mapper_without_tests_is_not_saved_but_one_that_is_stored_stays() -> None:
    with pytest.raises(InvalidRule, match="at least one test"):
        prove()
    assert len(ready(mapper(tests=[trial(events=[{"state": 0}])])).rules) == 1


def test_a_mapper_is_stored_as_it_was_read() -> None:
    document = mapper(tests=[trial(events=[{"state": 2}], name="t")], each="$.alerts", sources=["a"])
    assert document_of(parse(Mapper, document)) == document


def test_an_explanation() -> None:
    fields = FIELDS | {"output": "$.none", "perf_data": "nonsense="}
    (good,) = explain(ready(mapper(fields)), PAYLOAD, "", NOW)
    assert (good["outcome"], good["event"]["entity_id"]) == ("accepted", "resource:web1/disk")
    assert good["reason"].startswith("perf_data: ")
    (step,) = good["trail"]
    assert (step["rule"], step["changes"]["state"]) == ("m", {"from": None, "to": 2})
    bad, none = explain(ready(mapper({"component": "$.nope", "state": "{{ no }}"})), [PAYLOAD, 5], "one", NOW)
    assert (bad["outcome"], bad["event"], bad["trail"][0]["changes"]) == ("refused", {}, {})
    assert bad["reason"].startswith("state: template")
    assert (none["outcome"], none["trail"]) == ("refused", [])


def test_what_is_too_deep_to_be_looked_at_is_refused() -> None:
    deep: list[Any] = []
    for _ in range(900):
        deep = [deep]
    payload = [{"host": "h", "deep": deep}, PAYLOAD]
    mappers = ready(mapper(pattern={"deep.a": None}, fields=FIELDS | {"extra.deep": "$.deep"}))
    first, second = explain(mappers, payload, "one", NOW)
    assert (first["outcome"], second["outcome"]) == ("refused", "accepted")
    assert "not so deep" in first["reason"]
    (shallow,) = explain(ready(mapper({"extra.deep": "$.deep"})), payload[0], "one", NOW)
    assert shallow["trail"][0]["changes"]["extra"]["to"].startswith("{'deep': ")


LEAVES = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text() | st.just("$.a[*].b")
JSON = st.recursive(LEAVES, lambda inner: st.lists(inner) | st.dictionaries(st.text() | st.sampled_from("ab"), inner))
MADE_OF = JSON | st.fixed_dictionaries(
    {"from": st.sampled_from(["$.a", "$.a[*].b", "@.b[0]", "{{ a }}", "{{ item|length }}", "$"])},
    optional={"map": st.dictionaries(st.text(), JSON), "default": JSON, "as": st.sampled_from(["time", "number"])},
)


@given(payload=JSON | st.fixed_dictionaries({"a": JSON, "b": JSON}), made_of=MADE_OF)
def test_whatever_a_mapper_is_and_whatever_comes_it_is_mapped_or_refused(payload: Any, made_of: Any) -> None:
    fields = {"component": made_of, "extra.x.y": made_of, "output": "{{ a }}"}
    document = mapper(fields, pattern={"none": None}, each="$.b", decode=["$.a", "$.b[0]"])
    for each in ({}, {"each": ""}):
        for told in explain(make(KIND, [document | each], {}), payload, "one", NOW):
            assert told["outcome"] in {"accepted", "refused"}


@pytest.mark.parametrize("path", sorted(EXAMPLES.glob("*.yml")), ids=lambda path: path.stem)
def test_the_mappers_of_the_documentation_pass_their_tests(path: Path) -> None:
    for document in yaml.safe_load_all(path.read_text()):
        sent = json.loads(json.dumps({name: value for name, value in document.items() if name != "kind"}))
        KIND.demand_good(parse(Mapper, sent))
