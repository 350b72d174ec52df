"""One client cannot starve the others: slow, large and hostile requests to the real web server."""

from __future__ import annotations

import contextlib
import socket
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.parse import quote

import pytest
from logged import log, made
from servers import HOST, eventually
from web import ROLES, WORKERS, Tap, Web, key_of

from canopsis.api.body import MAX_BODY
from canopsis.store.client import Store

MIB = 1 << 20
START = 1_000_000_000
LOGIN = b"POST /api/v1/login HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
SLOW = {
    "body": LOGIN + b"Content-Length: 60\r\n\r\n{",
    "chunk": LOGIN + b"Transfer-Encoding: chunked\r\n\r\n5\r\n{",
    "head": LOGIN,
    "nothing": b"",
}


@contextlib.contextmanager
def connections(web: Web, sent: bytes, count: int) -> Iterator[list[socket.socket]]:
    """Open connections that send ``sent`` and then nothing more."""
    with contextlib.ExitStack() as stack:
        opened = [stack.enter_context(socket.create_connection((HOST, web.port), timeout=30)) for _ in range(count)]
        for each in opened:
            each.sendall(sent)
        yield opened


def until_end(raw: socket.socket) -> bytes:
    """Return all that comes until the other side closes."""
    found = b""
    with contextlib.suppress(ConnectionResetError):
        while part := raw.recv(65536):
            found += part
    return found


def peaks(web: Web) -> list[int]:
    """Return the most memory that each of gunicorn's workers ever had, in bytes."""
    assert web.process is not None
    pid = web.process.pid
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    assert len(children) == WORKERS
    lines = [line for child in children for line in Path(f"/proc/{child}/status").read_text().splitlines()]
    return [int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM")]


@pytest.mark.parametrize("kind", SLOW)
def test_d1_slow_clients_keep_nobody_waiting(web: Web, kind: str) -> None:
    assert web.get("/api/v1/alarms").status == 200
    with connections(web, SLOW[kind], 200):
        for path in ("/api/v1/healthz", "/api/v1/alarms") * 5:
            begin = time.monotonic()
            assert web.get(path).status == 200
            assert time.monotonic() - begin < 6.0
    assert web.get("/api/v1/alarms").status == 200


@pytest.mark.parametrize("kind", ["body", "chunk"])
def test_d1_a_body_that_does_not_come_is_given_up(web: Web, kind: str) -> None:
    with connections(web, SLOW[kind], 1) as [raw]:
        begin = time.monotonic()
        answer = until_end(raw)
        assert time.monotonic() - begin < 20.0
    assert answer.startswith(b"HTTP/1.1 408")
    assert b"application/problem+json" in answer


@pytest.mark.parametrize("kind", ["head", "nothing"])
def test_d1_a_head_that_does_not_come_is_given_up(web: Web, kind: str) -> None:
    with connections(web, SLOW[kind], 1) as [raw]:
        assert until_end(raw) == b""


def test_d1_a_slow_body_in_time_is_taken(web: Web, tap: Tap) -> None:
    body = b'{"connector": "c", "connector_name": "n", "component": "web1", "state": 0}'
    head = b"POST /api/v1/events HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
    head += b"X-Canopsis-Authkey: " + key_of("operator").encode() + b"\r\n"
    with connections(web, head + b"Content-Length: %d\r\n\r\n" % len(body), 1) as [raw]:
        for byte in body:
            raw.sendall(bytes([byte]))
            assert web.get("/api/v1/healthz", None).status == 200
        assert raw.recv(4096).startswith(b"HTTP/1.1 202")
    assert len(tap.events()) == 1


def test_d1_more_connections_than_the_server_keeps(web: Web) -> None:
    with connections(web, b"", 1100):
        eventually(lambda: web.get("/api/v1/healthz", None).status == 200, 10)


def test_d2_a_login_is_small(web: Web) -> None:
    answer = web.call("POST", "/api/v1/login", None, b"[" * (64 << 10))
    assert (answer.status, answer.json["field"]) == (413, "body")


def test_d2_large_logins_cost_no_memory(web: Web) -> None:
    body = b"[" + b"[]," * ((MAX_BODY - 4) // 3) + b"1]"
    before = max(peaks(web))
    with ThreadPoolExecutor(16) as pool:
        answers = list(pool.map(lambda _: web.call("POST", "/api/v1/login", None, body).status, range(16)))
    assert set(answers) == {413}
    assert max(peaks(web)) - before < 40 * MIB


@pytest.mark.parametrize("part", [b"[],", b"{},", b'{"a":{}},', b"0,", b'"",'])
def test_d2_hostile_events_have_an_end(web: Web, tap: Tap, part: bytes) -> None:
    body = b"[" + part * ((MAX_BODY - 4) // len(part)) + b"1]"
    with ThreadPoolExecutor(16) as pool:
        answers = list(pool.map(lambda _: web.call("POST", "/api/v1/events", "operator", body).status, range(16)))
    assert set(answers) <= {413, 503}
    assert max(peaks(web)) < 500 * MIB
    assert tap.messages() == []


def test_d2_readers_of_large_pages_keep_memory_bounded(web: Web, site_db: Store) -> None:
    for n in range(10, 90):
        large = made(f"large{n}", START + n, component="large", event_type="log", text=f"{n}" * 500_000)
        log(site_db, [large], time.time())
    path = "/api/v1/events?entity_id=component:large&limit=1000&sort=timestamp"

    with ThreadPoolExecutor(16) as pool:
        answers = list(pool.map(lambda number: web.get(path, ROLES[number % 3]), range(48)))
    assert {answer.status for answer in answers} <= {200, 503}
    read, after = [], ""
    while after is not None:
        page = web.get(path + (f"&after={quote(after, safe='')}" if after else "")).json
        read += [each["timestamp"] - START for each in page["data"]]
        after = page.get("next")
    assert read == [float(n) for n in range(10, 90)]
    assert max(peaks(web)) < 500 * MIB
