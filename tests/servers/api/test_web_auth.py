"""Keys, sessions and roles over the real database, through two processes of the web server."""

from __future__ import annotations

import hashlib
import http.client
import re
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import msgspec
import pytest
from servers import eventually
from web import PASSWORD, ROLES, WORKERS, Answer, Tap, Web, key_of

from canopsis.api.app import RESOURCES
from canopsis.api.auth.lookups import FRESH
from canopsis.api.auth.passwords import hash_password
from canopsis.api.endpoints import Endpoint
from canopsis.store import sessions, users
from canopsis.store.client import Store
from canopsis.store.users import AuthKey, User

GUARDED = [endpoint for resource in RESOURCES for endpoint in resource.endpoints if endpoint.role is not None]
MANY = 12
"""Requests that reach both processes, as good as surely."""


def name_of(endpoint: Endpoint) -> str:
    return f"{endpoint.method} {endpoint.path}"


def path_of(endpoint: Endpoint) -> str:
    return re.sub(r"<(path:)?[^>]*>", "component:x", endpoint.path)


def login(web: Web, name: str = "some-operator", password: str = PASSWORD, address: str = "127.0.0.1") -> Answer:
    """Log in, as seen from ``address`` by a proxy that the site trusts."""
    body = {"username": name, "password": password}
    return web.call("POST", "/api/v1/login", None, body, headers={"X-Forwarded-For": address})


def me(web: Web, headers: dict[str, str]) -> set[int]:
    """Return the statuses that a session gets, from both processes."""
    return {web.call("GET", "/api/v1/me", None, headers=headers).status for _ in range(MANY)}


def cookie_of(answer: Answer) -> dict[str, str]:
    assert answer.status == 200, answer.data
    return {"Cookie": answer.headers["Set-Cookie"].split(";")[0]}


def add_user(db: Store, name: str, **facts: Any) -> str:
    """Make a user with a key, and return the key."""
    key = f"key-of-{name}-{time.monotonic_ns()}"
    users.save(db, User(name=name, authkeys=[AuthKey("main", hashlib.sha256(key.encode()).hexdigest())], **facts))
    return key


def with_key(web: Web, key: str) -> int:
    return web.call("GET", "/api/v1/me", None, headers={"X-Canopsis-Authkey": key}).status


@pytest.mark.parametrize("endpoint", GUARDED, ids=name_of)
def test_nobody_gets_in(web: Web, tap: Tap, endpoint: Endpoint) -> None:
    answer = web.call(endpoint.method, path_of(endpoint), None)
    assert answer.status == 401
    assert answer.headers["WWW-Authenticate"] == 'Bearer realm="canopsis"'
    assert web.call(endpoint.method, path_of(endpoint), "stranger").status == 401
    assert tap.messages() == []


@pytest.mark.parametrize("role", ROLES)
@pytest.mark.parametrize("endpoint", GUARDED, ids=name_of)
def test_a_role_may_what_it_may(web: Web, tap: Tap, endpoint: Endpoint, role: str) -> None:
    assert endpoint.role is not None
    answer = web.call(endpoint.method, path_of(endpoint), role)
    allowed = ROLES.index(role) >= ROLES.index(endpoint.role)  # type: ignore[arg-type]
    assert (answer.status == 403) is not allowed
    assert answer.status < 500
    assert tap.messages() == []


class TestKeys:
    """Keys are looked up, remembered for a few seconds, and can be taken away."""

    def test_a_new_key_works_at_once(self, web: Web, site_db: Store) -> None:
        key = add_user(site_db, "new", role="reader")
        assert {with_key(web, key) for _ in range(MANY)} == {200}

    def test_a_key_that_was_unknown_a_moment_ago_works_soon(self, web: Web, site_db: Store) -> None:
        assert with_key(web, "key of tomorrow") == 401
        digest = hashlib.sha256(b"key of tomorrow").hexdigest()
        users.save(site_db, User(name="late", authkeys=[AuthKey("main", digest)]))
        eventually(lambda: {with_key(web, "key of tomorrow") for _ in range(MANY)} == {200}, FRESH + 30)

    @pytest.mark.parametrize("change", ["disabled", "deleted", "no keys"])
    def test_a_key_that_is_taken_away_stops_working(self, web: Web, site_db: Store, change: str) -> None:
        name = f"gone {change}"
        key = add_user(site_db, name, role="reader")
        assert with_key(web, key) == 200
        if change == "disabled":
            add_user(site_db, name, role="reader", enabled=False)
        elif change == "deleted":
            users.delete(site_db, name)
        else:
            users.save(site_db, User(name=name, role="reader"))
        eventually(lambda: {with_key(web, key) for _ in range(MANY)} == {401}, FRESH + 30)

    def test_a_role_that_is_changed_counts_soon(self, web: Web, site_db: Store) -> None:
        key = add_user(site_db, "rises", role="reader")
        [found] = [user for user in users.listing(site_db) if user.name == "rises"]
        headers = {"X-Canopsis-Authkey": key}
        path = "/api/v1/alarms/none/ack"
        assert web.call("POST", path, None, headers=headers).status == 403
        users.save(site_db, User(name="rises", role="operator", authkeys=found.authkeys))
        eventually(
            lambda: {web.call("POST", path, None, headers=headers).status for _ in range(MANY)} == {404}, FRESH + 30
        )

    @pytest.mark.parametrize("place", ["X-Canopsis-Authkey", "Authorization", "query"])
    def test_each_place_of_a_key(self, web: Web, place: str) -> None:
        key = key_of("reader")
        path = f"/api/v1/me?authkey={key}" if place == "query" else "/api/v1/me"
        values = {"X-Canopsis-Authkey": key, "Authorization": f"Bearer {key}"}
        headers = {place: values[place]} if place in values else {}
        assert web.call("GET", path, None, headers=headers).json["data"][0]["name"] == "some-reader"


class TestSessions:
    """A session is in the database: every process knows it, and knows when it is over."""

    def test_both_processes_know_it(self, web: Web) -> None:
        headers = cookie_of(login(web))
        answers = [web.call("GET", "/api/v1/me", None, headers=headers) for _ in range(MANY)]
        assert {answer.json["data"][0]["name"] for answer in answers} == {"some-operator"}

    def test_the_end_is_the_end_in_both(self, web: Web) -> None:
        headers = cookie_of(login(web))
        assert web.call("POST", "/api/v1/logout", None, headers=headers).status == 200
        assert {web.call("GET", "/api/v1/me", None, headers=headers).status for _ in range(MANY)} == {401}

    def test_it_is_over_when_its_time_is(self, web: Web, site_db: Store) -> None:
        headers = cookie_of(login(web))
        token = headers["Cookie"].split("=", 1)[1].rpartition(".")[0]
        digest = hashlib.sha256(token.encode()).hexdigest()
        assert sessions.find(site_db, digest) is not None
        assert sessions.prolong(site_db, digest, -1.0) is not None
        assert web.call("GET", "/api/v1/me", None, headers=headers).status == 401

    def test_it_lasts_as_long_as_the_file_says(self, web: Web, site_db: Store) -> None:
        headers = cookie_of(login(web, "some-admin"))
        token = headers["Cookie"].split("=", 1)[1].rpartition(".")[0]
        found = sessions.find(site_db, hashlib.sha256(token.encode()).hexdigest())
        assert found is not None
        assert (found["expires"] - found["created"]).total_seconds() == pytest.approx(60.0)

    def test_the_database_has_no_token(self, web: Web, site_db: Store) -> None:
        headers = cookie_of(login(web))
        token = headers["Cookie"].split("=", 1)[1].rpartition(".")[0]
        assert token not in str(list(site_db[sessions.COLLECTION].find()))

    def test_a_disabled_user_is_out(self, web: Web, site_db: Store) -> None:
        [found] = [user for user in users.listing(site_db) if user.name == "some-reader"]
        users.save(site_db, User(name="leaver", role="reader", password=found.password))
        headers = cookie_of(login(web, "leaver"))
        users.save(site_db, User(name="leaver", role="reader", password=found.password, enabled=False))
        eventually(
            lambda: {web.call("GET", "/api/v1/me", None, headers=headers).status for _ in range(MANY)} == {401},
            FRESH + 30,
        )
        assert login(web, "leaver").status == 401

    @pytest.mark.parametrize("change", ["password", "made anew", "deleted", "disabled and enabled"])
    def test_d3_a_session_ends_with_its_password_or_user(self, web: Web, site_db: Store, change: str) -> None:
        name = f"over {change}"
        [some] = [user for user in users.listing(site_db) if user.name == "some-reader"]
        old = User(name=name, role="reader", password=some.password)
        users.save(site_db, old)
        headers = cookie_of(login(web, name))
        assert me(web, headers) == {200}
        if change in ("made anew", "deleted"):
            users.delete(site_db, name)
        if change == "disabled and enabled":
            users.save(site_db, msgspec.structs.replace(old, enabled=False))
            users.save(site_db, old)
        elif change != "deleted":
            users.save(site_db, User(name=name, role="admin", password=hash_password("another horse")))
        eventually(lambda: me(web, headers) == {401}, FRESH + 30)
        assert site_db.sessions.find_one({"user": name}) is None

    def test_d3_a_session_from_before_a_change_behind_our_back_ends(self, web: Web, site_db: Store) -> None:
        [some] = [user for user in users.listing(site_db) if user.name == "some-reader"]
        users.save(site_db, User(name="behind", password=some.password))
        headers = cookie_of(login(web, "behind"))
        site_db.users.update_one({"_id": "behind"}, {"$set": {"password": hash_password("another horse")}})
        eventually(lambda: me(web, headers) == {401}, FRESH + 30)

    def test_d3_a_new_password_counts_at_once_everywhere(self, web: Web, site_db: Store) -> None:
        users.save(site_db, User(name="changes", password=hash_password(PASSWORD)))
        assert me(web, cookie_of(login(web, "changes"))) == {200}
        users.save(site_db, User(name="changes", password=hash_password("another horse")))
        assert me(web, cookie_of(login(web, "changes", "another horse"))) == {200}

    def test_d3_a_key_ends_with_its_rotation_and_with_its_user(self, web: Web, site_db: Store) -> None:
        first = add_user(site_db, "rotates", role="reader")
        assert with_key(web, first) == 200
        second = add_user(site_db, "rotates", role="admin")
        eventually(lambda: {with_key(web, first) for _ in range(MANY)} == {401}, FRESH + 30)
        assert with_key(web, second) == 200

    @pytest.mark.parametrize(
        ("headers", "status"),
        [
            ({}, 403),
            ({"Origin": "http://evil.example"}, 403),
            ({"X-Requested-With": "x"}, 404),
        ],
    )
    def test_a_write_shows_where_it_comes_from(self, web: Web, headers: dict[str, str], status: int) -> None:
        cookie = cookie_of(login(web))
        assert web.call("POST", "/api/v1/alarms/none/ack", None, headers=cookie | headers).status == status

    def test_a_write_from_our_own_page(self, web: Web) -> None:
        headers = cookie_of(login(web)) | {"Origin": f"http://127.0.0.1:{web.port}"}
        assert web.call("POST", "/api/v1/alarms/none/ack", None, headers=headers).status == 404


class TestPasswords:
    """Wrong passwords, and many logins at once."""

    @pytest.mark.parametrize(
        ("name", "password"),
        [("some-reader", "wrong"), ("nobody", PASSWORD), ("some-reader\0", PASSWORD), ("$ne", "x")],
    )
    def test_a_wrong_one_is_refused(self, web: Web, name: str, password: str) -> None:
        answer = login(web, name, password)
        assert answer.status in (400, 401)
        assert "Set-Cookie" not in answer.headers

    @pytest.mark.parametrize("name", [{"$ne": None}, ["some-admin"], None, 5])
    def test_a_query_in_place_of_a_name_is_refused(self, web: Web, name: object) -> None:
        answer = web.post("/api/v1/login", {"username": name, "password": PASSWORD}, None)
        assert (answer.status, answer.json["field"]) == (400, "username")

    def test_many_wrong_ones_have_to_wait(self, web: Web) -> None:
        answers = [login(web, "victim", "wrong", "192.0.2.1") for _ in range(10)]
        assert [answer.status for answer in answers[:5]] == [401] * 5
        assert 429 in {answer.status for answer in answers}
        assert all(int(answer.headers["Retry-After"]) >= 1 for answer in answers if answer.status == 429)

    def test_d4_five_are_free_for_the_whole_site(self, web: Web) -> None:
        with ThreadPoolExecutor(4) as pool:
            answers = list(pool.map(lambda _: login(web, "target", "wrong", "192.0.2.2").status, range(16)))
        # Where the machine is so busy that seconds go by, one more is heard after a second, two, four.
        assert 5 <= answers.count(401) < 5 * WORKERS
        assert set(answers) <= {401, 429, 503}

    def test_d4_from_many_addresses_an_account_is_slowed(self, web: Web) -> None:
        addresses = [f"198.51.100.{number}" for number in range(20)] * 2
        assert [login(web, "spread", "wrong", address).status for address in addresses].count(401) < 20

    def test_d4_a_stranger_does_not_lock_the_administrator_out(self, web: Web) -> None:
        assert login(web, "some-admin", address="203.0.113.1").status == 200
        for number in range(30):
            login(web, "some-admin", "wrong", f"203.0.113.{100 + number % 10}")
        assert login(web, "some-admin", "wrong", "203.0.113.100").status == 429
        assert login(web, "some-admin", address="203.0.113.1").status == 200

    def test_d4_a_flood_of_logins_leaves_the_others_fast(self, web: Web) -> None:
        done = threading.Event()

        def flood(number: int) -> None:
            while not done.is_set():
                login(web, f"flood{number}", "wrong", f"10.1.{number}.1")

        with ThreadPoolExecutor(24) as pool:
            running = [pool.submit(flood, number) for number in range(24)]
            times = []
            for _ in range(20):
                begin = time.monotonic()
                assert web.get("/api/v1/alarms").status == 200
                times.append(time.monotonic() - begin)
            done.set()
        for each in running:
            each.result()
        assert sorted(times)[10] < 1.0, times

    def test_many_logins_do_not_hold_the_others_up(self, web: Web) -> None:
        with ThreadPoolExecutor(8) as pool:
            logins = [pool.submit(login, web) for _ in range(8)]
            assert web.get("/api/v1/healthz", None).status == 200
            answers = [each.result() for each in logins]
        assert {answer.status for answer in answers} <= {200, 503}
        assert 200 in {answer.status for answer in answers}


def test_a_cookie_does_not_travel_in_plain_text_once_it_is_secure(web: Web) -> None:
    headers = {"X-Forwarded-Proto": "https", "Content-Type": "application/json"}
    body = {"username": "some-admin", "password": PASSWORD}
    answer = web.call("POST", "/api/v1/login", None, body, headers=headers)
    assert "Secure" in answer.headers["Set-Cookie"]


def test_a_key_over_a_kept_connection_is_asked_each_time(web: Web) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", web.port, timeout=20)
    statuses = []
    for key in (key_of("reader"), "another", key_of("reader")):
        connection.request("GET", "/api/v1/me", headers={"X-Canopsis-Authkey": key})
        answer = connection.getresponse()
        answer.read()
        statuses.append(answer.status)
    connection.close()
    assert statuses == [200, 401, 200]
