"""Which pages of other sites a browser may let call the API."""

from __future__ import annotations

import pytest
from api_fakes import Api
from werkzeug.test import TestResponse

WALL = "https://wall.example.org"


@pytest.fixture(name="open_to_wall")
def an_api_that_is_open_to_wall() -> Api:
    return Api(allowed_origins=(WALL,))


def preflight(api: Api, path: str, origin: str = WALL, method: str = "POST") -> TestResponse:
    """Ask as a browser does before a page of ``origin`` sends what is not simple."""
    headers = {"Origin": origin, "Access-Control-Request-Method": method}
    return api.client.options(path, headers=headers)


def test_a_page_of_an_allowed_origin_may_send_and_read(open_to_wall: Api) -> None:
    answer = open_to_wall.get("/api/v1/alarms", "reader", headers={"Origin": WALL})
    assert answer.status_code == 200
    assert answer.headers["Access-Control-Allow-Origin"] == WALL
    assert "ETag" in answer.headers["Access-Control-Expose-Headers"]
    assert "Origin" in answer.vary
    assert "Access-Control-Allow-Credentials" not in answer.headers


def test_a_browser_is_told_which_methods_an_address_has(open_to_wall: Api) -> None:
    answer = preflight(open_to_wall, "/api/v1/event-filters/r1", method="DELETE")
    assert (answer.status_code, answer.data) == (204, b"")
    assert set(answer.headers["Access-Control-Allow-Methods"].split(", ")) >= {"GET", "PUT", "PATCH", "DELETE"}
    assert "POST" not in answer.headers["Access-Control-Allow-Methods"]
    assert "X-Canopsis-Authkey" in answer.headers["Access-Control-Allow-Headers"]
    assert answer.headers["Access-Control-Allow-Origin"] == WALL


@pytest.mark.parametrize("origin", ["https://other.example.org", f"{WALL}.evil.org", "null", WALL.upper()])
def test_a_page_of_any_other_origin_is_told_nothing(open_to_wall: Api, origin: str) -> None:
    refused = preflight(open_to_wall, "/api/v1/events", origin)
    answer = open_to_wall.get("/api/v1/alarms", "reader", headers={"Origin": origin})
    assert refused.status_code == 405
    for found in (refused, answer):
        assert not [name for name, _ in found.headers if name.startswith("Access-Control")]
        assert "Origin" in found.vary


def test_an_error_can_be_read_too(open_to_wall: Api) -> None:
    answer = open_to_wall.get("/api/v1/alarms", None, headers={"Origin": WALL})
    assert (answer.status_code, answer.headers["Access-Control-Allow-Origin"]) == (401, WALL)


def test_an_address_that_is_not_there_stays_so(open_to_wall: Api) -> None:
    assert preflight(open_to_wall, "/api/v1/nothing").status_code == 404


def test_without_the_setting_nothing_is_said(api: Api) -> None:
    assert preflight(api, "/api/v1/events").status_code == 405
    answer = api.get("/api/v1/alarms", "reader", headers={"Origin": WALL})
    assert not [name for name, _ in answer.headers if name.startswith("Access-Control") or name == "Vary"]
