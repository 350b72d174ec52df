"""Membership of a RabbitMQ cluster: what was observed, what is wanted → ordered steps, or a refusal with its reason.

Pure. No host is special by its position: an existing cluster is found wherever it is.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

REPLICAS = 3
"""Nodes that hold a quorum queue, as RabbitMQ itself begins with."""

_FORCES_SHRINK = (3, 12)
_SHRINK_BY_FORCE = "rabbit_quorum_queue:force_all_queues_shrink_member_to_current_member()"

Queue = tuple[str, str]
"""Virtual host and name."""


@dataclass(frozen=True)
class Node:
    """What one wanted node says of itself. All but ``name`` is empty while it does not run.

    ``members`` are all nodes of its cluster, itself included, ``up`` those of them that run. Of a node that
    stands alone ``queues`` and ``users`` are what it would lose; ``users`` are those that the role does not make.
    """

    name: str
    running: bool = True
    members: tuple[str, ...] = ()
    up: tuple[str, ...] = ()
    cluster_name: str = ""
    queues: int = 0
    version: str = ""
    users: tuple[str, ...] = ()

    @property
    def alone(self) -> bool:
        """Whether it is in no cluster with others."""
        return len(self.members) < 2

    @property
    def holds(self) -> str:
        """What it would lose by joining, as an operator reads it; empty when nothing."""
        parts = [f"{self.queues} queues"] if self.queues else []
        parts += [f"users {', '.join(self.users)}"] if self.users else []
        return " and ".join(parts)


@dataclass(frozen=True)
class Queues:
    """Nodes by queue. ``quorum`` queues can grow; of ``classic`` ones only copies in step count.

    ``silent`` are those of a quorum queue's nodes that run while its replica there does not.
    """

    quorum: Mapping[Queue, tuple[str, ...]] = field(default_factory=dict)
    classic: Mapping[Queue, tuple[str, ...]] = field(default_factory=dict)
    silent: Mapping[Queue, tuple[str, ...]] = field(default_factory=dict)


@dataclass(frozen=True)
class Step:
    """One thing to do, ``through`` a running member.

    ``revive`` the replicas of ``queues`` on it, ``forget`` a node that was wiped, ``join`` it, ``grow`` the ``queues``
    to it, ``shrink`` all queues from it, ``expel`` it, or ``drop`` the ``queues`` that died with others.
    """

    action: str
    node: str
    through: str
    queues: tuple[Queue, ...] = ()

    def text(self) -> str:
        """Return the step as an operator reads it."""
        if self.action == "drop":
            return f"drop {', '.join(name for _, name in self.queues)}, whose copies are lost (through {self.through})"
        where = {"revive": "on"}.get(self.action, "to")
        what = f"{self.action} {len(self.queues)} quorum queues {where}" if self.queues else self.action
        return f"{what} {self.node} (through {self.through})"


@dataclass(frozen=True)
class Plan:
    """Ordered steps, or a ``refusal``; ``notes`` report what is left as it is."""

    steps: tuple[Step, ...] = ()
    refusal: str = ""
    notes: tuple[str, ...] = field(default=())


def plan(
    cluster_name: str, observed: Sequence[Node], reset: Collection[str] = (), queues: Queues | None = None
) -> Plan:
    """Return what brings ``observed`` (every wanted node) into one cluster, its ``queues`` spread over it.

    A node that holds something of its own is only taken in, and so emptied, when ``reset`` names it.
    """
    seed = seed_of(observed, reset)
    if seed is None:
        return Plan(refusal="no broker runs: see var/log/rabbitmq/ of each, and playbooks/recover.yml")
    running = sorted((node for node in observed if node.running), key=lambda node: node.name)
    refusal = _refuse_clusters(cluster_name, running, reset) or _refuse_nodes(observed, running, seed, reset)
    if refusal:
        return Plan(refusal=refusal)
    outside = _outside(running, seed)
    steps = _revival(queues or Queues(), seed)
    steps += [step for node in outside for step in _take_in(node, seed)]
    joined = [node.name for node in outside]
    steps += _growth(queues or Queues(), [*(set(seed.up) - set(joined)), *joined], seed.name, joined)
    return Plan(tuple(steps), notes=_notes(observed, seed))


def seed_of(observed: Sequence[Node], reset: Collection[str] = ()) -> Node | None:
    """Return the member others join: of a cluster before one alone, one that holds something before a blank one."""
    running = [node for node in observed if node.running]
    key = lambda node: (node.name in reset, node.alone, not node.holds, node.name)  # noqa: E731
    return min(running, key=key, default=None)


def _outside(running: Sequence[Node], seed: Node) -> list[Node]:
    return [node for node in running if node is not seed and seed.name not in node.members]


def _refuse_clusters(cluster_name: str, running: Sequence[Node], reset: Collection[str]) -> str:
    foreign = next((node for node in running if node.cluster_name != cluster_name), None)
    if foreign:
        return (
            f"{foreign.name} is in the cluster {foreign.cluster_name}, not {cluster_name}: "
            "take it out of that cluster or change rabbitmq_cluster_name"
        )
    clusters = {frozenset(node.members) for node in running if not node.alone and node.name not in reset}
    apart = [a for a in clusters if any(not a & b for b in clusters)]
    if apart:
        named = "; ".join(", ".join(sorted(members)) for members in sorted(apart, key=sorted))
        return (
            f"two clusters called {cluster_name}: {named}. Name all nodes of the one to give up in "
            "rabbitmq_reset_hosts (its messages are lost), or see playbooks/recover.yml"
        )
    return ""


def _refuse_nodes(observed: Sequence[Node], running: Sequence[Node], seed: Node, reset: Collection[str]) -> str:
    away = [node.name for node in observed if not node.running and node.name not in seed.members]
    if away:
        return f"{', '.join(away)} cannot be reached: see var/log/rabbitmq/ there, and that its name resolves"
    outside = _outside(running, seed)
    full = [node for node in outside if node.holds and node.name not in reset]
    if full:
        counts = ", ".join(f"{node.name} ({node.holds})" for node in full)
        return f"{counts} would lose what they hold by joining {seed.name}: name them in rabbitmq_reset_hosts to agree"
    other = next((node for node in outside if _series(node) != _series(seed)), None)
    if other:
        return (
            f"{other.name} runs RabbitMQ {other.version} and {seed.name} {seed.version}: "
            "all nodes of a cluster need the same series"
        )
    return ""


def _series(node: Node) -> str:
    return node.version.split(".", 1)[0]


def _take_in(node: Node, seed: Node) -> list[Step]:
    join = Step("join", node.name, seed.name)
    return [Step("forget", node.name, seed.name), join] if node.name in seed.members else [join]


def _notes(observed: Sequence[Node], seed: Node) -> tuple[str, ...]:
    wanted = {node.name for node in observed}
    stray = [
        f"{name} is still a member but in no inventory group; it stays until it is removed"
        for name in sorted(set(seed.members) - wanted)
    ]
    down = [f"{node.name} is a member and does not run" for node in observed if not node.running]
    return (*stray, *down)


def revival(queues: Queues, running: Collection[str]) -> dict[str, tuple[Queue, ...]]:
    """Return the quorum queues whose replica on each of the ``running`` nodes does not run: RabbitMQ gave it up.

    Without it a queue has one replica less than it seems, and may be without a majority when a node goes.
    """
    found: dict[str, list[Queue]] = {}
    for queue, nodes in sorted(queues.silent.items()):
        for node in set(nodes) & set(running):
            found.setdefault(node, []).append(queue)
    return {node: tuple(found[node]) for node in sorted(found)}


def _revival(queues: Queues, seed: Node) -> list[Step]:
    return [Step("revive", node, seed.name, dead) for node, dead in revival(queues, seed.up).items()]


def growth(queues: Queues, running: Collection[str], fresh: Collection[str] = ()) -> dict[str, tuple[Queue, ...]]:
    """Return the quorum queues that each of the ``running`` nodes has to take, so that each queue has its replicas.

    What ``fresh`` nodes held before does not count. Nodes with the fewest replicas take first.
    """
    held = {queue: {node for node in nodes if node not in fresh} for queue, nodes in queues.quorum.items()}
    load = Counter(dict.fromkeys(running, 0))
    load.update(node for nodes in held.values() for node in nodes if node in load)
    taken: dict[str, list[Queue]] = {}
    for queue in sorted(held):
        able = sorted((node for node in running if node not in held[queue]), key=lambda node: (load[node], node))
        for node in able[: max(0, min(REPLICAS, len(running)) - len(held[queue]))]:
            load[node] += 1
            taken.setdefault(node, []).append(queue)
    return {node: tuple(taken[node]) for node in sorted(taken)}


def _growth(queues: Queues, running: Collection[str], through: str, fresh: Collection[str] = ()) -> list[Step]:
    return [Step("grow", node, through, taken) for node, taken in growth(queues, running, fresh).items()]


def plan_removal(seed: Node, targets: Iterable[str], queues: Queues | None = None) -> Plan:
    """Return what makes ``targets`` leave the cluster of ``seed``, one after the other.

    Refuses when the last member or ``seed`` itself would go, when fewer than half of those that stay run, or when
    a queue without a copy elsewhere would go with a node that runs.
    """
    whole = Plan(tuple(_revival(queues or Queues(), seed)))
    for target in targets:
        one = _remove(seed, target, queues or Queues())
        if one.refusal:
            return one
        whole = Plan((*whole.steps, *one.steps), notes=(*whole.notes, *one.notes))
        seed = replace(seed, members=_without(seed.members, target), up=_without(seed.up, target))
        queues = _after(queues or Queues(), target, seed.up)
    return whole


def _without(names: Iterable[str], target: str) -> tuple[str, ...]:
    return tuple(name for name in names if name != target)


def _remove(seed: Node, target: str, queues: Queues) -> Plan:
    if target not in seed.members:
        return Plan(notes=(f"{target} is no member",))
    refusal = _refuse_removal(seed, target, queues)
    if refusal:
        return Plan(refusal=refusal)
    left = Queues({queue: _without(nodes, target) for queue, nodes in queues.quorum.items()})
    # Queues grow before they shrink: none is ever held by fewer nodes than after.
    grow = _growth(left, _without(seed.up, target), seed.name)
    shrink = [Step("shrink", target, seed.name)] if any(target in nodes for nodes in queues.quorum.values()) else []
    return Plan((*grow, *shrink, Step("expel", target, seed.name)))


def _refuse_removal(seed: Node, target: str, queues: Queues) -> str:
    staying = _without(seed.members, target)
    if not staying:
        return f"{target} is the last broker: without it no event is taken. playbooks/uninstall.yml removes a site"
    if target == seed.name:
        return f"{target} cannot expel itself: run this on a host that stays"
    down = sorted(set(staying) - set(seed.up))
    if (len(staying) - len(down)) * 2 <= len(staying):
        return f"without {target} too few brokers run, {', '.join(down)} being down: bring them back first"
    sole = sorted(name for (_, name), nodes in queues.classic.items() if set(nodes) == {target})
    if sole and target in seed.up:
        return f"{', '.join(sole)} would go with {target}, no other broker has a copy: empty and delete them first"
    return ""


def _after(queues: Queues, target: str, up: Collection[str]) -> Queues:
    """Return the quorum queues once ``target`` has left and the others have grown."""
    left = Queues({queue: _without(nodes, target) for queue, nodes in queues.quorum.items()}, queues.classic)
    held = {queue: list(nodes) for queue, nodes in left.quorum.items()}
    for node, taken in growth(left, up).items():
        for queue in taken:
            held[queue].append(node)
    return Queues({queue: tuple(nodes) for queue, nodes in held.items()}, left.classic)


def plan_loss(observed: Sequence[Node], lost: Collection[str], queues: Queues | None = None) -> Plan:
    """Return what lets the running members go on without those that are ``lost`` for good.

    Quorum queues of which half of the replicas or more are lost are dropped with what is in them; engines declare
    them anew. Refuses where a ``lost`` node runs in the cluster, or where RabbitMQ can keep what is left of the queues.
    """
    seed = seed_of(observed)
    if seed is None:
        return Plan(refusal="no broker runs: one that is not lost has to boot first")
    alive = sorted(set(lost) & set(seed.up))
    if alive:
        return Plan(refusal=f"{', '.join(alive)} runs in the cluster of {seed.name}: take it out with expel")
    gone = sorted(set(lost) & set(seed.members))
    dead = tuple(sorted(queue for queue, nodes in (queues or Queues()).quorum.items() if _is_dead(nodes, gone)))
    if dead and _release(seed) >= _FORCES_SHRINK:
        return Plan(
            refusal=f"{', '.join(name for _, name in dead)} lost most of their copies; what {seed.name} has stays. "
            f"On its host run rabbitmqctl eval '{_SHRINK_BY_FORCE}.', then this again"
        )
    drop = [Step("drop", seed.name, seed.name, dead)] if dead else []
    return Plan((*drop, *(Step("forget", node, seed.name) for node in gone)))


def _is_dead(nodes: Sequence[str], gone: Collection[str]) -> bool:
    return (len(nodes) - sum(node in gone for node in nodes)) * 2 <= len(nodes)


def _release(node: Node) -> tuple[int, ...]:
    return tuple(int(part) for part in node.version.split(".")[:2] if part.isdigit())


def force_choice(seen: Mapping[str, Mapping[str, object]]) -> str:
    """Return the node that is to boot without the others, '' when one runs or none has data.

    ``seen`` by node name: ``running``, ``peers`` (nodes that ran when this one stopped, None without data) and
    ``written`` (seconds, when its data was last written). Whoever stopped alone was the last and knows most.
    """
    if any(said["running"] for said in seen.values()):
        return ""
    able = {node: said for node, said in seen.items() if isinstance(said["peers"], Sequence)}
    return min(able, key=lambda node: _age(node, able[node]), default="")


def _age(node: str, said: Mapping[str, object]) -> tuple[int, float, str]:
    peers, written = said["peers"], said["written"]
    count = len(peers) if isinstance(peers, Sequence) else 0
    return count, -(written if isinstance(written, float) else 0.0), node
