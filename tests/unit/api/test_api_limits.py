"""What requests share: nobody gets more than a share, nobody waits for ever."""

from __future__ import annotations

import logging
import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

import pytest
from api_fakes import Api, alarm
from gunicorn.http import errors

from canopsis.api import body
from canopsis.api.access_log import Masking, hide_keys
from canopsis.api.limits import Lease, Pool
from canopsis.api.refusals import answer_to
from canopsis.api.worker import greediest
from canopsis.errors import RequestError
from canopsis.store.query import Page

EVENTS = "/api/v1/events"


def pool(patience: float = 0.01, waiting: int = 4) -> Pool:
    return Pool("things", 4, share=0.5, waiting=waiting, patience=patience)


class TestPool:
    """A pool, and leases of it."""

    def test_d2_a_holder_gets_a_share(self) -> None:
        found = pool()
        found.take("a", 2)
        with pytest.raises(RequestError) as refused:
            found.take("a")
        assert (refused.value.status, refused.value.headers["Retry-After"]) == (503, "2")
        found.take("b", 2)
        with pytest.raises(RequestError):
            found.take("c")
        found.give("b")
        found.take("c")
        assert found.taken == 4

    def test_what_no_pool_has_is_refused_at_once(self) -> None:
        with pytest.raises(RequestError):
            pool(patience=1000.0).take("a", 3)

    def test_who_waits_gets_what_is_given_back(self) -> None:
        found = pool(patience=30.0)
        found.take("a", 2)
        with ThreadPoolExecutor(1) as threads:
            waiting = threads.submit(found.take, "a")
            found.give("a")
            waiting.result()
        assert found.taken == 2

    def test_only_so_many_wait_and_of_one_holder_half_of_them(self) -> None:
        found = pool(patience=30.0, waiting=2)
        found.take("a", 2)
        begun = threading.Event()

        def wait() -> None:
            begun.set()
            found.take("a")

        with ThreadPoolExecutor(1) as threads:
            waiting = threads.submit(wait)
            assert begun.wait(30)
            while not found._waiting["a"]:
                assert not waiting.done()
            with pytest.raises(RequestError):
                found.take("a")
            found.give("a")
            waiting.result()

    def test_a_lease_gives_all_back_once(self) -> None:
        found = pool()
        lease = Lease(found, "a")
        lease.grow(1)
        lease.grow(1)
        assert found.taken == 2
        lease.end()
        lease.end()
        assert found.taken == 0

    def test_held_is_given_back_after_an_error(self) -> None:
        found = pool()
        with pytest.raises(KeyError), found.held("a"):
            raise KeyError
        assert found.taken == 0


class TestBodies:
    """What a body may be is known before it is decoded."""

    def test_d2_many_values_are_refused(self, api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(body, "MAX_ELEMENTS", 100)
        answer = api.call("POST", EVENTS, data=b"[" + b"[]," * 60 + b"1]", content_type="application/json")
        assert (answer.status_code, answer.json["field"]) == (413, "body")
        assert "at most 100 values" in answer.json["allowed"]

    def test_d2_so_are_they_in_a_form(self, api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(body, "MAX_ELEMENTS", 100)
        assert api.call("POST", "/event", data={"event": "[" + "[]," * 60 + "1]"}).status_code == 413

    @pytest.mark.parametrize(
        ("path", "size"), [("/api/v1/login", 20_000), ("/api/v1/alarms/a/ack", 60_000), (EVENTS, body.MAX_BODY + 1)]
    )
    def test_d2_each_route_has_its_limit(self, api: Api, path: str, size: int) -> None:
        answer = api.call("POST", path, data=b" " * size, content_type="application/json")
        assert (answer.status_code, answer.json["field"]) == (413, "body")

    def test_the_longest_login_fits(self, api: Api) -> None:
        smile = "\\ud83d\\ude00"
        text = f'{{"username": "{smile * 128}", "password": "{smile * 1024}"}}'
        assert api.call("POST", "/api/v1/login", None, data=text, content_type="application/json").status_code == 401

    def test_memory_is_given_back(self, api: Api) -> None:
        site = api.app.extensions["canopsis"]
        for text in (b"[1]", b"{", b"[" * 1000):
            api.call("POST", EVENTS, data=text, content_type="application/json")
        api.get("/api/v1/openapi.json").close()
        assert (site.memory.taken, site.slots.taken) == (0, 0)

    def test_d2_without_memory_it_is_503(self, api: Api) -> None:
        api.app.extensions["canopsis"].memory.total = 10
        answer = api.call("POST", EVENTS, data=b"[" + b" " * 100, content_type="application/json")
        assert (answer.status_code, answer.headers["Retry-After"]) == (503, "2")

    def test_d2_what_is_read_of_the_database_takes_memory(self, api: Api) -> None:
        letter = {"_id": "d1", "engine": "alarm", "reason": "no", "received": datetime(2026, 1, 1, tzinfo=UTC)}
        api.database.documents["d1"] = letter | {"body": b"x"}
        api.database.size = 30 << 20
        answer = api.get("/api/v1/dead-letters/d1")
        assert (answer.status_code, answer.headers["Retry-After"]) == (503, "2")
        api.database.size = 16 << 20
        assert api.get("/api/v1/dead-letters/d1").status_code == 200
        assert api.app.extensions["canopsis"].memory.taken == 0

    def test_d2_a_page_that_ended_early_says_where_to_go_on(self, api: Api) -> None:
        api.database.page = Page(70, [alarm()], next=1)
        assert api.get("/api/v1/alarms").json["next"] == 1
        assert "next" not in api.get("/api/v1/status").json

    def test_d1_health_needs_no_slot(self, api: Api) -> None:
        api.app.extensions["canopsis"].slots.total = 0
        assert api.get("/api/v1/healthz", None).status_code == 200


class TestWorker:
    """Which connections give way, and what gunicorn says itself."""

    def test_d1_the_oldest_of_the_address_with_the_most_gives_way(self) -> None:
        def conn(address: str, since: float) -> Any:
            return SimpleNamespace(address=address, since=since, timeout=None)

        many = [conn("a", 5.0), conn("b", 1.0), conn("a", 3.0), conn("a", 4.0)]
        assert [(each.address, each.since) for each in greediest(many, 3)] == [("a", 3.0), ("a", 4.0), ("b", 1.0)]
        assert greediest(many, 0) == []
        assert len(greediest(many, 9)) == 4

    @pytest.mark.parametrize(
        ("error", "status"),
        [
            (errors.LimitRequestLine(9000, 8190), 414),
            (errors.LimitRequestHeaders("fields size"), 431),
            (errors.InvalidRequestLine("GET /?authkey=SECRET"), 400),
            (errors.InvalidHeader("X-Canopsis-Authkey SECRET"), 400),
            (errors.UnsupportedTransferCoding("x"), 400),
            (errors.InvalidResponseHeader("x"), 500),
            (ValueError("x"), 500),
        ],
    )
    def test_d8_what_is_no_http_gets_a_problem_without_what_was_sent(self, error: Exception, status: int) -> None:
        found, detail = answer_to(error)
        assert found == status
        assert "SECRET" not in detail

    @pytest.mark.parametrize(
        "text",
        [
            "GET /x?authkey=SECRET HTTP/1.1",
            "/x?%61uthkey=SECRET",
            "a=1&AUTHKEY=SECRET&b=2",
            "GET /api/v1/alarms/authkey=SECRET HTTP/1.1",
            "/api/v1/alarms%3Fauthkey%3DSECRET",
            "/x%2526%2561uthkey%253DSECRET",
            "/login?username=ann&password=SECRET",
            "GET http://ann:SECRET@host/ HTTP/1.1",
            "/x?authkey: SECRET",
        ],
    )
    def test_d5_a_key_is_hidden(self, text: str) -> None:
        assert "SECRET" not in hide_keys(text)

    @pytest.mark.parametrize("text", ["GET /x?a=1&b=2 HTTP/1.1", "/authkeys?monkey=1", "http://host/a@b", "a: b"])
    def test_d5_nothing_else_is_hidden(self, text: str) -> None:
        assert hide_keys(text) == text

    def test_d5_a_line_of_the_log_has_no_key_and_an_end(self) -> None:
        text = "authkey=SECRET " + "x" * 100_000 + " X-Canopsis-Authkey: SECRET"
        line = Masking("%(message)s").format(logging.makeLogRecord({"msg": text}))
        assert "SECRET" not in line
        assert len(line) < 20_000
