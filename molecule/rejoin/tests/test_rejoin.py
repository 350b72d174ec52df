"""What was lost on a host of three comes back by site.yml alone, and the other hosts stay as they are."""

from __future__ import annotations

from typing import Any

import plays
import pytest
import site_hosts as site

ALL = {"site1", "site2", "site3"}
WELL = ["PRIMARY", "SECONDARY", "SECONDARY"]
SECRETS = ("etc/mongodb.key", "var/lib/rabbitmq/.erlang.cookie")


@pytest.fixture(autouse=True)
def whole(hosts: dict[str, Any], secret: str) -> None:
    """Each test begins and ends with a whole site."""
    for host in hosts.values():
        assert site.broker_hosts(host) == ALL
        site.eventually(lambda: sorted(site.members(host, secret).values()), WELL)  # noqa: B023 - called at once


def servers(host: Any) -> dict[str, str]:
    return site.pids(host, "bin/mongod ", "beam.smp")


def others(hosts: dict[str, Any], lost: str) -> dict[str, dict[str, str]]:
    return {name: servers(host) for name, host in hosts.items() if name != lost}


def shared_secrets(hosts: dict[str, Any]) -> set[str]:
    """Return the digests of what all hosts share; one digest each when they agree."""
    return {host.file(f"{site.PREFIX}/{name}").sha256sum for host in hosts.values() for name in SECRETS}


def replicas(host: Any) -> set[frozenset[str]]:
    return {frozenset(hosts) for hosts in site.queues(host).values()}


def test_the_first_host_blank_again_joins_what_is_there(hosts: dict[str, Any], secret: str) -> None:
    site.send(hosts["site1"], 200, "kept")
    site.eventually(lambda: site.alarms(hosts["site2"], "kept"), 200)
    shared = shared_secrets(hosts)
    assert len(shared) == len(SECRETS)
    before, files = others(hosts, "site1"), {name: site.fingerprint(hosts[name])["files"] for name in ALL - {"site1"}}
    site.wipe(hosts["site1"], f"{site.PREFIX}/*", "/etc/systemd/system/canopsis.service")
    changed = plays.changes(plays.succeed("site.yml"))
    assert changed["site1"] > 10 and changed["site2"] == changed["site3"] == 0, changed
    assert others(hosts, "site1") == before
    assert {name: site.fingerprint(hosts[name])["files"] for name in files} == files
    assert site.broker_hosts(hosts["site1"]) == ALL
    assert sorted(site.members(hosts["site1"], secret).values()) == WELL
    assert replicas(hosts["site1"]) == {frozenset(ALL)}
    assert shared_secrets(hosts) == shared
    assert site.alarms(hosts["site1"], "kept") == 200


def test_a_broker_that_lost_its_data_joins_without_a_ghost(hosts: dict[str, Any]) -> None:
    before = others(hosts, "site2")
    site.service(hosts["site2"], "rabbitmq-server", "stop")
    assert hosts["site2"].run(f"rm -rf {site.PREFIX}/var/lib/rabbitmq/mnesia").rc == 0
    changed = plays.changes(plays.succeed("site.yml"))
    assert changed["site3"] == 0, changed
    assert others(hosts, "site2") == before
    assert site.broker_hosts(hosts["site1"]) == ALL
    assert replicas(hosts["site2"]) == {frozenset(ALL)}


def test_a_database_that_was_stopped_is_started_and_no_more(hosts: dict[str, Any], secret: str) -> None:
    before, version = others(hosts, "site2"), site.set_version(hosts["site1"], secret)
    site.service(hosts["site2"], "mongodb", "stop")
    site.eventually(lambda: "(not reachable/healthy)" in site.members(hosts["site1"], secret).values(), True)
    changed = plays.changes(plays.succeed("site.yml"))
    assert changed == {"localhost": 0, "site1": 0, "site2": 1, "site3": 0}
    site.eventually(lambda: sorted(site.members(hosts["site2"], secret).values()), WELL)
    assert site.set_version(hosts["site1"], secret) == version
    assert others(hosts, "site2") == before


def test_one_host_alone_is_deployed_with_an_empty_cache_of_facts(hosts: dict[str, Any]) -> None:
    before = {name: site.fingerprint(hosts[name]) for name in ALL}
    output = plays.succeed("site.yml", "--limit", "site3", "--flush-cache")
    assert plays.changes(output) == {"site3": 0}, output
    assert [site.difference(before[name], site.fingerprint(hosts[name])) for name in ALL] == [[], [], []]


def test_all_brokers_killed_at_once_come_back_with_what_they_had(hosts: dict[str, Any]) -> None:
    for host in hosts.values():
        site.service(host, "engine-worker", "stop")
    site.send(hosts["site1"], 300, "queued")
    for host in hosts.values():
        assert host.run("pkill -9 -u canopsis beam.smp").rc == 0
    plays.succeed("site.yml")
    site.eventually(lambda: site.alarms(hosts["site2"], "queued"), 300)
    assert replicas(hosts["site1"]) == {frozenset(ALL)}


CONFIRM = ("-e", f"canopsis_confirm_recover={site.PREFIX}")


def test_brokers_boot_without_the_one_that_stopped_last(hosts: dict[str, Any]) -> None:
    first, second, last = (hosts[name] for name in sorted(ALL))
    for host in hosts.values():
        site.service(host, "engine-worker", "stop")
    site.send(first, 300, "stranded")
    for host in (first, second, last):
        site.service(host, "rabbitmq-server", "stop")
    assert "canopsis_confirm_recover" in plays.refuse("playbooks/recover.yml")
    plays.succeed("playbooks/recover.yml", *CONFIRM, "--limit", "!site3")
    assert site.broker_hosts(first) == ALL - {"site3"}
    plays.succeed("site.yml")
    site.eventually(lambda: site.alarms(second, "stranded"), 300)


def test_databases_go_on_without_a_majority_that_is_lost(hosts: dict[str, Any], secret: str) -> None:
    site.send(hosts["site1"], 50, "left")
    site.eventually(lambda: site.alarms(hosts["site1"], "left"), 50)
    for name in ("site2", "site3"):
        site.service(hosts[name], "mongodb", "stop")
        assert hosts[name].run(f"rm -rf {site.PREFIX}/var/lib/mongodb").rc == 0
    output = plays.succeed("playbooks/recover.yml", *CONFIRM, "--limit", "site1")
    assert "site2" in output and "site3" in output
    site.eventually(lambda: set(site.members(hosts["site1"], secret).values()), {"PRIMARY"})
    plays.succeed("site.yml")
    assert site.alarms(hosts["site3"], "left") == 50
