"""A host leaves a site of three, and comes back. The tests build on each other, in their order."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import plays
import site_hosts as site

REMOVE = "playbooks/remove-host.yml"
EVEN = ("-e", "preflight_even_members=true")
ALL = {"site1", "site2", "site3"}
LEFT = {"site1", "site2"}


def ports(names: set[str]) -> set[str]:
    return {f"{name}:27017" for name in names}


def test_alarms_are_there(hosts: dict[str, Any]) -> None:
    site.send(hosts["site3"], 100, "before")
    site.eventually(lambda: site.alarms(hosts["site1"], "before"), 100)


def test_without_a_host_it_says_which_there_are() -> None:
    assert "one of site1, site2, site3; '' is none of them" in plays.refuse(REMOVE)
    assert "'site9' is none of them" in plays.refuse(REMOVE, "-e", "canopsis_target=site9")


def test_a_host_that_the_inventory_dropped_is_told_and_stays(
    hosts: dict[str, Any], secret: str, tmp_path: Path
) -> None:
    output = plays.succeed("site.yml", *EVEN, of=plays.other_inventory(tmp_path, sorted(LEFT)))
    assert "site3:27017 is still a member but in no inventory group" in " ".join(output.split()), output
    assert "rabbit@site3 is still a member but in no inventory group" in " ".join(output.split()), output
    assert set(site.members(hosts["site1"], secret)) == ports(ALL)
    assert site.broker_hosts(hosts["site1"]) == ALL


def test_a_host_stays_while_its_majority_needs_it(hosts: dict[str, Any], secret: str) -> None:
    site.service(hosts["site2"], "rabbitmq-server", "stop")
    before = {name: site.fingerprint(hosts[name]) for name in ("site1", "site3")}
    assert "rabbit@site2 being down" in plays.refuse(REMOVE, "-e", "canopsis_target=site3")
    assert [site.difference(found, site.fingerprint(hosts[name])) for name, found in before.items()] == [[], []]
    site.service(hosts["site2"], "rabbitmq-server", "start")
    site.service(hosts["site1"], "mongodb", "stop")
    assert "site1:27017" in plays.refuse(REMOVE, "-e", "canopsis_target=site3")
    site.service(hosts["site1"], "mongodb", "start")
    well = ["PRIMARY", "SECONDARY", "SECONDARY"]
    site.eventually(lambda: sorted(site.members(hosts["site2"], secret).values()), well)
    site.eventually(lambda: site.broker_hosts(hosts["site1"]), ALL)


def test_it_leaves_both_clusters(hosts: dict[str, Any], secret: str) -> None:
    kept = {name: site.pids(hosts[name], "mongod ", "beam.smp") for name in LEFT}
    plays.succeed(REMOVE, "-e", "canopsis_target=site3")
    assert set(site.members(hosts["site1"], secret)) == ports(LEFT)
    assert sorted(site.members(hosts["site1"], secret).values()) == ["PRIMARY", "SECONDARY"]
    assert site.broker_hosts(hosts["site1"]) == LEFT
    assert set(map(frozenset, site.queues(hosts["site1"]).values())) == {frozenset(LEFT)}
    assert {name: site.pids(hosts[name], "mongod ", "beam.smp") for name in LEFT} == kept
    assert site.fingerprint(hosts["site3"])["processes"] == {}


def test_its_data_stays_and_its_packages_go(hosts: dict[str, Any]) -> None:
    assert hosts["site3"].file(f"{site.PREFIX}/var/lib/mongodb/WiredTiger").exists
    assert not hosts["site3"].file(f"{site.PREFIX}/opt").exists
    assert not hosts["site3"].file("/etc/systemd/system/canopsis.service").exists


def test_again_there_is_nothing_to_do() -> None:
    output = plays.succeed(REMOVE, "-e", "canopsis_target=site3")
    assert set(plays.changes(output).values()) == {0}, output


def test_the_others_go_on_without_it(hosts: dict[str, Any], tmp_path: Path) -> None:
    plays.succeed("site.yml", *EVEN, of=plays.other_inventory(tmp_path, sorted(LEFT)))
    assert "site3" not in hosts["site1"].file(f"{site.PREFIX}/etc/amqp.conf").content_string
    site.send(hosts["site2"], 100, "after")
    site.eventually(lambda: site.alarms(hosts["site1"], "after"), 100)
    assert site.alarms(hosts["site1"], "before") == 100


def test_the_last_host_of_a_tier_stays(tmp_path: Path) -> None:
    hosts = {tier: ["site1", "site2"] for tier in plays.TIERS} | {"webserver": ["site2"]}
    alone = plays.other_inventory(tmp_path, hosts)
    said = plays.refuse(REMOVE, "-e", "canopsis_target=site2", of=alone)
    assert "site2 is the last host of the tier webserver" in said


def test_it_comes_back_with_its_old_data(hosts: dict[str, Any], secret: str) -> None:
    plays.succeed("site.yml")
    assert sorted(site.members(hosts["site3"], secret).values()) == ["PRIMARY", "SECONDARY", "SECONDARY"]
    assert site.broker_hosts(hosts["site3"]) == ALL
    assert set(map(frozenset, site.queues(hosts["site3"]).values())) == {frozenset(ALL)}
    assert site.alarms(hosts["site3"], "after") == 100
    assert set(plays.changes(plays.succeed("site.yml")).values()) == {0}
