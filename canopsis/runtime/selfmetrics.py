"""The engines as a source of events: each tells its own rates, latency and queue depth."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, get_args

from canopsis.core.event_types.perf import Perf
from canopsis.core.perfdata import PerfData
from canopsis.runtime.bysource import Kind
from canopsis.runtime.counters import Tally

Metric = Literal[
    "cps_evt_per_sec",
    "cps_sec_per_evt",
    "cps_queue_depth",
    "cps_in",
    "cps_forwarded",
    "cps_dropped",
    "cps_dead",
    "cps_latency",
]
METRICS: tuple[Metric, ...] = get_args(Metric)

CONNECTOR, CONNECTOR_NAME = "Engine", "engine"

_UNITS: dict[Metric, str] = {"cps_evt_per_sec": "evt/s", "cps_sec_per_evt": "s", "cps_latency": "s"}


@dataclass(frozen=True, slots=True)
class Reading:
    """An engine's tally at a moment (seconds, monotonic)."""

    at: float
    tally: Tally


def perf_event(engine: str, host: str, instance: int, now: float, values: dict[Metric, float]) -> Perf:
    """Return the event that carries ``values`` of ``engine`` on ``host``."""
    items = [PerfData(metric=name, value=value, unit=_UNITS.get(name)) for name, value in values.items()]
    return _event(f"Engine_{engine}", host, instance, now, items)


def source_event(source: str, host: str, instance: int, now: float, counts: Mapping[Kind, int]) -> Perf:
    """Return the event that carries what was counted of ``source`` by a process on ``host`` since it began."""
    items = [PerfData(metric=f"cps_{kind}", value=float(number)) for kind, number in counts.items()]
    return _event(f"source {source}", host, instance, now, items)


def _event(resource: str, host: str, instance: int, now: float, items: list[PerfData]) -> Perf:
    return Perf(
        connector=CONNECTOR,
        connector_name=CONNECTOR_NAME,
        component=host,
        resource=resource if instance == 1 else f"{resource}-{instance}",
        source_type="resource",
        timestamp=now,
        perf_data_array=items,
    )


def measured(before: Reading, after: Reading, depth: int) -> dict[Metric, float]:
    """Return every metric of the time between two readings; counters are since the process began."""
    events = after.tally.incoming - before.tally.incoming
    spent = after.tally.seconds - before.tally.seconds
    elapsed = after.at - before.at
    return {
        "cps_evt_per_sec": events / elapsed if elapsed > 0 else 0.0,
        "cps_sec_per_evt": spent / events if events else 0.0,
        "cps_queue_depth": float(depth),
        "cps_in": float(after.tally.incoming),
        "cps_forwarded": float(after.tally.forwarded),
        "cps_dropped": float(after.tally.dropped),
        "cps_dead": float(after.tally.dead),
        "cps_latency": after.tally.latency,
    }
