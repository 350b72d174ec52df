"""The first command as root: the site belongs to a user of its own, and nothing of it runs as root."""

from __future__ import annotations

import os
import pwd
import subprocess
import uuid
from pathlib import Path

import pytest
from local_site import LocalSite, eventually, processes_of

USER = "canopsis"


@pytest.fixture(autouse=True)
def as_root() -> None:
    assert os.geteuid() == 0, "these tests build a site as root: run them by `sudo ./run-tests.sh site`"


def owner(pid: int) -> str:
    """Return whose process it is; that of the site's user for one that has ended since it was found."""
    try:
        return pwd.getpwuid(Path(f"/proc/{pid}").stat().st_uid).pw_name
    except FileNotFoundError:
        return USER


def test_the_prefix_belongs_to_the_user_of_the_site(site: LocalSite) -> None:
    foreign = [
        str(path)
        for path in (site.prefix.path, *site.prefix.path.joinpath("etc").rglob("*"))
        if path.exists() and path.owner() != USER
    ]
    assert foreign == []


def test_nothing_runs_as_root(site: LocalSite) -> None:
    running = processes_of(site.prefix.path)
    assert running
    assert {pid: line for pid, line in running.items() if owner(pid) != USER} == {}


def test_commands_of_root_run_as_the_user_of_the_site(site: LocalSite) -> None:
    for _ in range(2):
        site.good("hypcontrol", "restart")
    site.ready()
    test_nothing_runs_as_root(site)
    test_the_prefix_belongs_to_the_user_of_the_site(site)


def test_an_event_becomes_an_alarm(site: LocalSite) -> None:
    component = f"root-{uuid.uuid4().hex[:6]}"
    site.good("send-event", "--component", component, "--state", "2", "--output", "down")
    found = eventually(lambda: site.listed("alarms", component=component), 30, "the alarm is listed")
    assert [alarm["output"] for alarm in found] == ["down"]


def test_a_second_run_restarts_nothing(site: LocalSite) -> None:
    before = {name: program.pid for name, program in site.programs().items()}
    site.build()
    assert {name: program.pid for name, program in site.programs().items()} == before


def test_f1_systemd_starts_it_at_boot_or_the_command_is_told(site: LocalSite) -> None:
    said = site.build().text
    name = f"canopsis-{str(site.prefix.path).strip('/').replace('-', '--').replace('/', '-')}.service"
    if Path("/run/systemd/system").exists():
        assert subprocess.run(["systemctl", "is-enabled", name], check=False).returncode == 0
        assert "systemd starts the site at boot" in said
    else:
        assert f"At boot nothing starts the site: this host has no systemd. {site.prefix.path}/bin/hypcontrol" in said


@pytest.mark.parametrize("verb", [("fetch", "canopsis"), ("install", "canopsis"), ("bundle", "--output")])
def test_packages_that_root_handles_stay_those_of_the_user(
    site: LocalSite, tmp_path: Path, verb: tuple[str, str]
) -> None:
    site.build(*verb, *([str(tmp_path / "bundle.tar"), "collectd-libs"] if verb[0] == "bundle" else []))
    paths = (path for path in site.prefix.path.rglob("*") if not path.is_symlink())
    assert [str(path) for path in paths if path.exists() and path.owner() != USER] == []
    assert verb[0] != "bundle" or (tmp_path / "bundle.tar").stat().st_size
