"""Mappers over the API: tests beside them that must hold, trials, and payloads that become events at once."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from api_fakes import NOW, Api

from canopsis.api.counting import RuleCounting
from canopsis.api.intake import MAX_EVENTS
from canopsis.api.resources import mappers
from canopsis.store import rules
from canopsis.store.operations import Document
from canopsis.store.rules import Counts, Rules

PATH = "/api/v1/mappers"
SEND = "/api/v1/sources/generic/one"
TIME = datetime(2026, 5, 1, tzinfo=UTC)
FACTS = {"rev": 1, "author": "a", "created": TIME, "updated": TIME, "counts": {"matched": 0, "dropped": 0, "failed": 0}}
FIELDS = {"component": "$.host", "state": {"from": "$.level", "map": {"bad": 2, "good": 0}}}
BAD = {"host": "web1", "level": "bad"}


def mapper(**fields: Any) -> Document:
    whole = {"id": "m", "pattern": {"host": {"$exists": True}}, "fields": FIELDS}
    return whole | {"tests": [{"payload": BAD, "events": [{"component": "web1", "state": 2}]}]} | fields


@pytest.fixture
def stored(api: Api) -> list[Document]:
    """The mappers that the database has; those that are stored are added."""
    found: list[Document] = []

    def put(sent: Any, _author: str, _rev: int | None) -> Document:
        document: Document = rules.document_of(sent)
        found.append(document)
        return document | FACTS

    def changed(kinds: tuple[str, ...], known: dict[str, int]) -> Rules | None:
        versions = dict.fromkeys(kinds, 0) | {"mapper": len(found)}
        return None if known == versions else Rules(versions, dict.fromkeys(kinds, ()) | {"mapper": found})

    api.database.answers |= {
        mappers.MAPPERS.put: put,
        mappers.MAPPERS.thing.get: lambda _name: None,
        rules.changed: changed,
    }
    return found


@pytest.fixture(name="counts", autouse=True)
def as_counted(monkeypatch: pytest.MonkeyPatch) -> list[Counts]:
    """What the web server counts, request by request, instead of writing it later."""
    told: list[Counts] = []
    monkeypatch.setattr(RuleCounting, "add", lambda _self, counts, _database: told.append(counts))
    return told


def test_a_mapper_whose_tests_hold_is_stored_with_them(api: Api, stored: list[Document]) -> None:
    answer = api.call("PUT", f"{PATH}/m", "admin", json=mapper())
    assert (answer.status_code, answer.json["data"][0]["tests"]) == (201, mapper()["tests"])
    assert stored == [mapper()]


WRONG = {"name": "good", "payload": BAD, "events": [{"state": 0}]}


@pytest.mark.parametrize(
    ("fields", "told"),
    [
        ({"tests": []}, ("tests", "[]", "at least one test")),
        ({"tests": [WRONG]}, ("tests[0].events[0].state", "2", "0, as the test 'good' wants")),
        (
            {"tests": [{"payload": {"host": "h", "level": "?"}}]},
            ("tests[0].refused", "'state'", "'', as the test wants"),
        ),
        ({"fields": {"component": "$.a["}}, ("fields.component", "'$.a['", "a path")),
    ],
)
def test_one_that_fails_them_is_refused_and_the_answer_says_which_field_and_what_was_found(
    api: Api, stored: list[Document], fields: Document, told: tuple[str, str, str]
) -> None:
    answer = api.call("PUT", f"{PATH}/m", "admin", json=mapper(**fields))
    assert (answer.status_code, answer.json["field"], answer.json["value"]) == (400, *told[:2])
    assert answer.json["allowed"].startswith(told[2])
    assert stored == []


def test_payloads_become_events(api: Api, stored: list[Document]) -> None:
    stored.append(mapper())
    answer = api.post(SEND, BAD, "operator")
    assert answer.status_code == 202
    (event,) = api.broker.events
    assert (event["connector"], event["connector_name"], event["component"], event["state"]) == (
        "generic",
        "one",
        "web1",
        2,
    )


def test_what_cannot_be_mapped_is_refused_beside_the_rest(
    api: Api, stored: list[Document], counts: list[Counts]
) -> None:
    stored.append(mapper())
    answer = api.post(SEND, [BAD, {"host": "h", "level": "ugly"}, {"x": 1}, {"host": "", "level": "bad"}], "operator")
    assert (answer.status_code, answer.json["refused"]) == (207, 3)
    assert [each.get("field", "") for each in answer.json["data"]] == ["", "state", "[2]", "component"]
    assert "'ugly' is not in map" in answer.json["data"][1]["detail"]
    assert answer.json["data"][2]["allowed"].endswith("matches: m")
    assert len(api.broker.events) == 1
    (count,) = counts
    reason = "component: '' is refused"
    assert {name: (each.matched, each.failed, each.reason[: len(reason)]) for name, each in count.items()} == {
        ("mapper", "m"): (3, 2, reason)
    }


@pytest.mark.usefixtures("stored")
def test_a_payload_that_no_mapper_matches_is_a_400(api: Api) -> None:
    answer = api.post(SEND, {"x": 1}, "operator")
    assert (answer.status_code, answer.json["field"]) == (400, "payload")
    assert "there is no mapper for 'one'; PUT one" in answer.json["allowed"]
    assert api.broker.events == []


def test_json_is_taken_as_a_plain_text_too_as_sns_sends_it(api: Api, stored: list[Document]) -> None:
    stored.append(mapper())
    answer = api.call("POST", SEND, "operator", data=b'{"host": "web1", "level": "bad"}', content_type="text/plain")
    assert answer.status_code == 202


def test_a_list_that_would_become_too_many_events_is_refused(api: Api, stored: list[Document]) -> None:
    stored.append(mapper(fields={"component": "$.host", "state": 2}, each="$.all"))
    answer = api.post(SEND, {"host": "h", "all": [1] * (MAX_EVENTS + 5)}, "operator")
    assert (answer.status_code, answer.json["value"]) == (400, f"'{MAX_EVENTS + 1} events'")
    assert api.post(SEND, {"host": "h", "all": []}, "operator").json["data"] == []


def test_mappers_are_asked_for_once_a_second_and_a_change_is_in_force_then(api: Api, stored: list[Document]) -> None:
    stored.append(mapper())
    asked = lambda: sum(each[0] is rules.changed for each in api.database.asked)  # noqa: E731
    for _ in range(5):
        assert api.post(SEND, BAD, "operator").status_code == 202
    assert asked() == 1
    stored.insert(0, mapper(id="new", priority=1, fields={"component": "new", "state": 1}))
    api.now = NOW + 1
    assert api.post(SEND, BAD, "operator").status_code == 202
    assert (asked(), api.broker.events[-1]["component"]) == (2, "new")


class TestTrial:
    def tried(self, api: Api, **fields: Any) -> list[Any]:
        answer = api.post(f"{PATH}/try", fields, "operator")
        assert answer.status_code == 200, answer.json
        found: list[Any] = answer.json["data"]
        return found

    def test_a_mapper_without_tests_is_tried_beside_stored_ones(self, api: Api, stored: list[Document]) -> None:
        stored.append(mapper())
        new = mapper(id="new", pattern={"x": {"$exists": True}}, fields={"component": "$.x", "state": 1}, tests=[])
        told = self.tried(api, rules=[new], payloads=[BAD, [{"x": "db"}], 5])
        assert [(each["outcome"], [step["rule"] for step in each["trail"]]) for each in told] == [
            ("accepted", ["m"]),
            ("accepted", ["new"]),
            ("refused", []),
        ]
        assert told[1]["event"]["entity_id"] == "component:db"
        assert len(stored) == 1
        assert api.broker.events == []

    def test_alone_and_for_an_address(self, api: Api, stored: list[Document]) -> None:
        stored.append(mapper())
        (told,) = self.tried(api, rules=[mapper(sources=["two"], id="two", priority=1)], payloads=[BAD], source="one")
        assert told["trail"][0]["rule"] == "m"
        (told,) = self.tried(api, payloads=[BAD], alone=True)
        assert (told["outcome"], told["trail"]) == ("refused", [])

    @pytest.mark.usefixtures("stored")
    def test_a_mapper_that_cannot_be_used(self, api: Api) -> None:
        answer = api.post(f"{PATH}/try", {"rules": [mapper(fields={"output": "{{"})], "payloads": [BAD]}, "operator")
        assert (answer.status_code, answer.json["field"]) == (400, "fields.output")
