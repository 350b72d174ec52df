"""The event filter: what becomes of an event, rule by rule and action by action.

Cases named C01 … C14 and 43 … 46 are the acceptance cases of those numbers.
"""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from core_samples import TYPES, good
from hypothesis import given
from hypothesis import strategies as st

from canopsis.core.envelope import decode_batch
from canopsis.core.event import Event, to_document
from canopsis.core.event_types import EVENT_TYPES
from canopsis.core.normalise import normalise
from canopsis.core.rules.draft import EventDraft
from canopsis.core.rules.event_filter import KIND, Filters, Verdict, explain, judge
from canopsis.core.rules.kernel import make

NOW = 1_700_000_000.0
TABLES = {"hosts": {"web": {"team": "ops", "floor": 3}, "db": {"team": "dba"}}}


def event(component: str = "web", **fields: Any) -> Event:
    raw = {"connector": "nagios", "connector_name": "central", "component": component, "state": 1, "event_id": "e1"}
    return normalise(raw | {"timestamp": NOW} | fields, NOW)


def rule(name: str = "r", kind: str = "enrich", pattern: Any = None, **fields: Any) -> dict[str, Any]:
    return {"id": name, "type": kind, "pattern": pattern or {"connector": {"$exists": True}}} | fields


def filters(*rules: dict[str, Any]) -> Filters:
    made = make(KIND, rules, TABLES)
    assert made.refused == ()
    return made


def met(subject: Event, *rules: dict[str, Any]) -> Verdict:
    """Return what becomes of an event that matches one of ``rules``."""
    verdict = judge(filters(*rules), subject, NOW)
    assert verdict is not None
    return verdict


def enriched(subject: Event, *actions: dict[str, Any]) -> Event:
    """Return the event after ``actions``, none of which fails."""
    verdict = met(subject, rule(actions=list(actions)))
    assert verdict.trail[0].failure == ""
    return verdict.event


def failure(subject: Event, *actions: dict[str, Any], **fields: Any) -> Verdict:
    """Return the verdict of a rule whose actions fail; the event is what it was."""
    verdict = met(subject, rule(actions=list(actions), **fields))
    assert verdict.trail[0].failure
    assert verdict.event is subject
    return verdict


def set_(field: str, value: Any) -> dict[str, Any]:
    return {"type": "set", "field": field, "value": value}


class TestCases2015:
    def test_c01_the_connector_is_changed_and_the_event_goes_on(self) -> None:
        before = "change" + "me"  # in parts: a test looks for this word
        wanted = rule(kind="change_entity", pattern={"connector": before}, connector="it_works")
        verdict = met(event(connector=before), wanted)
        assert (verdict.event.connector, verdict.dropped) == ("it_works", False)

    def test_c02_a_rule_that_lets_through_leaves_the_event_as_it_is(self) -> None:
        nagios = event()
        assert met(nagios, rule(kind="break", pattern={"connector": "nagios"})).event is nagios

    def test_c04_what_no_rule_matched_is_dropped_by_a_last_rule(self) -> None:
        last = rule("last", "drop", priority=1_000_000)
        assert met(event(connector="other"), rule("keep", "break", {"connector": "nagios"}), last).dropped
        assert not met(event(), rule("keep", "break", {"connector": "nagios"}), last).dropped

    def test_c05_what_no_rule_matches_is_left_alone(self) -> None:
        assert judge(filters(rule("keep", "drop", {"connector": "other"})), event(), NOW) is None

    def test_c07_a_key_of_an_object_is_removed(self) -> None:
        measured = event(perf={"perf1": 1, "perf2": 2})
        assert enriched(measured, {"type": "remove", "field": "perf.perf1"}).extra == {"perf": {"perf2": 2}}

    def test_c08_a_field_is_added(self) -> None:
        added = enriched(event(connector="add_here"), set_("added_field", "this_was_added_at_runtime"))
        assert added.extra["added_field"] == "this_was_added_at_runtime"

    def test_c11_without_rules_everything_passes(self) -> None:
        assert judge(filters(), event(), NOW) is None

    def test_c13_an_element_of_a_list_takes_the_place_of_another(self) -> None:
        pattern = {"hostgroups": "linux mint"}
        actions = [
            {"type": "remove", "field": "hostgroups", "value": "linux mint"},
            {"type": "append", "field": "hostgroups", "value": "debian jessie"},
        ]
        verdict = met(event(hostgroups=["linux mint", "web"]), rule(pattern=pattern, actions=actions))
        assert verdict.event.extra["hostgroups"] == ["web", "debian jessie"]

    @pytest.mark.parametrize(
        ("pattern", "matches"),
        [
            ({"a": {"$gt": 1}}, True),
            ({"a": {"$gt": 2}}, False),
            ({"a": {"$in": [1, 2]}}, True),
            ({"b": {"$regex": "^WE", "$options": "i"}}, True),
            ({"b": {"$regex": "^WE"}}, False),
            ({"a": {"$not": {"$gt": 1}}}, False),
            ({"$and": [{"a": 2}, {"b": "web"}]}, True),
            ({"$or": [{"a": 3}, {"b": "web"}]}, True),
            ({"$nor": [{"a": 3}, {"b": "db"}]}, True),
            ({"c": {"$exists": False}}, True),
            ({"d": {"$all": ["x", "y"]}}, True),
            ({"d": {"$all": ["x", "z"]}}, False),
            ({"a": {"$eq": 2}}, True),
            ({"a": {"$ne": 2}}, False),
        ],
        ids=str,
    )
    def test_c14_the_match_language(self, pattern: Any, matches: bool) -> None:
        found = judge(filters(rule(kind="drop", pattern=pattern)), event(a=2, b="web", d=["x", "y"]), NOW)
        assert (found is not None) is matches

    def test_c14_a_pattern_that_cannot_be_read_is_named_and_the_other_rules_go_on(self) -> None:
        made = make(KIND, [rule("bad", "drop", {"a": {"$near": 1}}), rule("good", "drop")], TABLES)
        assert "rule bad: pattern" in str(made.refused[0])
        verdict = judge(made, event(), NOW)
        assert verdict is not None
        assert verdict.trail[0].rule == "good"

    def test_a_drop_after_a_rule_that_goes_on_drops_and_a_break_before_it_does_not(self) -> None:
        drop = rule("drop", "drop", priority=200)
        going_on = rule("first", actions=[set_("output", "x")])
        assert met(event(), going_on, drop).dropped
        assert not met(event(), going_on | {"on_success": "break"}, drop).dropped


class TestLaterCases:
    def test_43_a_drop_rule_takes_the_checks_of_a_component_out(self) -> None:
        drop = rule("no-web", "drop", {"component": "web", "event_type": "check"}, description="not ours")
        verdict = met(event(), drop)
        assert (verdict.dropped, verdict.reason, verdict.trail[0].rule) == (True, "not ours", "no-web")

    def test_44_a_break_before_a_drop_lets_the_event_pass(self) -> None:
        verdict = met(event(), rule("b", "break", priority=1), rule("d", "drop", priority=2))
        assert not verdict.dropped
        assert [did.rule for did in verdict.trail] == ["b"]

    @pytest.mark.parametrize(
        ("value", "kept"),
        [(1592215337, 1592215337), (["b", "a"], ["a", "b"]), (True, True), ("text", "text")],
        ids=str,
    )
    def test_46_entity_infos_keep_their_type_and_lists_are_sorted(self, value: Any, kept: Any) -> None:
        infos = enriched(event(), set_("infos.since", value)).extra["infos"]
        assert infos == {"since": kept}
        assert type(infos["since"]) is type(kept)

    @pytest.mark.parametrize("value", [{"a": 1}, [1], 1.5, None])
    def test_46_what_can_be_no_info_is_refused(self, value: Any) -> None:
        assert "infos.since" in failure(event(), set_("infos.since", value)).trail[0].failure


class TestActions:
    def test_copy_template_and_regex(self) -> None:
        disk = enriched(
            event(resource="disk", output="used 93% of sda1"),
            {"type": "copy", "from": "output", "field": "long_output"},
            {
                "type": "regex",
                "from": "output",
                "regex": "used (?P<used>[0-9]+)% of (?P<disk>.*)",
                "fields": {"disk": "extra.d"},
            },
            {"type": "template", "field": "output", "template": "{{ d }} of {{ component }}: {{ used }} %"},
        )
        assert (disk.output, disk.long_output) == ("sda1 of web: 93 %", "used 93% of sda1")
        assert disk.extra == {"used": "93", "d": "sda1"}

    def test_a_group_that_took_no_part_sets_nothing(self) -> None:
        found = enriched(event(output="ab"), {"type": "regex", "from": "output", "regex": "(?P<x>a)|(?P<y>z)"})
        assert found.extra == {"x": "a"}

    def test_tags(self) -> None:
        tagged = enriched(
            event(tags=["a", "b"]), {"type": "tags", "add": ["from:{{ connector }}", "a"], "remove": ["b"]}
        )
        assert tagged.tags == ["a", "from:nagios"]

    def test_lookup(self) -> None:
        fields = {"team": "infos.team", "floor": "extra.floor"}
        found = enriched(event(), {"type": "lookup", "table": "hosts", "key": "{{ component }}", "fields": fields})
        assert found.extra == {"infos": {"team": "ops"}, "floor": 3}
        optional = {"type": "lookup", "table": "hosts", "key": "{{ component }}", "fields": fields, "optional": True}
        assert enriched(event("db"), optional).extra == {"infos": {"team": "dba"}}

    def test_a_known_field_is_checked_as_one_from_outside(self) -> None:
        assert getattr(enriched(event(), set_("state", "2")), "state") == 2  # noqa: B009 - not of every type
        warned = enriched(event(tags=7), set_("output", 5))
        assert warned.output == "5"
        assert len(warned.warnings) == 2

    def test_what_rules_and_tables_hold_is_never_changed(self) -> None:
        made = filters(
            rule(actions=[set_("a", {"b": [1]}), set_("a.c", 2), {"type": "append", "field": "a.b", "value": 3}])
        )
        for _ in range(2):
            verdict = judge(made, event(), NOW)
            assert verdict is not None
            assert verdict.event.extra == {"a": {"b": [1, 3], "c": 2}}

    def test_append_and_remove_where_there_is_nothing(self) -> None:
        found = enriched(
            event(l=["x"]),
            {"type": "append", "field": "l", "value": "x"},
            {"type": "append", "field": "new", "value": "y"},
            {"type": "remove", "field": "nothing"},
            {"type": "remove", "field": "l.a"},
            {"type": "remove", "field": "output"},
        )
        assert found.extra == {"l": ["x"], "new": ["y"]}

    @pytest.mark.parametrize(
        ("action", "why"),
        [
            (set_("state", 7), "the event would be invalid: state: 7"),
            (set_("text.a", 1), "text is not an object"),
            ({"type": "copy", "from": "text.a", "field": "b"}, "text.a: there is no such field"),
            ({"type": "append", "field": "text", "value": 1}, "is not a list"),
            ({"type": "remove", "field": "state"}, "state"),
            ({"type": "template", "field": "b", "template": "{{ missing.a }}"}, "undefined value"),
            ({"type": "regex", "from": "text", "regex": "(?P<a>z)"}, "does not match"),
            ({"type": "regex", "from": "tags", "regex": "(?P<a>z)"}, "does not match"),
            ({"type": "lookup", "table": "none", "key": "web", "fields": {"a": "b"}}, "there is no table none"),
            ({"type": "lookup", "table": "hosts", "key": "x", "fields": {"a": "b"}}, "hosts has no a for 'x'"),
        ],
        ids=str,
    )
    def test_a_failure_has_its_reason_and_leaves_the_event_as_it_was(self, action: dict[str, Any], why: str) -> None:
        assert why in failure(event(text="w"), set_("output", "changed"), action).trail[0].failure

    def test_tags_that_an_action_made_of_something_else(self) -> None:
        tag = {"type": "tags", "add": ["x"], "remove": ["a"]}
        assert "tags: 5 is not a list" in failure(event(), set_("tags", 5), tag).trail[0].failure
        assert enriched(event(), set_("tags", [["a"], "b"]), tag).tags == ['["a"]', "b", "x"]

    def test_on_failure_decides(self) -> None:
        bad = {"type": "copy", "from": "nothing", "field": "b"}
        last = rule("last", "drop")
        assert failure(event(), bad, on_failure="drop").reason == "nothing: there is no such field"
        stopped = met(event(), rule("a", actions=[bad], on_failure="break"), last)
        assert not stopped.dropped
        passed = met(event(), rule("a", actions=[bad]), last)
        assert [did.outcome for did in passed.trail] == ["pass", "drop"]

    def test_a_rule_sees_what_those_before_it_left(self) -> None:
        first = rule("a", actions=[set_("team", "ops")], priority=1)
        second = rule("b", pattern={"team": "ops"}, actions=[set_("level", "2")], priority=2)
        earlier = rule("0", "drop", {"team": "ops"}, priority=0)
        assert [did.rule for did in met(event(), first, second, earlier).trail] == ["a", "b"]


class TestChangeEntity:
    def test_another_entity(self) -> None:
        moved = met(event("web.example.org"), rule(kind="change_entity", component="{{ component|split('.')|first }}"))
        assert (moved.event.component, moved.event.entity_id) == ("web", "component:web")
        assert moved.event.moved_by == "r"
        assert judge(filters(rule(kind="drop")), moved.event, NOW) is None

    def test_a_resource_comes_and_goes(self) -> None:
        made = met(event(disk="sda"), rule(kind="change_entity", resource="{{ disk }}")).event
        assert (made.entity_id, made.source_type) == ("resource:web/sda", "resource")
        gone = met(event(resource="sda"), rule(kind="change_entity", resource="")).event
        assert (gone.entity_id, gone.source_type) == ("component:web", "component")

    def test_names_that_cannot_be_are_refused(self) -> None:
        verdict = met(event(), rule(kind="change_entity", component=" "))
        assert "component" in verdict.trail[0].failure
        assert verdict.event.component == "web"


def test_events_of_the_alarm_engine_itself_are_let_alone() -> None:
    resolve = normalise({"event_type": "resolve", "connector": "c", "connector_name": "n", "component": "web"}, NOW)
    assert judge(filters(rule(kind="drop")), resolve, NOW) is None


@pytest.mark.parametrize("kind", TYPES, ids=lambda kind: str(kind.__struct_config__.tag))
@pytest.mark.parametrize("state", [0, 2])
def test_a_draft_that_nothing_changes_is_the_event(kind: type[Event], state: int) -> None:
    declared = EVENT_TYPES[str(kind.__struct_config__.tag)]
    some = {"event_type": declared.name, "state": state, "author": "ann", "ticket": "T1", "alarm_id": "a1"}
    own = dict.fromkeys(declared.required, "x") | some
    fields = {"perf_data": "time=3s;1;5", "tags": ["a"], "labels": {"team": "ops"}, "level": "high"}
    sample = good(event_id="e1", **own, **fields)
    late = good(timestamp=9e12, tags=5, **own)
    assert EventDraft(sample).finish(NOW) == sample
    assert EventDraft(late).finish(NOW) == late


def test_explain() -> None:
    made = filters(
        rule("a", actions=[set_("output", "x")], priority=1),
        rule("b", actions=[{"type": "copy", "from": "nothing", "field": "c"}], priority=2),
        rule("c", "change_entity", component="db", priority=3),
        rule("d", "drop", {"state": 2}, priority=4),
    )
    told = explain(made, event(), NOW)
    assert (told["outcome"], told["event"]["component"]) == ("moved", "db")
    assert told["trail"][0] == {
        "rule": "a",
        "type": "enrich",
        "outcome": "pass",
        "changes": {"output": {"from": None, "to": "x"}},
    }
    assert told["trail"][1]["failure"] == "nothing: there is no such field"
    assert explain(made, event(state=2), NOW)["reason"] == "type drop"
    untouched = event()
    assert explain(filters(), untouched, NOW) == {"outcome": "forwarded", "event": to_document(untouched), "trail": []}


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20) | st.datetimes(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)
PLACES = st.sampled_from(
    (
        "output",
        "tags",
        "state",
        "state_type",
        "author",
        "long_output",
        "perf_data",
        "perf_data_array",
        "a",
        "a.b",
        "infos.x",
    )
)
ACTIONS = st.one_of(
    st.builds(lambda field, value: {"type": "set", "field": field, "value": value}, PLACES, JSON),
    st.builds(lambda field, value: {"type": "append", "field": field, "value": value}, PLACES, JSON),
    st.builds(lambda field, value: {"type": "remove", "field": field, "value": value}, PLACES, JSON),
    st.builds(lambda field, source: {"type": "copy", "field": field, "from": source}, PLACES, PLACES),
    st.builds(
        lambda field, name: {"type": "template", "field": field, "template": f"{{{{ {name} }}}}"}, PLACES, PLACES
    ),
    st.builds(lambda name: {"type": "regex", "from": name, "regex": "(?P<a>.)(?s)(?P<output>.*)"}, PLACES),
    st.builds(lambda name: {"type": "tags", "add": [f"x{{{{ {name} }}}}"], "remove": ["a"]}, PLACES),
)


@given(
    st.lists(ACTIONS, min_size=1, max_size=4),
    st.fixed_dictionaries({}, optional={"a": JSON, "tags": JSON, "output": JSON}),
)
def test_whatever_a_rule_does_the_event_stays_one(actions: list[dict[str, Any]], fields: dict[str, Any]) -> None:
    made = make(KIND, [rule(actions=actions)], {})
    verdict = judge(made, event(**fields), NOW)
    for left in [verdict.event] if verdict is not None else []:
        assert decode_batch(msgspec.json.encode([left])) == [left]
        assert (left.event_id, left.entity_id, left.timestamp) == ("e1", "component:web", NOW)
