"""The role supervisor: supervisord as the site's user, on at boot, off at shutdown."""

from __future__ import annotations

from typing import Any

import site_hosts as site

BUILD = ("packages/lib/common.sh", "packages/lib/boot.sh", "packages/lib/site.sh", "packages/lib/verbs.sh")
UNIT = "roles/supervisor/templates/canopsis.service.j2"
PID = f"{site.PREFIX}/var/run/supervisord.pid"


def test_supervisord_is_not_root(host: Any) -> None:
    pid = host.file(PID).content_string.strip()
    assert host.run(f"ps -o user= -p {pid}").stdout.strip() == "canopsis"


def test_only_its_user_may_command_it(host: Any) -> None:
    socket = host.file(f"{site.PREFIX}/var/run/supervisor.sock")
    assert (socket.user, socket.mode) == ("canopsis", 0o700)


def test_systemd_starts_and_stops_the_site(host: Any) -> None:
    unit = host.service("canopsis")
    assert unit.is_enabled and unit.is_running
    assert host.run("systemctl stop canopsis").rc == 0
    assert site.fingerprint(host)["processes"] == {}
    done = host.run("systemctl start canopsis")
    assert done.rc == 0, host.run("journalctl --no-pager -u canopsis").stdout
    assert site.programs(host) == {"mongodb": "RUNNING"}


def by_root(host: Any, verb: str) -> Any:
    """Run a function of build-install.sh, as the build by root does when the site stands."""
    parts = "\n".join((site.ROOT / name).read_text() for name in BUILD)
    laid = f"mkdir -p /root/{UNIT.rpartition('/')[0]} && cat >/root/{UNIT} <<'END-OF-UNIT'"
    script = f"{parts}\nHERE=/root PREFIX={site.PREFIX}\n{laid}\n{(site.ROOT / UNIT).read_text()}END-OF-UNIT\n{verb}\n"
    return host.run(f"bash -s <<'END-OF-SCRIPT'\nset -euo pipefail\n{script}END-OF-SCRIPT\n")


def test_f1_a_build_by_root_has_systemd_start_the_site_too(host: Any) -> None:
    """The same unit as the role's: it is taken away, and put back."""
    before = host.file("/etc/systemd/system/canopsis.service").content_string
    done = by_root(host, "forget_boot")
    assert "Removed /etc/systemd/system/canopsis.service" in done.stdout, done.stderr
    assert not host.service("canopsis").is_enabled
    assert site.fingerprint(host)["processes"] == {}
    done = by_root(host, "start_at_boot")
    assert "systemd starts the site at boot" in done.stdout, done.stderr
    assert host.file("/etc/systemd/system/canopsis.service").content_string == before
    unit = host.service("canopsis")
    assert unit.is_enabled and unit.is_running
    assert site.programs(host) == {"mongodb": "RUNNING"}
