"""What is none of the site's services goes to the system's own ``service``."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from ops_scratch import write

from canopsis.cli import service
from canopsis.ops import foreign
from canopsis.ops.prefix import Prefix

PROGRAM = "[program:{0}]\ncommand=/bin/{0}\n"


class Became(Exception):  # noqa: N818  no error: the process is another one from here on
    """The process became another command."""


@pytest.fixture
def system(tmp_path: Path, prefix: Prefix, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """A host with a ``service`` of its own behind that of the site; give it services."""
    scripts, usual, own = (tmp_path / name for name in ("init.d", "sbin", "linked"))
    for folder in (scripts, usual):
        folder.mkdir()
    own.symlink_to(prefix.path / "bin")
    (prefix.path / "bin").mkdir(exist_ok=True)
    for folder in (usual, prefix.path / "bin"):
        (folder / "service").write_text("#!/bin/sh\n")
        (folder / "service").chmod(0o755)

    def become(path: str, argv: list[str]) -> None:
        raise Became(path, argv)

    monkeypatch.setattr(foreign, "_SCRIPTS", scripts)
    monkeypatch.setattr(foreign, "_UNITS", (tmp_path / "units",))
    monkeypatch.setattr(os, "execv", become)
    monkeypatch.setenv("PATH", os.pathsep.join(map(str, (own, prefix.path / "bin", usual))))
    monkeypatch.setenv("CANOPSIS_PREFIX", str(prefix.path))
    for name in ("mongodb", "engine-worker"):
        write(prefix, f"supervisord.d/{name}.conf", PROGRAM.format(name))
    return lambda name: (scripts / name).touch()


@pytest.mark.parametrize("argv", [["ssh", "status"], ["ssh", "force-reload", "now"]])
def test_f6_a_service_of_the_system_is_handed_on(
    system: Callable[[str], None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, argv: list[str]
) -> None:
    """With the rights of who types it: root must still be root there."""
    system("ssh")
    monkeypatch.setattr(service, "own_prefix", lambda: pytest.fail("rights were given up before"))
    usual = str(tmp_path / "sbin" / "service")
    with pytest.raises(Became) as became:
        service.main(argv)
    assert became.value.args == (usual, [usual, *argv])


@pytest.mark.usefixtures("system")
def test_f6_a_unit_of_systemd_is_one_too(tmp_path: Path) -> None:
    (tmp_path / "units").mkdir()
    (tmp_path / "units" / "ssh.service").touch()
    with pytest.raises(Became):
        foreign.hand_on(["ssh", "status"])


@pytest.mark.parametrize("name", ["mongodb", "engine-worker", "amqp2engines"])
def test_ours_comes_first(system: Callable[[str], None], name: str) -> None:
    system(name)
    foreign.hand_on([name, "status"])


@pytest.mark.parametrize("argv", [[], ["--status-all"], ["nobody", "status"], ["../ssh", "status"]])
def test_what_nobody_knows_stays_ours(system: Callable[[str], None], argv: list[str]) -> None:
    """It is refused with the names that there are."""
    system("ssh")
    foreign.hand_on(argv)


def test_a_host_without_a_service_command(
    system: Callable[[str], None], prefix: Prefix, monkeypatch: pytest.MonkeyPatch
) -> None:
    system("ssh")
    monkeypatch.setenv("PATH", str(prefix.path / "bin"))
    monkeypatch.setattr(foreign, "_USUAL", ())
    foreign.hand_on(["ssh", "status"])
