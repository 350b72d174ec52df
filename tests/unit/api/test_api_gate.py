"""Who may call what: keys, roles, services, and every call declared."""

from __future__ import annotations

import re

import pytest
from api_fakes import NOW, ROLES, Api, alarm, event, sha256

from canopsis.api.app import RESOURCES
from canopsis.api.endpoints import Endpoint
from canopsis.api.resources import SERVICES
from canopsis.store import alarms, users
from canopsis.store.users import AuthKey, User

ENDPOINTS = [endpoint for resource in RESOURCES for endpoint in resource.endpoints]
GUARDED = [endpoint for endpoint in ENDPOINTS if endpoint.role is not None]
OPEN = {
    "/",
    "/api/docs",
    "/api/docs/style.css",
    "/api/v1",
    "/api/v1/healthz",
    "/api/v1/readyz",
    "/api/v1/login",
    "/api/v1/logout",
}


def name_of(endpoint: Endpoint) -> str:
    return f"{endpoint.method} {endpoint.path}"


def path_of(endpoint: Endpoint) -> str:
    return (
        re.sub(r"<[^>]*>", "component:x/y", endpoint.path)
        if "path:" in endpoint.path
        else re.sub(r"<[^>]*>", "a1", endpoint.path)
    )


def test_only_these_are_open_to_anybody() -> None:
    assert {endpoint.path for endpoint in ENDPOINTS if endpoint.role is None} == OPEN


def test_what_writes_takes_more_than_a_reader() -> None:
    writing = [endpoint for endpoint in GUARDED if endpoint.method != "GET"]
    assert writing
    assert all(endpoint.role in ("operator", "admin") for endpoint in writing)


@pytest.mark.parametrize("endpoint", GUARDED, ids=name_of)
def test_nobody_is_asked_who_they_are(api: Api, endpoint: Endpoint) -> None:
    answer = api.call(endpoint.method, path_of(endpoint), None)
    assert answer.status_code == 401
    assert answer.headers["WWW-Authenticate"].startswith("Bearer")
    assert answer.mimetype == "application/problem+json"
    assert answer.json["success"] is False


@pytest.mark.parametrize("role", ROLES)
@pytest.mark.parametrize("endpoint", GUARDED, ids=name_of)
def test_each_role_may_do_what_is_declared(api: Api, endpoint: Endpoint, role: str) -> None:
    assert endpoint.role is not None
    answer = api.call(endpoint.method, path_of(endpoint), role)
    allowed = ROLES.index(role) >= ROLES.index(endpoint.role)
    assert (answer.status_code != 403) is allowed
    if not allowed:
        assert answer.json["field"] == "role"
        assert answer.json["value"] == role
        assert endpoint.role in answer.json["allowed"]


@pytest.mark.parametrize("service", SERVICES)
def test_a_service_that_is_off_says_so(service: str) -> None:
    api = Api(services=frozenset(SERVICES) - {service})
    of_service = [endpoint for endpoint in ENDPOINTS if endpoint.service == service]
    assert of_service
    for endpoint in of_service:
        answer = api.call(endpoint.method, path_of(endpoint))
        assert answer.status_code == 404
        assert f"{service} is turned off" in answer.json["detail"]
        assert "webserver.conf" in answer.json["detail"]


def test_the_other_services_are_not_off(api: Api) -> None:
    api = Api(services=frozenset({"alarms"}))
    assert api.get("/api/v1/alarms").status_code == 200
    assert api.get("/api/v1/healthz").status_code == 200


@pytest.mark.parametrize(
    "headers",
    [
        {"X-Canopsis-Authkey": "key of reader"},
        {"x-canopsis-authkey": " key of reader "},
        {"Authorization": "Bearer key of reader"},
        {"Authorization": "bearer key of reader"},
    ],
)
def test_a_key_comes_in_a_header(api: Api, headers: dict[str, str]) -> None:
    assert api.get("/api/v1/me", None, headers=headers).json["data"] == [
        {"name": "some-reader", "role": "reader", "via": "authkey"}
    ]


def test_a_key_comes_in_the_query(api: Api) -> None:
    assert api.get("/api/v1/alarms?authkey=key%20of%20reader", None).status_code == 200


@pytest.mark.parametrize(
    "headers",
    [
        {"X-Canopsis-Authkey": "another"},
        {"X-Canopsis-Authkey": ""},
        {"X-Canopsis-Authkey": "é\xff"},
        {"Authorization": "Bearer another"},
        {"Authorization": "Bearer"},
        {"Authorization": "Basic a2V5IG9mIHJlYWRlcg=="},
    ],
)
def test_a_wrong_key_is_refused(api: Api, headers: dict[str, str]) -> None:
    assert api.get("/api/v1/alarms", None, headers=headers).status_code == 401


def test_the_key_of_a_disabled_user_is_refused(api: Api) -> None:
    key = AuthKey("main", sha256("a key"))
    api.database.users["gone"] = User(name="gone", role="admin", authkeys=[key], enabled=False)
    assert api.get("/api/v1/alarms", None, headers={"X-Canopsis-Authkey": "a key"}).status_code == 401


def test_a_key_may_less_than_its_user(api: Api) -> None:
    keys = [AuthKey("wall", sha256("wall"), role="reader"), AuthKey("more", sha256("more"), role="admin")]
    api.database.users["ann"] = User(name="ann", role="operator", authkeys=keys)
    for key, role in (("wall", "reader"), ("more", "operator")):
        [found] = api.get("/api/v1/me", None, headers={"X-Canopsis-Authkey": key}).json["data"]
        assert (found["name"], found["role"]) == ("ann", role)
    assert api.post("/api/v1/events", event(), None, headers={"X-Canopsis-Authkey": "wall"}).status_code == 403


def test_a_key_ends(api: Api) -> None:
    api.database.users["ann"] = User(name="ann", authkeys=[AuthKey("wall", sha256("wall"), until=NOW + 60)])
    asked = {"X-Canopsis-Authkey": "wall"}
    assert api.get("/api/v1/me", None, headers=asked).status_code == 200
    api.now = NOW + 60
    answer = api.get("/api/v1/me", None, headers=asked)
    assert answer.status_code == 401
    assert "the key wall of ann has ended" in answer.json["detail"]


def test_who_has_a_key_is_asked_once_in_a_few_seconds(api: Api) -> None:
    for _ in range(5):
        assert api.get("/api/v1/alarms").status_code == 200
    assert len(api.database.calls_of(users.by_key)) == 1


def test_events_still_come_in_while_the_database_is_away(api: Api) -> None:
    assert api.post("/api/v1/events", event(), "operator").status_code == 202
    api.database.away = "gone"
    assert api.post("/api/v1/events", event(), "operator").status_code == 202
    assert api.get("/api/v1/alarms", "operator").status_code == 503


def test_an_unknown_key_while_the_database_is_away_is_not_called_wrong(api: Api) -> None:
    api.database.away = "gone"
    answer = api.get("/api/v1/alarms", "reader")
    assert answer.status_code == 503
    assert int(answer.headers["Retry-After"]) > 0


def test_a_provider_that_is_off_lets_nobody_in() -> None:
    api = Api(providers=("local",))
    assert api.get("/api/v1/alarms").status_code == 401


@pytest.mark.parametrize("path", ["/api/v1/nothing", "/api/v2/alarms", "/console", "/api/v1/", "/api"])
def test_an_unknown_address_is_a_problem_document(api: Api, path: str) -> None:
    answer = api.get(path)
    assert answer.status_code == (200 if path == "/api/v1/" else 404)
    assert answer.mimetype == ("application/json" if path == "/api/v1/" else "application/problem+json")


@pytest.mark.parametrize("path", ["/", "/api/v1"])
def test_d8_an_index_names_every_call(api: Api, path: str) -> None:
    answer = api.get(path, None)
    assert answer.status_code == 200
    found = {(each["method"], each["path"]) for each in answer.json["data"]}
    assert found == {(endpoint.method, endpoint.shown_path) for endpoint in ENDPOINTS}


@pytest.mark.parametrize(
    ("method", "path", "right"),
    [
        ("POST", "/api/v4/event", "/api/v1/events"),
        ("POST", "/api/v2/event", "/api/v1/events"),
        ("GET", "/api/v4/alarms", "/api/v1/alarms"),
        ("PUT", "/api/v4/alarms/a1/ack", "/api/v1/alarms/a1/ack"),
        ("GET", "/api/v4/entity/basics", "/api/v1/entities"),
        ("GET", "/api/v1/alarm/a1", "/api/v1/alarms/a1"),
        ("GET", "/rest/events", "/api/v1/events"),
        ("GET", "/api/healthcheck", "/api/v1/healthz"),
        ("GET", "/alarms", "/api/v1/alarms"),
        ("GET", "/api/v1/dead_letters", "/api/v1/dead-letters"),
    ],
)
def test_d7_an_address_of_another_version_is_told_the_right_one(api: Api, method: str, path: str, right: str) -> None:
    answer = api.call(method, path)
    assert (answer.status_code, answer.json["allowed"]) == (404, right)
    assert f"{right} is meant?" in answer.json["detail"]


@pytest.mark.parametrize("path", ["/console", "/api/v1/nothing", "/favicon.ico", "/" + "a" * 5000])
def test_d7_an_address_that_is_like_none_is_told_the_index(api: Api, path: str) -> None:
    answer = api.get(path)
    assert (answer.status_code, answer.json["allowed"]) == (404, "GET /api/v1 lists all addresses")


@pytest.mark.parametrize("method", ["PUT", "DELETE", "PATCH", "OPTIONS"])
def test_a_wrong_method_names_the_right_ones(api: Api, method: str) -> None:
    answer = api.call(method, "/api/v1/events")
    assert answer.status_code == 405
    assert answer.json["allowed"] == "GET, POST"
    assert answer.headers["Allow"] == "GET, POST"


def test_a_slash_at_the_end_does_not_matter(api: Api) -> None:
    assert api.get("/api/v1/alarms/").status_code == 200


@pytest.mark.parametrize("path", ["/api/v1/healthz", "/api/v1/alarms", "/api/v1/alarms/none", "/nothing"])
def test_every_answer_has_the_security_headers(api: Api, path: str) -> None:
    headers = api.get(path).headers
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["X-Frame-Options"] == "DENY"
    assert headers["Cache-Control"] == "no-store"
    assert "default-src 'none'" in headers["Content-Security-Policy"]


def test_a_bug_is_a_problem_without_a_traceback(api: Api) -> None:
    def broken(_alarm_id: str) -> None:
        raise ZeroDivisionError("inner workings")

    api.database.answers[alarms.whole] = broken
    answer = api.get("/api/v1/alarms/a1")
    assert answer.status_code == 500
    assert answer.mimetype == "application/problem+json"
    assert "inner workings" not in answer.text
    assert "Traceback" not in answer.text


def test_a_request_is_logged_without_its_key(caplog: pytest.LogCaptureFixture) -> None:
    api = Api(debug=True)
    with caplog.at_level("INFO", "canopsis.api.app"):
        api.get("/api/v1/alarms?authkey=key%20of%20reader", None)
    assert "GET /api/v1/alarms 200" in caplog.text
    assert "key" not in caplog.text


def test_the_name_of_the_user_goes_with_an_action(api: Api) -> None:
    api.database.documents["a1"] = alarm()
    api.post("/api/v1/alarms/a1/ack", role="operator")
    assert api.broker.events[0]["author"] == "some-operator"
