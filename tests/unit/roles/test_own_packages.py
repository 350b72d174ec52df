"""A folder of wheels on the controller becomes ``etc/packages`` of each host."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import tables
import yaml


def run(folder: Path, tasks: str, hosts: dict[str, bool], wheels: str) -> subprocess.CompletedProcess[str]:
    """Run ``tasks`` of the role on names for this machine, one after the other; True is a dry run."""
    include = {"ansible.builtin.include_tasks": str(tables.ROLES / "environment/tasks" / tasks)}
    plays = [
        {"hosts": name, "gather_facts": False, "check_mode": dry, "tasks": [include]} for name, dry in hosts.items()
    ]
    host = {"ansible_connection": "local", "ansible_python_interpreter": sys.executable}
    given = {
        "environment_prefix": str(folder / "site"),
        "environment_user": "canopsis",
        "environment_own_packages": wheels,
    }
    (folder / "play.yml").write_text(yaml.safe_dump(plays))
    (folder / "hosts.yml").write_text(yaml.safe_dump({"all": {"hosts": dict.fromkeys(hosts, host), "vars": given}}))
    command = [str(Path(sys.executable).with_name("ansible-playbook")), "-i", "hosts.yml", "play.yml"]
    environment = os.environ | {"ANSIBLE_NOCOLOR": "1", "ANSIBLE_FORCE_COLOR": "0"}
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)


def changes(output: str) -> dict[str, int]:
    recap = output.partition("PLAY RECAP")[2].splitlines()[1:]
    return {line.split()[0]: int(line.partition("changed=")[2].split()[0]) for line in recap if "changed=" in line}


def test_the_folder_is_what_the_host_has(tmp_path: Path) -> None:
    wheels, there = tmp_path / "wheels", tmp_path / "site/etc/packages"
    for folder, names in ((wheels, ("ours-2.0.whl", "theirs-1.0.whl")), (there, ("ours-1.0.whl", "theirs-1.0.whl"))):
        folder.mkdir(parents=True)
        for name in names:
            (folder / name).write_text(name)
    done = run(tmp_path, "wheels.yml", {"dry": True, "first": False, "again": False}, str(wheels))
    assert done.returncode == 0, done.stdout + done.stderr
    assert changes(done.stdout) == {"dry": 2, "first": 2, "again": 0}
    assert {path.name: path.read_text() for path in there.iterdir()} == {
        "ours-2.0.whl": "ours-2.0.whl",
        "theirs-1.0.whl": "theirs-1.0.whl",
    }


def test_a_dry_run_before_there_is_a_prefix(tmp_path: Path) -> None:
    (tmp_path / "wheels").mkdir()
    (tmp_path / "wheels/ours-2.0.whl").write_text("")
    done = run(tmp_path, "wheels.yml", {"dry": True}, str(tmp_path / "wheels"))
    assert (done.returncode, changes(done.stdout)) == (0, {"dry": 1}), done.stdout + done.stderr
    assert not (tmp_path / "site").exists()


def test_a_folder_that_is_not_there_is_refused(tmp_path: Path) -> None:
    done = run(tmp_path, "assert.yml", {"first": False}, "wheels")
    assert done.returncode != 0
    assert "environment_own_packages is wheels: needed is the whole path of a folder of wheels" in done.stdout
