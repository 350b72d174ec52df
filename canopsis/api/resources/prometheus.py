"""Figures of the site for Prometheus: what engines did, what waits, which alarms are open, what is away."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Literal

from flask import Response, request
from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.exposition import choose_encoder
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from canopsis import __version__
from canopsis.api.endpoints import Call, Resource
from canopsis.api.readiness import Counts
from canopsis.core import health
from canopsis.core.health import Facts
from canopsis.core.status import STATES
from canopsis.errors import StoreError
from canopsis.store.operations import Document

resource = Resource("prometheus", service="prometheus", prefix="")

MEDIA = "text/plain"
"""The media type of the answer, unless a scraper asks for OpenMetrics."""

Sample = tuple[tuple[str, ...], float]


@dataclass(frozen=True, slots=True)
class Seen:
    """What is known of the site. ``counts`` are None while the database is away."""

    facts: Facts
    instances: Sequence[Document] = ()
    counts: Counts | None = None


@dataclass(frozen=True, slots=True)
class Figure:
    """One metric: its name without ``canopsis_``, what it tells, its labels; ``read`` yields label values and value."""

    name: str
    kind: Literal["counter", "gauge"]
    tells: str
    labels: tuple[str, ...] = field(kw_only=True, default=())
    read: Callable[[Seen], Iterator[Sample]] = field(kw_only=True)

    @property
    def metric(self) -> str:
        """The name as Prometheus shows it."""
        return f"canopsis_{self.name}" + ("_total" if self.kind == "counter" else "")

    def family(self, seen: Seen) -> Metric:
        """Return the metric with its values."""
        kind = CounterMetricFamily if self.kind == "counter" else GaugeMetricFamily
        found = kind(f"canopsis_{self.name}", self.tells, labels=self.labels)
        for labels, value in self.read(seen):
            found.add_metric(labels, value)
        return found


def _build(_seen: Seen) -> Iterator[Sample]:
    yield (__version__,), 1.0


def _servers(seen: Seen) -> Iterator[Sample]:
    for server in seen.facts.servers:
        yield (server.name,), float(not server.error and not server.blocked)


def _problems(seen: Seen) -> Iterator[Sample]:
    found = Counter(problem.severity for problem in health.problems(seen.facts))
    for severity in health.SEVERITIES:
        yield (severity,), float(found[severity])


def _alive(seen: Seen) -> Iterator[Sample]:
    for each in seen.facts.instances or ():
        yield (each.process, each.id), float(each.running)


def _partitions(seen: Seen) -> Iterator[Sample]:
    for process in seen.facts.chain:
        if process.partitions:
            held = {number for each in seen.facts.of_process(process.name) if each.alive for number in each.partitions}
            yield (process.name,), float(process.partitions - len(held))


def _counted(*fields: str) -> Callable[[Seen], Iterator[Sample]]:
    """Return what yields these counters of each engine of each instance; several are told apart by a label."""

    def read(seen: Seen) -> Iterator[Sample]:
        for each in seen.instances:
            for engine, tally in (each.get("counters") or {}).items():
                for name in fields:
                    labels = (str(each["_id"]), engine)
                    yield (labels if len(fields) == 1 else (*labels, name)), float(tally.get(name, 0))

    return read


def _sources(seen: Seen) -> Iterator[Sample]:
    sums: Counter[tuple[str, str]] = Counter()
    for each in seen.instances:
        for counts in each.get("sources") or ():
            sums.update({(counts["source"], kind): number for kind, number in counts.items() if kind != "source"})
    for labels, number in sorted(sums.items()):
        yield labels, float(number)


def _messages(seen: Seen) -> Iterator[Sample]:
    for queue in seen.facts.queues or ():
        if queue.messages is not None:
            yield (queue.name,), float(queue.messages)


def _consumers(seen: Seen) -> Iterator[Sample]:
    for queue in seen.facts.queues or ():
        yield (queue.name,), float(queue.consumers)


def _open(seen: Seen) -> Iterator[Sample]:
    if seen.counts is not None:
        counts = {(each.state, each.acknowledged, each.snoozed): each.count for each in seen.counts.alarms}
        for number, state in enumerate(STATES):
            for flags in ((False, False), (False, True), (True, False), (True, True)):
                yield (state, *(str(flag).lower() for flag in flags)), float(counts.get((number, *flags), 0))


def _letters(seen: Seen) -> Iterator[Sample]:
    if seen.facts.instances is not None:
        yield (), float(seen.facts.letters.count)


def _waiting(seen: Seen) -> Iterator[Sample]:
    if seen.counts is not None:
        yield (), float(seen.counts.notifications)


FIGURES = (
    Figure("build_info", "gauge", "The version of Canopsis; always 1.", labels=("version",), read=_build),
    Figure(
        "server_up", "gauge", "Whether database and broker answer and take work.", labels=("server",), read=_servers
    ),
    Figure("problems", "gauge", "What is wrong, as status tells it.", labels=("severity",), read=_problems),
    Figure("instance_up", "gauge", "Whether an engine process works.", labels=("process", "instance_id"), read=_alive),
    Figure(
        "partitions_unread", "gauge", "Partitions that no instance works on.", labels=("process",), read=_partitions
    ),
    Figure(
        "engine_events_in",
        "counter",
        "Events that an engine took.",
        labels=("instance_id", "engine"),
        read=_counted("in"),
    ),
    Figure(
        "engine_events",
        "counter",
        "What became of the events that an engine took.",
        labels=("instance_id", "engine", "outcome"),
        read=_counted("forwarded", "dropped", "dead"),
    ),
    Figure(
        "engine_seconds",
        "counter",
        "Seconds that an engine spent on events.",
        labels=("instance_id", "engine"),
        read=_counted("seconds"),
    ),
    Figure(
        "source_events",
        "counter",
        "Events that something was wrong with, by source: warnings, refused, late, repeated.",
        labels=("source", "kind"),
        read=_sources,
    ),
    Figure("queue_messages", "gauge", "Messages that wait in a queue.", labels=("queue",), read=_messages),
    Figure("queue_consumers", "gauge", "Who reads a queue.", labels=("queue",), read=_consumers),
    Figure(
        "alarms_open",
        "gauge",
        "Open alarms, at most ten seconds ago.",
        labels=("state", "acknowledged", "snoozed"),
        read=_open,
    ),
    Figure("dead_letters_recent", "gauge", "Dead letters of the last five minutes.", read=_letters),
    Figure("notifications_waiting", "gauge", "Notifications that are not sent yet.", read=_waiting),
)
"""Every metric there is."""


class _Site(Collector):
    """What one scrape sees."""

    def __init__(self, seen: Seen) -> None:
        self._seen = seen

    def collect(self) -> Iterator[Metric]:
        for figure in FIGURES:
            yield figure.family(self._seen)


@resource.get("/metrics", "Show figures of the site for Prometheus.", answer=str, media=MEDIA)
def metrics(call: Call) -> Response:
    """Return all figures; answers also while the broker or the database is away, with what is known then."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Site(_look(call)))
    encode, kind = choose_encoder(request.headers.get("Accept", ""))
    return Response(encode(registry), content_type=kind)


def _look(call: Call) -> Seen:
    facts, instances, _ = call.site.readiness.gather()
    try:
        return Seen(facts, instances, call.site.readiness.counts())
    except StoreError:
        return Seen(facts, instances)
