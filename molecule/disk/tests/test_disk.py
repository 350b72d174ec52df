"""The floor of 20 GB on real file systems: what is free, and what the data path holds already.

Each host has its site on a file system of its own. The tests build on each other, in their order.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import outside
import plays
import pytest
import site_hosts as site
import yaml

SIZE = 40
DATA = f"{site.PREFIX}/var/lib/mongodb"
HELD = f"{DATA}/collection-7-of-before.wt"
OTHER = "/srv/mongodb"
MOVED = ("-e", f"mongodb_data_path={OTHER}")
DEFAULTS = yaml.safe_load((plays.ROOT / "roles/preflight/defaults/main.yml").read_text())
FLOOR = ("-e", f"preflight_disk_gb={DEFAULTS['preflight_disk_gb']}")
"""The default itself, which the other scenarios lower."""


def everything(hosts: dict[str, Any]) -> dict[str, tuple[Any, set[str]]]:
    """Return what is on each host: its fingerprint and every path."""
    return {name: (site.fingerprint(host), site.listing(host)) for name, host in hosts.items()}


def findings(output: str, data: str = DATA) -> set[str]:
    """Return the lines of preflight's table that are about the disk of the data; Ansible shows the table twice."""
    return {line.strip() for line in output.splitlines() if f" disk of {data} " in line}


def refusal(playbook: str, *options: str, data: str = DATA, of: Path | None = None) -> str:
    """Return the one line about a disk with which a playbook is refused before any change."""
    done = plays.play(playbook, *FLOOR, *options, of=of)
    assert done.returncode != 0, done.stdout
    assert "Nothing was changed." in done.stdout, done.stdout
    assert re.search(r"changed=[1-9]", done.stdout) is None
    (line,) = findings(done.stdout, data)
    return line


def lacking(line: str, *words: str) -> list[str]:
    """Return the words that a line of the table should have and has not."""
    return [word for word in words if f" {word} " not in f" {line} "]


def test_the_floor_is_20_gb() -> None:
    assert FLOOR == ("-e", "preflight_disk_gb=20")


def test_each_host_gets_a_disk(hosts: dict[str, Any], inits: dict[str, int]) -> None:
    for name, host in hosts.items():
        outside.mount(inits[name], SIZE, site.PREFIX)
        assert outside.free(host, site.PREFIX) > 0.95 * SIZE


@pytest.mark.parametrize("playbook", ["playbooks/preflight.yml", "site.yml"])
def test_19_gb_on_one_host_are_refused_before_any_host_changes(hosts: dict[str, Any], playbook: str) -> None:
    outside.leave(hosts["site2"], site.PREFIX, 19)
    before = everything(hosts)
    line = refusal(playbook)
    assert lacking(line, "site2", "19.0 GB free", f"on {site.PREFIX}", "20 GB", "preflight_disk_gb") == [], line
    assert everything(hosts) == before


def test_what_the_data_path_holds_counts(hosts: dict[str, Any]) -> None:
    outside.reserve(hosts["site2"], HELD, 13)
    outside.leave(hosts["site2"], site.PREFIX, 6)
    before = everything(hosts)
    line = refusal("site.yml")
    assert lacking(line, "site2", "6.0 GB free and 13.0 GB in use by it", "preflight_disk_gb") == [], line
    assert everything(hosts) == before
    outside.reserve(hosts["site2"], HELD, 15)
    outside.leave(hosts["site2"], site.PREFIX, 6)
    assert findings(plays.succeed("playbooks/preflight.yml", *FLOOR)) == set()


def test_20_gb_are_enough(hosts: dict[str, Any]) -> None:
    hosts["site2"].check_output(f"rm -r {DATA}")
    outside.leave(hosts["site2"], site.PREFIX, 20.01)
    assert findings(plays.succeed("playbooks/preflight.yml", *FLOOR)) == set()


def test_the_disk_that_counts_is_that_of_the_data(hosts: dict[str, Any], inits: dict[str, int]) -> None:
    outside.mount(inits["site2"], 10, "/srv")
    before = everything(hosts)
    line = refusal("site.yml", *MOVED, data=OTHER)
    assert lacking(line, "site2", "on /srv", "20 GB", "preflight_disk_gb") == [], line
    assert everything(hosts) == before


@pytest.fixture
def alone(tmp_path: Path) -> Path:
    """Return an inventory of a site of one host."""
    return plays.other_inventory(tmp_path, ["site3"])


def test_a_node_that_holds_15_gb_with_6_gb_free_passes(
    hosts: dict[str, Any], inits: dict[str, int], alone: Path
) -> None:
    """Its data is on a disk of its own, which was empty and root's before."""
    host, options = hosts["site3"], (*FLOOR, *MOVED)
    outside.mount(inits["site3"], SIZE, "/srv")
    plays.succeed("site.yml", *options, of=alone)
    assert host.file(f"{OTHER}/WiredTiger").exists
    outside.reserve(host, f"{OTHER}/collection-7-of-before.wt", 15)
    outside.leave(host, "/srv", 6)
    before = site.fingerprint(host)
    assert findings(plays.succeed("playbooks/preflight.yml", *options, of=alone), OTHER) == set()
    output = plays.succeed("site.yml", *options, of=alone)
    assert plays.changes(output) == {"localhost": 0, "site3": 0}, output
    assert site.difference(before, site.fingerprint(host)) == []


def test_a_node_with_less_than_a_quarter_of_the_floor_free_is_refused(hosts: dict[str, Any], alone: Path) -> None:
    outside.leave(hosts["site3"], "/srv", 4)
    before = site.fingerprint(hosts["site3"])
    line = refusal("site.yml", *MOVED, data=OTHER, of=alone)
    assert lacking(line, "site3", "4.0 GB free", "on /srv", "5 GB free for a database that is there") == [], line
    assert lacking(line, "preflight_disk_running_gb") == [], line
    assert site.difference(before, site.fingerprint(hosts["site3"])) == []


def test_a_disk_mounted_where_the_data_will_be(hosts: dict[str, Any], inits: dict[str, int], tmp_path: Path) -> None:
    """The prefix is there before the user is, and is root's."""
    host, alone = hosts["site1"], plays.other_inventory(tmp_path, ["site1"])
    outside.mount(inits["site1"], SIZE, DATA)
    assert host.file(DATA).user == "root"
    plays.succeed("site.yml", "--check", *FLOOR, of=alone)
    plays.succeed("site.yml", *FLOOR, of=alone)
    assert host.file(f"{DATA}/WiredTiger").user == "canopsis"
    assert host.check_output(f"stat --format %m {DATA}/WiredTiger") == DATA
    assert plays.changes(plays.succeed("site.yml", *FLOOR, of=alone)) == {"localhost": 0, "site1": 0}
