"""What build-install.sh says of a host before it builds anything: its functions, run by bash with a scratch PATH."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

# A shell has what it runs in the background ignore Ctrl-C, and the commands would inherit that.
signal.signal(signal.SIGINT, signal.default_int_handler)

ROOT = Path(__file__).resolve().parents[2]
PARTS = ("common", "files", "distribution", "verbs", "checks", "site")
LOOPBACK_ALONE = ["unshare", "--net", "bash", "-c", 'ip link set lo up && exec "$@"', "-"]


@pytest.fixture
def tools(tmp_path: Path) -> Path:
    """A folder of commands that hide those of the host."""
    (tmp_path / "tools").mkdir()
    return tmp_path / "tools"


def put(tools: Path, name: str, script: str) -> None:
    (tools / name).write_text(f"#!/bin/sh\n{script}\n")
    (tools / name).chmod(0o755)


def bash(tools: Path, script: str, *inside: str) -> subprocess.CompletedProcess[str]:
    """Run ``script`` with the functions of build-install.sh; ``problems`` are shown one a line."""
    parts = "".join(f". {ROOT}/packages/lib/{part}.sh\n" for part in PARTS)
    start = "set -euo pipefail\nshopt -s inherit_errexit\nPROBLEMS=()\n"
    argv = [*inside, "bash", "-c", f"{start}{parts}{script}\nprintf '%s\\n' \"${{PROBLEMS[@]}}\""]
    env = {"PATH": f"{tools}:{os.environ['PATH']}", "PYTHON": sys.executable, "PREFIX": f"{tools}/none/prefix"}
    return subprocess.run(argv, env=env, capture_output=True, text=True, check=False)


def test_f2_a_host_with_loopback_alone_has_its_localhost(tools: Path) -> None:
    if os.geteuid() != 0 or subprocess.run([*LOOPBACK_ALONE, "true"], capture_output=True, check=False).returncode:
        pytest.skip("needs the right to make a network namespace")
    done = bash(tools, "check_name", *LOOPBACK_ALONE)
    assert (done.returncode, done.stdout.strip(), done.stderr) == (0, "", "")


def test_f2_a_localhost_that_leads_elsewhere_is_named(tools: Path) -> None:
    put(tools, "other", "exit 1")
    assert "add '127.0.0.1 localhost' to /etc/hosts" in bash(tools, f"PYTHON={tools}/other; check_name").stdout


@pytest.mark.parametrize("options", ["rw,nosuid,noexec,relatime", "noexec"])
def test_f4_a_noexec_mount_is_named(tools: Path, options: str) -> None:
    put(tools, "findmnt", f"echo '{options} /srv/a disk'")
    done = bash(tools, "check_mount")
    assert "/srv/a disk is mounted noexec; choose another folder with --prefix" in done.stdout


@pytest.mark.parametrize("script", ["echo 'rw,relatime /srv'", "exit 1", "echo 'rw,nonoexec /srv'"])
def test_f4_any_other_mount_is_taken(tools: Path, script: str) -> None:
    put(tools, "findmnt", script)
    done = bash(tools, "check_mount")
    assert (done.returncode, done.stdout.strip()) == (0, "")


def test_f3_a_download_without_a_network_says_what_to_do(tools: Path) -> None:
    done = bash(tools, f"NAME=mongodb; need_python() {{ :; }}; download http://127.0.0.1:1/secret {tools}/part")
    assert done.returncode == 1
    assert "mongodb: cannot download its archive (" in done.stderr
    assert "Connection refused" in done.stderr
    assert "Is there a network" in done.stderr
    assert "--from" in done.stderr
    assert "Traceback" not in done.stderr
    assert "secret" not in done.stderr
    assert list(tools.iterdir()) == []


def test_f3_sources_that_cannot_be_reached_are_told_as_that(tools: Path) -> None:
    """apt ends well then, and would offer nothing at all."""
    said = "Err:1 http://name:secret@127.0.0.1:1/debian bookworm InRelease"
    put(tools, "apt-get", f'case " $* " in *" update "*) echo "{said}"; exit 0 ;; esac; exit 100')
    done = bash(tools, "apt_lists")
    assert done.returncode == 1
    assert "apt cannot read this host's package sources" in done.stderr
    assert "Is there a network" in done.stderr
    assert "https_proxy" in done.stderr
    assert "--from" in done.stderr
    assert "Err:1 <source> bookworm InRelease" in done.stderr
    assert "do not offer" not in done.stderr


def test_f3_one_source_of_several_that_cannot_be_reached_is_no_hindrance(tools: Path) -> None:
    put(tools, "apt-get", 'case " $* " in *" update "*) echo "Err:1 http://a b" ;; *) echo "Inst bash (5.2 x)" ;; esac')
    done = bash(tools, "apt_lists; cat $(apt_folder)/base")
    assert (done.returncode, done.stdout.strip()) == (0, "bash")


def test_f8_a_fitting_python_of_the_host_s_sources_is_offered(tools: Path) -> None:
    put(tools, "apt-cache", 'for last; do :; done\n[ "$last" = python3.12 ] && echo "Version: 3.12.4-1"\ntrue')
    said = bash(tools, "offered_python").stdout
    sudo = "" if os.geteuid() == 0 else "sudo "
    packages = "python3.12 python3.12-venv (3.12.4-1)"
    assert said.startswith(f"{sudo}apt-get update && {sudo}apt-get install {packages}")


def test_f8_a_host_without_a_fitting_python_is_told_where_one_is(tools: Path) -> None:
    put(tools, "apt-cache", 'echo "Version: 3.9.2-3"')
    assert bash(tools, "offered_python").stdout.startswith("Debian 12 and 13 have a fitting one")


def test_f7_a_user_without_home_is_asked_of_the_host(tools: Path) -> None:
    put(tools, "getent", "echo 'a:x:7:7::/srv/a:/bin/sh'")
    assert bash(tools, "unset HOME; home_folder").stdout.startswith("/srv/a")
    put(tools, "getent", "exit 2")
    done = bash(tools, "unset HOME; home_folder")
    assert done.returncode != 0


def test_f7_ctrl_c_tells_that_the_same_command_goes_on(tools: Path) -> None:
    done = bash(tools, "kill -INT $$; exit 0")
    assert done.returncode == 130
    assert "interrupted; run the same command again" in done.stderr


@pytest.mark.parametrize(
    ("log", "shown"),
    [
        ("TASK [a]\nfatal: [h]: why\nPLAY RECAP\n", "fatal: [h]: why\n"),
        ("one\n\nusage: ansible-playbook\n", "one\nusage: ansible-playbook\n"),
    ],
)
def test_a_playbook_that_did_not_begin_says_why_too(tools: Path, log: str, shown: str) -> None:
    (tools / "log").write_text(log)
    assert bash(tools, f"why_stopped {tools}/log").stdout.startswith(shown)


def test_f5_settings_of_whoever_types_the_command_are_dropped() -> None:
    """Another broker's or Python's would make ours fail, or be built wrongly."""
    alien = dict.fromkeys(("PYTHONHOME", "PYTHONPATH", "RABBITMQ_NODENAME", "ANSIBLE_CONFIG"), "/nowhere")
    trace = ["bash", "-x", str(ROOT / "build-install.sh"), "--help"]
    done = subprocess.run(trace, env=os.environ | alien, capture_output=True, text=True, check=False)
    assert done.returncode == 0
    assert {name for name in alien if f"+ unset {name}\n" in done.stderr} == set(alien)
