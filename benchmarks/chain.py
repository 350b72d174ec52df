"""The chain on this machine: events a second, where the CPU time goes, how soon an alarm is seen.

Starts a broker, a database and the engines itself, or measures a running site (``--prefix DIR``).
Prints a table, and all figures as JSON with ``--json FILE``. The exit code tells whether anything
was lost or the counters do not balance; it never depends on time.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
import uuid
from collections.abc import Iterator
from contextlib import nullcontext
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import raw_kombu
from figures import cpu_seconds, percentile, table
from load import MIXES, Mix, Sender, bodies, endless, warm_up
from site_of_benchmark import Site, filled, grouped_alone, own_engines, own_servers, running_site

from canopsis.ops import wait
from canopsis.store import client, event_log, segments
from canopsis.store.client import Store
from canopsis.transport.connection import connect
from canopsis.transport.publisher import ConfirmingPublisher

WINDOW = 12_000
"""Events sent and not yet stored, at most."""

LOOK_SECONDS = 0.2
SETTLED_SECONDS = 5.0
DRAIN_SECONDS = 300.0
LATE_SECONDS = 20.0
CHECKPOINT_SECONDS = 300.0
PROBES_A_SECOND = 5
_CHAIN = ("cleaner_events", "event_filter", "context", "alarm", "perfdata", "eventstore")


@dataclass(frozen=True)
class Case:
    """One run: which mix, how many events a message, for how long; ``rate`` 0 is as fast as it goes."""

    mix: str
    size: int
    seconds: float
    rate: int = 0
    grouping: str = "two hops"

    def title(self) -> str:
        kind = "single" if self.size == 1 else f"arrays of {self.size}"
        return f"{self.mix}, {kind}" + (f", {self.rate}/s" if self.rate else "")


class Run:
    """One case on one site."""

    def __init__(self, site: Site, db: Store, case: Case) -> None:
        self.site, self.db, self.case = site, db, case
        self.name = f"bench{uuid.uuid4().hex[:8]}"
        self.mix = Mix(case.mix, bodies(self.name), MIXES[case.mix])
        self.connection = connect(site.amqp, "benchmark")
        self.begin = self.settled = segments.position(time.time() - 1.0)
        self.counted = 0
        self.before = self.stored()

    def stored(self) -> int:
        """Return about how many events of this run are stored (exact on a site where nothing else happens)."""
        # What came some seconds ago is counted once: going through it again and again would cost more than storing it.
        until = segments.position(time.time() - SETTLED_SECONDS)
        if until > self.settled:
            self.counted += event_log.count(self.db, self.settled, until)
            self.settled = until
        return self.counted + event_log.count(self.db, self.settled, segments.position(time.time() + 60))

    def measure(self) -> dict[str, Any]:
        """Warm up, load, wait for the end, and return all figures."""
        sender = Sender(ConfirmingPublisher(self.connection, window=4000), self.name, 50)
        sender.send(warm_up(self.mix), len(self.mix.bodies))
        sender.flush()
        self._await_stored(sender.sent)
        warm = sender.sent
        sender = Sender(ConfirmingPublisher(self.connection, window=4000), self.name + "b", self.case.size)
        cpu, began = self._cpu(), time.monotonic()
        probes = Probes(self) if self.case.rate else None
        stored = self._load(sender, warm, probes)
        elapsed = time.monotonic() - began
        sender.flush()
        probe_count = probes.finish() if probes else 0
        total = warm + sender.sent + probe_count
        self._await_stored(total)
        drained = time.monotonic() - began
        return {
            "case": self.case.title(),
            "grouping": self.case.grouping,
            "events/s": stored / elapsed,
            "with drain/s": sender.sent / drained,
            "sent": total,
            "lost": self._lost(total),
            "balanced": self._balanced(),
            "p50 ms": 1000 * percentile(probes.latencies, 0.5) if probes else "",
            "p99 ms": 1000 * percentile(probes.latencies, 0.99) if probes else "",
            **self._cpu_per_event(cpu, sender.sent + probe_count),
        }

    def _load(self, sender: Sender, warm: int, probes: Probes | None) -> int:
        """Send until the time is over; return how many events were stored meanwhile."""
        flow = endless(self.mix)
        began = looked = time.monotonic()
        stored = self.stored()
        first = stored
        chunk = max(self.case.size, 20)
        while (now := time.monotonic()) - began < self.case.seconds:
            if now - looked > LOOK_SECONDS:
                stored, looked = self.stored(), now
            allowed = self.case.rate * (now - began) if self.case.rate else sender.sent + chunk
            if probes is not None:
                probes.turn(now)
            if sender.sent + chunk <= allowed and warm + sender.sent - stored < WINDOW:
                sender.send(flow, chunk)
                sender.push()
            else:
                self.connection.serve(0.002 if self.case.rate else 0.02)
        return self.stored() - first

    def _await_stored(self, total: int) -> None:
        if not wait.until(lambda: self.stored() >= total, DRAIN_SECONDS):
            print(f"{self.case.title()}: {total - self.stored()} events are missing after {DRAIN_SECONDS:g} s")

    def _lost(self, total: int) -> int:
        """Return how many events of this run are not stored; the last ones may still come.

        What the engines tell of themselves was counted as stored too.
        """
        lost = total

        def none() -> bool:
            nonlocal lost
            lost = total - self._count()
            return lost <= 0

        wait.until(none, LATE_SECONDS)
        return lost

    def _count(self) -> int:
        """Return how many events of this run are stored."""
        found: set[str] = set()
        for segment in self.db[event_log.COLLECTION].find({"_id": {"$gte": self.begin}}, {"z": 1}):
            for group in segments.groups(segment):
                found.update(event.event_id for event in group.events if event.connector == self.name)
        return len(found)

    def _balanced(self) -> bool:
        """Tell whether every engine answers for what it took, and takes what the one before let through."""

        def settled() -> bool:
            found = self.site.counters(self.db)
            each = all(t["in"] == t["forwarded"] + t["dropped"] + t["dead"] for t in found.values())
            hops = pairwise(_CHAIN)
            return each and all(found[a]["forwarded"] == found[b]["in"] for a, b in hops)

        return bool(wait.until(settled, 20.0))

    def _cpu(self) -> dict[str, float]:
        return self.site.cpu(self.db) | {"load": cpu_seconds(["self"])}  # type: ignore[list-item]

    def _cpu_per_event(self, before: dict[str, float], count: int) -> dict[str, float]:
        after = self._cpu()
        used = {name: (seconds - before.get(name, 0.0)) * 1e6 / count for name, seconds in after.items()}
        return {f"{name} µs": value for name, value in used.items()} | {"all µs": sum(used.values())}


class Probes:
    """Alarms of their own, a few a second: how long from sending an event until the alarm is seen."""

    def __init__(self, run: Run) -> None:
        self._run = run
        self._publisher = ConfirmingPublisher(run.connection)
        self._next = time.monotonic()
        self._waiting: dict[str, float] = {}
        self._looked = 0.0
        self._count = 0
        self.latencies: list[float] = []

    def turn(self, now: float) -> None:
        """Send a probe when one is due, and look for those that wait."""
        if now >= self._next:
            self._next += 1 / PROBES_A_SECOND
            self._send()
        if self._waiting and now - self._looked > 0.005:
            self._look()
            self._looked = time.monotonic()

    def finish(self) -> int:
        """Wait for the last probes; return how many there were."""
        self._publisher.flush()

        def all_seen() -> bool:
            self._look()
            return not self._waiting

        wait.until(all_seen, 30.0)
        self.latencies += [float("inf")] * len(self._waiting)
        return self._count

    def _send(self) -> None:
        self._count += 1
        name = f"probe{self._count}"
        event = {
            "connector": self._run.name,
            "connector_name": "probe",
            "event_type": "check",
            "component": f"{self._run.name}-{name}",
            "state": 2,
            "output": "probe",
            "timestamp": time.time(),
        }
        key = f"{self._run.name}.probe.check.component.{event['component']}"
        self._waiting[f"component:{event['component']}"] = time.monotonic()
        self._publisher.send("canopsis.events", key, json.dumps(event).encode(), message_id=f"{self._run.name}{name}")
        self._publisher.push()

    def _look(self) -> None:
        for entity in self._run.site.seen(self._run.db, list(self._waiting)):
            self.latencies.append(time.monotonic() - self._waiting.pop(entity))


def cases(arguments: argparse.Namespace) -> Iterator[Case]:
    """Yield what is to be measured."""
    seconds = arguments.seconds
    yield Case("normal", 1, seconds)
    yield Case("normal", 50, seconds)
    yield Case("flips", 50, seconds)
    yield Case("normal", 1, min(seconds, 30.0), rate=1500)
    if arguments.prefix is None:
        yield Case("normal", 50, min(seconds, 15.0), grouping="one process an engine")


def main() -> int:
    """Measure, print, and return 1 when an event was lost or a counter does not balance."""
    arguments = _arguments()
    rows: list[dict[str, Any]] = []
    outside = nullcontext(running_site(arguments.prefix)) if arguments.prefix else own_servers()
    with outside as site:
        raw = raw_kombu.measure(site.amqp)
        print(table([{"kombu alone, 700 bytes": "messages", **raw}]), flush=True)
        kept = filled(site, arguments.stored) if arguments.stored and not arguments.prefix else site
        for case in cases(arguments):
            if arguments.only and arguments.only not in f"{case.title()} {case.grouping}":
                continue
            rows.append(_measure(kept, case, arguments))
            print(table([_shown(rows[-1])]), flush=True)
    print()
    print(table([_shown(row) for row in rows]))
    if arguments.json:
        arguments.json.write_text(json.dumps({"kombu": raw, "runs": rows}, indent=1))
    return 0 if all(row["lost"] == 0 and row["balanced"] for row in rows) else 1


def _measure(site: Site, case: Case, arguments: argparse.Namespace) -> dict[str, Any]:
    is_default = case.grouping == "two hops"
    chain = site.chain if is_default else grouped_alone(site.chain)
    workers = arguments.workers if is_default else 1
    engines = nullcontext(site) if arguments.prefix else own_engines(site, chain, workers=workers)
    with engines as running, client.opened(running.store) as db:
        running.await_ready(db)
        figures = Run(running, db, case).measure()
        if not arguments.prefix:
            _checkpoint(running)
        return figures | _disk(db)


def _checkpoint(site: Site) -> None:
    """Have the database write all it has into its files: what it has in memory alone has no size there."""
    with client.opened(replace(site.store, timeout=CHECKPOINT_SECONDS)) as db:
        db.client.admin.command("fsync")


def _disk(db: Store) -> dict[str, float]:
    """Return the bytes on disk of an event in the log, indexes too; what merging freed stays in the files, free."""
    (found,) = db[event_log.COLLECTION].aggregate([{"$collStats": {"storageStats": {}}}])
    files = found["storageStats"]
    indexes = [index["block-manager"]["file bytes available for reuse"] for index in files["indexDetails"].values()]
    count = max(event_log.count(db, 0, segments.position(time.time() + 60)), 1)
    free = files["freeStorageSize"] + sum(indexes)
    return {"disk": files["totalSize"] / count, "of it free": free / count}


def _shown(row: dict[str, Any]) -> dict[str, Any]:
    engines = {name: value for name, value in row.items() if name.endswith(" µs")}
    if row["grouping"] == "two hops":
        return row
    alone = sum(
        value for name, value in engines.items() if name not in ("rabbitmq µs", "mongodb µs", "load µs", "all µs")
    )
    kept = {name: value for name, value in row.items() if name not in engines}
    return kept | {
        "rabbitmq µs": row["rabbitmq µs"],
        "mongodb µs": row["mongodb µs"],
        "engines µs": alone,
        "load µs": row["load µs"],
        "all µs": row["all µs"],
    }


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--prefix", type=Path, help="measure the running site in DIR")
    parser.add_argument("--seconds", type=float, default=60.0, help="length of each run (default 60)")
    parser.add_argument("--stored", type=int, default=0, help="store so many events first; all runs keep them")
    parser.add_argument("--workers", type=int, default=1, help="instances of the worker (default 1)")
    parser.add_argument("--only", default="", help="only runs whose name contains this")
    parser.add_argument("--json", type=Path, help="write all figures to this file")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
