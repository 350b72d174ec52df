"""What is wrong with a site, from what its hosts, databases and brokers say. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ansible.module_utils.canopsis_capacity import Finding

WELL = ("primary", "secondary")


@dataclass(frozen=True)
class Report:
    """What one host says; a part that was not asked is None.

    ``status`` is the answer of ``canopsis status --json``, ``members`` states of the replica set by address,
    ``cluster`` the answer of ``rabbitmqctl cluster_status``, ``queues`` that of ``list_queues``.
    ``silent`` says why the host could not be asked.
    """

    status: Mapping[str, Any] | None = None
    members: Mapping[str, str] | None = None
    cluster: Mapping[str, Any] | None = None
    queues: Sequence[Mapping[str, Any]] | None = None
    silent: str = ""


@dataclass(frozen=True)
class Wanted:
    """What the inventory has: members of the replica set as host:port, names of the brokers' nodes."""

    members: tuple[str, ...] = ()
    nodes: tuple[str, ...] = field(default=())


def check(reports: Mapping[str, Report], wanted: Wanted) -> list[Finding]:
    """Return everything that is wrong, each thing once though every host may say it."""
    found: dict[tuple[str, str], Finding] = {}
    for host, report in reports.items():
        for finding in _of_host(host, report, wanted):
            found.setdefault((finding.check, finding.found), finding)
    return list(found.values())


def _of_host(host: str, report: Report, wanted: Wanted) -> Iterator[Finding]:
    if report.silent:
        yield Finding(host, "host", report.silent[:120], "an answer", "the host, its network")
        return
    yield from _programs(host, report.status or {})
    yield from _members(report.members, wanted)
    yield from _nodes(report.cluster, wanted)
    yield from _queues(report.queues, wanted)


def _programs(host: str, status: Mapping[str, Any]) -> Iterator[Finding]:
    for problem in status.get("problems", ()):
        yield Finding(host, "services", str(problem), "no problem", "bin/canopsis status there")


def _members(members: Mapping[str, str] | None, wanted: Wanted) -> Iterator[Finding]:
    if members is None:
        return
    for member in wanted.members:
        state = members.get(member, "not asked")
        if state not in WELL:
            yield Finding(
                member, "member of the replica set", state, "primary or secondary", "var/log/mongodb.log there"
            )
    primaries = [member for member, state in members.items() if state == "primary"]
    if len(primaries) != 1:
        found = f"{len(primaries)} primaries"
        yield Finding("mongodb", "replica set", found, "one", "playbooks/recover.yml when most members are lost")


def _nodes(cluster: Mapping[str, Any] | None, wanted: Wanted) -> Iterator[Finding]:
    if cluster is None:
        return
    running, members = set(cluster["running_nodes"]), set(cluster["disk_nodes"])
    for node in sorted(set(wanted.nodes) | members):
        if node not in members:
            yield Finding(node, "broker", "no member of the cluster", "a member", "site.yml")
        elif node not in running:
            yield Finding(node, "broker", "does not run", "running", "var/log/rabbitmq/ there")
        elif node not in wanted.nodes:
            yield Finding(node, "broker", "a member that no group names", "a host of group rabbitmq", "remove-host.yml")
    if cluster.get("partitions"):
        yield Finding("rabbitmq", "cluster", "it is split", "one cluster", "the network between the brokers")
    for alarm in cluster.get("alarms", ()):
        found = f"alarm {alarm.get('type', alarm)} on {alarm.get('node', '?')}: publishers are held"
        yield Finding("rabbitmq", "cluster", found, "no alarm", "memory and disk there")


def _queues(queues: Sequence[Mapping[str, Any]] | None, wanted: Wanted) -> Iterator[Finding]:
    """Quorum queues with fewer replicas than there are brokers, up to five."""
    needed = min(len(wanted.nodes), 5)
    for queue in queues or ():
        replicas = list(queue.get("online") or ())
        if queue.get("type") == "quorum" and len(replicas) < needed:
            where = ", ".join(map(str, replicas)) or "nowhere"
            yield Finding("rabbitmq", f"queue {queue['name']}", f"replicas online: {where}", str(needed), "site.yml")
