"""What rules of the event filter cost the chain: without any, with 5,000 of which none matches, with 1,000 that match.

Starts a broker, a database and the engines itself. The runs take turns, and the table says what each costs beside the
chain without rules. The exit code tells whether anything was lost; it never depends on time.
"""

from __future__ import annotations

import argparse
import statistics
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from chain import Case, Run
from figures import table
from load import ENTITIES, RESOURCES
from site_of_benchmark import Site, own_engines, own_servers

from canopsis.core.rules.event_filter import KIND
from canopsis.store import client, rules
from canopsis.store.client import Store
from canopsis.store.operations import Document

NAME = KIND.name

Rules = Callable[[], list[Document]]


def none() -> list[Document]:
    """Return no rules."""
    return []


def strangers() -> list[Document]:
    """Return 5,000 rules for entities that there are not: by names, by expressions, by a number."""
    equal = [drop(number, {"component": f"stranger{number}", "state": {"$gte": 2}}) for number in range(4000)]
    searched = [drop(number, {"output": {"$regex": f"error {number} of disk"}}) for number in range(4000, 4900)]
    compared = [drop(number, {"state": {"$gt": 3}, "size": {"$gt": number}}) for number in range(4900, 5000)]
    return equal + searched + compared


def drop(number: int, pattern: Document) -> Document:
    return {"id": f"rule{number}", "type": "drop", "pattern": pattern}


def acquaintances() -> list[Document]:
    """Return 1,000 rules, each of which enriches the events of one entity."""
    step = ENTITIES // 1000
    return [enrich(number) for number in range(0, ENTITIES, step)]


def enrich(number: int) -> Document:
    component, resource = f"host{number // RESOURCES:04d}.example.org", f"service{number % RESOURCES}"
    actions = [
        {"type": "tags", "add": ["known"]},
        {"type": "template", "field": "infos.where", "template": "{{ component }}"},
    ]
    pattern = {"event_type": "check", "component": component, "resource": resource}
    return {"id": f"rule{number}", "type": "enrich", "pattern": pattern, "actions": actions}


RUNS: dict[str, Rules] = {
    "no rules": none,
    "5,000, none matches": strangers,
    "1,000, each matches one entity": acquaintances,
}


def save(db: Store, documents: list[Document]) -> None:
    """Store rules at once, and have them in force."""
    if documents:
        made = [{"_id": f"{NAME}/{each['id']}", "kind": NAME, "id": each["id"], "rule": each} for each in documents]
        db[rules.COLLECTION].insert_many(made)
        db[rules.VERSIONS].update_one({"_id": NAME}, {"$inc": {"version": 1}}, upsert=True)


def measure(site: Site, make: Rules, seconds: float) -> dict[str, Any]:
    with own_engines(site, site.chain) as running, client.opened(running.store) as db:
        running.await_ready(db)
        save(db, make())
        return Run(running, db, Case("normal", 50, seconds)).measure()


def main() -> int:
    """Measure, print, and return 1 when an event was lost or a counter does not balance."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--seconds", type=float, default=20.0, help="length of each run (default 20)")
    parser.add_argument("--rounds", type=int, default=3, help="how often each is measured (default 3)")
    parser.add_argument("--folder", type=Path, help="where the servers keep their data")
    arguments = parser.parse_args()
    found: dict[str, list[dict[str, Any]]] = {name: [] for name in RUNS}
    with own_servers(arguments.folder) as site:
        for _ in range(arguments.rounds):
            for name, make in RUNS.items():
                found[name].append(measure(site, make, arguments.seconds))
                print(table([{"rules": name, **_shown(found[name][-1])}]), flush=True)
    print()
    print(table(_ratios(found)))
    return 0 if all(row["lost"] == 0 and row["balanced"] for rows in found.values() for row in rows) else 1


def _shown(row: dict[str, Any]) -> dict[str, Any]:
    return {
        name: row[name] for name in ("events/s", "rabbitmq µs", "mongodb µs", "worker µs", "all µs", "lost", "balanced")
    }


def _ratios(found: dict[str, list[dict[str, Any]]]) -> list[dict[str, Any]]:
    """Return the medians of each, and what they are beside those of the chain without rules."""
    names = ("events/s", "mongodb µs", "worker µs", "all µs")
    medians = {
        run: {name: statistics.median(row[name] for row in rows) for name in names} for run, rows in found.items()
    }
    base = medians["no rules"]
    return [
        {"rules": run, **own, **{f"{name} ÷": f"{own[name] / base[name]:.3f}" for name in names}}
        for run, own in medians.items()
    ]


if __name__ == "__main__":
    sys.exit(main())
