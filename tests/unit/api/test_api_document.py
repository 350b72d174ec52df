"""The OpenAPI document says what the application does."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from api_fakes import Api

from canopsis.api.app import RESOURCES
from canopsis.api.endpoints import Endpoint
from canopsis.api.openapi import document, path_of

ENDPOINTS = [endpoint for resource in RESOURCES for endpoint in resource.endpoints]


@pytest.fixture(name="served")
def as_served(api: Api) -> dict[str, Any]:
    """The document as a client gets it."""
    found: dict[str, Any] = api.get("/api/v1/openapi.json", "reader").json
    return found


def test_every_route_of_the_application_is_in_it(api: Api, served: dict[str, Any]) -> None:
    shown = {endpoint.path: path_of(endpoint) for endpoint in ENDPOINTS}
    routes = {
        (shown[rule.rule], method.lower())
        for rule in api.app.url_map.iter_rules()
        for method in (rule.methods or set()) - {"HEAD"}
    }
    assert routes == {(path, method) for path, calls in served["paths"].items() for method in calls}
    assert len(routes) > 20


def test_it_lists_the_parameters_that_the_handlers_read(served: dict[str, Any]) -> None:
    names = {each["name"] for each in served["paths"]["/api/v1/alarms"]["get"]["parameters"]}
    assert {"show", "state", "search", "sort", "limit", "start"} <= names


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
    assert document(ENDPOINTS) == document(ENDPOINTS)


PAGE = (Path(__file__).parents[3] / "docs" / "api.md").read_text()


@pytest.mark.parametrize("endpoint", ENDPOINTS, ids=lambda endpoint: f"{endpoint.method} {endpoint.path}")
def test_the_page_shows_every_call_with_its_role_and_parameters(endpoint: Endpoint) -> None:
    title = f"### `{endpoint.method} {path_of(endpoint)}`\n"
    assert title in PAGE
    section = PAGE.split(title)[1].split("\n### ")[0].split("\n## ")[0]
    assert endpoint.summary in section
    assert (f"role `{endpoint.role}`" if endpoint.role else "open to anybody") in section
    for parameter in endpoint.parameters:
        default = "" if parameter.default is None else f"`{parameter.default}`"
        assert f"| `{parameter.name}` | {parameter.description} | {parameter.allowed} | {default} |" in section


def test_the_page_names_no_call_that_is_not_there() -> None:
    shown = set(re.findall(r"^### `(\w+) (\S+)`$", PAGE, re.MULTILINE))
    assert shown == {(endpoint.method, path_of(endpoint)) for endpoint in ENDPOINTS}


@pytest.mark.parametrize("status", [400, 401, 403, 404, 405, 409, 413, 415, 429, 500, 503])
def test_the_page_tells_what_each_status_means(status: int) -> None:
    assert f"| {status} |" in PAGE
