"""Rules over the API: what is refused before it is stored, and what a trial tells."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from api_fakes import NOW, Api, event

from canopsis.api.resources import event_filters, tables
from canopsis.store import event_log, rules
from canopsis.store.operations import Document
from canopsis.store.rules import Rules

PATH = "/api/v1/event-filters"
TIME = datetime(2026, 5, 1, tzinfo=UTC)
SET = {"type": "set", "field": "event_id", "value": 1}
FACTS = {"rev": 1, "author": "a", "created": TIME, "updated": TIME, "counts": {"matched": 3, "dropped": 1, "failed": 0}}


def rule(name: str = "r", kind: str = "drop", **fields: Any) -> Document:
    return {"id": name, "type": kind, "pattern": {"component": "web1"}} | fields


@pytest.fixture
def stored(api: Api) -> dict[str, list[Document]]:
    """The rules that the database has, by kind; stored ones are added."""
    found: dict[str, list[Document]] = {"event-filter": [], "table": []}

    def put(sent: Any, _author: str, _rev: int | None) -> Document:
        document: Document = rules.document_of(sent)
        found["event-filter"].append(document)
        return document | FACTS

    api.database.answers |= {
        event_filters.RULES.put: put,
        event_filters.RULES.thing.get: lambda _name: None,
        tables.ROWS.put: lambda sent, _author, _rev: rules.document_of(sent) | FACTS,
        rules.changed: lambda _kinds, _known: Rules({}, found),
        event_log.get: lambda name: (
            {"_id": name, "received": TIME, "entity_id": "x", **event(component="stored")} if name == "e9" else None
        ),
    }
    return found


def test_a_rule_is_made(api: Api, stored: dict[str, list[Document]]) -> None:
    whole = rule(start="2026-05-01T00:00:00Z", description="why")
    answer = api.post(PATH, whole)
    assert (answer.status_code, answer.headers["Location"]) == (201, f"{PATH}/r")
    assert stored["event-filter"] == [rule(start=TIME, description="why")]
    shown = answer.json["data"][0]
    assert (shown["start"], shown["counts"]["matched"]) == ("2026-05-01T00:00:00Z", 3)


@pytest.mark.parametrize(
    ("sent", "field", "allowed"),
    [
        (rule(kind="nope"), "type", "break, change_entity, drop, enrich"),
        (rule(pattern={"output": {"$regex": "("}}), "pattern.output.$regex", "RE2"),
        (
            rule(kind="enrich", actions=[{"type": "set", "field": "event_id", "value": 1}]),
            "actions[0].field",
            "a field",
        ),
    ],
)
def test_a_rule_that_cannot_be_used_is_refused(api: Api, sent: Document, field: str, allowed: str) -> None:
    answer = api.post(PATH, sent)
    assert (answer.status_code, answer.json["field"]) == (400, field)
    assert allowed in answer.json["allowed"]
    assert answer.json["detail"].startswith("rule r: ")


@pytest.mark.parametrize(("value", "field"), [({"a\0": 1}, "actions[0].value"), ([1 << 64], "actions[0].value[0]")])
def test_a_rule_that_the_database_cannot_hold_is_refused(api: Api, value: object, field: str) -> None:
    answer = api.post(PATH, rule(kind="enrich", actions=[SET | {"field": "x", "value": value}]))
    assert (answer.status_code, answer.json["field"]) == (400, field)


@pytest.mark.usefixtures("stored")
def test_a_large_table_is_taken(api: Api) -> None:
    rows = {f"host{number}": {"team": "x" * 50} for number in range(2000)}
    assert api.post("/api/v1/tables", {"id": "t", "rows": rows}).status_code == 201
    assert api.post("/api/v1/tables", {"id": "t", "rows": [1]}).json["field"] == "rows"


class TestTrial:
    def tried(self, api: Api, **fields: Any) -> list[Any]:
        answer = api.post(f"{PATH}/try", fields, "operator")
        assert answer.status_code == 200, answer.json
        found: list[Any] = answer.json["data"]
        return found

    def test_given_rules_stand_beside_stored_ones(self, api: Api, stored: dict[str, list[Document]]) -> None:
        tag = {"type": "tags", "add": ["seen"]}
        stored["event-filter"] += [rule("stored", "enrich", actions=[tag], priority=1), rule("replaced")]
        new = rule("replaced", "break", priority=2)
        (told,) = self.tried(api, rules=[new], events=[event()])
        assert [step["rule"] for step in told["trail"]] == ["stored", "replaced"]
        assert told["trail"][0]["changes"] == {"tags": {"from": None, "to": ["seen"]}}
        assert (told["outcome"], told["event"]["tags"]) == ("forwarded", ["seen"])
        (alone,) = self.tried(api, rules=[rule("only")], events=[event()], alone=True)
        assert (alone["outcome"], alone["reason"], len(alone["trail"])) == ("dropped", "type drop", 1)

    def test_tables_are_tried_too(self, api: Api, stored: dict[str, list[Document]]) -> None:
        stored["table"].append({"id": "t", "rows": {"web1": {"team": "old"}}})
        lookup = {"type": "lookup", "table": "t", "key": "{{ component }}", "fields": {"team": "infos.team"}}
        found = self.tried(
            api,
            rules=[rule(kind="enrich", actions=[lookup])],
            tables=[{"id": "t", "rows": {"web1": {"team": "new"}}}],
            events=[event()],
        )
        assert found[0]["event"]["extra"]["infos"] == {"team": "new"}

    def test_a_stored_event(self, api: Api, stored: dict[str, list[Document]]) -> None:
        assert stored["event-filter"] == []
        (told,) = self.tried(api, event_ids=["e9"])
        assert (told["outcome"], told["event"]["_id"], told["event"]["component"]) == ("forwarded", "e9", "stored")

    def test_a_database_without_rules(self, api: Api, stored: dict[str, list[Document]]) -> None:
        api.database.answers[rules.changed] = lambda _kinds, _known: None
        assert self.tried(api, events=[event()])[0]["trail"] == []
        assert stored["event-filter"] == []

    @pytest.mark.usefixtures("stored")
    @pytest.mark.parametrize(
        ("sent", "field"),
        [
            ({"rules": [{"id": "x"}]}, "pattern"),
            ({"rules": [rule(kind="enrich", actions=[])]}, "actions"),
            ({"tables": [{"id": "t"}]}, "rows"),
            ({"events": [event(state=7)]}, "events[0].state"),
            ({"event_ids": ["nope"]}, "event_ids"),
            ({"nothing": 1}, "nothing"),
        ],
    )
    def test_what_cannot_be_tried(self, api: Api, sent: Document, field: str) -> None:
        answer = api.post(f"{PATH}/try", sent, "operator")
        assert (answer.status_code, answer.json["field"]) == (400, field)

    def test_time_is_that_of_the_request(self, api: Api, stored: dict[str, list[Document]]) -> None:
        stored["event-filter"].append(rule(start=datetime.fromtimestamp(NOW + 60, UTC)))
        assert self.tried(api, events=[event()])[0]["outcome"] == "forwarded"
        api.now = NOW + 60
        assert self.tried(api, events=[event()])[0]["outcome"] == "dropped"
