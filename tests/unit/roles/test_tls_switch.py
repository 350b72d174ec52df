"""Switching a site over to TLS, or back: the whole site at once, never a part of it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[3]
PLAIN, ENCRYPTED = "net:\n  port: 27017\n", "net:\n  tls:\n    mode: requireTLS\n"


def run(folder: Path, configured: str, *options: str, wanted: bool) -> subprocess.CompletedProcess[str]:
    """Run the role's look over two hosts with a database that is ``configured`` so."""
    prefix = folder / "prefix"
    (prefix / "etc").mkdir(parents=True)
    (prefix / "etc/mongodb.conf").write_text(configured)
    tasks = {"ansible.builtin.import_tasks": str(ROOT / "roles/tls/tasks/observe.yml")}
    play = {"hosts": "canopsis", "gather_facts": False, "tasks": [tasks | {"tags": ["always"]}]}
    (folder / "play.yml").write_text(yaml.safe_dump([play]))
    host = {"ansible_connection": "local", "ansible_python_interpreter": sys.executable}
    variables = {"tls_prefix": str(prefix), "canopsis_tls": wanted}
    hosts = {"canopsis": {"hosts": {"n1": host, "n2": host}, "vars": variables}}
    (folder / "hosts.yml").write_text(yaml.safe_dump(hosts))
    command = [str(Path(sys.executable).with_name("ansible-playbook")), "-i", str(folder / "hosts.yml")]
    environment = os.environ | {"ANSIBLE_NOCOLOR": "1", "ANSIBLE_FORCE_COLOR": "0"}
    return subprocess.run(
        [*command, str(folder / "play.yml"), *options],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize(("configured", "wanted"), [(PLAIN, True), (ENCRYPTED, False)], ids=["on", "off"])
@pytest.mark.parametrize("options", [(), ("--skip-tags", "smoke")], ids=["whole", "skip"])
def test_a_whole_site_is_switched_over(tmp_path: Path, configured: str, wanted: bool, options: tuple[str, ...]) -> None:
    done = run(tmp_path, configured, *options, wanted=wanted)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize(
    ("options", "left"),
    [
        (("--limit", "n1"), "and n2 would no longer understand it"),
        (("--tags", "always"), "and a part of this run"),
    ],
    ids=["limit", "tags"],
)
@pytest.mark.parametrize(("configured", "wanted"), [(PLAIN, True), (ENCRYPTED, False)], ids=["on", "off"])
def test_a_part_of_a_site_is_not(
    tmp_path: Path, configured: str, wanted: bool, options: tuple[str, ...], left: str
) -> None:
    done = run(tmp_path, configured, *options, wanted=wanted)
    said = " ".join(done.stdout.split())
    assert done.returncode == 2, said
    assert f"canopsis_tls changes what mongodb speaks, {left}" in said
    assert "run site.yml over all hosts, without --limit and --tags" in said


@pytest.mark.parametrize(("configured", "wanted"), [(PLAIN, False), (ENCRYPTED, True)], ids=["off", "on"])
def test_what_stays_as_it_is_may_be_run_in_parts(tmp_path: Path, configured: str, wanted: bool) -> None:
    done = run(tmp_path, configured, "--limit", "n1", "--tags", "always", wanted=wanted)
    assert done.returncode == 0, done.stdout + done.stderr
