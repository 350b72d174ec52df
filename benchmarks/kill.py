"""What the chain promises when its parts are killed again and again under load, while a beat merges segments.

Kills the worker, the cleaner, the database and the broker in turn with SIGKILL, and starts each again. In the end every
event that was confirmed must be stored once, and every series must have each of its points once. The exit code says so.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import filling
import site_of_benchmark  # it sets the path of the next ones
from chain_processes import Chain
from feeding import Feed, check
from servers import MongoDB, RabbitMQ

from canopsis.engines.chain import default_chain
from canopsis.ops import wait
from canopsis.store import client, event_log, metrics, migrations, segments
from canopsis.store.client import Store

ENTITIES = 40
AT_ONCE = 10
PACE_SECONDS = 0.02
BEAT_SECONDS = 1.0
SMALL = 20
"""Events of a stored segment: many small ones, for the beat to merge all the while."""

DRAIN_SECONDS = 300.0


@dataclass
class Load:
    """Checks with a value each, some at a time, without end; keeps what was confirmed."""

    feed: Feed
    sent: list[tuple[str, int, float]] = field(default_factory=list)
    """Entity, number and time of each event."""
    _stop: threading.Event = field(default_factory=threading.Event)
    _thread: threading.Thread | None = None

    def start(self) -> None:
        """Send in a thread of its own."""
        self._thread = threading.Thread(target=self._send, daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Wait for the last confirm."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join(DRAIN_SECONDS)
        self.feed.close()

    def _send(self) -> None:
        number = 0
        while not self._stop.wait(PACE_SECONDS):
            part = []
            for _ in range(AT_ONCE):
                part.append((f"kill{number % ENTITIES}", number, round(time.time(), 3)))
                number += 1
            self.feed.events(_event(*each) for each in part)
            self.sent += part


def event_id(number: int) -> str:
    """Return the id of an event by its number."""
    return f"kill-{number:020d}"


def _event(component: str, number: int, moment: float) -> dict[str, Any]:
    values = [{"metric": "n", "value": number}]
    state = number // ENTITIES % 2 * 2
    return check(component, state, event_id=event_id(number), timestamp=moment, perf_data_array=values)


@contextmanager
def killed(arguments: argparse.Namespace) -> Iterator[tuple[Store, Load, set[str]]]:
    """Kill and start again under load; yields the database when all is quiet again, and the ids from before."""
    with tempfile.TemporaryDirectory() as scratch:
        broker, database = site_of_benchmark.servers_in(Path(scratch))
        with database.running(), broker.running(), client.opened(_patient(database)) as db:
            migrations.ensure(db)
            filling.fill(db, arguments.stored, SMALL, beaten=False)
            before = set(_ids(db))
            chain = default_chain()
            chain = replace(chain, engines=tuple(replace(own, beat_interval=BEAT_SECONDS) for own in chain.engines))
            engines = Chain(broker.settings(), database.settings(), Path(scratch), chain)
            engines.start()
            load = Load(Feed(broker.settings()))
            load.start()
            _kill(arguments.times, load, db, _victims(engines, broker, database))
            load.stop()
            _drain(db, len(load.sent))
            yield db, load, before
            engines.stop()


def _patient(database: MongoDB) -> Any:  # noqa: ANN401 - of the servers' own module
    return replace(database.settings(), selection_timeout=60.0, timeout=120.0)


Victims = dict[str, tuple[Callable[[], object], Callable[[], object]]]


def _victims(engines: Chain, broker: RabbitMQ, database: MongoDB) -> Victims:
    """Return how to kill and how to start each."""

    def of_process(name: str) -> tuple[Callable[[], object], Callable[[], object]]:
        def kill() -> None:
            engines.processes[name].kill()

        return kill, lambda: engines.add(name)

    own = {name: of_process(name) for name in ("worker", "cleaner")}
    return own | {"mongodb": (database.kill, database.start), "rabbitmq": (broker.kill, broker.start)}


def _kill(times: int, load: Load, db: Store, victims: Victims) -> None:
    began = time.monotonic()
    for turn in range(times):
        for kill, start in victims.values():
            goal = len(load.sent) + 20 * AT_ONCE
            wait.until(lambda goal=goal: len(load.sent) >= goal, DRAIN_SECONDS)
            kill()
            start()
        small = db[event_log.COLLECTION].count_documents({"n": {"$lte": SMALL}})
        passed = time.monotonic() - began
        print(
            f"{turn + 1} of {times} turns, {len(load.sent):,} events, {small:,} small segments, {passed:.0f} s",
            flush=True,
        )


def _drain(db: Store, count: int) -> None:
    def stored() -> bool:
        return sum(1 for each in _ids(db) if each.startswith("kill-")) >= count

    wait.until(stored, DRAIN_SECONDS)


def _ids(db: Store) -> Iterator[str]:
    for segment in db[event_log.COLLECTION].find({}, {"z": 1}):
        for group in segments.groups(segment):
            for event in group.events:
                yield event.event_id


def faults(db: Store, load: Load, before: set[str]) -> dict[str, int]:
    """Return how many events and points are not as they should be, by what is wrong with them.

    ``before`` are the ids of the events that were stored before anything was killed.
    """
    wanted = {event_id(number) for _, number, _ in load.sent} | before
    found = Counter(each for each in _ids(db) if each in wanted)
    counts = {
        "events lost": len(wanted - found.keys()),
        "events twice": sum(count - 1 for count in found.values()),
        "dead letters": db.dead_letters.count_documents({}),
    }
    return counts | _series(db, load)


def _series(db: Store, load: Load) -> dict[str, int]:
    lost = twice = 0
    for entity in {component for component, _, _ in load.sent}:
        own = {(moment, float(number)) for component, number, moment in load.sent if component == entity}
        first, last = min(own)[0], max(own)[0]
        series = metrics.window(db, f"component:{entity}", "n", first, last + 1)
        points = Counter((round(moment, 3), value) for moment, value in (series.points if series else ()))
        lost += len(own - points.keys())
        twice += sum(count - 1 for count in points.values())
    return {"points lost": lost, "points twice": twice}


def main() -> int:
    """Kill, wait, compare; return 1 when anything is not as it should be."""
    arguments = _arguments()
    with killed(arguments) as (db, load, before):
        found = faults(db, load, before)
        small = db[event_log.COLLECTION].count_documents({"n": {"$lte": SMALL}})
        print(f"{len(load.sent):,} events confirmed, {len(before):,} stored before, {small:,} small segments left")
    for what, count in found.items():
        print(f"{what}: {count}")
    return 1 if any(found.values()) else 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--times", type=int, default=50, help="how often each is killed (default 50)")
    parser.add_argument("--stored", type=int, default=1_000_000, help="events that are stored before (default 1000000)")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
