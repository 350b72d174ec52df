"""A client that sends bytes as they are, and reads an answer to its last byte."""

from __future__ import annotations

import json
import socket
from dataclasses import dataclass, field
from typing import Any

from hostile_requests import Request
from servers import HOST

_PATIENCE = 60.0


class NoAnswerError(Exception):
    """What came is no whole answer."""


@dataclass(frozen=True)
class Answer:
    """An answer; ``status`` 0 is a connection that was closed without a word."""

    status: int
    headers: dict[str, str] = field(default_factory=dict)
    data: bytes = field(default=b"", repr=False)

    @property
    def json(self) -> Any:
        """What it says."""
        return json.loads(self.data)


def ask(port: int, request: Request) -> Answer:
    """Send ``request`` and return the answer to it. Raises NoAnswerError."""
    with socket.create_connection((HOST, port), timeout=_PATIENCE) as raw:
        try:
            raw.sendall(request.data)
            if request.ends:
                raw.shutdown(socket.SHUT_WR)
        except OSError:
            pass  # it was answered before it was read whole
        return _Reader(raw).answer(request.is_head)


class _Reader:
    def __init__(self, raw: socket.socket) -> None:
        self._raw = raw
        self._data = b""

    def answer(self, is_head: bool) -> Answer:
        """Return the final answer; those that only say that one may go on are passed over."""
        found = self._one(is_head)
        while 100 <= found.status < 200:
            found = self._one(is_head)
        return found

    def _one(self, is_head: bool) -> Answer:
        while b"\r\n\r\n" not in self._data:
            if not self._more():
                if self._data:
                    raise NoAnswerError(f"an answer that ends in its head: {self._data[:300]!r}")
                return Answer(0)
        head, _, self._data = self._data.partition(b"\r\n\r\n")
        first, *lines = head.decode("latin-1").split("\r\n")
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        status = int(first.split()[1])
        if is_head or status < 200 or status in (204, 304):
            return Answer(status, headers)
        if "content-length" not in headers:
            raise NoAnswerError(f"an answer without a length: {head!r}")
        return Answer(status, headers, self._body(int(headers["content-length"])))

    def _body(self, size: int) -> bytes:
        while len(self._data) < size:
            if not self._more():
                raise NoAnswerError(f"{len(self._data)} of {size} bytes of an answer")
        body, self._data = self._data[:size], self._data[size:]
        return body

    def _more(self) -> bool:
        try:
            part = self._raw.recv(1 << 16)
        except ConnectionResetError:
            return False
        self._data += part
        return bool(part)
