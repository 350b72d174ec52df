"""What a client may do to the connection itself; and what stands in the logs."""

from __future__ import annotations

import http.client
import json
import socket

import pytest
from servers import HOST, eventually
from web import Tap, Web, key_of

GOOD = json.dumps({"connector": "c", "connector_name": "n", "component": "web1", "state": 0}).encode()


def talk(web: Web, data: bytes, close: bool = False) -> bytes:
    """Send ``data`` as it is; return what comes back."""
    with socket.create_connection((HOST, web.port), timeout=20) as raw:
        raw.sendall(data)
        if close:
            raw.shutdown(socket.SHUT_WR)
        found = b""
        while b"\r\n\r\n" not in found and (part := raw.recv(4096)):
            found += part
        return found


def head(extra: str, path: str = "/api/v1/events", method: str = "POST") -> bytes:
    lines = [f"{method} {path} HTTP/1.1", "Host: x", f"X-Canopsis-Authkey: {key_of('operator')}"]
    return "\r\n".join([*lines, "Content-Type: application/json", extra, "", ""]).encode("latin-1")


@pytest.mark.parametrize(
    "data",
    [
        head("Transfer-Encoding: chunked") + b"zz\r\n" + GOOD + b"\r\n0\r\n\r\n",
        head("Transfer-Encoding: chunked") + b"5\r\nabcdefghij\r\n0\r\n\r\n",
        head("Content-Length: -5"),
        head("Content-Length: many"),
        head("Content-Length: 5\r\nContent-Length: 6") + GOOD,
        head("X:y", path="/api/v1/events?\x80\xff=1") + b"",
        b"BOGUS\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\0" * 40 + b"\r\n\r\n",
    ],
)
def test_broken_http_is_a_4xx(web: Web, tap: Tap, data: bytes) -> None:
    answer = talk(web, data)
    assert answer.startswith(b"HTTP/1.1 4"), answer
    assert tap.messages() == []


LONG = b"x" * 9000


@pytest.mark.parametrize(
    ("data", "status"),
    [
        (b"GET /api/v1/alarms?authkey=" + LONG + b" HTTP/1.1\r\nHost: x\r\n\r\n", 414),
        (b"GET /api/v1/alarms HTTP/1.1\r\nHost: x\r\nX-Canopsis-Authkey: " + LONG + b"\r\n\r\n", 431),
        (b"GET /api/v1/alarms HTTP/1.1\r\n" + b"A: b\r\n" * 200 + b"\r\n", 431),
    ],
)
def test_d8_what_is_too_long_gets_a_problem_document(web: Web, data: bytes, status: int) -> None:
    answer = talk(web, data)
    assert answer.startswith(b"HTTP/1.1 %d " % status), answer
    assert b"Content-Type: application/problem+json" in answer
    assert json.loads(answer.partition(b"\r\n\r\n")[2])["status"] == status


SECRET = "SECRETSECRETSECRET"


def test_d5_a_malformed_request_leaves_no_key_in_a_log(web: Web) -> None:
    for line in (
        f"GET /api/v1/alarms?authkey={SECRET}",
        f"GET /api/v1/alarms?authkey={SECRET} now HTTP/1.1",
        f"GET /api/v1/alarms?authkey={SECRET} HTTP/9.9",
        f"GET /api/v1/alarms/authkey={SECRET} HTTP/1.1",
        f"GET /api/v1/alarms%3Fauthkey%3D{SECRET} HTTP/1.1",
        f"POST /api/v1/login?username=a&password={SECRET} HTTP/1.1",
        f"GET http://a:{SECRET}@host/api/v1/alarms HTTP/1.1",
        f"authkey={SECRET} / HTTP/1.1",
        f"GET / HTTP/1.1\r\nX-Canopsis-Authkey {SECRET}",
        f"GET / HTTP/1.1\r\nX-Canopsis-Authkey:{SECRET}\r\nbad header",
    ):
        assert talk(web, f"{line}\r\n\r\n".encode()).startswith(b"HTTP/1.1 ")
    assert web.get("/api/v1/alarms?limit=5").status == 200
    eventually(lambda: "alarms?limit=5" in (web.prefix / "access.log").read_text())
    for name in ("access.log", "web.log"):
        assert SECRET not in (web.prefix / name).read_text()


def test_half_a_body_publishes_nothing(web: Web, tap: Tap) -> None:
    talk(web, head(f"Content-Length: {len(GOOD) + 10}") + GOOD, close=True)
    assert web.get("/api/v1/healthz").status == 200
    assert tap.messages() == []


def test_a_client_that_goes_leaves_the_others_be(web: Web) -> None:
    for _ in range(20):
        with socket.create_connection((HOST, web.port)) as raw:
            raw.sendall(head("Content-Length: 100000"))
    assert web.get("/api/v1/healthz").status == 200


def test_one_connection_serves_many_requests(web: Web, tap: Tap) -> None:
    connection = http.client.HTTPConnection(HOST, web.port, timeout=20)
    headers = {"X-Canopsis-Authkey": key_of("operator"), "Content-Type": "application/json"}
    connection.connect()
    first = connection.sock
    for _ in range(5):
        connection.request("POST", "/api/v1/events", GOOD, headers)
        answer = connection.getresponse()
        answer.read()
        assert answer.status == 202
    assert connection.sock is first
    connection.close()
    assert len(tap.events()) == 5


@pytest.mark.parametrize("path", ["/api/v1/alarms/%00", "/api/v1/alarms/%FF%FE", "/api/v1/alarms/..%2F..%2Fetc"])
def test_strange_paths_are_not_found(web: Web, path: str) -> None:
    assert web.get(path).status == 404


@pytest.mark.parametrize(
    ("path", "field"),
    [
        ("/api/v1/alarms?component=%00", "component"),
        ("/api/v1/alarms?component=%FF", "query"),
        ("/api/v1/alarms?search=" + "a" * 201, "search"),
        ("/api/v1/alarms?limit=1e3", "limit"),
        ("/api/v1/alarms?sort=$where", "sort"),
        ("/api/v1/alarms?filter={$where:1}", "filter"),
        ("/api/v1/metrics/component:a/%FF", "path"),
        ("/api/v1/events?from=9999999999999999", "from"),
    ],
)
def test_strange_parameters_are_named(web: Web, path: str, field: str) -> None:
    answer = web.get(path)
    assert (answer.status, answer.json["field"]) == (400, field)


@pytest.mark.parametrize("text", ["(", "[a-", "*", "\\", "a{5000}", "(?=", "$", "^^", "a|b", "#", "x y", "%", "ü ß"])
def test_any_text_may_be_searched(web: Web, text: str) -> None:
    for path in ("alarms", "events", "entities", "metrics", "dead-letters"):
        answer = web.get(f"/api/v1/{path}?search=" + "".join(f"%{byte:02X}" for byte in text.encode()))
        assert answer.status == 200, answer.data
        assert answer.json["total"] == 0


def test_no_key_is_in_any_log(web: Web) -> None:
    key = key_of("reader")
    assert web.get(f"/api/v1/alarms?authkey={key}&limit=1", None).status == 200
    assert (
        web.call("GET", f"/api/v1/nothing?authkey={key}", None, headers={"Referer": f"/x?authkey={key}"}).status == 404
    )
    log = web.prefix / "access.log"
    eventually(lambda: "authkey=***&limit=1" in log.read_text() and "nothing?authkey=***" in log.read_text())
    for name in ("access.log", "web.log"):
        assert key not in (web.prefix / name).read_text()


def test_after_all_that_there_is_no_traceback(web: Web) -> None:
    log = (web.prefix / "web.log").read_text()
    assert log.count("Booting worker") == 2
    assert "Traceback" not in log
