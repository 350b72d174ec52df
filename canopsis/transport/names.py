"""Names of brokers, looked up within a time: the resolver itself may take ten seconds for one lost packet."""

from __future__ import annotations

import queue
import socket
import threading

Found = list[str] | OSError


def addresses(host: str, timeout: float | None) -> list[str]:
    """Return the addresses of ``host``. Raises OSError when it has none, or not within ``timeout`` seconds.

    Those of IPv4 are asked for first: where the answer about IPv6 is what gets lost, nobody waits for it.
    """
    found: queue.SimpleQueue[Found] = queue.SimpleQueue()
    threading.Thread(target=lambda: found.put(_look_up(host)), name="amqp-name", daemon=True).start()
    try:
        answer = found.get(timeout=timeout)
    except queue.Empty:
        raise TimeoutError(f"the name {host} was not resolved within {timeout:g} s") from None
    if isinstance(answer, OSError):
        raise answer
    return answer


def _look_up(host: str) -> Found:
    for family in (socket.AF_INET, socket.AF_UNSPEC):
        try:
            return [str(entry[4][0]) for entry in socket.getaddrinfo(host, None, family, socket.SOCK_STREAM)]
        except OSError as error:
            failure = error
    return failure
