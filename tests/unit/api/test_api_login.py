"""Passwords, sessions, cookies, and who may write with one."""

from __future__ import annotations

import base64
import threading
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from ipaddress import ip_network
from typing import Any

import msgspec
import pytest
from api_fakes import Api, FakeDatabase
from argon2 import PasswordHasher
from werkzeug.wrappers import Request

from canopsis.api.auth import passwords
from canopsis.api.auth.local import COOKIE
from canopsis.api.auth.lookups import FRESH, STALE, Lookups
from canopsis.api.auth.proxies import client_address, scheme_of
from canopsis.api.auth.throttle import Throttle
from canopsis.errors import InputError, RequestError, StoreError
from canopsis.store.users import User

PASSWORD = "correct horse"
HASH = PasswordHasher(time_cost=1, memory_cost=8, parallelism=1).hash(PASSWORD)
"""A cheap one: a hash says itself what it costs to verify."""

LOGIN = "/api/v1/login"
RIGHT = {"username": "ann", "password": PASSWORD}


@pytest.fixture(name="api")
def with_ann() -> Api:
    """An application with the operator ann, who has a password. Time stands still for who has to wait."""
    api = Api()
    api.database.users["ann"] = User(name="ann", role="operator", password=HASH)
    return api


def login(api: Api, name: str = "ann", password: str = PASSWORD) -> Any:
    return api.post(LOGIN, {"username": name, "password": password}, None)


def cookie(answer: Any) -> str:
    return str(answer.headers["Set-Cookie"])


class TestLogin:
    """``/login``, ``/logout``, ``/me``."""

    def test_a_right_password_begins_a_session(self, api: Api) -> None:
        answer = login(api)
        assert answer.status_code == 200
        assert answer.json["data"] == [{"name": "ann", "role": "operator", "via": "session"}]
        assert api.get("/api/v1/me", None).json["data"] == answer.json["data"]

    def test_the_cookie_is_kept_from_scripts_and_other_sites(self, api: Api) -> None:
        found = cookie(login(api))
        assert "HttpOnly" in found
        assert "SameSite=Lax" in found
        assert "Secure" not in found

    def test_over_https_the_cookie_stays_there(self, api: Api) -> None:
        answer = api.post(LOGIN, {"username": "ann", "password": PASSWORD}, None, base_url="https://site")
        assert "Secure" in cookie(answer)

    def test_the_database_never_sees_the_token(self, api: Api) -> None:
        token = cookie(login(api)).split("=", 1)[1].split(".")[0]
        assert len(token) >= 40
        assert token not in "".join(api.database.sessions)

    @pytest.mark.parametrize(
        ("name", "password"), [("ann", "wrong"), ("bob", PASSWORD), ("ann", ""), ("some-admin", "")]
    )
    def test_a_wrong_one_is_refused_without_saying_which(self, api: Api, name: str, password: str) -> None:
        answer = login(api, name, password)
        assert answer.status_code == 401
        assert answer.json["detail"] == login(api, "nobody", "x").json["detail"]
        assert "Set-Cookie" not in answer.headers

    def test_a_disabled_user_is_refused(self, api: Api) -> None:
        api.database.users["ann"] = User(name="ann", role="operator", password=HASH, enabled=False)
        assert login(api).status_code == 401

    def test_logging_out_ends_the_session(self, api: Api) -> None:
        login(api)
        kept = api.client.get_cookie(COOKIE)
        assert kept is not None
        assert api.call("POST", "/api/v1/logout", None).status_code == 200
        api.client.set_cookie(COOKIE, kept.value)
        assert api.get("/api/v1/me", None).status_code == 401

    def test_logging_out_everywhere_ends_all_sessions_of_the_user(self, api: Api) -> None:
        api.database.users["bob"] = User(name="bob", password=HASH)
        for client, name in ((api.app.test_client(), "ann"), (api.app.test_client(), "bob")):
            assert client.post(LOGIN, json=RIGHT | {"username": name}).status_code == 200
        login(api)
        assert len(api.database.sessions) == 3
        assert api.call("POST", "/api/v1/logout?everywhere=true", None).status_code == 200
        assert [each["user"] for each in api.database.sessions.values()] == ["bob"]
        assert api.call("POST", "/api/v1/logout?everywhere=true", None).status_code == 200

    def test_logging_out_without_a_session_is_no_error(self, api: Api) -> None:
        assert api.call("POST", "/api/v1/logout", None).status_code == 200

    @pytest.mark.parametrize("value", ["", "junk", "a.b", "é", "x" * 4000])
    def test_a_cookie_of_ours_alone_counts(self, api: Api, value: str) -> None:
        api.client.set_cookie(COOKIE, value)
        assert api.get("/api/v1/me", None).status_code == 401
        assert api.get("/api/v1/me", "reader").status_code == 200

    def test_a_cookie_signed_elsewhere_does_not_count(self, api: Api) -> None:
        other = Api(secret="another secret")
        other.database.users["ann"] = api.database.users["ann"]
        login(other)
        stolen = other.client.get_cookie(COOKIE)
        assert stolen is not None
        api.database.sessions.update(other.database.sessions)
        api.client.set_cookie(COOKIE, stolen.value)
        assert api.get("/api/v1/me", None).status_code == 401

    @pytest.mark.parametrize(
        "change",
        [
            {"password": "another"},
            {"password": ""},
            {"role": "reader", "password": "made anew", "authkeys": []},
        ],
    )
    def test_d3_a_session_ends_with_its_password(self, api: Api, change: dict[str, Any]) -> None:
        login(api)
        old = api.database.users["ann"]
        api.database.users["ann"] = msgspec.structs.replace(old, **change)
        assert api.get("/api/v1/me", None).status_code == 401
        api.database.users["ann"] = old
        assert api.get("/api/v1/me", None).status_code == 401

    def test_d3_a_user_changed_while_logging_in_gets_no_session(
        self, api: Api, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def verify(_stored: str, _password: str) -> bool:
            api.database.users["ann"] = msgspec.structs.replace(api.database.users["ann"], enabled=False)
            return True

        monkeypatch.setattr("canopsis.api.auth.logins.verify", verify)
        assert login(api).status_code == 401
        assert api.database.sessions == {}

    def test_a_session_whose_user_is_gone_does_not_count(self, api: Api) -> None:
        login(api)
        del api.database.users["ann"]
        assert api.get("/api/v1/me", None).status_code == 401

    @pytest.mark.parametrize(
        ("body", "field"),
        [
            ({"username": "ann"}, "password"),
            ({"password": "x"}, "username"),
            ({"username": 1, "password": "x"}, "username"),
            ([], "body"),
        ],
    )
    def test_a_wrong_body_is_named(self, api: Api, body: object, field: str) -> None:
        answer = api.post(LOGIN, body, None)
        assert (answer.status_code, answer.json["field"]) == (400, field)

    def test_a_form_of_another_site_cannot_log_in(self, api: Api) -> None:
        assert api.call("POST", LOGIN, None, data={"username": "ann", "password": PASSWORD}).status_code == 415

    def test_without_the_provider_there_is_no_login(self) -> None:
        api = Api(providers=("authkey",))
        answer = api.post(LOGIN, {"username": "ann", "password": PASSWORD}, None)
        assert answer.status_code == 404
        assert "turned off" in answer.json["detail"]
        assert api.call("POST", "/api/v1/logout", None).status_code == 404

    def test_many_wrong_passwords_have_to_wait(self, api: Api) -> None:
        answers = [login(api, password="wrong") for _ in range(7)]
        assert [answer.status_code for answer in answers[:5]] == [401] * 5
        assert answers[-1].status_code == 429
        assert int(answers[-1].headers["Retry-After"]) >= 1
        assert login(api).status_code == 429

    def test_right_ones_at_once_do_not_wait(self, api: Api) -> None:
        for _ in range(2):
            with ThreadPoolExecutor(4) as pool:
                answers = list(pool.map(lambda _: api.app.test_client().post(LOGIN, json=RIGHT), range(4)))
            assert {answer.status_code for answer in answers} == {200}

    def test_guesses_at_once_learn_nothing_after_the_first(self, api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("canopsis.api.auth.logins.verify", lambda _stored, password: password == PASSWORD)
        guesses = [{"username": "ann", "password": f"guess {number}"} for number in range(30)] + [RIGHT]
        with ThreadPoolExecutor(12) as pool:
            answers = list(pool.map(lambda guess: api.app.test_client().post(LOGIN, json=guess), guesses))
        found = [answer.status_code for answer in answers]
        assert found[-1] == 429
        assert found.count(401) < 5 + 12
        assert 200 not in found

    def test_no_database_no_login(self, api: Api) -> None:
        api.database.away = "gone"
        assert login(api).status_code == 503


class TestSameSite:
    """A write with a cookie shows that it comes from a page of this site."""

    @pytest.mark.parametrize(
        "headers",
        [{"X-Requested-With": "XMLHttpRequest"}, {"Origin": "http://localhost"}],
    )
    def test_a_page_of_this_site_may_write(self, api: Api, headers: dict[str, str]) -> None:
        login(api)
        assert api.call("POST", "/api/v1/alarms/zz/ack", None, headers=headers).status_code == 404

    @pytest.mark.parametrize(
        "headers",
        [
            {},
            {"Origin": "http://evil.example"},
            {"Origin": "null"},
            {"Origin": "http://localhost.evil.example"},
            {"Origin": "https://localhost"},
        ],
    )
    def test_d8_a_page_of_another_site_may_not(self, api: Api, headers: dict[str, str]) -> None:
        login(api)
        answer = api.call("POST", "/api/v1/alarms/zz/ack", None, headers=headers)
        assert (answer.status_code, answer.json["field"]) == (403, "X-Requested-With")

    def test_reading_needs_no_proof(self, api: Api) -> None:
        login(api)
        assert api.get("/api/v1/alarms", None).status_code == 200

    def test_a_key_needs_no_proof(self, api: Api) -> None:
        assert api.call("POST", "/api/v1/alarms/zz/ack", "operator").status_code == 404


def basic(name: str, password: str = PASSWORD) -> dict[str, str]:
    """Return the header of HTTP Basic."""
    return {"Authorization": "Basic " + base64.b64encode(f"{name}:{password}".encode()).decode()}


class TestBasic:
    """A name and a password with each request, where that is on."""

    @pytest.fixture(name="api")
    def with_basic(self) -> Api:
        api = Api(providers=("authkey", "basic"))
        api.database.users["ann"] = User(name="ann", role="operator", password=HASH)
        return api

    def test_a_right_password_is_enough(self, api: Api) -> None:
        assert api.get("/api/v1/me", None, headers=basic("ann")).json["data"] == [
            {"name": "ann", "role": "operator", "via": "basic"}
        ]

    @pytest.mark.parametrize(
        "headers",
        [
            basic("ann", "wrong"),
            basic("nobody"),
            basic("", PASSWORD),
            {"Authorization": "Basic"},
            {"Authorization": "Basic ???"},
            {"Authorization": "Basic " + base64.b64encode(b"ann").decode()},
            {"Authorization": "Basic " + base64.b64encode(b"ann:\xff").decode()},
        ],
    )
    def test_anything_else_is_refused(self, api: Api, headers: dict[str, str]) -> None:
        answer = api.get("/api/v1/me", None, headers=headers)
        assert answer.status_code == 401
        assert answer.headers["WWW-Authenticate"].startswith("Basic")

    def test_who_says_nothing_is_told_all_ways(self, api: Api) -> None:
        answer = api.get("/api/v1/me", None)
        assert answer.headers["WWW-Authenticate"] == 'Bearer realm="canopsis", Basic realm="canopsis", charset="UTF-8"'
        assert "X-Canopsis-Authkey" in answer.json["detail"]
        assert "HTTP Basic" in answer.json["detail"]
        assert "basic" in api.get("/api/v1/openapi.json").json["components"]["securitySchemes"]

    def test_wrong_ones_have_to_wait(self, api: Api) -> None:
        found = [api.get("/api/v1/me", None, headers=basic("ann", "wrong")).status_code for _ in range(7)]
        assert (found[:5], found[-1]) == ([401] * 5, 429)

    def test_a_right_one_is_verified_once_until_its_user_changes(
        self, api: Api, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        verified: list[str] = []

        def verify(_stored: str, password: str) -> bool:
            verified.append(password)
            return password == PASSWORD

        monkeypatch.setattr("canopsis.api.auth.logins.verify", verify)
        monkeypatch.setattr(Lookups, "get", lambda _self, name: api.database.users.get(name))
        for _ in range(3):
            assert api.get("/api/v1/me", None, headers=basic("ann")).status_code == 200
        assert verified == [PASSWORD]
        api.database.users["ann"] = User(name="ann", role="operator", password="another")
        api.get("/api/v1/me", None, headers=basic("ann"))
        assert verified == [PASSWORD] * 2

    @pytest.mark.parametrize(
        ("headers", "status"),
        [
            ({}, 404),
            ({"Origin": "http://localhost"}, 404),
            ({"X-Requested-With": "x", "Origin": "http://evil.example"}, 404),
            ({"Origin": "http://evil.example"}, 403),
            ({"Sec-Fetch-Site": "cross-site"}, 403),
        ],
    )
    def test_a_page_of_another_site_may_not_write(self, api: Api, headers: dict[str, str], status: int) -> None:
        answer = api.call("POST", "/api/v1/alarms/zz/ack", None, headers=basic("ann") | headers)
        assert answer.status_code == status


class TestThrottle:
    """Who has to wait, and who does not wait for another."""

    def let_in(self, throttle: Throttle, pairs: Iterable[tuple[str, str]]) -> int:
        """Return how many of the wrong attempts, each a name and an address, were let through."""
        let = 0
        for name, address in pairs:
            try:
                throttle.check(name, address)
                throttle.failed(name, address)
                let += 1
            except RequestError as refused:
                assert int(refused.headers["Retry-After"]) >= 1
        return let

    def test_five_are_free(self) -> None:
        assert self.let_in(Throttle(FakeDatabase()), [("ann", "a")] * 20) == 5

    def test_the_wait_doubles(self) -> None:
        database = FakeDatabase()
        throttle = Throttle(database)
        self.let_in(throttle, [("ann", "a")] * 5)
        for wait in (1.0, 2.0, 4.0, 8.0):
            database.clock += wait - 0.1
            assert self.let_in(throttle, [("ann", "a")]) == 0
            database.clock += 0.2
            assert self.let_in(throttle, [("ann", "a")]) == 1

    def test_a_right_password_begins_anew(self) -> None:
        throttle = Throttle(FakeDatabase())
        self.let_in(throttle, [("ann", "a")] * 4)
        throttle.succeeded("ann", "a")
        assert self.let_in(throttle, [("ann", "a")] * 20) == 5

    def test_d4_another_address_of_the_account_has_its_own_wait(self) -> None:
        throttle = Throttle(FakeDatabase())
        self.let_in(throttle, [("ann", "a")] * 20)
        throttle.check("ann", "b")

    def test_d4_an_account_is_slowed_over_all_addresses(self) -> None:
        attempts = [("ann", f"10.0.0.{number}") for number in range(20)] * 2
        assert self.let_in(Throttle(FakeDatabase()), attempts) == 10

    def test_d4_an_address_that_was_right_once_does_not_wait_for_strangers(self) -> None:
        throttle = Throttle(FakeDatabase())
        throttle.succeeded("ann", "desk")
        self.let_in(throttle, [("ann", f"10.0.0.{number}") for number in range(20)] * 2)
        throttle.check("ann", "desk")
        with pytest.raises(RequestError):
            throttle.check("ann", "elsewhere")

    def test_d4_an_address_is_slowed_over_all_accounts(self) -> None:
        assert self.let_in(Throttle(FakeDatabase()), [(f"user{number}", "a") for number in range(60)]) == 20

    def test_of_many_at_once_each_is_told_by_itself(self) -> None:
        database = FakeDatabase()
        throttle = Throttle(database)
        for _ in range(5):
            throttle.failed("ann", "a")
        with pytest.raises(RequestError) as refused:
            throttle.failed("ann", "a")
        assert refused.value.status == 429


class TestProxies:
    """Who is asked, as seen through those who are trusted."""

    TRUSTED = (ip_network("10.0.0.0/24"), ip_network("::1"))

    @pytest.mark.parametrize(
        ("peer", "forwarded", "address"),
        [
            ("192.0.2.1", "198.51.100.7", "192.0.2.1"),
            ("10.0.0.1", "198.51.100.7", "198.51.100.7"),
            ("10.0.0.1", "1.1.1.1, 198.51.100.7", "198.51.100.7"),
            ("10.0.0.1", "1.1.1.1, 198.51.100.7, 10.0.0.2", "198.51.100.7"),
            ("10.0.0.1", "", "10.0.0.1"),
            ("10.0.0.1", "junk", "10.0.0.1"),
            ("10.0.0.1", "10.0.0.3", "10.0.0.3"),
            ("::1", "2001:db8:0::1", "2001:db8::1"),
            ("::ffff:10.0.0.1", "::ffff:198.51.100.7", "198.51.100.7"),
        ],
    )
    def test_d4_the_address_is_the_clients(self, peer: str, forwarded: str, address: str) -> None:
        request = Request({"REMOTE_ADDR": peer, "HTTP_X_FORWARDED_FOR": forwarded})
        assert client_address(request, self.TRUSTED) == address

    @pytest.mark.parametrize(("peer", "scheme"), [("10.0.0.1", "https"), ("192.0.2.1", "http")])
    def test_the_scheme_is_what_a_trusted_one_says(self, peer: str, scheme: str) -> None:
        environ = {"REMOTE_ADDR": peer, "HTTP_X_FORWARDED_PROTO": "https", "wsgi.url_scheme": "http"}
        assert scheme_of(Request(environ), self.TRUSTED) == scheme


class TestLookups:
    """Answers are remembered for a few seconds, longer while the database is away."""

    def make(self) -> tuple[Lookups, list[float], list[str], list[bool]]:
        clock, asked, away = [0.0], [], [False]
        names: list[str] = asked

        def lookup(key: str) -> User | None:
            if away[0]:
                raise StoreError("gone")
            names.append(key)
            return User(name=key) if key != "nobody" else None

        return Lookups(lookup, lambda: clock[0]), clock, names, away

    def test_fresh_answers_are_not_asked_again(self) -> None:
        lookups, clock, asked, _ = self.make()
        lookups.get("ann")
        clock[0] = FRESH - 0.1
        lookups.get("ann")
        assert asked == ["ann"]
        clock[0] = FRESH + 0.1
        lookups.get("ann")
        assert asked == ["ann", "ann"]

    def test_that_there_is_nobody_is_remembered_too(self) -> None:
        lookups, _, asked, _ = self.make()
        assert lookups.get("nobody") is None
        assert lookups.get("nobody") is None
        assert asked == ["nobody"]

    def test_a_known_one_is_still_known_while_the_database_is_away(self) -> None:
        lookups, clock, _, away = self.make()
        lookups.get("ann")
        away[0] = True
        clock[0] = STALE - 1
        found = lookups.get("ann")
        assert found is not None
        assert found.name == "ann"
        clock[0] = STALE + 1
        with pytest.raises(StoreError):
            lookups.get("ann")

    def test_an_unknown_one_is_not_taken_for_nobody(self) -> None:
        lookups, clock, _, away = self.make()
        lookups.get("nobody")
        clock[0], away[0] = FRESH + 1, True
        with pytest.raises(StoreError):
            lookups.get("nobody")

    def test_what_is_remembered_has_an_end(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("canopsis.api.auth.lookups._MOST", 3)
        lookups, _, _, _ = self.make()
        for number in range(10):
            lookups.get(str(number))
        assert len(lookups._known) <= 3


class TestPasswords:
    """argon2."""

    @pytest.mark.parametrize("password", ["", "1234567", "x" * 1025])
    def test_too_short_and_too_long_are_refused(self, password: str) -> None:
        with pytest.raises(InputError) as refused:
            passwords.hash_password(password)
        assert refused.value.field == "password"
        assert password not in str(refused.value) or not password

    @pytest.mark.parametrize("stored", ["", "junk", "$argon2id$junk", HASH[:-5]])
    def test_what_is_no_hash_is_never_right(self, stored: str) -> None:
        assert not passwords.verify(stored, "sixteen bytes!!!")

    def test_what_is_stored_is_argon2id_as_dear_as_the_stand_in(self) -> None:
        stored = passwords.hash_password(PASSWORD)
        assert stored.rpartition("$")[0].rpartition("$")[0] == passwords._NOBODY.rpartition("$")[0].rpartition("$")[0]
        assert passwords.verify(stored, PASSWORD)
        assert not passwords.verify(stored, PASSWORD + " ")

    def test_the_stand_in_hash_is_a_hash(self) -> None:
        assert not passwords.verify(passwords._NOBODY, "anything")
        assert "verify" not in passwords._NOBODY

    def test_only_so_many_at_once(self, monkeypatch: pytest.MonkeyPatch) -> None:
        slots = threading.BoundedSemaphore(1)
        monkeypatch.setattr(passwords, "_SLOTS", slots)
        slots.acquire()
        with pytest.raises(RequestError) as refused:
            passwords.verify(HASH, PASSWORD)
        assert refused.value.status == 503
        assert refused.value.headers["Retry-After"]
        slots.release()
        assert passwords.verify(HASH, PASSWORD)
        assert not passwords.verify(HASH, "wrong")
