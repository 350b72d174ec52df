"""The kernel: what a rule is, what is refused and in which words, what is in force when; templates and expressions."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from canopsis.core import regex
from canopsis.core.rules.event_filter import KIND, FilterRule
from canopsis.core.rules.kernel import Kind, make
from canopsis.core.rules.kinds import kinds
from canopsis.core.rules.rule import MAX_DEPTH, demand_storable, document_of, parse
from canopsis.core.rules.table import Table, tables_of
from canopsis.core.template import Template
from canopsis.errors import InputError, InvalidPattern, InvalidRule, RuleFailure

NOW = 1_700_000_000.0
DAY = datetime.fromtimestamp(NOW, UTC)


def rule(**fields: Any) -> dict[str, Any]:
    return {"id": "r", "type": "drop", "pattern": {"component": "web"}} | fields


def enrich(**action: Any) -> dict[str, Any]:
    return rule(type="enrich", actions=[action])


REFUSED = [
    ({}, "id", "missing required field"),
    ("text", "rule", "expected `object`, got `str`"),
    (rule(id="a b"), "id", "1 to 64 letters"),
    (rule(type="nope"), "type", "break, change_entity, drop, enrich"),
    (rule(pattern={}), "pattern", "at least one condition"),
    (rule(pattern={"output": {"$regex": "(?=a)"}}), "pattern.output.$regex", "RE2"),
    (rule(priority=-1), "priority", ">= 0"),
    (rule(priority="1"), "priority", "expected `int`"),
    (rule(nope=1), "nope", "the fields id, description, pattern"),
    (rule(start=DAY, stop=DAY), "stop", "after start"),
    (rule(start="2026-05-01"), "start", "RFC3339"),
    (rule(start="2026-05-01T22:00:00"), "start", "timezone"),
    (rule(on_success="drop"), "on_success", "nothing, as type is drop"),
    (rule(component="x"), "component", "nothing, as type is drop"),
    (rule(type="enrich"), "actions", "at least one action"),
    (rule(type="enrich", actions=[{"type": "set"}]), "actions[0].field", "missing required field"),
    (rule(type="change_entity"), "type", "one of component"),
    (enrich(type="nope"), "actions[0].type", "set, append, remove, copy, template, regex, tags, lookup"),
    (enrich(type="set", field="component", value="x"), "actions[0].field", "change_entity"),
    (enrich(type="set", field="event_id", value="x"), "actions[0].field", "not entity_id"),
    (enrich(type="set", field="infos", value="x"), "actions[0].field", "infos.name"),
    (enrich(type="set", field="a..b", value="x"), "actions[0].field", "a field"),
    (enrich(type="set", field="$a", value="x"), "actions[0].field", "a field"),
    (enrich(type="set", field="x" * 300, value="x"), "actions[0].field", "a field"),
    (enrich(type="copy", field="a", **{"from": "b."}), "actions[0].from", "the path of a field"),
    (enrich(type="template", field="a", template="{{ x"), "actions[0].template", "a template"),
    (enrich(type="template", field="a", template="x" * 5000), "actions[0].template", "4000 characters"),
    (enrich(type="regex", regex="(?P<a>", **{"from": "b"}), "actions[0].regex", "RE2"),
    (enrich(type="regex", regex="a", **{"from": "b"}), "actions[0].regex", "named group"),
    (enrich(type="regex", regex="(?P<a>b)", fields={"c": "d"}, **{"from": "b"}), "actions[0].fields", "of groups: a"),
    (enrich(type="tags"), "actions[0]", "add or remove"),
    (enrich(type="lookup", table="t", key="k", fields={}), "actions[0].fields", "length >= 1"),
]  # fmt: skip


@pytest.mark.parametrize(("document", "field", "allowed"), REFUSED, ids=str)
def test_a_refused_rule_names_rule_field_and_what_is_allowed(document: Any, field: str, allowed: str) -> None:
    (error,) = make(KIND, [document], {}).refused
    assert error.field == field
    assert allowed in f"{error.allowed} {error}"
    assert str(error).startswith("rule ")


def test_a_table_is_checked_as_deep_as_it_goes() -> None:
    with pytest.raises(
        InvalidRule, match=r"rule t: rows: \{'web': 5\} is refused; allowed: expected `object`, got `int`"
    ):
        parse(Table, {"id": "t", "rows": {"web": 5}})


def test_a_value_that_is_refused_stands_in_the_error() -> None:
    with pytest.raises(InvalidRule) as caught:
        parse(FilterRule, enrich(type="set", field=7, value=1), "file.yml")
    assert str(caught.value) == "rule r: actions[0].field: 7 is refused; allowed: expected `str`, got `int`"
    with pytest.raises(InvalidRule, match=r"rule file\.yml: "):
        parse(FilterRule, [], "file.yml")


def test_a_rule_is_stored_as_it_was_read() -> None:
    document = rule(start=DAY, description="too loud")
    assert document_of(parse(FilterRule, document)) == document
    whole = rule(type="enrich", actions=[{"type": "copy", "from": "a", "field": "b"}], priority=7)
    assert document_of(parse(FilterRule, whole)) == whole


def test_rules_are_in_order_of_priority_then_id() -> None:
    rules = [rule(id="b"), rule(id="a"), rule(id="first", priority=1), rule(id="off", enabled=False), rule(type="x")]
    made = make(KIND, rules, {})
    assert [ready.rule.id for ready in made.rules] == ["first", "a", "b"]
    assert [ready.rule.id for ready in made.matching({"component": "web"}, NOW)] == ["first", "a", "b"]
    assert [ready.rule.id for ready in made.matching({"component": "web"}, NOW, after=1)] == ["b"]
    assert len(made.refused) == 1


def test_a_rule_is_in_force_from_start_until_stop() -> None:
    made = make(KIND, [rule(start=DAY, stop=DAY + timedelta(hours=1))], {})

    def in_force(seconds: float) -> bool:
        return any(made.matching({"component": "web"}, NOW + seconds))

    text = make(KIND, [rule(start=DAY.isoformat())], {})
    assert text.rules[0].starts == NOW
    assert [in_force(at) for at in (-1, 0, 3599, 3600)] == [False, True, True, False]


def test_tables_that_cannot_be_read_are_not_there() -> None:
    good = {"id": "t", "rows": {"web": {"team": "ops"}}}
    assert tables_of([good, {"id": "u"}]) == {"t": {"web": {"team": "ops"}}}
    assert parse(Table, good).rows["web"] == {"team": "ops"}


def test_every_kind_is_found_by_its_name() -> None:
    assert {"event-filter", "table"} <= set(kinds())
    assert (kinds()["table"].path, kinds()["event-filter"].struct) == ("tables", FilterRule)


def test_what_a_rule_says_of_itself_is_held_against_it_before_it_is_saved_and_not_when_it_is_read() -> None:
    def prove(rule: FilterRule, _act: Any) -> None:
        if rule.description != "proven":
            raise InputError("description", rule.description, "proven")

    kind = Kind("strict", FilterRule, KIND.ready, prove=prove)
    good, bad = (parse(FilterRule, rule(description=text)) for text in ("proven", "no"))
    for each in (kind, KIND, kinds()["table"]):
        each.demand_good(good)
    kind.demand_good(bad, proven=False)
    KIND.demand_good(bad)
    with pytest.raises(InvalidRule, match="rule r: description: 'no' is refused; allowed: proven"):
        kind.demand_good(bad)
    assert len(make(kind, [rule()], {}).rules) == 1


@pytest.mark.parametrize(
    ("value", "field", "allowed"),
    [
        ({"a": [{"b\0": 1}]}, "x.a[0]", "without NUL"),
        ([1 << 63], "x[0]", "64 bits"),
        ({"a": -(1 << 63) - 1}, "x.a", "64 bits"),
        (json.loads("[" * 50 + "]" * 50), "x" + "[0]" * (MAX_DEPTH + 1), "at most 40 deep"),
    ],
)
def test_what_the_database_cannot_hold_is_refused_by_its_path(value: Any, field: str, allowed: str) -> None:
    with pytest.raises(InputError, match=allowed) as caught:
        demand_storable(value, "x")
    assert caught.value.field == field
    demand_storable({"$a.b": [True, None, "\0", 1.5, (1 << 63) - 1, -(1 << 63), json.loads("[" * 39 + "]" * 39)]}, "x")


class TestTemplate:
    def test_what_is_filled_in(self) -> None:
        assert Template("{{ a|upper }}-{{ b.c }}", "x").render({"a": "w", "b": {"c": 1}, "self": 2}) == "W-1"
        assert Template("plain", "x").render({}) == "plain"

    @pytest.mark.parametrize(
        "text",
        [
            "{{ missing }}",
            "{{ a|nope }}",
            "{% for i in range(100000) %}x{% endfor %}",
            "{{ 'x' * 1000000000 }}",
            "{{ '{:>1000000000}'.format(1) }}",
            "{{ '%1000000000d'|format(1) }}",
        ],
    )
    def test_what_cannot_be_filled_in_fails_at_once(self, text: str) -> None:
        with pytest.raises(RuleFailure) as caught:
            Template(text, "x").render({"a": 1})
        assert "\n" not in str(caught.value)

    def test_half_a_surrogate_pair_is_no_template(self) -> None:
        with pytest.raises(InputError):
            Template("\ud800{{ a }}", "x")


class TestRegex:
    def test_time_does_not_grow_faster_than_the_text(self) -> None:
        # Of the kind that takes others 2^n steps.
        assert not regex.compile("(a|a)*(a|a)*(a|a)*b", "x").found_in("a" * 50_000)

    def test_groups(self) -> None:
        compiled = regex.compile("(?P<word>[a-z]+)(?P<number>[0-9]+)?", "x", "i")
        assert set(compiled.names) == {"word", "number"}
        assert compiled.groups("--Ab") == {"word": "Ab"}
        assert compiled.groups("--") is None

    @pytest.mark.parametrize("text", ["(", "\ud800", 5, "x" * 1001, "((a{1000}){1000}){1000}"])
    def test_refused(self, text: object) -> None:
        with pytest.raises(InvalidPattern):
            regex.compile(text, "x")
