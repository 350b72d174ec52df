"""The way to the API over real sockets: what answers, what does not, what answers nonsense."""

from __future__ import annotations

import json
import socket
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import pytest
from http_server import reply, serving, speaking

from canopsis.errors import SiteError
from canopsis.ops import probes
from canopsis.ops.apiclient import Api
from canopsis.ops.config import ClientSettings
from canopsis.ops.prefix import Prefix
from canopsis.ops.programs import ProgramFile


def echo(request: BaseHTTPRequestHandler) -> None:
    length = int(request.headers.get("Content-Length", "0"))
    seen = {
        "method": request.command,
        "path": request.path,
        "key": request.headers["X-Canopsis-Authkey"],
        "type": request.headers.get("Content-Type"),
        "body": request.rfile.read(length).decode(),
    }
    reply(request, 200, json.dumps({"data": seen}).encode())


def client(port: int, path: str = "", **settings: object) -> Api:
    return Api(ClientSettings((f"http://127.0.0.1:{port}{path}",), "the-key", **settings))  # type: ignore[arg-type]


def test_a_request_as_it_arrives() -> None:
    with serving(echo) as port:
        seen = client(port).data("POST", "/api/v1/events", b'{"a": 1}')
    assert seen == {
        "method": "POST",
        "path": "/api/v1/events",
        "key": "the-key",
        "type": "application/json",
        "body": '{"a": 1}',
    }


@pytest.mark.parametrize(
    ("path", "query", "arrives"),
    [
        ("/api/v1/alarms", {"limit": 5, "state": None, "search": "a b&c"}, "/api/v1/alarms?limit=5&search=a+b%26c"),
        ("/api/v1/alarms?limit=5", None, "/api/v1/alarms?limit=5"),
        ("/api/v1/alarms/a b", None, "/api/v1/alarms/a%20b"),
        ("/api/v1/alarms/é\n", None, "/api/v1/alarms/%C3%A9%0A"),
        ("/x%2Fy", None, "/x%2Fy"),
    ],
)
def test_paths_and_queries(path: str, query: dict[str, object] | None, arrives: str) -> None:
    with serving(echo) as port:
        assert client(port).data("GET", path, query=query)["path"] == arrives
        assert client(port, "/canopsis").data("GET", path, query=query)["path"] == f"/canopsis{arrives}"


def test_one_client_asks_many_times() -> None:
    with serving(echo) as port:
        api = client(port)
        assert [api.data("GET", f"/{number}")["path"] for number in range(3)] == ["/0", "/1", "/2"]


def test_a_proxy_of_the_environment_is_not_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    with serving(echo) as port:
        assert client(port).data("GET", "/")["path"] == "/"


def test_a_refused_key_names_the_url_and_the_file() -> None:
    with serving(lambda request: reply(request, 401, b'{"detail": "this key is not known"}')) as port:
        api = client(port, source="/site/etc/client.conf")
        text = rf"http://127.0.0.1:{port} refuses the authkey in /site/etc/client.conf: 401 .*: this key is not known"
        with pytest.raises(SiteError, match=text):
            api.call("GET", "/api/v1/status")


def test_a_problem_is_an_answer() -> None:
    content = b'{"detail": "state: 7 is refused"}'
    with serving(lambda request: reply(request, 400, content, Content_Type="application/problem+json")) as port:
        answer = client(port).call("POST", "/x", b"{}")
    assert (answer.status, answer.good, answer.content_type) == (400, False, "application/problem+json")
    assert answer.problem() == "400 Bad Request: state: 7 is refused"


@pytest.mark.parametrize(("given", "seconds"), [("3", 3.0), ("soon", 0.0), ("", 0.0)])
def test_retry_after(given: str, seconds: float) -> None:
    with serving(lambda request: reply(request, 503, b"{}", Retry_After=given)) as port:
        assert client(port).call("GET", "/x").retry_after == seconds


def test_nobody_there_names_the_url_and_what_to_do() -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
        text = rf"no API at http://127.0.0.1:{port} \(Connection refused\); see: service webserver status"
        with pytest.raises(SiteError, match=text):
            client(port).call("GET", "/")


def test_g4_another_web_server_is_asked_when_one_takes_no_connection() -> None:
    with socket.socket() as probe, serving(echo) as port:
        probe.bind(("127.0.0.1", 0))
        away, here = f"http://127.0.0.1:{probe.getsockname()[1]}", f"http://127.0.0.1:{port}/canopsis"
        api = Api(ClientSettings((away, here), "the-key"))
        assert api.data("GET", "/x")["path"] == "/canopsis/x"
        assert list(api.silent()) == [away]
        assert "Connection refused" in api.silent()[away]
        with pytest.raises(SiteError, match=rf"no API at {away} .*; no API at http://127.0.0.1:1 "):
            Api(ClientSettings((away, "http://127.0.0.1:1"), "the-key")).data("GET", "/x")


def test_g4_who_got_a_request_and_said_nothing_may_have_done_it() -> None:
    asked: list[str] = []

    def count(request: BaseHTTPRequestHandler) -> None:
        asked.append(request.path)
        reply(request, 200, b"{}")

    with speaking(b"") as silent, serving(count) as port:
        api = Api(ClientSettings((f"http://127.0.0.1:{silent}", f"http://127.0.0.1:{port}"), "the-key", timeout=0.5))
        with pytest.raises(SiteError):
            api.call("POST", "/api/v1/events", b"{}")
    assert asked == []


def test_a6_those_that_take_no_connection_are_named() -> None:
    with serving(lambda request: reply(request, 200, b"{}")) as port:
        api = Api(ClientSettings(("http://127.0.0.1:1", f"http://127.0.0.1:{port}"), "key"))
        assert api.call("GET", "/").status == 200
        assert api.silent() == {"http://127.0.0.1:1": "no API at http://127.0.0.1:1 (Connection refused)"}


def test_a_name_that_is_none() -> None:
    api = Api(ClientSettings(("http://no.invalid:80",), "key"))
    with pytest.raises(SiteError, match=r"no API at http://no\.invalid:80"):
        api.call("GET", "/")


def test_one_that_says_nothing() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        with pytest.raises(
            SiteError, match=rf"http://127.0.0.1:{port} gave no answer in 0.2 s; see: service webserver"
        ):
            client(port, timeout=0.2).call("GET", "/")


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"SSH-2.0-OpenSSH_9.2\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nshort",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"HTTP/1.1 abc\r\n\r\n",
    ],
)
def test_one_that_does_not_speak_http(content: bytes) -> None:
    with speaking(content) as port, pytest.raises(SiteError, match=rf"no API at http://127.0.0.1:{port} \("):
        client(port).call("GET", "/")


def test_one_that_speaks_http_but_is_not_the_api() -> None:
    web_page = serving(lambda request: reply(request, 200, b"<html>", Content_Type="text/html"))
    with web_page as port, pytest.raises(SiteError, match="is not JSON: is another program at this URL"):
        client(port).data("GET", "/")


def test_https_to_one_that_does_not_speak_it() -> None:
    with speaking(b"HTTP/1.1 400 Bad\r\n\r\n") as port:
        api = Api(ClientSettings((f"https://127.0.0.1:{port}",), "key", source="client.conf"))
        with pytest.raises(SiteError, match=r"see ca_file in client\.conf"):
            api.call("GET", "/")


def test_a_ca_file_that_is_not_there() -> None:
    api = Api(ClientSettings(("https://127.0.0.1:1",), "key", ca_file="/nowhere.pem", source="client.conf"))
    with pytest.raises(
        SiteError, match=r"https://127\.0\.0\.1:1: ca_file /nowhere\.pem in client\.conf cannot be read"
    ):
        api.call("GET", "/")


class TestProbes:
    """Whether a server that runs is ready."""

    def web(self, port: int) -> probes.Probe:
        probe = probes.probe_of(
            Prefix(Path("/")), ProgramFile("webserver", Path("/"), f"gunicorn -b 127.0.0.1:{port} app")
        )
        assert probe is not None
        return probe

    def test_a_web_server_that_is_well(self) -> None:
        paths: list[str] = []

        def handle(request: BaseHTTPRequestHandler) -> None:
            paths.append(request.path)
            reply(request, 200, b"{}")

        with serving(handle) as port:
            assert self.web(port)() == ""
        assert paths == ["/api/v1/healthz"]

    def test_a_web_server_that_is_not(self) -> None:
        with serving(lambda request: reply(request, 500, b"{}")) as port:
            assert self.web(port)() == f"http://127.0.0.1:{port}/api/v1/healthz answers 500"

    def test_a_web_server_that_is_away(self) -> None:
        with socket.socket() as bound:
            bound.bind(("127.0.0.1", 0))
            assert "Connection refused" in self.web(bound.getsockname()[1])()

    def test_one_that_does_not_speak_http(self) -> None:
        with speaking(b"SSH-2.0\r\n") as port:
            assert self.web(port)().startswith(f"http://127.0.0.1:{port}/api/v1/healthz: ")

    def test_a_port(self) -> None:
        with socket.create_server(("127.0.0.1", 0)) as server:
            port = server.getsockname()[1]
            assert probes._port("0.0.0.0", port)() == ""  # noqa: S104 - looked at, not bound
        assert probes._port("127.0.0.1", port)() == f"127.0.0.1:{port}: Connection refused"
