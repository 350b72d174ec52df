#!/usr/bin/python
"""Make brokers one cluster, or take one out of it."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.canopsis_rabbitmq_cluster import (
    Node,
    Plan,
    Queues,
    Step,
    growth,
    plan,
    plan_loss,
    plan_removal,
    revival,
    seed_of,
)
from ansible.module_utils.canopsis_wait import await_true

DOCUMENTATION = r"""
---
module: canopsis_rabbitmq_cluster
short_description: Membership of a RabbitMQ cluster by desired state
description:
  - Observes every node, plans, then acts or refuses with the reason. No node is special by its position.
  - Speaks to every node through rabbitmqctl, by the cookie that all of them share; runs on any host with a broker.
options:
  name: {description: Name of the cluster., type: str, required: true}
  nodes: {description: Names of all wanted nodes., type: list, elements: str, required: true}
  local: {description: Name of the node on this host., type: str, required: true}
  tools: {description: Folder of rabbitmqctl and rabbitmq-queues., type: path, required: true}
  awaited: {description: Nodes that were started and must run., type: list, elements: str, default: []}
  users: {description: Users that a node may lose by joining., type: list, elements: str, default: []}
  reset: {description: Nodes that may lose what they hold by joining., type: list, elements: str, default: []}
  expelled: {description: Nodes to take out; nothing joins then., type: list, elements: str, default: []}
  lost: {description: Nodes that never come back; nothing joins then., type: list, elements: str, default: []}
  data: {description: Folder of the nodes' data; for the state seen., type: path, default: ''}
  state:
    description: C(seen) only waits for the node on this host and tells whether it runs and when it stopped.
    type: str
    choices: [joined, seen]
    default: joined
  timeout: {description: Seconds to wait for a node., type: float, default: 90}
author: [Canopsis]
"""

EXAMPLES = r"""
- name: Have one cluster
  canopsis_rabbitmq_cluster:
    name: canopsis
    nodes: [rabbit@one, rabbit@two, rabbit@three]
    local: rabbit@one
    tools: /opt/canopsis/opt/rabbitmq-server/current/sbin
"""

RETURN = r"""
steps:
  description: What was done.
  type: list
  elements: str
  returned: always
notes:
  description: What was found and left as it is.
  type: list
  elements: str
  returned: always
seen:
  description: Of the node on this host C(running), C(peers) that ran when it stopped, when its data was C(written).
  type: dict
  returned: for the state seen
"""

_NAMES = {"type": "list", "elements": "str", "default": []}
ARGUMENTS: dict[str, Any] = {
    "name": {"type": "str", "required": True},
    "nodes": {"type": "list", "elements": "str", "required": True},
    "local": {"type": "str", "required": True},
    "tools": {"type": "path", "required": True},
    "awaited": _NAMES,
    "users": _NAMES,
    "reset": _NAMES,
    "expelled": _NAMES,
    "lost": _NAMES,
    "data": {"type": "path", "default": ""},
    "state": {"type": "str", "choices": ["joined", "seen"], "default": "joined"},
    "timeout": {"type": "float", "default": 90},
}
COMMAND_SECONDS = 180.0
PAUSE = 0.2
# Every queue of the node as [virtual host, name, type, nodes]; of a classic one the nodes with an up-to-date copy.
# Queues that go with their connection are nobody's loss.
_QUEUES = """
[[element(2, amqqueue:get_name(Q)), element(4, amqqueue:get_name(Q)), atom_to_binary(amqqueue:get_type(Q), utf8),
  case amqqueue:get_type(Q) of
    rabbit_quorum_queue -> maps:get(nodes, amqqueue:get_type_state(Q));
    _ -> [node(P) || P <- [amqqueue:get_pid(Q)] ++ case erlang:function_exported(amqqueue, get_sync_slave_pids, 1) of
           true -> case apply(amqqueue, get_sync_slave_pids, [Q]) of L when is_list(L) -> L; _ -> [] end;
           false -> [] end, is_pid(P)]
  end] || Q <- rabbit_amqqueue:list(), amqqueue:is_durable(Q), amqqueue:get_exclusive_owner(Q) =:= none]
"""
# [virtual host, name, node] of each replica of a quorum queue that does not run on a node that does.
_SILENT = """
[[element(2, amqqueue:get_name(Q)), element(4, amqqueue:get_name(Q)), N] || Q <- rabbit_amqqueue:list(),
  amqqueue:get_type(Q) =:= rabbit_quorum_queue, N <- maps:get(nodes, amqqueue:get_type_state(Q)),
  lists:member(N, [node() | nodes()]), rpc:call(N, erlang, whereis, [element(1, amqqueue:get_pid(Q))]) =:= undefined]
"""
# RabbitMQ gives a replica up that failed three times: a new one may, when fed what a consumer on its node had before.
_REVIVE = """
[begin {ok, Q} = rabbit_amqqueue:lookup(rabbit_misc:r(V, queue, N)),
  ra:restart_server(quorum_queues, {element(1, amqqueue:get_pid(Q)), node()}) end || {V, N} <- %s]
"""
_USERS = "[element(2, U) || U <- rabbit_auth_backend_internal:all_users()]"


def _binary(text: str) -> str:
    """Return ``text`` as Erlang writes a binary, whatever is in it."""
    return f"<<{','.join(map(str, text.encode()))}>>"


class RefusedError(Exception):
    """The plan refuses, or a node does; the text says why and what to do."""


class Cluster:
    """The nodes named in the parameters, spoken to one by one."""

    def __init__(self, params: dict[str, Any]) -> None:
        self.params = params
        self.tools = Path(params["tools"])

    def run(self, tool: str, node: str, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run one command on ``node``."""
        names = ["--longnames"] if "." in node.rpartition("@")[2] else []
        command = [str(self.tools / tool), "--quiet", *names, "-n", node, *arguments]
        return subprocess.run(command, capture_output=True, text=True, timeout=COMMAND_SECONDS, check=False)

    def demand(self, tool: str, node: str, *arguments: str) -> str:
        """Return the output of a command that must succeed. Raises RefusedError."""
        done = self.run(tool, node, *arguments)
        if done.returncode:
            said = " ".join((done.stderr.strip() or done.stdout.strip()).split())[:600]
            raise RefusedError(f"{tool} -n {node} {' '.join(arguments)}: {said}")
        return done.stdout

    def ask(self, node: str, expression: str) -> Any:  # noqa: ANN401 - whatever the answer is
        """Return the value of an Erlang expression on ``node``. Raises RefusedError."""
        answer = self.demand("rabbitmqctl", node, "eval", "--formatter", "json", f"{expression}.")
        return json.loads(answer[answer.index("{") :])["value"]

    def status(self, name: str) -> dict[str, Any] | None:
        """Return what one node says of its cluster; None while it does not run."""
        done = self.run("rabbitmqctl", name, "cluster_status", "--formatter", "json")
        if done.returncode or "{" not in done.stdout:
            return None
        said: dict[str, Any] = json.loads(done.stdout[done.stdout.index("{") :])
        return said if name in said["running_nodes"] else None

    def observe(self, name: str) -> dict[str, Node]:
        """Return one node as it is, and those that run in its cluster."""
        said = self.status(name)
        if said is None:
            return {name: Node(name, running=False)}
        up = tuple(sorted(said["running_nodes"]))
        members = tuple(sorted({*said["disk_nodes"], *said.get("ram_nodes", ())}))
        versions = {node: said["versions"].get(node, {}).get("rabbitmq_version", "") for node in up}
        found = {node: Node(node, True, members, up, said["cluster_name"], 0, versions[node]) for node in up}
        return found if len(members) > 1 else {name: self._alone(found[name])}

    def _alone(self, node: Node) -> Node:
        users, queues = self.ask(node.name, f"[{_USERS}, {_QUEUES}]")
        return replace(node, queues=len(queues), users=tuple(sorted({*users} - {*self.params["users"]})))

    def queues(self, name: str) -> Queues:
        """Return the queues that ``name`` knows. Raises RefusedError."""
        found, silent = self.ask(name, f"[{_QUEUES}, {_SILENT}]")
        rows = [(vhost, queue, kind, tuple(nodes)) for vhost, queue, kind, nodes in found]
        return Queues(
            {(vhost, queue): nodes for vhost, queue, kind, nodes in rows if kind == "rabbit_quorum_queue"},
            {(vhost, queue): nodes for vhost, queue, kind, nodes in rows if kind == "rabbit_classic_queue"},
            {
                (vhost, queue): tuple(node for of, other, node in silent if (of, other) == (vhost, queue))
                for vhost, queue, _ in silent
            },
        )

    def observe_all(self) -> list[Node]:
        """Return every wanted node; those that were started are given their time. Raises RefusedError."""
        found: dict[str, Node] = {}
        awaited = {self.params["local"], *self.params["awaited"]}

        def all_run() -> bool:
            for name in sorted(self.params["nodes"], key=lambda each: each != self.params["local"]):
                if name not in found or not found[name].running:
                    found.update(self.observe(name))
            return all(found[name].running for name in awaited) and not self._unknown(found)

        await_true(all_run, self.params["timeout"], PAUSE)
        late = sorted(name for name in awaited if not found[name].running)
        if late:
            raise RefusedError(
                f"{', '.join(late)} did not come up in {self.params['timeout']:g} s: see var/log/rabbitmq/ there. "
                "If all brokers were down and each waits for another, run playbooks/recover.yml"
            )
        return [found[name] for name in self.params["nodes"]]

    def _unknown(self, found: dict[str, Node]) -> bool:
        """Whether a node does not answer that no cluster knows: only then is it needed to go on."""
        members = {each for node in found.values() for each in node.members}
        return any(not node.running and node.name not in members for node in found.values())

    def apply(self, steps: tuple[Step, ...]) -> None:
        """Do the steps, each until it has taken effect. Raises RefusedError."""
        self._act(steps)
        filled = [step for step in steps if step.action in ("revive", "grow")]
        if filled:
            self._verify(filled[0].through)
        if any(step.action == "join" for step in steps):
            self.demand("rabbitmq-queues", steps[0].through, "rebalance", "quorum")

    def _act(self, steps: Iterable[Step]) -> None:
        acts = {
            "revive": self._revive,
            "forget": self._forget,
            "join": self._join,
            "grow": self._grow,
            "shrink": self._shrink,
            "expel": self._expel,
            "drop": self._drop,
        }
        for step in steps:
            acts[step.action](step)

    def _revive(self, step: Step) -> None:
        pairs = ", ".join(f"{{{_binary(vhost)}, {_binary(name)}}}" for vhost, name in step.queues)
        self.run("rabbitmqctl", step.node, "eval", f"{_REVIVE % f'[{pairs}]'}.")

    def _forget(self, step: Step) -> None:
        self.run("rabbitmqctl", step.node, "stop_app")
        # A queue that has no majority just now keeps the node among its replicas, and finds it again when it joins.
        self.run("rabbitmq-queues", step.through, "shrink", step.node, "--errors-only")
        self.demand("rabbitmqctl", step.through, "forget_cluster_node", step.node)

    def _join(self, step: Step) -> None:
        for arguments in (("stop_app",), ("reset",), ("join_cluster", step.through), ("start_app",)):
            self.demand("rabbitmqctl", step.node, *arguments)
        if not await_true(lambda: self._is_up(step), self.params["timeout"], PAUSE):
            raise RefusedError(f"{step.node} joined {step.through} and does not run; see var/log/rabbitmq/ there")

    def _is_up(self, step: Step) -> bool:
        said = self.status(step.through)
        return said is not None and step.node in said["running_nodes"]

    def _grow(self, step: Step) -> None:
        for vhost in sorted({vhost for vhost, _ in step.queues}):
            names = "|".join(re.escape(name) for of, name in step.queues if of == vhost)
            where = ("--vhost-pattern", f"^{re.escape(vhost)}$", "--queue-pattern", f"^({names})$", "--errors-only")
            self.run("rabbitmq-queues", step.through, "grow", step.node, "all", *where)

    def _verify(self, through: str) -> None:
        """Go on until every quorum queue has its replicas and they run.

        A queue whose leader has just changed refuses to grow for a moment; a new replica that is fed may be given up.
        """
        lacking: list[Step] = []

        def complete() -> bool:
            running, queues = self._running(through), self.queues(through)
            lacking[:] = [Step("revive", node, through, dead) for node, dead in revival(queues, running).items()]
            lacking.extend(Step("grow", node, through, taken) for node, taken in growth(queues, running).items())
            self._act(lacking)
            return not lacking

        if not await_true(complete, self.params["timeout"], PAUSE):
            few = ", ".join(f"{len(step.queues)} queues on {step.node}" for step in lacking)
            raise RefusedError(f"replicas are still missing: {few}; see var/log/rabbitmq/ there and run this again")

    def _shrink(self, step: Step) -> None:
        """Shrink until no queue has a replica there.

        A queue whose leader has just changed refuses for a moment; one that lacks a majority does until its other
        replicas are revived.
        """
        left: list[str] = []
        said = ""

        def gone() -> bool:
            nonlocal said
            said = self.run("rabbitmq-queues", step.through, "shrink", step.node, "--errors-only").stdout
            queues = self.queues(step.through)
            left[:] = [name for (_, name), nodes in queues.quorum.items() if step.node in nodes]
            for node, dead in revival(queues, self._running(step.through) if left else ()).items():
                self._revive(Step("revive", node, step.through, dead))
            return not left

        if not await_true(gone, self.params["timeout"], PAUSE):
            raise RefusedError(
                f"{', '.join(left)} still have a replica on {step.node}: most of the brokers that hold them must run; "
                f"see var/log/rabbitmq/ of {step.through}. RabbitMQ said: {' '.join(said.split())}"
            )

    def _running(self, through: str) -> list[str]:
        said = self.status(through)
        return said["running_nodes"] if said else []

    def _drop(self, step: Step) -> None:
        for vhost, name in step.queues:
            self.demand("rabbitmqctl", step.through, "delete_queue", "-p", vhost, name)

    def _expel(self, step: Step) -> None:
        """A node that can be asked leaves by itself and is blank then; one that is gone is forgotten."""
        if self.run("rabbitmqctl", step.node, "stop_app").returncode == 0:
            self.run("rabbitmqctl", step.node, "reset")
        said = self.status(step.through)
        if said is None or step.node in said["disk_nodes"]:
            self.demand("rabbitmqctl", step.through, "forget_cluster_node", step.node)
        said = self.status(step.through)
        if said is None or step.node in said["disk_nodes"]:
            raise RefusedError(f"{step.node} is still a member of the cluster of {step.through}")


def run(module: AnsibleModule) -> dict[str, Any]:
    """Plan, act unless in check mode, and return the result. Raises RefusedError."""
    cluster = Cluster(module.params)
    if module.params["state"] == "seen":
        return {"changed": False, "steps": [], "notes": [], "seen": seen(cluster)}
    wanted = _wanted(cluster)
    if wanted.refusal:
        raise RefusedError(wanted.refusal)
    if not module.check_mode:
        cluster.apply(wanted.steps)
    lines = [step.text() for step in wanted.steps]
    diff = {"before": "", "after": "".join(f"{line}\n" for line in lines)}
    return {"changed": bool(lines), "steps": lines, "notes": list(wanted.notes), "diff": diff}


def _wanted(cluster: Cluster) -> Plan:
    params = cluster.params
    if params["expelled"]:
        return _removals(cluster)
    observed = cluster.observe_all()
    seed = seed_of(observed, params["reset"])
    queues = cluster.queues(seed.name) if seed else None
    if params["lost"]:
        return plan_loss(observed, params["lost"], queues)
    return plan(params["name"], observed, params["reset"], queues)


def _removals(cluster: Cluster) -> Plan:
    local = cluster.params["local"]
    here = cluster.observe(local)[local]
    if not here.running:
        raise RefusedError(f"{local} does not run: run this on a host whose broker does")
    return plan_removal(here, cluster.params["expelled"], cluster.queues(local))


def seen(cluster: Cluster) -> dict[str, Any]:
    """Wait for the node on this host; return whether it ``running``, and its ``peers`` and ``written``."""
    local, folder = cluster.params["local"], Path(cluster.params["data"], cluster.params["local"])
    running = await_true(lambda: cluster.status(local) is not None, cluster.params["timeout"], PAUSE)
    said = folder / "nodes_running_at_shutdown"
    peers = re.findall(r"[\w-]+@[\w.-]+", said.read_text()) if said.exists() else None
    written = max((path.stat().st_mtime for path in folder.glob("*.DCD")), default=0.0)
    return {"running": running, "peers": peers and [peer for peer in peers if peer != local], "written": written}


def main() -> None:
    """Run the module."""
    module = AnsibleModule(argument_spec=ARGUMENTS, supports_check_mode=True)
    try:
        module.exit_json(**run(module))
    except (RefusedError, OSError, ValueError, subprocess.SubprocessError) as error:
        module.fail_json(msg=f"cluster {module.params['name']}: {error}")


if __name__ == "__main__":
    main()
