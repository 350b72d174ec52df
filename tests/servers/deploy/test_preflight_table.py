"""Preflight through Ansible itself: whatever host cannot be reached stands in the table, beside the others."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from servers import free_port

ROOT = Path(__file__).resolve().parents[3]
HOSTS = """
canopsis:
  vars: {{canopsis_prefix: {prefix}, preflight_disk_gb: 999999, ansible_become_method: ansible.builtin.su}}
  children:
    mongodb:
      hosts:
        here: {{ansible_connection: local}}
        away: {{ansible_host: 127.0.0.1, ansible_port: {port}, ansible_user: nobody}}
        unnamed: {{ansible_host: no-such-host.invalid}}
"""


def test_g2_hosts_that_cannot_be_reached_are_in_the_table(tmp_path: Path) -> None:
    inventory = tmp_path / "hosts.yml"
    inventory.write_text(HOSTS.format(prefix=tmp_path / "site", port=free_port()))
    command = [str(Path(sys.executable).parent / "ansible-playbook"), "-i", str(inventory), "playbooks/preflight.yml"]
    report = tmp_path / "report.json"
    environ = {**os.environ, "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"), "LC_ALL": "C.UTF-8"}
    command += ["-e", f"preflight_report={report}", "-e", f"ansible_python_interpreter={sys.executable}"]
    done = subprocess.run(command, cwd=ROOT, env=environ, capture_output=True, text=True, check=False)
    assert done.returncode != 0
    table = done.stdout[done.stdout.index("Nothing was changed.") :]
    lines = {line.split()[0]: line for line in table.splitlines() if line.split() and "reach" in line.split()[:2]}
    assert "Connection refused" in lines["away"] and "ansible_host" in lines["away"], done.stdout
    assert "no-such-host.invalid" in lines["unnamed"]
    assert any(line.split()[:2] == ["here", "disk"] and "999999 GB" in line for line in table.splitlines()), table
    assert "reach" in report.read_text()
