"""HTTP load: some connections that stay, each of which sends its next request when it has its answer."""

from __future__ import annotations

import selectors
import socket
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from figures import percentile

HOST = "127.0.0.1"
_CHUNK = 1 << 20


@dataclass
class Result:
    """What came back: how many answers by status, the seconds of each."""

    seconds: float = 0.0
    statuses: Counter[int] = field(default_factory=Counter)
    latencies: list[float] = field(default_factory=list)

    @property
    def rate(self) -> float:
        """Answers that were good, a second."""
        return sum(count for status, count in self.statuses.items() if status < 300) / self.seconds

    def row(self) -> dict[str, object]:
        """Return the figures of a table; times are in milliseconds."""
        refused = sum(count for status, count in self.statuses.items() if status >= 300)
        percentiles = {f"p{share:.0%}"[:-1]: 1000 * percentile(self.latencies, share) for share in (0.5, 0.95, 0.99)}
        return {"answers/s": self.rate, **{f"{name} ms": ms for name, ms in percentiles.items()}, "refused": refused}


def request(method: str, path: str, headers: Mapping[str, str], body: bytes = b"") -> bytes:
    """Return the bytes of a request."""
    lines = [f"{method} {path} HTTP/1.1", f"Host: {HOST}", *(f"{name}: {value}" for name, value in headers.items())]
    if body:
        lines += ["Content-Type: application/json", f"Content-Length: {len(body)}"]
    return "\r\n".join([*lines, "", ""]).encode() + body


class _Client:
    """One connection, the request that is under way, and what came of its answer."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.sock = socket.create_connection((HOST, port))
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.begun = 0.0
        self.data = b""

    def send(self, data: bytes) -> None:
        self.data = b""
        self.begun = time.perf_counter()
        self.sock.sendall(data)

    def receive(self) -> tuple[int, bytes] | None:
        """Take what came; return status and body when the answer is whole."""
        came = self.sock.recv(_CHUNK)
        if not came:
            raise ConnectionError("the server closed the connection")
        self.data += came
        head, separator, body = self.data.partition(b"\r\n\r\n")
        if not separator or len(body) < _length(head):
            return None
        return int(head[9:12]), body


def _length(head: bytes) -> int:
    for line in head.split(b"\r\n")[1:]:
        name, _, value = line.partition(b":")
        if name.lower() == b"content-length":
            return int(value)
    raise ValueError(f"an answer without its length: {head!r}")


def flood(port: int, requests: Iterator[bytes], connections: int, seconds: float) -> Result:
    """Send requests for ``seconds``, one at a time on each of ``connections``."""
    result = Result()
    selector = selectors.DefaultSelector()
    clients = [_Client(port) for _ in range(connections)]
    for client in clients:
        selector.register(client.sock, selectors.EVENT_READ, client)
        client.send(next(requests))
    began, busy = time.perf_counter(), connections
    while busy:
        for key, _ in selector.select():
            answer = key.data.receive()
            if answer is None:
                continue
            now = time.perf_counter()
            result.statuses[answer[0]] += 1
            result.latencies.append(now - key.data.begun)
            if now - began < seconds:
                key.data.send(next(requests))
            else:
                selector.unregister(key.data.sock)
                busy -= 1
    result.seconds = time.perf_counter() - began
    for client in clients:
        client.sock.close()
    return result


def ask(port: int, sent: bytes) -> bytes:
    """Return the body of the answer to one request. Raises ValueError when it is not a good one."""
    client = _Client(port)
    client.send(sent)
    while (answer := client.receive()) is None:
        pass
    client.sock.close()
    status, body = answer
    if status >= 300:
        raise ValueError(f"{status}: {body[:500]!r}")
    return body
