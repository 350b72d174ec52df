"""Real input from the first minute: this host's CPU and memory, and the engines' own figures."""

from __future__ import annotations

import socket
import time
from pathlib import Path
from urllib.parse import quote

import pytest
from local_site import LocalSite, eventually

HOST = socket.gethostname()
FRESH = 120.0
"""Seconds that a point may be old."""

ENGINES = ("cleaner_events", "event_filter", "context", "alarm", "perfdata", "eventstore", "collectdgw", "dead_letters")
OWN = {"cps_evt_per_sec", "cps_sec_per_evt", "cps_queue_depth", "cps_in", "cps_forwarded", "cps_dropped", "cps_dead"}


def points(site: LocalSite, entity: str, metric: str) -> list[list[float]]:
    """Return the points of a metric, by the command of the README."""
    path = f"/api/v1/metrics/{quote(entity, safe='')}/{quote(metric, safe='')}"
    done = site.command("canopsis", "api", "GET", path)
    return [] if done.code else site.good_json("canopsis", "api", "GET", path)["data"]


def newest(site: LocalSite, entity: str, metric: str) -> list[float] | None:
    """Return the last point of a metric, None while there is none that is fresh: a test before may have stopped it."""
    found = points(site, entity, metric)[-1:]
    return found[0] if found and found[0][0] > time.time() - FRESH else None


def series(site: LocalSite, search: str) -> list[tuple[str, str]]:
    """Return entity and name of the metrics whose entity or name has ``search`` in it."""
    found = site.listed("metrics", search=search, limit=200)
    return [(each["entity_id"], each["metric"]) for each in found]


@pytest.mark.parametrize(("word", "low", "high"), [("cpu", 0.0, 1e6), ("memory", 0.0, 1e15), ("shortterm", 0.0, 1e4)])
def test_collectd_watches_this_host(steady: LocalSite, word: str, low: float, high: float) -> None:
    found = eventually(lambda: series(steady, word), 120, f"collectd's {word} is listed")
    entity, metric = found[0]
    assert HOST in entity, f"{entity} is not of this host"
    when, value = eventually(lambda: newest(steady, entity, metric), 120, f"a fresh point of {entity} {metric}")
    assert when <= time.time() + 5
    assert low <= value <= high


def test_memory_in_use_is_this_hosts(steady: LocalSite) -> None:
    found = eventually(lambda: series(steady, "memory"), 120, "collectd's memory is listed")
    total = sum(points(steady, entity, metric)[-1][1] for entity, metric in found if points(steady, entity, metric))
    real = 1024 * int(Path("/proc/meminfo").read_text().split()[1])
    assert 0.5 * real < total < 1.5 * real


@pytest.mark.parametrize("engine", ENGINES)
def test_engines_watch_themselves(steady: LocalSite, engine: str) -> None:
    entity = f"resource:{HOST}/Engine_{engine}"

    def names() -> set[str]:
        return {each["metric"] for each in steady.listed("metrics", entity_id=entity)}

    eventually(lambda: names() >= OWN, 60, f"metrics of {entity}")
    when, _ = eventually(lambda: newest(steady, entity, "cps_in"), 120, f"a fresh point of {entity} cps_in")
    assert when <= time.time() + 5
