"""The processes of the web server: killed, reloaded, stopped in the middle of a request."""

from __future__ import annotations

import http.client
import json
import os
import signal
import socket
import threading
from pathlib import Path

from servers import HOST, eventually
from web import WORKERS, Tap, Web, key_of

EVENTS = "/api/v1/events"


def event(event_id: str) -> dict[str, object]:
    return {"connector": "shell", "connector_name": "t", "component": "web1", "state": 0, "event_id": event_id}


def all_workers(web: Web) -> set[int]:
    """Return the process ids of gunicorn's workers once all are there: the first answers before the second is."""
    eventually(lambda: len(workers(web)) == WORKERS)
    return workers(web)


def workers(web: Web) -> set[int]:
    """Return the process ids of gunicorn's workers."""
    assert web.process is not None
    pid = web.process.pid
    return {int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()}


class Sender:
    """Sends events one after the other until told to stop; keeps what was answered."""

    def __init__(self, web: Web) -> None:
        self.accepted: list[str] = []
        self.refused: list[int] = []
        self.cut = 0
        self._web = web
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> Sender:
        self._thread.start()
        eventually(lambda: len(self.accepted) > 5)
        return self

    def __exit__(self, *_: object) -> None:
        before = len(self.accepted)
        eventually(lambda: len(self.accepted) > before + 5)
        self._stop.set()
        self._thread.join(30)

    def _run(self) -> None:
        number = 0
        while not self._stop.is_set():
            number += 1
            try:
                answer = self._web.post(EVENTS, event(f"e{number}"))
            except (OSError, http.client.HTTPException):
                self.cut += 1
                continue
            if answer.status == 202:
                self.accepted.append(f"e{number}")
            else:
                self.refused.append(answer.status)


def test_a_worker_that_is_killed_is_replaced_and_nothing_confirmed_is_lost(web: Web, tap: Tap) -> None:
    before = all_workers(web)
    victim = min(before)
    with Sender(web) as sender:
        os.kill(victim, signal.SIGKILL)
        eventually(lambda: len(workers(web)) == len(before) and victim not in workers(web))
    assert sender.refused == []
    assert sender.cut <= 1
    assert set(sender.accepted) <= {each["event_id"] for each in tap.events()}


def test_a_reload_refuses_nobody(web: Web, tap: Tap) -> None:
    assert web.process is not None
    before = all_workers(web)
    with Sender(web) as sender:
        web.process.send_signal(signal.SIGHUP)
        eventually(lambda: len(workers(web)) == len(before) and not workers(web) & before)
    assert sender.refused == []
    assert set(sender.accepted) <= {each["event_id"] for each in tap.events()}


def test_a_request_under_way_is_finished_before_the_end(web: Web, tap: Tap) -> None:
    body = json.dumps(event("last")).encode()
    head = f"POST {EVENTS} HTTP/1.1\r\nHost: x\r\nX-Canopsis-Authkey: {key_of('operator')}\r\n"
    head += f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    assert web.process is not None
    with socket.create_connection((HOST, web.port), timeout=20) as raw:
        raw.sendall(head.encode() + body[:10])
        # The worker reads the body now; it is told to go in the middle of it.
        eventually(lambda: web.get("/api/v1/healthz", None).status == 200)
        web.process.send_signal(signal.SIGHUP)
        raw.sendall(body[10:])
        assert raw.recv(4096).startswith(b"HTTP/1.1 202")
    assert [each["event_id"] for each in tap.events()] == ["last"]
    eventually(lambda: web.get("/api/v1/readyz", None).status == 200)
