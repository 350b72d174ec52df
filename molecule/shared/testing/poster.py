"""Posts events through the API of some hosts, in turn, until each is taken; prints what it took as JSON.

Plain Python of the host: `python3 - RUN KEY BATCHES SIZE EVERY ENOUGH AUTHORITIES HOST… < poster.py`. A batch of SIZE
events is begun EVERY seconds; the file ENOUGH ends it early. AUTHORITIES is the file of who signs, or - for an API
that does not encrypt.
"""

from __future__ import annotations

import http.client
import json
import ssl
import sys
import threading
import time
import urllib.request
from pathlib import Path

LONGEST = 60


def batch(run: str, number: int, size: int) -> list[dict[str, object]]:
    """Return events of ``size`` resources, whose state changes from batch to batch."""
    fixed = {"connector": run, "connector_name": "poster", "event_type": "check", "source_type": "resource"}
    return [
        {
            **fixed,
            "component": run,
            "resource": f"r{i}",
            "state": (number + i) % 2 * 2,
            "event_id": f"{run}.{number}.{i}",
        }
        for i in range(size)
    ]


def post(host: str, key: str, authorities: str, events: list[dict[str, object]]) -> None:
    """Post events. Raises OSError or HTTPException when the host has not taken them."""
    # Read each time: authorities are replaced while this runs.
    tls = None if authorities == "-" else ssl.create_default_context(cafile=authorities)
    url = f"http{'s' if tls else ''}://{host}:8082/api/v1/events"
    headers = {"X-Canopsis-Authkey": key, "Content-Type": "application/json"}
    request = urllib.request.Request(url, json.dumps(events).encode(), headers)  # noqa: S310 - http(s), see above
    with urllib.request.urlopen(request, timeout=30, context=tls) as answer:  # noqa: S310
        answer.read()


def insist(hosts: list[str], number: int, key: str, authorities: str, events: list[dict[str, object]]) -> int:
    """Post until a host has taken the events; return how often none did. Raises as `post` after LONGEST seconds."""
    pause, end = threading.Event(), time.monotonic() + LONGEST
    for failures in range(LONGEST * 2):
        try:
            post(hosts[(number + failures) % len(hosts)], key, authorities, events)
        except (OSError, http.client.HTTPException):
            if time.monotonic() > end:
                raise
            pause.wait(0.5)
        else:
            return failures
    raise OSError(f"batch {number} was never taken")


def main() -> None:
    """Post everything, or until it is enough."""
    run, key, batches, size, every, enough, authorities, *hosts = sys.argv[1:]
    pause = threading.Event()
    sent, failures, slowest = 0, 0, 0.0
    for number in range(int(batches)):
        if Path(enough).exists():
            break
        began = time.monotonic()
        failures += insist(hosts, number, key, authorities, batch(run, number, int(size)))
        sent += int(size)
        slowest = max(slowest, time.monotonic() - began)
        pause.wait(max(0.0, float(every) - (time.monotonic() - began)))
    sys.stdout.write(json.dumps({"sent": sent, "failures": failures, "slowest": round(slowest, 2)}))


main()
