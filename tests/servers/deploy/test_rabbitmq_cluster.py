"""The brokers' modules over real brokers: formed, wiped, expelled, recovered; nothing confirmed is lost to a kill."""

from __future__ import annotations

import errno
import json
import os
import shutil
import socket
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from plugin_loader import load
from servers import HOST, RabbitMQ, eventually, free_port, locate

from canopsis.errors import TransportError
from canopsis.transport.connection import connect, connect_for_ever
from canopsis.transport.consumer import Consumer
from canopsis.transport.publisher import ConfirmingPublisher
from canopsis.transport.settings import AmqpSettings
from canopsis.transport.topology import DEAD, declare, depth, queue_name, site_topology

MODULE, USERS = load("modules", "canopsis_rabbitmq_cluster"), load("modules", "canopsis_rabbitmq")

from ansible.module_utils.canopsis_rabbitmq_cluster import force_choice  # noqa: E402

PASSWORD = "by-the-role"
MESSAGES, BATCH = 10_000, 200
KEPT = 500
SUPERVISED_STARTS = 5
_CONF = """
listeners.tcp.default = 127.0.0.1:{port}
default_vhost = canopsis
default_user = admin
default_pass = {password}
cluster_name = canopsis
cluster_partition_handling = pause_minority
log.file.level = warning
vm_memory_high_watermark.absolute = 2GB
disk_free_limit.absolute = 100MB
management.tcp.ip = 127.0.0.1
management.tcp.port = {management}
"""


def tools() -> str:
    """Return the folder of rabbitmqctl."""
    return str(locate("rabbitmq-server", "server/sbin/rabbitmqctl").parent)


@dataclass
class Broker(RabbitMQ):
    """One node; all nodes share the cookie in their common folder, and the port mapper.

    It has the management API where it has a port for that.
    """

    management: int = 0
    host: str = "localhost"

    @property
    def node(self) -> str:
        """The name of the node."""
        return f"{self.folder.name}@{self.host}"

    def environment(self) -> dict[str, str]:
        made = super().environment()
        values = {"port": self.port, "password": PASSWORD, "management": self.management or free_port()}
        (self.folder / "rabbitmq.conf").write_text(_CONF.format(**values))
        if self.management:
            (self.folder / "enabled_plugins").write_text("[rabbitmq_management].\n")
        long = {"RABBITMQ_USE_LONGNAME": "true"} if "." in self.host else {}
        return made | {"HOME": str(self.folder.parent), "RABBITMQ_NODENAME": self.node} | long

    def settings(self) -> AmqpSettings:
        return replace(super().settings(), user="admin", password=PASSWORD, write_timeout=30.0)

    def wipe(self) -> None:
        """Take away everything that the node knew."""
        shutil.rmtree(self.folder / "mnesia")


@dataclass
class Brokers:
    """Three nodes and the module that makes them one cluster."""

    folder: Path
    all: list[Broker] = field(default_factory=list)
    host: str = "localhost"

    def __post_init__(self) -> None:
        cookie = self.folder / ".erlang.cookie"
        cookie.write_text("ABCDEFGHIJKLMNOPQRSTUVWXYZ")
        cookie.chmod(0o400)
        mapper = free_port()
        self.all = [
            Broker(
                self.folder / f"rabbit{number}",
                epmd_port=mapper,
                management=free_port() if number == 1 else 0,
                host=self.host,
            )
            for number in (1, 2, 3)
        ]

    @property
    def nodes(self) -> list[str]:
        """The names of the nodes."""
        return [broker.node for broker in self.all]

    def settings(self, *without: Broker, queue_type: str = "quorum") -> AmqpSettings:
        """Return how to reach the brokers that are not named."""
        hosts = tuple((HOST, broker.port) for broker in self.all if broker not in without)
        return replace(self.all[0].settings(), hosts=hosts, queue_type=queue_type)

    def have(self, local: Broker, *, check: bool = False, **parameters: object) -> dict[str, Any]:
        """Run the module on the host of ``local``. Raises RefusedError."""
        values = {name: option.get("default") for name, option in MODULE.ARGUMENTS.items()}
        values |= {"name": "canopsis", "nodes": self.nodes, "local": local.node, "users": ["admin", "guest"]}
        values |= {"tools": tools(), "awaited": self.nodes}
        result: dict[str, Any] = MODULE.run(SimpleNamespace(params=values | parameters, check_mode=check))
        return result

    def manage(self, **parameters: object) -> list[str]:
        """Run the module for users and policies; return what it did."""
        values = {name: option.get("default") for name, option in USERS.ARGUMENTS.items()}
        values |= {"url": f"http://{HOST}:{self.all[0].management}", "vhost": "canopsis", "nodes": len(self.all)}
        values |= {"admin_password": PASSWORD, "seed_password": PASSWORD, "control": f"{tools()}/rabbitmqctl"}
        steps: list[str] = USERS.run(SimpleNamespace(params=values | parameters, check_mode=False))["steps"]
        return steps

    def members(self, queue: str) -> set[str]:
        """Return the nodes that hold a quorum queue."""
        cluster = MODULE.Cluster({"tools": tools()})
        return set(cluster.queues(self.running().node).quorum["canopsis", queue])

    def running(self) -> Broker:
        """Return a broker that was started."""
        return next(broker for broker in self.all if broker.process is not None)

    def leader(self, queue: str) -> Broker:
        """Return the broker that leads a queue."""
        rows = self.running().ctl("-q", "list_queues", "-p", "canopsis", "--no-table-headers", "name", "pid")
        pid = next(row.split("\t")[1] for row in rows.splitlines() if row.startswith(queue))
        return next(broker for broker in self.all if f"<{broker.node}." in pid)


@pytest.fixture(scope="module")
def brokers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Brokers]:
    """Three blank brokers that run and know nothing of each other; the module speaks to them from here."""
    with running(Brokers(tmp_path_factory.mktemp("cluster"))) as made:
        yield made


@contextmanager
def running(made: Brokers) -> Iterator[Brokers]:
    """Have brokers run, and their tools work from here."""
    before = dict(os.environ)
    try:
        start_together(made.all)
        os.environ |= {
            name: made.all[0].environment()[name] for name in ("PATH", "HOME", "ERL_EPMD_PORT", "ERL_EPMD_ADDRESS")
        }
        yield made
    finally:
        os.environ.clear()
        os.environ.update(before)
        for broker in made.all:
            broker.kill()


def start_together(brokers: list[Broker]) -> None:
    """Start brokers that may wait for each other."""
    with ThreadPoolExecutor(len(brokers)) as together:
        list(together.map(start_as_supervised, brokers))


def start_as_supervised(broker: Broker) -> None:
    """Start a broker, and again when it gives up: 3.10 may, when another boots at the same moment."""
    for _ in range(SUPERVISED_STARTS - 1):
        try:
            return broker.start()
        except AssertionError:
            if broker.pids():
                raise
    return broker.start()


def fill(brokers: Brokers, queue: str) -> None:
    """Leave confirmed messages in ``queue``."""
    connection = connect(brokers.settings())
    publisher = ConfirmingPublisher(connection)
    for number in range(KEPT):
        publisher.send("", queue, b"%d" % number)
    publisher.flush()
    connection.close()


def waiting(brokers: Brokers, queue: str) -> int:
    """Return how many messages ``queue`` has; -1 while it cannot say."""
    stopped = [broker for broker in brokers.all if broker.process is None]
    try:
        connection = connect(brokers.settings(*stopped))
    except TransportError:
        return -1
    try:
        return depth(connection, queue) or 0
    except TransportError:
        return -1
    finally:
        connection.close()


KEEP = queue_name("kept", 0)


def test_three_blank_brokers_become_one_cluster(brokers: Brokers) -> None:
    first, second, third = brokers.all
    two = {"nodes": brokers.nodes[:2], "awaited": []}
    planned = brokers.have(first, check=True, **two)
    assert planned["steps"] == [f"join {second.node} (through {first.node})"]
    assert planned["diff"]["after"].splitlines() == planned["steps"]
    assert brokers.have(first, **two)["steps"] == planned["steps"], "check mode did nothing"
    third.ctl("add_user", "jane", "secret")
    with pytest.raises(MODULE.RefusedError, match=r"rabbit3@localhost \(users jane\).*rabbitmq_reset_hosts"):
        brokers.have(second)
    third.ctl("delete_user", "jane")
    assert brokers.have(third)["steps"] == [f"join {third.node} (through {first.node})"]
    again = brokers.have(third)
    assert (again["changed"], again["notes"]) == (False, [])


def test_guest_stays_out_and_ports_are_those_given(brokers: Brokers) -> None:
    first = brokers.all[0]
    guest = replace(first.settings(), user="guest", password="guest")
    first.ctl("add_user", "guest", "guest")
    first.ctl("set_permissions", "-p", "canopsis", "guest", ".*", ".*", ".*")
    connect(guest).close()
    assert brokers.manage() == ["delete user guest"]
    assert brokers.manage() == []
    with pytest.raises(TransportError):
        connect(guest)
    listeners = json.loads(first.ctl("-q", "status", "--formatter", "json"))["listeners"]
    assert {each["port"] for each in listeners} == {first.port, first.dist_port, first.management}
    with socket.socket() as elsewhere:
        assert elsewhere.connect_ex(("127.0.0.2", first.management)) == errno.ECONNREFUSED


def test_queues_of_engines_are_on_every_broker(brokers: Brokers) -> None:
    connection = connect(brokers.settings())
    declare(connection, site_topology({"dead_letters": (DEAD, "#")}, ["kept", "quorum"], 1))
    connection.close()
    assert brokers.members(KEEP) == brokers.members(queue_name("quorum", 0)) == set(brokers.nodes)
    fill(brokers, KEEP)


def test_a_replica_that_was_given_up_is_revived(brokers: Brokers) -> None:
    first, _, third = brokers.all
    third.ctl("eval", "ra:stop_server(quorum_queues, {'canopsis_%s', node()})." % KEEP)  # noqa: UP031 - braces
    steps = [f"revive 1 quorum queues on {third.node} (through {first.node})"]
    assert brokers.have(first, check=True)["steps"] == steps
    assert brokers.have(first)["steps"] == steps
    assert brokers.have(first)["changed"] is False
    eventually(lambda: waiting(brokers, KEEP) == KEPT)


def give_up(broker: Broker, queue: str, seconds: int) -> None:
    """Stop the replica of a queue on one broker again and again meanwhile, as one does that always fails."""
    stop = f"[begin catch ra:stop_server(quorum_queues, {{'canopsis_{queue}', node()}}), timer:sleep(5) end"
    broker.ctl("eval", f"spawn(fun() -> {stop} || _ <- lists:seq(1, {seconds * 200})] end).")


def test_a_broker_is_expelled_though_replicas_elsewhere_are_given_up(brokers: Brokers) -> None:
    first, second, third = brokers.all
    third.kill()
    give_up(second, KEEP, 6)
    assert brokers.have(first, expelled=[third.node])["steps"] == [
        f"revive 1 quorum queues on {second.node} (through {first.node})",
        f"shrink {third.node} (through {first.node})",
        f"expel {third.node} (through {first.node})",
    ]
    third.wipe()
    third.start()
    assert brokers.have(first)["changed"]
    assert brokers.members(KEEP) == set(brokers.nodes)
    eventually(lambda: waiting(brokers, KEEP) == KEPT)


def receive(settings: AmqpSettings, queue: str, count: int) -> set[int]:
    """Take everything from ``queue``, at least ``count`` different messages."""
    connection = connect(settings)
    consumer, got = Consumer(connection), set[int]()
    consumer.add(queue)

    def enough() -> bool:
        batch = consumer.gather(BATCH, 0.2)
        got.update(int(delivery.body) for delivery in batch)
        consumer.ack(batch)
        return not batch and len(got) >= count

    eventually(enough, 180)
    connection.close()
    return got


def publish_while_killed(brokers: Brokers, settings: AmqpSettings, queue: str) -> tuple[set[int], int]:
    """Publish until ``MESSAGES`` are confirmed; kill the queue's leader half-way. Return the confirmed and errors."""
    leader, stop = brokers.leader(queue), threading.Event()
    settings = replace(settings, hosts=brokers.settings(leader).hosts)
    confirmed: set[int] = set()
    failures = 0
    killer = threading.Thread(target=leader.kill)
    while len(confirmed) < MESSAGES:
        connection = connect_for_ever(settings, stop)
        assert connection
        try:
            publisher = ConfirmingPublisher(connection)
            while len(confirmed) < MESSAGES:
                batch = range(len(confirmed), len(confirmed) + BATCH)
                for number in batch:
                    publisher.send("", queue, b"%d" % number)
                if len(confirmed) >= MESSAGES // 2 and not killer.ident:
                    killer.start()
                publisher.flush(20.0)
                confirmed.update(batch)
        except TransportError:
            failures += 1
        finally:
            connection.close()
    killer.join()
    leader.start()
    return confirmed, failures


def test_no_confirmed_message_is_lost_with_the_leader_of_a_quorum_queue(brokers: Brokers) -> None:
    queue = queue_name("quorum", 0)
    confirmed, _ = publish_while_killed(brokers, brokers.settings(), queue)
    assert len(confirmed) == MESSAGES
    assert confirmed - receive(brokers.settings(), queue, MESSAGES) == set()


def policies(brokers: Brokers) -> list[tuple[str, str, dict[str, Any]]]:
    """Return name, pattern and definition of each policy, as the broker has them."""
    rows = json.loads(brokers.all[0].ctl("-q", "list_policies", "-p", "canopsis", "--formatter", "json"))
    return [(row["name"], row["pattern"], json.loads(row["definition"])) for row in rows]


def test_the_policy_that_mirrors_is_put_back_when_edited_by_hand(brokers: Brokers) -> None:
    assert policies(brokers) == [], "quorum queues have no ha-* key anywhere"
    assert brokers.manage(ha_mode="classic") == ["set policy ha"]
    wanted = {"ha-mode": "exactly", "ha-params": 2, "ha-sync-mode": "automatic"}
    wanted |= {"ha-promote-on-shutdown": "when-synced", "ha-promote-on-failure": "when-synced"}
    assert policies(brokers) == [("ha", "^Engine_", wanted)]
    before = [broker.ctl("-q", "eval", "os:getpid().") for broker in brokers.all]
    brokers.all[1].ctl("set_policy", "-p", "canopsis", "ha", "^Engine_", '{"ha-mode":"all"}')
    brokers.all[1].ctl("set_policy", "-p", "canopsis", "mine", "^amq", '{"max-length":1}')
    assert brokers.manage(ha_mode="classic") == ["set policy ha", "delete policy mine"]
    assert policies(brokers) == [("ha", "^Engine_", wanted)]
    assert brokers.manage(ha_mode="classic") == []
    assert [broker.ctl("-q", "eval", "os:getpid().") for broker in brokers.all] == before


def test_no_confirmed_message_is_lost_with_the_leader_of_a_mirrored_queue(brokers: Brokers) -> None:
    settings, queue = brokers.settings(queue_type="classic"), queue_name("mirrored", 0)
    connection = connect(settings)
    declare(connection, site_topology({}, ["mirrored"], 1))
    connection.close()
    with pytest.raises(USERS.RefusedError, match=r"Engine_mirrored\.00 would have one copy"):
        brokers.manage(ha_mode="quorum")
    confirmed, _ = publish_while_killed(brokers, settings, queue)
    assert len(confirmed) == MESSAGES
    assert confirmed - receive(settings, queue, MESSAGES) == set()


def test_the_first_broker_is_wiped_and_joins_again(brokers: Brokers) -> None:
    first, second, _ = brokers.all
    first.kill()
    first.wipe()
    first.start()
    done = brokers.have(first)
    assert done["steps"][:2] == [f"{verb} {first.node} (through {second.node})" for verb in ("forget", "join")]
    assert done["steps"][2].startswith("grow 3 quorum queues to")
    assert brokers.members(KEEP) == set(brokers.nodes)
    eventually(lambda: waiting(brokers, KEEP) == KEPT)
    again = brokers.have(second)
    assert (again["changed"], again["notes"]) == (False, []), "three run and no ghost is left"
    status = MODULE.Cluster({"tools": tools()}).status(first.node)
    assert sorted(status["disk_nodes"]) == sorted(status["running_nodes"]) == brokers.nodes


def test_a_broker_is_expelled_and_comes_back(brokers: Brokers) -> None:
    first, _, third = brokers.all
    with pytest.raises(MODULE.RefusedError, match="cannot expel itself"):
        brokers.have(third, expelled=[third.node])
    done = brokers.have(first, expelled=[third.node])
    assert done["steps"] == [f"{verb} {third.node} (through {first.node})" for verb in ("shrink", "expel")]
    assert brokers.have(first, expelled=[third.node])["notes"] == [f"{third.node} is no member"]
    assert brokers.members(KEEP) == set(brokers.nodes[:2])
    third.ctl("start_app")
    assert brokers.have(first)["steps"] == [
        f"join {third.node} (through {first.node})",
        f"grow 3 quorum queues to {third.node} (through {first.node})",
    ]
    eventually(lambda: waiting(brokers, KEEP) == KEPT)


def test_brokers_that_all_died_come_back_together(brokers: Brokers) -> None:
    for broker in brokers.all:
        broker.kill()
    start_together(brokers.all)
    assert brokers.have(brokers.all[2])["changed"] is False
    eventually(lambda: waiting(brokers, KEEP) == KEPT)


def seen(brokers: Brokers, broker: Broker) -> dict[str, Any]:
    """Return what the role learns of a broker that may not come up."""
    data = str(broker.folder / "mnesia")
    found: dict[str, Any] = brokers.have(broker, state="seen", data=data, timeout=0)["seen"]
    return found


def test_the_last_to_stop_is_made_to_boot_without_the_others(brokers: Brokers) -> None:
    first, second, third = brokers.all
    for broker in (first, second):
        broker.ctl("stop_app")
        broker.kill()
    third.kill()
    reports = {broker.node: seen(brokers, broker) for broker in brokers.all}
    assert [report["running"] for report in reports.values()] == [False] * 3
    # The host of the last one never comes back.
    chosen = force_choice({node: report for node, report in reports.items() if node != third.node})
    assert chosen == second.node
    second.ctl("force_boot")
    # One after the other: forced is the next start alone, and that must not be the one that 3.10 gives up.
    for broker in (second, first):
        broker.start()
    with pytest.raises(MODULE.RefusedError, match=r"rabbit3@localhost did not come up.*playbooks/recover\.yml"):
        brokers.have(first, timeout=1)
    assert brokers.have(first, awaited=[])["notes"] == [f"{third.node} is a member and does not run"]
    eventually(lambda: waiting(brokers, KEEP) == KEPT)
    with pytest.raises(MODULE.RefusedError, match="too few brokers run, rabbit3@localhost being down"):
        brokers.have(first, expelled=[second.node])
    assert brokers.have(first, expelled=[third.node])["changed"]
    assert brokers.have(first, nodes=brokers.nodes[:2], awaited=[])["notes"] == []
    eventually(lambda: waiting(brokers, KEEP) == KEPT)


def test_queues_that_died_with_other_brokers_are_made_anew(brokers: Brokers) -> None:
    first, second, _ = brokers.all
    for broker in (first, second):
        broker.kill()
    second.ctl("force_boot")
    second.start()
    done = brokers.have(second, lost=[first.node], nodes=brokers.nodes[:2], awaited=[])
    dropped, forgotten = done["steps"]
    assert dropped.startswith("drop Engine_dead_letters, Engine_kept.00, Engine_quorum.00, whose copies are lost")
    assert forgotten == f"forget {first.node} (through {second.node})"
    connection = connect(brokers.settings(first))
    declare(connection, site_topology({"dead_letters": (DEAD, "#")}, ["kept"], 1))
    connection.close()
    fill(brokers, KEEP)
    assert brokers.members(KEEP) == {second.node}
    eventually(lambda: waiting(brokers, KEEP) == KEPT)


def test_g5_brokers_named_by_addresses_form_a_cluster(tmp_path: Path) -> None:
    made = Brokers(tmp_path, host=HOST)
    made.all.pop()
    with running(made) as brokers:
        first, second = brokers.all
        assert brokers.nodes == [f"rabbit1@{HOST}", f"rabbit2@{HOST}"]
        assert brokers.have(first)["steps"] == [f"join {second.node} (through {first.node})"]
        assert (brokers.have(second)["steps"], brokers.have(first)["notes"]) == ([], [])
        connection = connect(brokers.settings())
        declare(connection, site_topology({"dead_letters": (DEAD, "#")}, ["kept"], 1))
        connection.close()
        assert brokers.members(KEEP) == set(brokers.nodes)
