"""What starts a site at boot, and what build-install.sh says of it: with a scratch systemctl and crontab."""

from __future__ import annotations

import os
import re
import subprocess
from dataclasses import dataclass
from pathlib import Path

import jinja2
import pytest

ROOT = Path(__file__).resolve().parents[2]
TEMPLATE = ROOT / "roles/supervisor/templates/canopsis.service.j2"
SYSTEMCTL = """#!/bin/sh
echo "$*" >>"{folder}/asked"
case "$*" in
  *is-enabled*) [ ! -e "{folder}/off" ] ;;
esac
"""
CRONTAB = """#!/bin/sh
case "$1" in
  -l) cat "{folder}/crontab" 2>/dev/null ;;
  -) all=$(cat); echo "$all" >"{folder}/crontab" ;;
esac
"""


@dataclass
class Boot:
    """A host whose systemd and crontab are scratch files."""

    folder: Path

    def run(self, script: str, prefix: str = "/opt/canopsis") -> subprocess.CompletedProcess[str]:
        """Run ``script`` with the functions of build-install.sh."""
        parts = "".join(f". {ROOT}/packages/lib/{part}.sh\n" for part in ("common", "boot", "site"))
        paths = f"SYSTEMD={self.folder}/systemd UNITS={self.folder}/units HERE={ROOT} PREFIX={prefix}\n"
        return subprocess.run(
            ["bash", "-c", f"set -euo pipefail\nshopt -s inherit_errexit\n{parts}{paths}{script}"],
            env={"PATH": f"{self.folder}/bin:{os.environ['PATH']}"},
            capture_output=True,
            text=True,
            check=False,
        )

    def good(self, script: str, prefix: str = "/opt/canopsis") -> str:
        """Run ``script``, which must succeed; return what it says."""
        done = self.run(script, prefix)
        assert (done.returncode, done.stderr) == (0, "")
        return done.stdout

    def asked(self) -> list[str]:
        """Return what systemd was asked since the last call."""
        path = self.folder / "asked"
        found = path.read_text().splitlines() if path.exists() else []
        path.unlink(missing_ok=True)
        return found

    def unit(self, name: str = "canopsis.service") -> Path:
        return self.folder / "units" / name


@pytest.fixture
def boot(tmp_path: Path) -> Boot:
    for name in ("bin", "systemd", "units"):
        (tmp_path / name).mkdir()
    for name, text in (("systemctl", SYSTEMCTL), ("crontab", CRONTAB)):
        (tmp_path / "bin" / name).write_text(text.format(folder=tmp_path))
        (tmp_path / "bin" / name).chmod(0o755)
    return Boot(tmp_path)


def test_f1_systemd_starts_a_site_that_root_built(boot: Boot) -> None:
    assert "systemd starts the site at boot" in boot.good("start_at_boot")
    assert boot.asked() == [
        "daemon-reload",
        "--quiet enable --now canopsis.service",
        "--quiet is-enabled canopsis.service",
    ]
    assert "ExecStart=/opt/canopsis/bin/hypcontrol start\n" in boot.unit().read_text()


def test_f1_the_unit_is_that_of_the_role(boot: Boot) -> None:
    """One text: a variable that the role's template gets must be given here too."""
    most = int(boot.good("open_files"))
    values = {"supervisor_prefix": "/srv/a", "supervisor_user": "canopsis", "supervisor_open_files": most}
    template = jinja2.Template(TEMPLATE.read_text(), undefined=jinja2.StrictUndefined, keep_trailing_newline=True)
    assert boot.good("render_unit", "/srv/a") == template.render(values)


def test_f1_a_second_run_changes_nothing(boot: Boot) -> None:
    boot.good("start_at_boot")
    boot.asked()
    before = boot.unit().stat()
    boot.good("start_at_boot")
    assert boot.asked() == ["--quiet is-enabled canopsis.service"]
    assert boot.unit().stat().st_mtime_ns == before.st_mtime_ns


def test_f1_a_unit_that_was_switched_off_stays_off(boot: Boot) -> None:
    boot.good("start_at_boot")
    (boot.folder / "off").touch()
    boot.unit().write_text("[Unit]\nDescription=Canopsis in /opt/canopsis\n")
    boot.asked()
    assert "canopsis.service is switched off; systemctl enable canopsis.service" in boot.good("start_at_boot")
    assert boot.asked() == ["daemon-reload", "--quiet is-enabled canopsis.service"]


def test_f1_a_host_without_systemd_is_told_the_command(boot: Boot) -> None:
    (boot.folder / "systemd").rmdir()
    said = boot.good("start_at_boot")
    assert "this host has no systemd" in said
    assert "/opt/canopsis/bin/hypcontrol start" in said
    assert (boot.asked(), list((boot.folder / "units").iterdir())) == ([], [])


def test_f1_a_systemd_that_fails_is_told(boot: Boot) -> None:
    (boot.folder / "bin/systemctl").write_text('#!/bin/sh\ncase "$*" in *enable*) exit 1 ;; esac\n')
    done = boot.run("start_at_boot")
    assert done.returncode == 1
    assert "systemd could not take it over; see journalctl -u canopsis.service" in done.stderr


def test_f1_each_folder_has_a_unit_of_its_own(boot: Boot) -> None:
    boot.good("start_at_boot")
    boot.good("start_at_boot", "/srv/one+two/a-b_c")
    assert sorted(path.name for path in (boot.folder / "units").iterdir()) == [
        "canopsis-srv-one_two-a--b_c.service",
        "canopsis.service",
    ]


def test_f1_remove_takes_the_unit_away(boot: Boot) -> None:
    boot.good("start_at_boot")
    boot.asked()
    assert f"Removed {boot.unit()}" in boot.good("forget_boot")
    assert boot.asked() == ["--quiet disable --now canopsis.service", "daemon-reload"]
    assert not boot.unit().exists()


def test_f1_remove_leaves_the_unit_of_something_else(boot: Boot) -> None:
    boot.unit().write_text("[Unit]\nDescription=Canopsis in /opt/other\n")
    assert boot.good("forget_boot") == ""
    assert boot.unit().exists()
    assert boot.asked() == []


def test_f1_an_ordinary_user_is_told_one_line_that_works(boot: Boot) -> None:
    (boot.folder / "crontab").write_text("5 4 * * * mine\n")
    said = boot.good("tell_boot", "/home/a/canopsis")
    line = said.splitlines()[1]
    assert re.match("At boot nothing starts it yet; this line does:", said)
    boot.good(line)
    assert (boot.folder / "crontab").read_text() == "5 4 * * * mine\n@reboot /home/a/canopsis/bin/hypcontrol start\n"
    assert boot.good("tell_boot", "/home/a/canopsis") == ""


def test_f1_a_host_without_crontab_is_told_where_it_is(boot: Boot) -> None:
    (boot.folder / "bin/crontab").unlink()
    said = boot.run("PATH=$PATH:/nowhere; command() { return 1; }; tell_boot").stdout
    assert "(crontab is in the Debian package cron)" in said


def test_f1_root_has_done_it_already(boot: Boot) -> None:
    boot.good("start_at_boot")
    assert boot.good("tell_boot") == ""


def test_f1_a_line_of_the_crontab_that_stays_is_named(boot: Boot) -> None:
    (boot.folder / "crontab").write_text("@reboot /home/a/bin/hypcontrol start\n")
    assert "take its line out with crontab -e" in boot.run("forget_boot", "/home/a").stderr
