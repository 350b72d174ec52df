"""The site at a glance: engine processes, queues, partitions, servers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from flask import Response

from canopsis import __version__
from canopsis.api.endpoints import Call, Resource
from canopsis.api.ports import Server
from canopsis.api.responses import one
from canopsis.errors import StoreError, TransportError
from canopsis.store.operations import Document

resource = Resource("status", service="status")

SILENT_AFTER = 10.0
"""Seconds without a word after which the other instances, and so this page, take an instance for dead."""


@resource.get("/status", "Show engines, queues, partitions and servers. What is away is shown as such.")
def status(call: Call) -> Response:
    """Return the state of the site; answers also while the broker or the database is away."""
    instances = _instances(call)
    servers = call.site.readiness.servers()
    return one(
        {
            "version": __version__,
            "healthy": not any(server.error for server in servers) and any(each["alive"] for each in instances),
            "servers": [_shown(server) for server in servers],
            "engines": instances,
            "sources": _sources(instances),
            "partitions": _partitions(instances),
            "queues": _queues(call),
        }
    )


def _instances(call: Call) -> list[Document]:
    try:
        found = call.backend.records.instances()
    except StoreError:
        return []
    return [each | {"alive": each["age"] <= SILENT_AFTER} for each in found]


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


def _queues(call: Call) -> list[dict[str, Any]]:
    try:
        depths = call.backend.broker.depths(call.site.settings.queues)
    except TransportError:
        return []
    return [{"name": name, "messages": depth, "exists": depth is not None} for name, depth in depths.items()]


def _shown(server: Server) -> dict[str, Any]:
    return {
        "name": server.name,
        "hosts": server.hosts,
        "version": server.version,
        "reachable": not server.error,
        "error": server.error,
    }
