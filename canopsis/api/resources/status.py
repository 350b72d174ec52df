"""The site at a glance: what is wrong, engine processes, queues, partitions, servers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict

import msgspec
from flask import Response

from canopsis import __version__
from canopsis.api.endpoints import Call, Resource
from canopsis.api.ports import Look
from canopsis.api.readiness import instance_of
from canopsis.api.responses import one
from canopsis.core import health
from canopsis.store.operations import Document

resource = Resource("status", service="status")


class SiteProblem(msgspec.Struct):
    """One thing that is wrong: how bad, where, what, and what to do about it."""

    severity: health.Severity
    where: str
    what: str
    todo: str


class SiteServer(msgspec.Struct):
    """A server: its hosts, those of them that are away and why, why it does not answer or takes no messages."""

    name: str
    hosts: Sequence[str]
    version: str
    reachable: bool
    error: str
    blocked: str
    away: Mapping[str, str]


class HeldPartition(msgspec.Struct):
    """A partition, and the instance that works on it."""

    process: str
    partition: int
    holder: str


class SiteQueue(msgspec.Struct):
    """A queue of the chain; null where there is none of the name."""

    name: str
    messages: int | None
    consumers: int | None
    exists: bool


class Status(msgspec.Struct):
    """The site. ``engines`` are the instances of its processes, ``sources`` what was counted of each."""

    version: str
    healthy: bool
    state: str
    problems: list[SiteProblem]
    servers: list[SiteServer]
    engines: list[Document]
    sources: list[Document]
    partitions: list[HeldPartition]
    queues: list[SiteQueue]


@resource.get("/status", "Show what is wrong, and engines, queues, partitions and servers.", answer=Status)
def status(call: Call) -> Response:
    """Return the state of the site; answers also while the broker or the database is away."""
    facts, found, look = call.site.readiness.gather()
    instances = [each | {"alive": instance_of(each).alive} for each in found]
    problems = health.problems(facts)
    return one(
        Status(
            version=__version__,
            healthy=not problems,
            state=health.worst(problems),
            problems=[SiteProblem(**asdict(problem)) for problem in problems],
            servers=[_shown(server) for server in facts.servers],
            engines=instances,
            sources=_sources(instances),
            partitions=_partitions(instances),
            queues=_queues(look),
        )
    )


def _sources(instances: Sequence[Document]) -> list[Document]:
    """Return what the engine processes counted by source since they began, summed, the most first."""
    sums: dict[str, dict[str, int]] = {}
    for each in instances:
        for counts in each.get("sources", ()):
            own = sums.setdefault(counts["source"], {})
            for kind, number in counts.items():
                if kind != "source":
                    own[kind] = own.get(kind, 0) + number
    most = sorted(sums.items(), key=lambda item: (-sum(item[1].values()), item[0]))
    return [{"source": name, **counts} for name, counts in most]


def _partitions(instances: Sequence[Document]) -> list[HeldPartition]:
    held = [
        HeldPartition(each["process"], partition, each["_id"])
        for each in instances
        if each["alive"]
        for partition in each.get("partitions", ())
    ]
    return sorted(held, key=lambda each: (each.process, each.partition))


def _queues(look: Look | None) -> list[SiteQueue]:
    found = look.queues if look is not None else {}
    return [
        SiteQueue(name, depth.messages, depth.consumers, exists=True)
        if depth is not None
        else SiteQueue(name, None, None, exists=False)
        for name, depth in found.items()
    ]


def _shown(server: health.Server) -> SiteServer:
    return SiteServer(
        server.name, server.hosts, server.version, not server.error, server.error, server.blocked, server.away
    )
