"""The site at a glance: what is wrong, engine processes, queues, partitions, servers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from flask import Response

from canopsis import __version__
from canopsis.api.endpoints import Call, Resource
from canopsis.api.ports import Look
from canopsis.api.readiness import instance_of
from canopsis.api.responses import one
from canopsis.core import health
from canopsis.store.operations import Document

resource = Resource("status", service="status")


@resource.get("/status", "Show what is wrong, and engines, queues, partitions and servers.")
def status(call: Call) -> Response:
    """Return the state of the site; answers also while the broker or the database is away."""
    facts, found, look = call.site.readiness.gather()
    instances = [each | {"alive": instance_of(each).alive} for each in found]
    problems = health.problems(facts)
    return one(
        {
            "version": __version__,
            "healthy": not problems,
            "state": health.worst(problems),
            "problems": [asdict(problem) for problem in problems],
            "servers": [_shown(server) for server in facts.servers],
            "engines": instances,
            "sources": _sources(instances),
            "partitions": _partitions(instances),
            "queues": _queues(look),
        }
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


def _partitions(instances: Sequence[Document]) -> list[Document]:
    held: list[Document] = [
        {"process": each["process"], "partition": partition, "holder": each["_id"]}
        for each in instances
        if each["alive"]
        for partition in each.get("partitions", ())
    ]
    return sorted(held, key=lambda each: (each["process"], each["partition"]))


def _queues(look: Look | None) -> list[dict[str, Any]]:
    found = look.queues if look is not None else {}
    return [
        {
            "name": name,
            "messages": depth.messages if depth is not None else None,
            "consumers": depth.consumers if depth is not None else None,
            "exists": depth is not None,
        }
        for name, depth in found.items()
    ]


def _shown(server: health.Server) -> dict[str, Any]:
    return {
        "name": server.name,
        "hosts": server.hosts,
        "version": server.version,
        "reachable": not server.error,
        "error": server.error,
        "blocked": server.blocked,
        "away": server.away,
    }
