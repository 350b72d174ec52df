"""How fast events are accepted over HTTP while the chain takes them; Alerta beside it.

Starts a broker, a database, the engines and the web server itself. Load, servers and engines share the machine. The
exit code tells whether an event was refused or lost; it never depends on time.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
import time
import uuid
from collections.abc import Iterator
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any

import alerta
import filling
from figures import cpu_seconds, listeners, table
from http_load import flood, request
from load import MIXES, OUTPUT, Mix, bodies, endless
from own_events import OwnEvents
from site_of_benchmark import Site, for_web, headers_of, own_engines, own_servers, own_web

from canopsis.ops import wait
from canopsis.store import client
from canopsis.store.client import Store

BURST = 100_000
DRAIN_SECONDS = 300.0


def single(name: str) -> Iterator[bytes]:
    """Yield requests with one event of the normal mix."""
    for event in _events(name):
        yield request("POST", "/api/v1/events", headers_of("operator"), event)


def arrays(name: str, size: int) -> Iterator[bytes]:
    """Yield requests with ``size`` events."""
    events = _events(name)
    while True:
        body = b"[" + b",".join(next(events) for _ in range(size)) + b"]"
        yield request("POST", "/api/v1/events", headers_of("operator"), body)


def _events(name: str) -> Iterator[bytes]:
    for _, body in endless(Mix("normal", bodies(name), MIXES["normal"])):
        yield body


def burst(name: str) -> Iterator[bytes]:
    """Yield requests that open ``BURST`` alarms, 500 each, and go on with nothing new."""
    for begin in count(0, 500):
        body = json.dumps([_opening(name, number % BURST) for number in range(begin, begin + 500)]).encode()
        yield request("POST", "/api/v1/events", headers_of("operator"), body)


def _opening(name: str, number: int) -> dict[str, Any]:
    return {
        "connector": name,
        "connector_name": "burst",
        "event_type": "check",
        "component": f"{name}-{number // 10:05d}",
        "resource": f"service{number % 10}",
        "state": 2,
        "output": OUTPUT,
    }


class Run:
    """Cases over one site, one after the other."""

    def __init__(self, site: Site, db: Store, port: int, seconds: float) -> None:
        self.site, self.db, self.port, self.seconds = site, db, port, seconds
        self.name = f"bench{uuid.uuid4().hex[:8]}"
        self.own = OwnEvents(db, self.name)
        self.lost = self.refused = 0

    def case(self, what: str, requests: Iterator[bytes], size: int, connections: int) -> dict[str, Any]:
        """Send for some seconds; return the figures once all that was accepted is stored.

        ``requests`` are of the connector ``name``.
        """
        before, cpu, began = self.own.count(), self._cpu(), time.monotonic()
        result = flood(self.port, requests, connections, self.seconds)
        accepted = result.statuses[202] * size
        taken = self.own.count() - before
        wait.until(lambda: self.own.count() - before >= accepted, DRAIN_SECONDS)
        drained = time.monotonic() - began
        self.lost += max(0, accepted - (self.own.count() - before))
        self.refused += sum(result.statuses.values()) - result.statuses[202]
        used = {f"{name} µs": (end - cpu[name]) * 1e6 / accepted for name, end in self._cpu().items()}
        rates = {"events/s": result.rate * size, "stored/s": taken / result.seconds, "drained/s": accepted / drained}
        return {"Canopsis": what, **rates, **result.row(), **used}

    def burst(self) -> dict[str, Any]:
        """Open many alarms at once; return how long it takes from the first event until all are open."""
        name, began = self.name + "b", time.monotonic()
        requests = burst(name)
        sent = 0
        while sent < BURST:
            sent += 500 * flood(self.port, requests, 4, 0.0).statuses[202]
        seconds = time.monotonic() - began
        wait.until(lambda: self._opened(name) >= BURST, DRAIN_SECONDS)
        return {"burst": f"{BURST:,} alarms", "accepted after s": seconds, "open after s": time.monotonic() - began}

    def _opened(self, name: str) -> int:
        return self.db.alarms.count_documents({"open": True, "connector": name})

    def _cpu(self) -> dict[str, float]:
        web = {"web": cpu_seconds(listeners(self.port)), "load": cpu_seconds(["self"])}  # type: ignore[list-item]
        return self.site.cpu(self.db) | web


def of_alerta(site: Site, db: Store, arguments: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """Yield what Alerta takes, with as many open alerts."""
    db.client.drop_database("alerta")
    with alerta.running(site.store.hosts[0][1]) as port:
        alerta.fill(db.client["alerta"], arguments.open)
        for connections in (1, 16):
            found = flood(port, _alerts(arguments.open), connections, arguments.seconds)
            yield {"Alerta": f"single, {connections} connections", **found.row()}


def _alerts(opened: int) -> Iterator[bytes]:
    generator = random.Random(1)
    while True:
        alert = alerta.alert(generator.randrange(opened), "critical")
        yield request("POST", "/alert", {}, json.dumps(alert).encode())


def prepare(db: Store, opened: int) -> None:
    """Store open alarms."""
    filling.fill_alarms(db, opened, 0)


def main() -> int:
    """Fill, send, print; return 1 when an event was refused or lost."""
    arguments = _arguments()
    rows: list[dict[str, Any]] = []
    with own_servers() as servers:
        site = for_web(servers)
        with (
            own_engines(site, site.chain, partial(prepare, opened=arguments.open), arguments.workers) as running,
            own_web(site) as port,
            client.opened(site.store) as db,
        ):
            running.await_ready(db)
            run = Run(running, db, port, arguments.seconds)
            for connections in (1, 8, 16, 32):
                rows.append(run.case(f"single, {connections} connections", single(run.name), 1, connections))
                print(table(rows[-1:]), flush=True)
            rows.append(run.case("arrays of 50, 8 connections", arrays(run.name, 50), 50, 8))
            print(table(rows[-1:]), flush=True)
            bursts = [run.burst()]
            print(table(bursts), flush=True)
        beside = list(of_alerta(site, db, arguments)) if arguments.alerta else []
    print(table(rows))
    print(table(beside))
    if arguments.json:
        arguments.json.write_text(json.dumps({"runs": rows, "burst": bursts, "alerta": beside}, indent=1))
    return 1 if run.lost or run.refused else 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--open", type=int, default=100_000, help="open alarms at the beginning (default 100000)")
    parser.add_argument("--workers", type=int, default=1, help="instances of the worker (default 1)")
    parser.add_argument("--seconds", type=float, default=20.0, help="length of each run (default 20)")
    parser.add_argument("--alerta", action="store_true", help="install Alerta and send to it too")
    parser.add_argument("--json", type=Path, help="write all figures to this file")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
