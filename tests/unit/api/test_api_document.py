"""The OpenAPI document says what the application does."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from api_fakes import NOW, Api, event, validator
from jsonschema import Draft202012Validator

from canopsis.api.app import RESOURCES
from canopsis.api.endpoints import Endpoint
from canopsis.api.openapi import document
from canopsis.core.normalise import normalise

ENDPOINTS = [endpoint for resource in RESOURCES for endpoint in resource.endpoints]


@pytest.fixture(name="served")
def as_served(api: Api) -> dict[str, Any]:
    """The document as a client gets it."""
    found: dict[str, Any] = api.get("/api/v1/openapi.json", "reader").json
    return found


def test_every_route_of_the_application_is_in_it(api: Api, served: dict[str, Any]) -> None:
    shown = {endpoint.path: endpoint.shown_path for endpoint in ENDPOINTS}
    routes = {
        (shown[rule.rule], method.lower())
        for rule in api.app.url_map.iter_rules()
        for method in (rule.methods or set()) - {"HEAD"}
    }
    assert routes == {(path, method) for path, calls in served["paths"].items() for method in calls}
    assert len(routes) > 20


def test_it_lists_the_parameters_that_the_handlers_read(served: dict[str, Any]) -> None:
    names = {each["name"] for each in served["paths"]["/api/v1/alarms"]["get"]["parameters"]}
    assert {"show", "state", "search", "sort", "limit", "after"} <= names


def test_every_segment_of_a_path_is_a_parameter(served: dict[str, Any]) -> None:
    for path, calls in served["paths"].items():
        for call in calls.values():
            named = {each["name"] for each in call["parameters"] if each["in"] == "path"}
            assert named == set(re.findall(r"{(\w+)}", path))


def test_every_call_has_its_own_id_a_summary_and_answers(served: dict[str, Any]) -> None:
    calls = [call for calls in served["paths"].values() for call in calls.values()]
    assert len({call["operationId"] for call in calls}) == len(calls)
    assert all(call["summary"] and call["responses"] for call in calls)
    assert all(any(status.startswith("2") for status in call["responses"]) for call in calls)


def test_roles_are_in_it(served: dict[str, Any]) -> None:
    assert served["paths"]["/api/v1/events"]["post"]["x-role"] == "operator"
    assert served["paths"]["/api/v1/healthz"]["get"]["security"] == []


def test_every_reference_leads_somewhere(served: dict[str, Any]) -> None:
    references: list[str] = []

    def walk(node: object) -> None:
        if isinstance(node, dict):
            references.extend(value for name, value in node.items() if name == "$ref")
            for value in node.values():
                walk(value)
        elif isinstance(node, list):
            for value in node:
                walk(value)

    walk(served)
    assert {"#/components/schemas/Event", "#/components/schemas/Problem"} <= set(references)
    for reference in references:
        assert reference.removeprefix("#/components/schemas/") in served["components"]["schemas"]


def test_the_schema_of_an_event_shows_what_is_sent_not_what_is_computed(served: dict[str, Any]) -> None:
    properties = served["components"]["schemas"]["Event"]["properties"]
    assert {"connector", "component", "state", "perf_data", "perf_data_array", "event_type"} <= set(properties)
    assert "entity_id" not in properties


def test_making_it_twice_gives_the_same() -> None:
    assert document(ENDPOINTS, {}) == document(ENDPOINTS, {})


PAGE = (Path(__file__).parents[3] / "docs" / "api.md").read_text()


@pytest.mark.parametrize("endpoint", ENDPOINTS, ids=lambda endpoint: f"{endpoint.method} {endpoint.path}")
def test_the_page_shows_every_call_with_its_role_and_parameters(endpoint: Endpoint) -> None:
    title = f"### `{endpoint.method} {endpoint.shown_path}`\n"
    assert title in PAGE
    section = PAGE.split(title)[1].split("\n### ")[0].split("\n## ")[0]
    assert endpoint.summary in section
    assert (f"role `{endpoint.role}`" if endpoint.role else "open to anybody") in section
    for parameter in endpoint.parameters:
        default = "" if parameter.default is None else f"`{str(parameter.default).lower()}`"
        assert f"| `{parameter.name}` | {parameter.description} | {parameter.allowed} | {default} |" in section


def test_the_page_names_no_call_that_is_not_there() -> None:
    shown = set(re.findall(r"^### `(\w+) (\S+)`$", PAGE, re.MULTILINE))
    assert shown == {(endpoint.method, endpoint.shown_path) for endpoint in ENDPOINTS}


def test_the_page_tells_what_each_status_means() -> None:
    for status in (207, 304, 400, 401, 403, 404, 405, 408, 409, 412, 413, 414, 415, 429, 431, 500, 503):
        assert f"| {status} |" in PAGE


def schemas(node: object) -> Iterator[dict[str, Any]]:
    """Yield every schema of a part of the document."""
    if isinstance(node, dict):
        for name, value in node.items():
            if name == "schema":
                yield value
            elif name == "schemas":
                yield from value.values()
            else:
                yield from schemas(value)
    elif isinstance(node, list):
        for value in node:
            yield from schemas(value)


def test_d8_every_schema_is_one_and_has_its_own_defaults_and_examples(served: dict[str, Any]) -> None:
    found = list(schemas(served))
    assert len(found) > 200
    for schema in found:
        Draft202012Validator.check_schema(schema)
        for each in (schema, *schema.get("properties", {}).values()):
            if "default" in each:
                assert validator(each).is_valid(each["default"]), each
    example = served["paths"]["/api/v1/events"]["post"]["requestBody"]["content"]["application/json"]
    assert validator(example["schema"]).is_valid(example["example"])


def test_every_answer_says_what_its_data_are(served: dict[str, Any]) -> None:
    answers = [
        (f"{method} {path}", content["schema"])
        for path, calls in served["paths"].items()
        for method, call in calls.items()
        for status, answer in call["responses"].items()
        if status.startswith("2")
        for content in answer["content"].values()
    ]
    assert [call for call, schema in answers if schema.get("properties") == {"data": {"items": {}}}] == []


def test_d8_the_document_itself_is_no_envelope(served: dict[str, Any]) -> None:
    told = served["paths"]["/api/v1/openapi.json"]["get"]["responses"]["200"]["content"]["application/json"]
    assert validator(told["schema"]).is_valid(served)


@pytest.mark.parametrize("status", ["400", "414", "431", "500"])
def test_d8_every_call_may_be_refused_by_the_server_itself(served: dict[str, Any], status: str) -> None:
    for calls in served["paths"].values():
        for call in calls.values():
            assert list(call["responses"][status]["content"]) == ["application/problem+json"]


EVENT = validator({"$ref": "#/components/schemas/Event"})
REFUSED: list[dict[str, Any]] = [
    {"connector": ""},
    {"connector_name": "  "},
    {"component": "a\x00b"},
    {"component": "x" * 1021},
    {"component": 5.5},
    {"connector": None},
    {"state": 7},
    {"state": -1},
    {"state": None},
    {"state": "critical"},
    {"event_type": "resolve"},
    {"event_type": 5},
    {"event_type": "comment", "output": None},
    {"resource": "a\tb"},
    {"resource": None, "source_type": "resource"},
    {"source_type": "component"},
    {"state_scale": "ok,warning"},
    {"state_scale": "ok,warning,critical,bad"},
]


@pytest.mark.parametrize("facts", REFUSED, ids=str)
def test_d8_what_the_code_refuses_the_schema_of_an_event_refuses(api: Api, facts: dict[str, Any]) -> None:
    sent = event(**facts)
    assert api.post("/api/v1/events", sent).status_code == 400
    assert not EVENT.is_valid(sent)


@pytest.mark.parametrize(
    "facts",
    [
        {},
        {"event_type": None},
        {"event_type": "perf", "state": None, "perf_data": "a=1"},
        {"event_type": "comment", "state": None},
        {"resource": None, "source_type": None},
        {"resource": "", "source_type": "component"},
        {"state_scale": "severity", "tags": ["a"], "event_id": "a-1", "level": "info", "own": {"key": 1}},
        {"state_scale": " OK,warning, Critical,unknown"},
        {"perf_data_array": [{"metric": "a", "value": 1, "unit": None}]},
        {"component": " é ", "timestamp": NOW},
    ],
    ids=str,
)
def test_d8_what_the_code_takes_without_a_word_the_schema_takes(facts: dict[str, Any]) -> None:
    sent = event(**facts)
    assert normalise(sent, NOW).warnings == []
    assert list(EVENT.iter_errors(sent)) == []


PARAMETERS = {each.name: each for endpoint in ENDPOINTS for each in endpoint.parameters}
WRONG = [
    ("from", ["", "yesterday", "2026-02-28", "2026-13-01T00:00:00Z", "2026-02-28T12:00:00 01:00", "-5", "-5y", "1e9"]),
    ("interval", ["", "5 m", "-5m", "5y", "1e3"]),
    ("component", ["", "x" * 1025, "a\x00", "a\nb", "a\u200bb", "\ufffd"]),
    ("state_scale", ["", "ok", "bad,ok,ok,ok"]),
    ("sort", ["", "--created", "nothing"]),
]
RIGHT = [
    ("from", ["0", "1750000000.5", "-15m", "2026-02-28T12:00:00Z", "2026-02-28T12:00:00.123+01:00"]),
    ("interval", ["5m", "60", "0.5"]),
    ("component", ["disk / é", "日本"]),
    ("state_scale", ["nagios", "ok,warning,warning,critical"]),
]


def each_of(table: list[tuple[str, list[str]]]) -> list[tuple[str, str]]:
    return [(name, text) for name, texts in table for text in texts]


@pytest.mark.parametrize(("name", "text"), each_of(WRONG))
def test_d8_what_the_code_refuses_the_schema_of_a_parameter_refuses(name: str, text: str) -> None:
    with pytest.raises((ValueError, OverflowError)):
        PARAMETERS[name].read(text, NOW)
    assert not validator(dict(PARAMETERS[name].schema)).is_valid(text)


@pytest.mark.parametrize(("name", "text"), each_of(RIGHT))
def test_d8_what_the_code_takes_the_schema_of_a_parameter_takes(name: str, text: str) -> None:
    PARAMETERS[name].read(text, NOW)
    assert validator(dict(PARAMETERS[name].schema)).is_valid(text)
