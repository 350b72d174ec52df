"""A server or a host dies while events are posted through the others: each becomes visible, none twice."""

from __future__ import annotations

import json
import sys
import threading
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import outside
import pytest
import site_hosts as site
from posting import Posting

ALL = ("site1", "site2", "site3")
BATCHES = 200
EVENTS = 10_000
SECONDS = 15
FROZEN = 40
CUT_OFF = 90
"""Longer than the minute after which brokers give up one another."""
DOUBLED = """
sum(
    len(steps) - len(set(steps))
    for alarm in client.canopsis.alarms.find({'connector': '%s'})
    for steps in [[(s['e'], s.get('type'), s.get('value')) for s in alarm['steps'] if s.get('e')]]
)
"""


def kill(host: Any, program: str) -> None:
    """Kill a program of the site at once."""
    host.check_output(f"pkill -9 -u canopsis {program}")


def freeze(host: Any) -> None:
    """Have the whole site on a host hang for FROZEN seconds, holding its connections."""
    host.check_output("pkill -STOP -u canopsis")
    threading.Event().wait(FROZEN)
    host.check_output("pkill -CONT -u canopsis")


@dataclass(frozen=True)
class Case:
    """The scenario's hosts with what the tests ask them by."""

    hosts: dict[str, Any]
    inits: dict[str, int]
    key: str
    password: str

    def leader(self) -> str:
        """Return the host whose broker leads the most queues of engines."""
        command = f"{site.PREFIX}/bin/rabbitmqctl --silent list_queues -p canopsis name leader --formatter json"
        found = site.as_user(self.hosts["site1"], command)
        rows = json.loads(found[found.index("[") :])
        names: list[str] = [row["leader"].partition("@")[2] for row in rows if row["name"].startswith("Engine_")]
        return Counter(names).most_common(1)[0][0]

    def primary(self) -> str:
        """Return the host with MongoDB's primary."""
        states = site.members(self.hosts["site1"], self.password)
        return next(member.partition(":")[0] for member, state in states.items() if state == "PRIMARY")

    def stands(self, run: str, victim: str, strike: Callable[[], None]) -> None:
        """Strike while events are posted through the other hosts: each becomes visible, none changes an alarm twice."""
        through = [name for name in ALL if name != victim]
        seen = self.hosts[through[0]]
        posting = Posting(seen, run, self.key, through, SECONDS / BATCHES, BATCHES)

        def strike_in_the_middle() -> None:
            threading.Event().wait(SECONDS / 5)
            strike()

        said = posting.during(strike_in_the_middle)
        sys.stdout.write(f"{run}: {said}\n")
        assert said["sent"] == EVENTS, said
        posting.becomes_visible(seen, EVENTS)
        assert site.ask(seen, f"alarms?connector={run}&show=all&limit=0")["total"] >= 50
        assert site.database(seen, self.password, DOUBLED % run) == 0


@pytest.fixture
def case(hosts: dict[str, Any], inits: dict[str, int], secrets: dict[str, Any]) -> Case:
    """Return the hosts as a case."""
    return Case(hosts, inits, secrets["webserver_admin_authkey"], secrets["mongodb_admin_password"])


def test_the_broker_that_leads_is_killed(case: Case) -> None:
    victim = case.leader()
    case.stands("broker", victim, lambda: kill(case.hosts[victim], "beam.smp"))


def test_the_primary_is_killed(case: Case) -> None:
    victim = case.primary()
    case.stands("database", victim, lambda: kill(case.hosts[victim], "mongod"))


def test_a_whole_host_hangs(case: Case) -> None:
    victim = case.leader()
    case.stands("frozen", victim, lambda: freeze(case.hosts[victim]))


def test_a_whole_host_is_cut_off(case: Case) -> None:
    victim = case.leader()
    others = [site.address(host) for name, host in case.hosts.items() if name != victim]

    def cut_off() -> None:
        with outside.apart(case.inits[victim], others):
            threading.Event().wait(CUT_OFF)

    case.stands("apart", victim, cut_off)


def test_the_site_is_whole_again(hosts: dict[str, Any], secret: str) -> None:
    well = ["PRIMARY", "SECONDARY", "SECONDARY"]
    for host in hosts.values():
        site.eventually(lambda: sorted(site.members(host, secret).values()), well, 120)  # noqa: B023 - called at once
        site.eventually(lambda: len(site.brokers(host)), 3, 120)  # noqa: B023 - called at once
        site.eventually(lambda: set(site.programs(host).values()), {"RUNNING"}, 120)  # noqa: B023 - called at once


def test_collectd_goes_on_through_another_broker(hosts: dict[str, Any]) -> None:
    host, other = hosts["site1"], hosts["site2"]
    site.service(host, "rabbitmq-server", "stop")
    stopped = float(host.check_output("date +%s"))
    site.eventually(lambda: site.newest_load(other, "site1") > stopped, True, 120)
    assert site.programs(host)["rabbitmq-server"] == "STOPPED"
    site.service(host, "rabbitmq-server", "start")
    site.eventually(lambda: len(site.brokers(other)), 3, 120)
