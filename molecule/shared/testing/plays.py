"""Playbooks over a scenario's hosts, as an operator runs them, and inventories that differ from the scenario's."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Iterable, Mapping
from pathlib import Path

import yaml
from site_hosts import ROOT

PLAIN = {"ANSIBLE_NOCOLOR": "1", "ANSIBLE_FORCE_COLOR": "0"}
TIERS = ("mongodb", "rabbitmq", "engines", "webserver", "collectd")


def inventory() -> Path:
    """Return the inventory of the scenario."""
    return Path(os.environ["MOLECULE_SCENARIO_DIRECTORY"]) / "inventory"


def play(playbook: str, *options: str, of: Path | None = None) -> subprocess.CompletedProcess[str]:
    """Run a playbook over the inventory ``of``, the scenario's when none is given."""
    command = ["ansible-playbook", "-i", str(of or inventory()), playbook, *options]
    places = {"ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"), "MOLECULE_PROJECT_DIRECTORY": str(ROOT)}
    environment = os.environ | places | PLAIN
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)


def succeed(playbook: str, *options: str, of: Path | None = None) -> str:
    """Return the output of a run that must succeed. Raises AssertionError with it."""
    done = play(playbook, *options, of=of)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def refuse(playbook: str, *options: str, of: Path | None = None) -> str:
    """Return the output of a run that must fail. Raises AssertionError with it."""
    done = play(playbook, *options, of=of)
    assert done.returncode != 0, done.stdout
    return " ".join((done.stdout + done.stderr).split())


def changes(output: str) -> dict[str, int]:
    """Return how much changed on each host, from the recap of a run."""
    return {name: int(count) for name, count in re.findall(r"^(\S+) +: ok=\d+ +changed=(\d+)", output, re.MULTILINE)}


def other_inventory(folder: Path, hosts: Mapping[str, Iterable[str]] | Iterable[str]) -> Path:
    """Return an inventory in ``folder`` with other hosts, by tier or the same in all; variables are the scenario's."""
    tiers = hosts if isinstance(hosts, Mapping) else dict.fromkeys(TIERS, hosts)
    children = {tier: {"hosts": dict.fromkeys(names)} for tier, names in tiers.items()}
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "hosts.yml").write_text(yaml.safe_dump({"canopsis": {"children": children}}))
    for name in ("group_vars", "host_vars"):
        (folder / name).symlink_to(inventory() / name)
    return folder
