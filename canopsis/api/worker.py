"""gunicorn's worker with threads, which no slow client can keep from the others.

A thread is given to a connection when its first bytes are there, and waits for the rest of a request no
longer than a deadline. There are many more threads than slots of work (``limits``), so that those who wait
for a client hold nobody up; when all are taken all the same, the one that has waited longest for the address
with the most of them gives way.
"""

from __future__ import annotations

import errno
import select
import socket
import time
from collections import Counter
from collections.abc import Callable, Iterable
from concurrent import futures
from functools import partial
from selectors import EVENT_READ
from typing import Any

from gunicorn import util
from gunicorn.workers.gthread import TConn, ThreadWorker

from canopsis.api import refusals
from canopsis.api.endpoints import EXTENSION

READERS = 56
"""Threads beside those that work: they wait for clients."""

HEAD = 10.0
"""Seconds for a connection's first byte, and again for the head of a request (and the TLS handshake)."""

BODY, BYTES_A_SECOND, LONGEST = 10.0, 16 << 10, 120.0
"""Seconds for a body, and those that what has come takes at so many bytes a second; ``LONGEST`` in all."""

ANSWER = 60.0
"""Seconds for a client to take its answer."""

CLOSING = 1.0
"""Seconds for a client to see its answer before the connection goes."""

FOLLOWING = 0.002
"""Seconds that a thread waits for the next request of its client, unless half of the threads are taken."""

PATIENCE = 1.0
"""Seconds that a client is waited for in any case, also when others need the thread."""

_SWEEP = 0.25
_NEVER = float("inf")

Start = Callable[..., Any]
Application = Callable[[dict[str, Any], Start], Iterable[bytes]]


class Connection(TConn):  # type: ignore[misc]
    """A connection. While a thread waits for its peer, ``since`` and ``until`` say from when to when."""

    def __init__(self, cfg: Any, sock: socket.socket, client: Any, server: Any) -> None:  # noqa: ANN401 - gunicorn's
        super().__init__(cfg, sock, client, server)
        self.data_ready = True  # it comes to a thread only with its first bytes
        self.address: str = client[0] if isinstance(client, tuple) else ""
        self.since = self.until = _NEVER
        self.late = False
        self.answering = False
        self.closed = False

    def waits(self, seconds: float) -> None:
        """Say that a thread waits for the peer, ``seconds`` at most."""
        self.since = time.monotonic()
        self.until = self.since + seconds

    def works(self) -> None:
        """Say that nobody waits for the peer."""
        self.since = self.until = _NEVER

    def cut(self) -> None:
        """End the waiting: who reads finds the end, who writes finds nobody."""
        self.late = True
        self.works()
        try:
            # Not the method of a TLS socket: that would take the encryption away from under its thread.
            socket.socket.shutdown(self.sock, socket.SHUT_RDWR if self.answering else socket.SHUT_RD)
        except OSError:
            return  # it went by itself

    def close(self, graceful: bool = False) -> None:
        """Close, once. The graceful way waits for the peer: never from the loop, which all connections share."""
        if not self.closed:
            self.closed = True
            if graceful:
                self.sock.setblocking(True)
                util.close_graceful(self.sock, timeout=CLOSING)
            else:
                util.close(self.sock)


class Input:
    """The body of a request. ``late`` says that it did not come in time."""

    def __init__(self, body: Any, connection: Connection) -> None:  # noqa: ANN401 - gunicorn's
        self.connection = connection
        self._body = body
        self._begun: float | None = None
        self._size = 0

    @property
    def late(self) -> bool:
        """Whether the body was cut off because it was late."""
        return self.connection.late

    @property
    def failed(self) -> bool:
        """Whether what came is no body: nobody knows then where the next request begins."""
        return self.late or bool(self._body.failed)

    def read(self, size: int | None = None) -> bytes:
        """Return up to ``size`` bytes; nothing at the end, or when it is late."""
        return self._waited(lambda: self._body.read(size))

    def readline(self, size: int | None = None) -> bytes:
        """Return a line."""
        return self._waited(lambda: self._body.readline(size))

    def __iter__(self) -> Input:
        return self

    def __next__(self) -> bytes:
        line = self.readline()
        if not line:
            raise StopIteration
        return line

    def _waited(self, read: Callable[[], bytes]) -> bytes:
        if self.late:
            return b""
        now = time.monotonic()
        self._begun = self._begun or now
        seconds = min(BODY + self._size / BYTES_A_SECOND, LONGEST)
        self.connection.waits(self._begun + seconds - now)
        try:
            data = read()
        finally:
            self.connection.works()
        self._size += len(data)
        return data


class Worker(ThreadWorker):  # type: ignore[misc]
    """gunicorn's ``gthread``, with deadlines for clients."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:  # noqa: ANN401 - gunicorn's
        super().__init__(*args, **kwargs)
        self._threads = self.cfg.threads + READERS
        self._busy: set[Connection] = set()
        self._started: dict[int, Connection] = {}
        self._swept = 0.0

    def get_thread_pool(self) -> futures.ThreadPoolExecutor:
        """Return the threads."""
        return futures.ThreadPoolExecutor(max_workers=self._threads)

    def load_wsgi(self) -> None:
        """Load the application, and watch its bodies and answers."""
        super().load_wsgi()
        application: Application = self.wsgi  # type: ignore[has-type]
        if found := getattr(application, "extensions", {}).get(EXTENSION):
            found.slots.total = self.cfg.threads
        self.wsgi = partial(self._serve, application)

    def accept(self, listener: socket.socket) -> None:
        """Accept a connection; a thread gets it when its first bytes are there."""
        if self.nr_conns >= self.worker_connections - 1:
            self._make_room()
        try:
            sock, client = listener.accept()
        except OSError as error:
            # The peer went, or another process was first; or no file is free, then one of us goes.
            if error.errno in (errno.EMFILE, errno.ENFILE):
                self._make_room()
            return
        conn = Connection(self.cfg, sock, client, listener.getsockname())
        self.nr_conns += 1
        conn.timeout = time.monotonic() + HEAD
        self.pending_conns.append(conn)
        self.poller.register(sock, EVENT_READ, partial(self.on_pending_socket_readable, conn))

    def enqueue_req(self, conn: Connection) -> None:
        """Give a connection to a thread."""
        self._busy.add(conn)
        super().enqueue_req(conn)

    def finish_request(self, conn: Connection, fs: futures.Future[Any]) -> None:
        """Take a connection back from its thread."""
        self._busy.discard(conn)
        super().finish_request(conn, fs)

    def handle(self, conn: Connection) -> Any:  # noqa: ANN401 - gunicorn's
        """Serve a request, and those that follow at once. Runs in a thread."""
        self._started[id(conn)] = conn
        try:
            kept = self._answer(conn)
            while kept and self._follows(conn):
                kept = self._answer(conn)
            if not kept:
                conn.answering = True
                conn.waits(CLOSING)
                conn.close(graceful=True)
            return kept
        finally:
            conn.works()
            self._started.pop(id(conn), None)

    def _answer(self, conn: Connection) -> bool:
        """Serve one request; tell whether the connection stays."""
        conn.answering = False
        conn.waits(HEAD)
        return bool(super().handle(conn)) and not conn.late

    def _follows(self, conn: Connection) -> bool:
        """Tell whether the next request comes at once: then it need not go through the loop and to another thread."""
        conn.works()
        if not self.alive or len(self._busy) * 2 > self._threads:
            return False
        waiting = select.poll()
        waiting.register(conn.sock, select.POLLIN)
        return bool(waiting.poll(FOLLOWING * 1000))

    def handle_request(self, req: Any, conn: Connection) -> Any:  # noqa: ANN401 - gunicorn's
        """Serve a request whose head is there. Runs in a thread."""
        conn.works()
        req.body = Input(req.body, conn)
        return super().handle_request(req, conn)

    def handle_error(self, req: Any, client: Any, addr: Any, exc: BaseException) -> None:  # noqa: ANN401 - gunicorn's
        """Answer a request that is no HTTP, or that broke us."""
        refusals.refuse(self, req, client, addr, exc)

    def wait_for_and_dispatch_events(self, timeout: float) -> None:
        """Wait for what comes, and for deadlines."""
        crowded = len(self._busy) >= self._threads
        super().wait_for_and_dispatch_events(min(timeout, _SWEEP) if crowded else timeout)
        now = time.monotonic()
        if now - self._swept >= _SWEEP:
            self._swept = now
            self._sweep(now)

    def _serve(self, application: Application, environ: dict[str, Any], start: Start) -> Iterable[bytes]:
        connection: Connection = environ["wsgi.input"].connection
        answer = application(environ, start)
        connection.answering = True
        connection.waits(ANSWER)
        return answer

    def _sweep(self, now: float) -> None:
        waiting = [conn for conn in self._started.copy().values() if conn.since != _NEVER]
        for conn in waiting:
            if now > conn.until:
                conn.cut()
        short = len(self._busy) - self._threads
        patient = [conn for conn in waiting if now - conn.since > PATIENCE and not conn.late]
        for conn in greediest(patient, short + 1 if short >= 0 else 0):
            conn.cut()

    def _make_room(self) -> None:
        idle = [conn for conn in (*self.pending_conns, *self.keepalived_conns) if not conn.closed]
        for conn in greediest(idle, 1):
            (self.pending_conns if conn in self.pending_conns else self.keepalived_conns).remove(conn)
            self.poller.unregister(conn.sock)
            self.nr_conns -= 1
            conn.close()


def greediest(connections: Iterable[Connection], count: int) -> list[Connection]:
    """Return ``count`` connections to give up: the oldest ones, each of the address that has the most then."""
    left = sorted(connections, key=lambda conn: conn.timeout or 0.0 if conn.since == _NEVER else conn.since)
    chosen: list[Connection] = []
    while left and len(chosen) < count:
        [(address, _)] = Counter(conn.address for conn in left).most_common(1)
        found = next(conn for conn in left if conn.address == address)
        left.remove(found)
        chosen.append(found)
    return chosen
