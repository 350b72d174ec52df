"""The role supervisor: supervisord as the site's user, on at boot, off at shutdown."""

from __future__ import annotations

from typing import Any

import site_hosts as site

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
