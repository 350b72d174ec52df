"""Each gate of preflight, passed and failed through the whole site.yml; on a fail no host has changed."""

from __future__ import annotations

import re
from typing import Any

import plays
import pytest
import site_hosts as site

SECRETS = ("mongodb_keyfile", "mongodb_admin_password", "rabbitmq_erlang_cookie", "webserver_session_secret")

REFUSED: dict[str, tuple[list[str], list[str]]] = {
    "disk": (["preflight_disk_gb=999999"], ["disk of /opt/canopsis/var/lib/mongodb", "999999 GB", "preflight_disk_gb"]),
    "memory": (["preflight_memory_mb=99999999"], ["99999999 MB", "preflight_memory_mb"]),
    "port": (["canopsis_web_port=22"], ["port 22", "canopsis_web_port"]),
    "one secret": (["mongodb_keyfile="], ["mongodb_keyfile", "secret"]),
    "all secrets at once": ([f"{name}=" for name in SECRETS], list(SECRETS)),
    "unknown variable": (["mongodb_prot=27018"], ["unknown variable mongodb_prot"]),
    "release of the host": (['{"preflight_systems": ["debian 1"]}'], ["debian 12", "preflight_systems"]),
    "user root": (["canopsis_user=root"], ["an ordinary user", "canopsis_user"]),
    "two things at once": (["preflight_disk_gb=999999", "preflight_memory_mb=99999999"], ["disk of", "memory of"]),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_is_refused_changes_nothing(host: Any, case: str) -> None:
    values, words = REFUSED[case]
    before = site.fingerprint(host)
    done = plays.play("site.yml", *(word for value in values for word in ("-e", value)))
    assert done.returncode != 0, done.stdout
    assert "Nothing was changed." in done.stdout, done.stdout + done.stderr
    assert [word for word in words if word not in done.stdout] == []
    assert re.search(r"changed=[1-9]", done.stdout) is None
    assert site.difference(before, site.fingerprint(host)) == []


def test_even_members_are_refused(host: Any, place: site.Place) -> None:
    before = site.fingerprint(host)
    names = ("ansible_port", "ansible_ssh_private_key_file", "ansible_user")
    known = [word for name in names for word in ("-e", f"{name}={place.variables[name]}")]
    done = plays.play("site.yml", "-i", str(plays.inventory().parent / "even"), *known)
    assert done.returncode != 0
    assert "members of mongodb" in done.stdout and "members of rabbitmq" in done.stdout, done.stdout
    assert site.difference(before, site.fingerprint(host)) == []


PASSED: dict[str, list[str]] = {
    "as it is": [],
    "disk that suffices": ["preflight_disk_gb=1"],
    "memory that suffices": ["preflight_memory_mb=100"],
    "a free port": ["canopsis_web_port=8090"],
}


@pytest.mark.parametrize("case", PASSED)
def test_what_passes_changes_nothing_either(host: Any, case: str) -> None:
    before = site.fingerprint(host)
    plays.succeed("playbooks/preflight.yml", *(word for value in PASSED[case] for word in ("-e", value)))
    assert site.difference(before, site.fingerprint(host)) == []
