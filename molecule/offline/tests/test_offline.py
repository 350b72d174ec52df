"""Three hosts whose way out is cut become a site, from a bundle that the controller fetched; a bad bundle is refused.

The tests build on each other, in their order.
"""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import outside
import plays
import pytest
import site_hosts as site

ABROAD = "192.0.2.1"
"""An address for documentation, of no host anywhere."""
NAME = "deb.debian.org"
CONNECT = "import socket as s, sys; sys.exit(s.socket().connect_ex(('{address}', 443)) == 0)"


def test_the_way_out_is_cut(hosts: dict[str, Any], inits: dict[str, int]) -> None:
    """Where there are no name servers either, hosts know each other by their own files."""
    addresses = {name: site.address(host) for name, host in hosts.items()}
    for name, host in hosts.items():
        others = {other: address for other, address in addresses.items() if other != name}
        lines = "".join(f"{address} {other}\\n" for other, address in others.items())
        host.check_output(f"printf '{lines}' >> /etc/hosts")
        outside.cut(inits[name], others.values())
    assert {name: outside.tried(init) for name, init in inits.items()} == dict.fromkeys(hosts, 0)


# --- bad bundles --------------------------------------------------------------------------------


def one(folder: Path, pattern: str) -> Path:
    """Return the file of an unpacked bundle that matches."""
    (found,) = folder.glob(pattern)
    return found


def spoil(pattern: str) -> Callable[[Path], str]:
    """Return what changes one byte in the middle of a file, and names the file."""

    def change(folder: Path) -> str:
        file = one(folder, pattern)
        with file.open("r+b") as content:
            middle = content.seek(file.stat().st_size // 2)
            byte = content.read(1)[0]
            content.seek(middle)
            content.write(bytes([byte ^ 1]))
        return f"{file.name} in {site.PREFIX}/var/cache/bundle.tar is damaged: its SHA-256 is not the recorded one"

    return change


def lose(pattern: str) -> Callable[[Path], str]:
    """Return what takes a file away, and names it."""

    def change(folder: Path) -> str:
        file = one(folder, pattern)
        file.unlink()
        return f"{file.name} is missing in {site.PREFIX}/var/cache/bundle.tar"

    return change


def belong_elsewhere(folder: Path) -> str:
    """Have the bundle be one of another release, and say so."""
    for path in folder.glob("*.sources"):
        name, _, kind = path.name.partition(".")
        path.rename(folder / f"{name}.{kind.replace('debian-12', 'debian-99')}")
    return "is for debian-99-x86_64, this host is debian-12-x86_64"


@pytest.fixture
def bad(request: pytest.FixtureRequest, secrets: dict[str, Any], tmp_path: Path) -> tuple[Path, str]:
    """Return a bundle with which something is wrong, and what a host has to say of it."""
    folder, bundle = tmp_path / "unpacked", tmp_path / "bundle.tar"
    folder.mkdir()
    subprocess.run(["tar", "-xf", secrets["canopsis_bundle"], "-C", folder], check=True)
    said = request.param(folder)
    subprocess.run(["tar", "-cf", bundle, "-C", folder, "."], check=True)
    return bundle, said


@pytest.mark.parametrize(
    "bad",
    [spoil("kombu-*.whl"), lose("kombu-*.whl"), belong_elsewhere],
    ids=["the last package is damaged", "it lacks a file", "another release"],
    indirect=True,
)
def test_a_bad_bundle_is_refused_and_nothing_is_installed(hosts: dict[str, Any], bad: tuple[Path, str]) -> None:
    bundle, said = bad
    output = plays.refuse("site.yml", "-e", f"canopsis_bundle={bundle}")
    assert output.count(said) >= len(hosts), output
    for host in hosts.values():
        laid = host.run(f"ls -d {site.PREFIX}/opt {site.PREFIX}/bin {site.PREFIX}/var/lib/packages").stdout
        assert laid == ""
        assert not host.file("/etc/systemd/system/canopsis.service").exists
        assert site.fingerprint(host)["processes"] == {}


# --- a good one ---------------------------------------------------------------------------------


def test_the_hosts_become_a_site(hosts: dict[str, Any]) -> None:
    plays.succeed("site.yml")
    for name, host in hosts.items():
        assert set(site.programs(host).values()) == {"RUNNING"}
        assert site.health(host, name) == "200"
        assert site.broker_hosts(host) == set(hosts)


def test_a_second_run_changes_nothing(hosts: dict[str, Any]) -> None:
    before = {name: site.fingerprint(host) for name, host in hosts.items()}
    output = plays.succeed("site.yml")
    assert plays.changes(output) == dict.fromkeys(["localhost", *hosts], 0), output
    assert [line for name in hosts for line in site.difference(before[name], site.fingerprint(hosts[name]))] == []


def test_nothing_was_tried_abroad(hosts: dict[str, Any], inits: dict[str, int]) -> None:
    assert {name: outside.tried(init) for name, init in inits.items()} == dict.fromkeys(hosts, 0)


def test_what_is_tried_is_counted(hosts: dict[str, Any], inits: dict[str, int]) -> None:
    for name, host in hosts.items():
        host.check_output(f'python3 -c "{CONNECT.format(address=ABROAD)}"')
        assert outside.tried(inits[name]) == 1
        assert host.run(f"getent hosts {NAME}").rc != 0
        assert outside.tried(inits[name]) > 1
