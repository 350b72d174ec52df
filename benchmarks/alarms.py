"""What a change of an alarm costs: of one that changes 100,000 times, and of many that flip.

Starts a database itself. Prints CPU microseconds a change of the worker's alarm engine and event log, and
of the database, and the size of the alarm's document, after so many changes.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from figures import cpu_seconds, listeners, table

from canopsis.core.event import Event
from canopsis.core.normalise import normalise
from canopsis.engines.alarm import AlarmEngine, AlarmOptions
from canopsis.engines.eventstore import EventStore
from canopsis.runtime.context import StoreContext
from canopsis.runtime.contract import Batch
from canopsis.runtime.health import Health
from canopsis.runtime.safe import SafeStore
from canopsis.store import client, migrations
from canopsis.store.client import Store

_SERVERS = Path(__file__).parents[1] / "tests" / "servers"
sys.path[:0] = [str(_SERVERS)]

FLIPPING = 2000
"""Entities of the run in which every event flips the alarm of its entity."""


def main() -> int:
    """Measure and print."""
    arguments = _arguments()
    import servers  # noqa: PLC0415 - found by the path above

    with tempfile.TemporaryDirectory() as folder:
        database = servers.MongoDB(Path(folder) / "mongodb")
        database.start()
        try:
            with client.opened(replace(database.settings(), database="alarms")) as db:
                migrations.ensure(db)
                port = database.settings().hosts[0][1]
                print(table(list(_rows(db, port, arguments.changes, arguments.batch))))
        finally:
            database.stop()
    return 0


def _rows(db: Store, port: int, changes: int, batch: int) -> Iterator[dict[str, Any]]:
    worker = Worker(db, port)
    flips = changes // 5
    for begin in range(0, flips, flips // 4):
        events = [_check(f"c{at % FLIPPING}", at, at // FLIPPING % 2 * 2) for at in range(begin, begin + flips // 4)]
        yield {"run": f"{FLIPPING} alarms flip", "changes": begin + flips // 4} | worker.measure(events, batch)
    done = 0
    for share in (0.01, 0.1, 0.4, 0.7, 1.0):
        target = int(changes * share)
        events = [_check("one", at, at % 2 + 1) for at in range(done, target)]
        done = target
        yield {"run": "one alarm", "changes": done} | worker.measure(events, batch) | {"bytes": _size(db)}


class Worker:
    """The alarm engine and the event log of a worker, over a real database."""

    def __init__(self, db: Store, port: int) -> None:
        self._db, self._port = db, port
        self._engine, self._log = AlarmEngine(AlarmOptions(), 8), EventStore()
        self._store = SafeStore(db, threading.Event(), Health())

    def measure(self, events: list[Event], batch: int) -> dict[str, Any]:
        """Work through ``events``; return CPU microseconds an event."""
        before, own = cpu_seconds(listeners(self._port)), time.process_time()
        for begin in range(0, len(events), batch):
            ctx = StoreContext(self._db)
            effects = self._engine.process(Batch(events[begin : begin + batch]), ctx)
            writes = effects.write | self._log.process(Batch(effects.forward), ctx).write
            self._store.write(writes, lambda: None)
        own, server = time.process_time() - own, cpu_seconds(listeners(self._port)) - before
        own, server = (round(seconds / len(events) * 1e6) for seconds in (own, server))
        return {"worker µs": own, "mongodb µs": server, "bytes": 0}


def _check(component: str, at: int, state: int) -> Event:
    now = time.time()
    raw = {"connector": "bench", "connector_name": "alarms", "component": component, "state": state}
    return normalise(raw | {"timestamp": now, "event_id": f"{component}-{at}", "output": f"is {state} now"}, now)


def _size(db: Store) -> int:
    stages = [{"$match": {"component": "one"}}, {"$project": {"size": {"$bsonSize": "$$ROOT"}}}]
    return int(next(iter(db["alarms"].aggregate(stages)))["size"])


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--changes", type=int, default=100_000, help="changes of the one alarm (default 100,000)")
    parser.add_argument("--batch", type=int, default=200, help="events a batch (default 200)")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
