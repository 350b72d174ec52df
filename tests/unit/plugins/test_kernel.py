"""What MongoDB wants of the kernel: by version, only what differs, never in a container."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from ansible.module_utils.canopsis_kernel import (
    HUGE,
    SYSCTL_FILE,
    TMPFILES_FILE,
    boot_files,
    chosen,
    lacking,
    reason_to_skip,
    wanted,
)

ModuleOf = Callable[[str], ModuleType]
MAPS = "/proc/sys/vm/max_map_count"


@pytest.mark.parametrize(
    ("version", "enabled", "overcommit"),
    [("4.4.29", "never", False), ("6.0.5", "never", False), ("7.0.5", "never", False), ("8.0.1", "always", True),
     ("10.0", "always", True)],
)  # fmt: skip
def test_huge_pages_go_by_version(version: str, enabled: str, overcommit: bool) -> None:
    settings = wanted(version)
    assert settings[f"{HUGE}/enabled"] == enabled
    assert ("/proc/sys/vm/overcommit_memory" in settings) is overcommit


@pytest.mark.parametrize(
    ("text", "value"),
    [("always madvise [never]\n", "never"), ("[always] madvise never", "always"), ("60\n", "60"), ("", "")],
)
def test_the_chosen_value_is_read(text: str, value: str) -> None:
    assert chosen(text) == value


@pytest.mark.parametrize(
    ("present", "expected"),
    [
        ({}, {}),
        ({MAPS: "65530\n"}, {MAPS: "128000"}),
        ({MAPS: "262144\n"}, {}),
        ({"/proc/sys/vm/swappiness": "60\n"}, {"/proc/sys/vm/swappiness": "1"}),
        ({"/proc/sys/vm/swappiness": "1\n"}, {}),
        ({f"{HUGE}/enabled": "[always] madvise never"}, {f"{HUGE}/enabled": "never"}),
        ({f"{HUGE}/enabled": "always madvise [never]"}, {}),
    ],
)
def test_only_what_differs_is_written(present: dict[str, str], expected: dict[str, str]) -> None:
    assert lacking("6.0.5", present) == expected


def test_the_settings_are_there_after_a_boot() -> None:
    files = boot_files("8.0.1")
    assert "vm.swappiness = 1\n" in files[SYSCTL_FILE]
    assert f"w {HUGE}/khugepaged/max_ptes_none - - - - 0\n" in files[TMPFILES_FILE]


@pytest.mark.parametrize(
    ("managed", "root", "container", "why"),
    [
        (True, True, False, ""),
        (True, True, True, "in a container"),
        (False, True, False, "mongodb_manage_kernel is false"),
        (True, False, False, "not root"),
        (False, False, True, "in a container"),
    ],
)
def test_a_kernel_is_left_alone_for_a_reason(managed: bool, root: bool, container: bool, why: str) -> None:
    reason = reason_to_skip(managed=managed, root=root, container=container)
    assert reason.startswith(why)
    assert bool(reason) is bool(why)


@pytest.fixture
def host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A kernel of its own, below a folder, and root."""
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    for path, value in (("proc/sys/vm/swappiness", "60\n"), (MAPS[1:], "65530\n")):
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text(value)
    return tmp_path


def params(**other: Any) -> dict[str, Any]:
    """Return the parameters of the module."""
    return {"version": "6.0.5", "managed": True, "state": "present"} | other


def test_a_second_run_changes_nothing(module_of: ModuleOf, host: Path) -> None:
    module = module_of("canopsis_kernel")
    assert module.run(params(), check_mode=False, root=host)["changed"]
    assert (host / "proc/sys/vm/swappiness").read_text() == "1"
    assert (host / TMPFILES_FILE[1:]).is_file()
    assert not module.run(params(), check_mode=False, root=host)["changed"]


def test_check_mode_shows_and_writes_nothing(module_of: ModuleOf, host: Path) -> None:
    result = module_of("canopsis_kernel").run(params(), check_mode=True, root=host)
    assert "/proc/sys/vm/swappiness: 1" in result["diff"]["after"]
    assert (host / "proc/sys/vm/swappiness").read_text() == "60\n"
    assert not (host / SYSCTL_FILE[1:]).exists()


def test_its_files_go_when_it_is_absent(module_of: ModuleOf, host: Path) -> None:
    module = module_of("canopsis_kernel")
    module.run(params(), check_mode=False, root=host)
    assert module.run(params(state="absent"), check_mode=False, root=host)["changed"]
    assert not (host / SYSCTL_FILE[1:]).exists()
    assert not module.run(params(state="absent"), check_mode=False, root=host)["changed"]


@pytest.mark.parametrize("mark", ["run/systemd/container", ".dockerenv", "run/.containerenv"])
def test_a_container_is_known(module_of: ModuleOf, host: Path, mark: str) -> None:
    (host / mark).parent.mkdir(parents=True, exist_ok=True)
    (host / mark).write_text("")
    result = module_of("canopsis_kernel").run(params(), check_mode=False, root=host)
    assert not result["changed"]
    assert result["reason"].startswith("in a container")
