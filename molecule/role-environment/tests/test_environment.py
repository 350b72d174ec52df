"""The role environment: a user, packages and shared configuration; it starts nothing."""

from __future__ import annotations

import json
from typing import Any

import plays
import pytest
import site_hosts as site


def test_the_user_is_an_ordinary_one_that_owns_the_prefix(host: Any) -> None:
    user = host.user("canopsis")
    assert 0 < user.uid < 1000
    assert (user.home, user.groups) == (site.PREFIX, ["canopsis"])
    assert host.file(site.PREFIX).user == "canopsis"


@pytest.mark.parametrize(("path", "mode"), [("hypcontrol.conf", 0o644), ("amqp.conf", 0o640), ("storage.conf", 0o640)])
def test_what_holds_secrets_only_its_user_reads(host: Any, path: str, mode: int) -> None:
    file = host.file(f"{site.PREFIX}/etc/{path}")
    assert (file.user, file.mode) == ("canopsis", mode)


def test_the_packages_are_those_of_the_hosts_groups(host: Any) -> None:
    done = host.run(f"{site.AS_USER} {site.PREFIX}/var/lib/source/build-install.sh list --json --prefix {site.PREFIX}")
    assert done.rc == 0, done.stderr
    installed = {row["name"] for row in json.loads(done.stdout) if row["installed"]}
    assert installed == {"mongodb", "canopsis"}


def test_the_commands_run(host: Any) -> None:
    done = host.run(f"{site.AS_USER} {site.PREFIX}/bin/canopsis --version")
    assert done.rc == 0, done.stdout + done.stderr


def test_nothing_is_started(host: Any) -> None:
    assert site.fingerprint(host)["processes"] == {}
    assert not host.file(f"{site.PREFIX}/supervisord.conf").exists
    assert not host.file("/etc/systemd/system/canopsis.service").exists


def test_a_damaged_file_is_put_right_and_nothing_else(host: Any) -> None:
    before = site.fingerprint(host)
    assert host.run(f"echo '[frontend]' >{site.PREFIX}/etc/hypcontrol.conf").rc == 0
    output = plays.succeed("molecule/role-environment/converge.yml")
    assert plays.changes(output) == {"localhost": 0, "site1": 1}
    assert site.difference(before, site.fingerprint(host)) == []
