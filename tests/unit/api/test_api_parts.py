"""The breaker, the access log, gunicorn's settings."""

from __future__ import annotations

import threading
from datetime import timedelta
from types import SimpleNamespace

import pytest
from api_fakes import Api
from gunicorn.config import Config
from hypothesis import given
from hypothesis import strategies as st

from canopsis.api import gunicorn_conf, problems
from canopsis.api.access_log import HIDDEN, AccessLogger, hide_keys
from canopsis.api.breaker import OLD, PAUSE, Breaker
from canopsis.api.problems import Seldom
from canopsis.errors import StoreError


class TestBreaker:
    """One caller a pause asks a server that is away."""

    def make(self) -> tuple[Breaker, list[float]]:
        clock = [0.0]
        return Breaker(StoreError, lambda: clock[0]), clock

    def test_it_lets_through_what_works(self) -> None:
        breaker, _ = self.make()
        breaker.check()
        breaker.reset()
        breaker.check()

    def test_it_answers_at_once_with_the_reason(self) -> None:
        breaker, clock = self.make()
        breaker.trip("no primary")
        clock[0] = PAUSE / 2
        with pytest.raises(StoreError, match="no primary"):
            breaker.check()

    def test_after_the_pause_one_asks_again(self) -> None:
        breaker, clock = self.make()
        breaker.trip("no primary")
        clock[0] = PAUSE * 1.1
        breaker.check()
        with pytest.raises(StoreError):
            breaker.check()

    def test_what_was_long_ago_holds_nobody_up(self) -> None:
        breaker, clock = self.make()
        breaker.trip("no primary")
        clock[0] = OLD + 0.1
        for _ in range(3):
            breaker.check()

    def test_a_good_answer_closes_it(self) -> None:
        breaker, _ = self.make()
        breaker.trip("no primary")
        breaker.reset()
        breaker.check()

    def test_of_many_threads_one_asks(self) -> None:
        breaker, clock = self.make()
        breaker.trip("no primary")
        clock[0] = PAUSE * 1.1
        through: list[int] = []

        def ask(number: int) -> None:
            try:
                breaker.check()
                through.append(number)
            except StoreError:
                pass

        threads = [threading.Thread(target=ask, args=(number,)) for number in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(through) == 1


class TestSeldom:
    """An outage is a line now and then, not one a request."""

    def test_each_thing_once_in_a_while(self) -> None:
        clock = [0.0]
        seldom = Seldom(5.0, lambda: clock[0])
        assert [seldom.allows("broker") for _ in range(3)] == [True, False, False]
        assert seldom.allows("database")
        clock[0] = 4.9
        assert not seldom.allows("broker")
        clock[0] = 5.0
        assert seldom.allows("broker")

    def test_an_outage_is_logged_with_its_reason(
        self, api: Api, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(problems, "_SELDOM", Seldom(1e9))
        api.database.away = "no primary"
        for _ in range(20):
            assert api.get("/api/v1/alarms").status_code == 503
        assert caplog.text.count("no primary") == 1


class TestAccessLog:
    """No key in a log line."""

    @pytest.mark.parametrize(
        ("text", "shown"),
        [
            ("GET /api/v1/alarms?authkey=s3cret HTTP/1.1", "GET /api/v1/alarms?authkey=*** HTTP/1.1"),
            ("POST /event?a=1&authkey=s3cret&b=2 HTTP/1.1", "POST /event?a=1&authkey=***&b=2 HTTP/1.1"),
            ("authkey=s3cret", "authkey=***"),
            ("?authkey=s3cret", "?authkey=***"),
            ("a=1&AuthKey=s3cret", "a=1&AuthKey=***"),
            ("auth%6Bey=s3cret&limit=1", "auth%6Bey=***&limit=1"),
            ("https://site/console?authkey=s3cret#top", "https://site/console?authkey=***#top"),
            ("authkey=one&authkey=two", "authkey=***&authkey=***"),
            ("authkey=", "authkey=***"),
            (
                "GET /api/v1/alarms?limit=5&search=authkey HTTP/1.1",
                "GET /api/v1/alarms?limit=5&search=authkey HTTP/1.1",
            ),
            ("GET / HTTP/1.1", "GET / HTTP/1.1"),
            ("", ""),
        ],
    )
    def test_the_key_is_cut(self, text: str, shown: str) -> None:
        assert hide_keys(text) == shown

    @given(
        st.text(alphabet=st.characters(whitelist_categories=["Lu", "Ll", "Nd"]), min_size=8, max_size=20),
        st.text(max_size=20),
    )
    def test_whatever_stands_before_it(self, key: str, before: str) -> None:
        assert key not in hide_keys(f"{before.replace(key, '')}&authkey={key}")

    def test_gunicorn_writes_its_lines_with_it(self) -> None:
        logger = AccessLogger(Config())
        request = SimpleNamespace(headers=[("REFERER", "http://x/?authkey=s3cret")])
        response = SimpleNamespace(status="200 OK", sent=5, headers=[])
        environ = {
            "REQUEST_METHOD": "GET",
            "RAW_URI": "/api/v1/alarms?authkey=s3cret",
            "SERVER_PROTOCOL": "HTTP/1.1",
            "QUERY_STRING": "authkey=s3cret",
            "PATH_INFO": "/api/v1/alarms",
            "HTTP_REFERER": "http://x/?authkey=s3cret",
        }
        line = gunicorn_conf.access_log_format % logger.atoms(response, request, environ, timedelta(seconds=0.1))
        assert HIDDEN in line
        assert "s3cret" not in line


def test_gunicorn_knows_every_setting() -> None:
    known = Config().settings
    names = [name for name in vars(gunicorn_conf) if not name.startswith("_")]
    assert "threads" in names
    assert set(names) <= set(known)
