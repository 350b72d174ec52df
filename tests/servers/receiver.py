"""A program that takes webhooks: a real HTTP server on loopback, which does as it is told."""

from __future__ import annotations

import json
import ssl
import threading
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass
class Receiver:
    """What came, and with which statuses the next requests are answered: 200 once there is none left.

    The status 0 is no answer at all, until the receiver is closed.
    """

    statuses: list[int] = field(default_factory=list)
    bodies: list[dict[str, Any]] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)
    refused: list[int] = field(default_factory=list)
    answer: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        receiver, self._over = self, threading.Event()

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                receiver.take(self)

            def log_message(self, *_arguments: Any) -> None:
                return

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.port = self._server.server_port
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/hook/T0KEN"

    def take(self, request: BaseHTTPRequestHandler) -> None:
        body = request.rfile.read(int(request.headers["Content-Length"]))
        status = self.statuses.pop(0) if self.statuses else 200
        if status == 0:
            self._over.wait()
            return
        if status < 300:
            self.headers.append(dict(request.headers))
            self.bodies.append(json.loads(body))
        else:
            self.refused.append(status)
        request.send_response(status)
        for name, value in self.answer.items():
            request.send_header(name, value)
        request.end_headers()
        request.wfile.write(b"thank you")

    def encrypt(self, context: ssl.SSLContext) -> None:
        self._server.socket = context.wrap_socket(self._server.socket, server_side=True)

    def close(self) -> None:
        self._over.set()
        self._server.shutdown()
        self._server.server_close()
