"""A time for all of an exchange: the time-out of a socket is for each byte, and a byte now and then holds for ever."""

from __future__ import annotations

import http.client
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress


@contextmanager
def ended_after(seconds: float, sock_of: Callable[[], socket.socket | None]) -> Iterator[None]:
    """End the socket that ``sock_of`` returns once ``seconds`` are over. Raises TimeoutError then."""
    late = threading.Event()
    timer = threading.Timer(seconds, _end, (sock_of, late))
    timer.daemon = True
    timer.start()
    try:
        yield
    except (OSError, EOFError, http.client.HTTPException):
        if late.is_set():
            raise TimeoutError from None
        raise
    finally:
        timer.cancel()


def _end(sock_of: Callable[[], socket.socket | None], late: threading.Event) -> None:
    late.set()
    sock = sock_of()
    if sock is not None:
        # It may be closed this very moment.
        with suppress(OSError):
            sock.shutdown(socket.SHUT_RDWR)
