"""Posts events through the API of some hosts, in turn, until each is taken; prints what it took as JSON.

Plain Python of the host: `python3 - RUN KEY SECONDS HOST… < poster.py`.
"""

from __future__ import annotations

import http.client
import json
import sys
import threading
import time
import urllib.error
import urllib.request

BATCHES, SIZE = 200, 50
LONGEST = 60


def batch(run: str, number: int) -> list[dict[str, object]]:
    """Return events of SIZE resources, whose state changes from batch to batch."""
    fixed = {"connector": run, "connector_name": "poster", "event_type": "check", "source_type": "resource"}
    return [
        {
            **fixed,
            "component": run,
            "resource": f"r{i}",
            "state": (number + i) % 2 * 2,
            "event_id": f"{run}.{number}.{i}",
        }
        for i in range(SIZE)
    ]


def post(host: str, key: str, events: list[dict[str, object]]) -> None:
    """Post events. Raises OSError or HTTPException when the host has not taken them."""
    headers = {"X-Canopsis-Authkey": key, "Content-Type": "application/json"}
    request = urllib.request.Request(f"http://{host}:8082/api/v1/events", json.dumps(events).encode(), headers)
    with urllib.request.urlopen(request, timeout=30) as answer:  # noqa: S310 - http is written above
        answer.read()


def insist(hosts: list[str], number: int, key: str, events: list[dict[str, object]]) -> int:
    """Post until a host has taken the events; return how often none did. Raises as `post` after LONGEST seconds."""
    pause, end = threading.Event(), time.monotonic() + LONGEST
    for failures in range(LONGEST * 2):
        try:
            post(hosts[(number + failures) % len(hosts)], key, events)
        except (OSError, http.client.HTTPException):
            if time.monotonic() > end:
                raise
            pause.wait(0.5)
        else:
            return failures
    raise OSError(f"batch {number} was never taken")


def main() -> None:
    """Post everything, spread over the seconds given."""
    run, key, seconds, hosts = sys.argv[1], sys.argv[2], float(sys.argv[3]), sys.argv[4:]
    pause, failures, slowest = threading.Event(), 0, 0.0
    for number in range(BATCHES):
        began = time.monotonic()
        failures += insist(hosts, number, key, batch(run, number))
        slowest = max(slowest, time.monotonic() - began)
        pause.wait(max(0.0, seconds / BATCHES - (time.monotonic() - began)))
    sys.stdout.write(json.dumps({"sent": BATCHES * SIZE, "failures": failures, "slowest": round(slowest, 2)}))


main()
