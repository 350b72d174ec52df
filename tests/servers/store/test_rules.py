"""Rules in the database: revisions, versions that workers poll, counts, and those of an earlier release."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from canopsis.core.rules import table
from canopsis.core.rules.event_filter import KIND
from canopsis.core.rules.kernel import make
from canopsis.store import migrations, rules
from canopsis.store.client import Store
from canopsis.store.rules import Change, RuleCount, RuleQuery

FILTER = "event-filter"
KINDS = (FILTER, table.KIND.name)


def rule(name: str, **fields: Any) -> dict[str, Any]:
    return {"id": name, "type": "drop", "pattern": {"$or": [{"component": "a.b"}, {"x.y": {"$gte": 2}}]}} | fields


def put(store: Store, name: str, **fields: Any) -> Any:
    return rules.put(store, Change(FILTER, rule(name, **fields), "ann"))


def test_a_rule_is_made_replaced_and_deleted_by_its_revision(store: Store) -> None:
    first = put(store, "a")
    assert (first["rev"], first["author"]) == (1, "ann")
    assert rules.put(store, Change(FILTER, rule("a"), "bob"), rev=0) is None
    second = rules.put(store, Change(FILTER, rule("a", description="x"), "bob"), rev=1)
    assert second is not None
    assert (second["rev"], second["author"], second["created"] <= second["updated"]) == (2, "bob", True)
    found = rules.get(store, FILTER, "a")
    assert found is not None
    assert rules.written(found) == rule("a", description="x")
    assert found["counts"] == {"matched": 0, "dropped": 0, "failed": 0}
    assert not rules.delete(store, FILTER, "a", rev=1)
    assert rules.delete(store, FILTER, "a", rev=2)
    assert not rules.delete(store, FILTER, "a")
    assert rules.get(store, FILTER, "a") is None


def test_rules_are_listed_in_their_order(store: Store) -> None:
    for name, priority in (("b", 2), ("a", 2), ("first", 1)):
        put(store, name, priority=priority)
    rules.put(store, Change(table.KIND.name, {"id": "t", "rows": {}}))
    assert [each["id"] for each in rules.listing(store, FILTER, RuleQuery()).data] == ["first", "a", "b"]
    assert rules.listing(store, FILTER, RuleQuery(search="fir", type="drop", enabled=True)).total == 0
    assert rules.listing(store, FILTER, RuleQuery(search="fir", type="drop")).total == 1


def test_rules_are_read_when_their_version_is_another(store: Store) -> None:
    assert rules.changed(store, KINDS, {FILTER: 0, table.KIND.name: 0}) is None
    put(store, "a")
    found = rules.changed(store, KINDS, {})
    assert found is not None
    assert found.of_kind == {FILTER: [rule("a")], table.KIND.name: []}
    assert rules.changed(store, KINDS, found.versions) is None
    rules.delete(store, FILTER, "a")
    again = rules.changed(store, KINDS, found.versions)
    assert again is not None
    assert again.of_kind[FILTER] == []
    refused = rules.put(store, Change(FILTER, rule("a")), rev=7)
    assert refused is None
    assert rules.changed(store, KINDS, again.versions) is None


def test_times_come_back_as_they_were_stored(store: Store) -> None:
    start = datetime(2026, 5, 1, 22, tzinfo=UTC)
    put(store, "a", start=start)
    found = rules.changed(store, KINDS, {})
    assert found is not None
    assert make(KIND, found.of_kind[FILTER], {}).rules[0].starts == start.timestamp()


def test_counts_are_added_up_and_go_with_the_rule(store: Store) -> None:
    put(store, "a")
    rules.count(store, {})
    rules.count(store, {(FILTER, "a"): RuleCount(2, 1, 1, "no field", "e1", 1_700_000_000.0)})
    rules.count(store, {(FILTER, "a"): RuleCount(1, 1, 0, "", "", 1_700_000_060.0)})
    counts = rules.listing(store, FILTER, RuleQuery()).data[0]["counts"]
    assert (counts["matched"], counts["dropped"], counts["failed"]) == (3, 2, 1)
    assert counts["last"].timestamp() == 1_700_000_060.0
    assert (counts["failure"]["reason"], counts["failure"]["event_id"]) == ("no field", "e1")
    rules.delete(store, FILTER, "a")
    assert store[rules.COUNTS].count_documents({}) == 0


@pytest.mark.parametrize("again", [False, True])
def test_rules_of_the_first_form_go_on_as_they_were(store: Store, again: bool) -> None:
    store["filter_rules"].insert_many(
        [
            {"_id": "keep it", "priority": 1, "enabled": True, "type": "pass", "pattern": {"component": "web"}},
            {"_id": "rest", "priority": 2.0, "enabled": True, "type": "drop", "description": "all else"},
            {"_id": "off", "type": "drop", "pattern": {}},
        ]
    )
    store[migrations.META].update_one({"_id": "schema"}, {"$set": {"version": 1}})
    if again:
        rules.put(store, Change(FILTER, rule("rest")))
    assert any("filter_rules" in change for change in migrations.ensure(store))
    assert "filter_rules" not in store.list_collection_names()
    found = {each["id"]: rules.written(each) for each in rules.listing(store, FILTER, RuleQuery()).data}
    assert {name: each["type"] for name, each in found.items()} == {"off": "drop", "keep-it": "break", "rest": "drop"}
    made = make(KIND, list(found.values()), {})
    assert made.refused == ()
    assert [ready.rule.id for ready in made.rules] == ["keep-it", "rest"]
    assert [ready.rule.id for ready in made.matching({"connector": "c", "component": "web"}, 0.0)] == [
        "keep-it",
        "rest",
    ]
