"""What module canopsis_capacity finds on the machine that it runs on."""

from __future__ import annotations

import platform
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

ModuleOf = Callable[[str], ModuleType]


class Host:
    """An Ansible module on a host that has some apt-cache, or none."""

    def __init__(self, prefix: Path, policy: str | None, roles: tuple[str, ...] = ("rabbitmq",)) -> None:
        self.params: dict[str, Any] = {
            "prefix": str(prefix),
            "roles": list(roles),
            "names": ["localhost"],
            "asked_at": 7.0,
        }
        self.policy = policy
        self.asked: list[list[str]] = []

    def get_bin_path(self, name: str) -> str | None:
        """Return where a program is."""
        return None if self.policy is None else f"/usr/bin/{name}"

    def run_command(self, command: list[str]) -> tuple[int, str, str]:
        """Answer as apt-cache does."""
        self.asked.append(command)
        return 0, self.policy or "", ""


@pytest.fixture
def capacity(module_of: ModuleOf) -> ModuleType:
    """Return the module."""
    return module_of("canopsis_capacity")


@pytest.mark.parametrize(
    ("release", "expected"),
    [
        ({"ID": "debian", "VERSION_ID": "12"}, "debian 12"),
        ({"ID": "debian"}, "debian"),
    ],
)
def test_the_system(
    capacity: ModuleType, monkeypatch: pytest.MonkeyPatch, release: dict[str, str], expected: str
) -> None:
    monkeypatch.setattr(platform, "freedesktop_os_release", lambda: release)
    assert capacity.system() == expected


def test_a_system_without_a_release_file_is_named_by_its_kernel(
    capacity: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    def none() -> dict[str, str]:
        raise OSError("no os-release")

    monkeypatch.setattr(platform, "freedesktop_os_release", none)
    assert capacity.system() == "Linux"


def test_names_are_resolved_and_unknown_ones_have_no_address(capacity: ModuleType) -> None:
    assert "127.0.0.1" in capacity.resolve("localhost")
    assert capacity.resolve("127.0.0.1") == ["127.0.0.1"]
    assert capacity.resolve("no-such-host.invalid") == []


def test_an_installed_broker_counts_before_any_other(capacity: ModuleType, tmp_path: Path) -> None:
    current = tmp_path / "opt/rabbitmq-server/current"
    current.parent.mkdir(parents=True)
    current.symlink_to("3.10.8-1.1+deb12u1-abc")
    host = Host(tmp_path, "  Candidate: 4.0.5-1")
    assert capacity.broker(host) == "3.10"
    assert host.asked == []


def test_a_host_without_broker_is_asked_for_what_it_would_get(capacity: ModuleType, tmp_path: Path) -> None:
    host = Host(tmp_path, "  Candidate: 4.0.5-1")
    assert capacity.broker(host) == "4.0"
    assert host.asked == [["/usr/bin/apt-cache", "policy", "rabbitmq-server"]]


def test_a_host_outside_the_group_gets_no_broker(capacity: ModuleType, tmp_path: Path) -> None:
    assert capacity.broker(Host(tmp_path, "  Candidate: 4.0.5-1", roles=("engines",))) == ""


def test_what_is_seen_goes_to_the_filter(capacity: ModuleType, filters: dict[str, Any], tmp_path: Path) -> None:
    seen = capacity.seen(Host(tmp_path, None, roles=()))
    assert seen["asked_at"] == 7.0
    fields = filters["canopsis_seen"](seen, seen["clock"])
    assert fields["offset"] == 0.0
    assert set(fields) == {"names", "offset", "system", "broker", "hostname", "nodes", "known"}
    assert fields["hostname"] == platform.node()


def test_g7_what_a_running_site_calls_its_hosts_is_seen(capacity: ModuleType, tmp_path: Path) -> None:
    assert (capacity.nodes(tmp_path), capacity.known(tmp_path)) == ([], [])
    for name in ("rabbit@n1", "rabbit@n1-plugins-expand", "other"):
        (tmp_path / "var/lib/rabbitmq/mnesia" / name).mkdir(parents=True)
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc/storage.conf").write_text("[master]\nhosts=n1:27017,n2:27017\n")
    (tmp_path / "etc/amqp.conf").write_text("[master]\nhosts=n3:5672\n")
    assert (capacity.nodes(tmp_path), capacity.known(tmp_path)) == (["rabbit@n1"], ["n1", "n2", "n3"])
