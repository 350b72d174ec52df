"""A site of one host grows to four, by edits of its inventory. The tests build on each other, in their order."""

from __future__ import annotations

from operator import sub
from pathlib import Path
from typing import Any

import plays
import site_hosts as site

EVEN = ("-e", "preflight_even_members=true")
THREE = ["site1", "site2", "site3"]
FOUR = [*THREE, "site4"]


def servers(hosts: dict[str, Any], names: list[str]) -> dict[str, dict[str, str]]:
    return {name: site.pids(hosts[name], "bin/mongod ", "beam.smp") for name in names}


def test_two_members_at_once_get_their_votes_one_by_one(hosts: dict[str, Any], secret: str, tmp_path: Path) -> None:
    site.send(hosts["site1"], 100, "alone")
    site.eventually(lambda: site.alarms(hosts["site1"], "alone"), 100)
    plays.succeed("site.yml", of=plays.other_inventory(tmp_path, THREE))
    assert sorted(site.members(hosts["site3"], secret).values()) == ["PRIMARY", "SECONDARY", "SECONDARY"]
    votes = site.votes(hosts["site1"])
    assert votes[-1] == 3 and max(map(sub, votes[1:], votes)) == 1, votes
    assert site.broker_hosts(hosts["site3"]) == set(THREE)
    assert set(map(frozenset, site.queues(hosts["site1"]).values())) == {frozenset(THREE)}
    assert site.alarms(hosts["site3"], "alone") == 100


def test_a_host_with_engines_alone_touches_no_cluster(hosts: dict[str, Any], tmp_path: Path) -> None:
    tiers = dict.fromkeys(plays.TIERS, THREE) | {"engines": FOUR, "collectd": FOUR}
    before = servers(hosts, THREE)
    changed = plays.changes(plays.succeed("site.yml", of=plays.other_inventory(tmp_path, tiers)))
    assert changed["site4"] > 10 and {changed[name] for name in THREE} == {0}, changed
    assert servers(hosts, THREE) == before
    states = site.programs(hosts["site4"])
    assert set(states.values()) == {"RUNNING"} and not {"mongodb", "rabbitmq-server"} & set(states), states


def test_the_partitions_are_shared_with_it(hosts: dict[str, Any]) -> None:
    def holders() -> bool:
        owners = {row["holder"] for row in site.ask(hosts["site1"], "status")["data"][0]["partitions"]}
        return any("site4" in owner for owner in owners)

    site.eventually(holders, True)


def test_g4_the_commands_work_on_it_without_a_web_server_there(hosts: dict[str, Any]) -> None:
    host = hosts["site4"]
    site.eventually(lambda: site.status(host), (0, {}))
    site.send(host, 5, "from-engines")
    site.eventually(lambda: site.alarms(host, "from-engines"), 5)
    assert "from-engines-4" in site.as_user(host, f"{site.PREFIX}/bin/canopsis alarms --component hosts")


def test_a6_a_host_that_is_down_is_named_by_every_other(hosts: dict[str, Any]) -> None:
    # Twice: the keeper may just be starting what the first one killed.
    hosts["site1"].run("pkill -9 -u canopsis; pkill -9 -u canopsis")
    wanted = {
        "host site1": "degraded",
        "web server http://site1:8082": "degraded",
        "rabbitmq-server on site1:5672": "degraded",
        "mongodb on site1:27017": "degraded",
    }

    def told(name: str) -> tuple[int, dict[str, str]]:
        code, found = site.status(hosts[name])
        return code, {where: found.get(where, "") for where in wanted}

    for name in ("site2", "site3", "site4"):
        site.eventually(lambda: told(name), (1, wanted), 120)  # noqa: B023 - called at once
    site.as_user(hosts["site1"], f"{site.PREFIX}/bin/hypcontrol start")
    for host in hosts.values():
        site.eventually(lambda: site.status(host), (0, {}), 120)  # noqa: B023 - called at once


def test_a_fourth_host_joins_both_clusters_and_nothing_restarts(
    hosts: dict[str, Any], secret: str, tmp_path: Path
) -> None:
    before = servers(hosts, THREE)
    plays.succeed("site.yml", *EVEN, of=plays.other_inventory(tmp_path, FOUR))
    assert servers(hosts, THREE) == before
    assert sorted(site.members(hosts["site4"], secret).values()) == ["PRIMARY", *["SECONDARY"] * 3]
    assert site.broker_hosts(hosts["site4"]) == set(FOUR)
    assert site.alarms(hosts["site4"], "alone") == 100


def test_a_second_run_changes_nothing(hosts: dict[str, Any], tmp_path: Path) -> None:
    output = plays.succeed("site.yml", *EVEN, of=plays.other_inventory(tmp_path, FOUR))
    assert set(plays.changes(output).values()) == {0}, output
    assert {site.health(hosts[name], name) for name in FOUR} == {"200"}
