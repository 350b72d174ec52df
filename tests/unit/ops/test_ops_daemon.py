"""supervisord found, and what is refused before it is started."""

from __future__ import annotations

import fcntl
import io
import os
import pwd
import subprocess
import sys
from pathlib import Path

import pytest
from ops_scratch import write

from canopsis.errors import SiteError
from canopsis.ops import daemon, orphans, processes
from canopsis.ops.prefix import Prefix
from canopsis.ops.processes import Process


def process(pid: int, *command: str) -> Process:
    return Process(pid, 1, pid, pid, command)


@pytest.fixture
def conf(prefix: Prefix) -> Path:
    prefix.supervisord_conf.write_text("[supervisord]\n")
    return prefix.supervisord_conf


class TestServes:
    @pytest.mark.parametrize(
        "command",
        [
            ("/opt/python", "/opt/canopsis/bin/supervisord", "-c", "{conf}"),
            ("/opt/python", "-m", "supervisor.supervisord", "-c", "{conf}"),
            ("/opt/python", "-m", "supervisor.supervisord", "-n", "--configuration", "{conf}"),
            ("supervisord", "-c", "{conf}"),
        ],
    )
    def test_ours(self, prefix: Prefix, conf: Path, command: tuple[str, ...]) -> None:
        own = process(os.getpid(), *(part.format(conf=conf) for part in command))
        assert daemon._serves(own, prefix)

    def test_ours_by_a_relative_path(self, prefix: Prefix, conf: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.chdir(prefix.path)
        assert daemon._serves(process(os.getpid(), "supervisord", "-c", conf.name), prefix)

    @pytest.mark.parametrize(
        "command",
        [
            (),
            ("supervisord",),
            ("supervisord", "-c"),
            ("supervisord", "-c", "/etc/supervisord.conf"),
            ("supervisord", "-c", "/nowhere"),
            ("vi", "{conf}"),
            ("python", "-c", "{conf}"),
            ("grep", "-c", "{conf}", "x", "supervisord"),
            ("tail", "-f", "supervisord.log", "-c", "{conf}"),
        ],
    )
    def test_others(self, prefix: Prefix, conf: Path, command: tuple[str, ...]) -> None:
        other = process(os.getpid(), *(part.format(conf=conf) for part in command))
        assert not daemon._serves(other, prefix)

    def test_the_running_one(self, prefix: Prefix, conf: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        ours = process(os.getpid(), "supervisord", "-c", str(conf))
        monkeypatch.setattr(processes, "all_processes", lambda: iter([process(1, "init"), ours]))
        assert daemon.running(prefix) == ours
        monkeypatch.setattr(processes, "all_processes", lambda: iter([process(1, "init")]))
        assert daemon.running(prefix) is None

    def test_a_child_that_is_about_to_become_a_program(
        self, prefix: Prefix, conf: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        # Process ids that began anew: the child's is the lower one. /proc/PID is looked at, so both are real.
        command = ("supervisord", "-c", str(conf))
        with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as other:
            parent, child = Process(other.pid, 1, 0, 0, command), Process(os.getpid(), other.pid, 0, 0, command)
            monkeypatch.setattr(processes, "all_processes", lambda: iter([child, parent]))
            assert daemon.all_running(prefix) == [parent]
            other.communicate(b"\n")

    def test_a_child_that_its_parent_left(self, prefix: Prefix, conf: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """It is no supervisord that hangs: it becomes a program in a moment, and is ended as one."""
        child = process(os.getpid(), "supervisord", "-c", str(conf))
        looks = iter([[child], [child]])
        monkeypatch.setattr(processes, "all_processes", lambda: iter(next(looks, [])))
        said: list[str] = []
        daemon.settle(prefix, said.append)
        assert said == [f"waiting for supervisord (pid {os.getpid()}), which starts or ends just now"]


class TestRefused:
    def test_no_configuration(self, prefix: Prefix) -> None:
        with pytest.raises(SiteError, match=r"supervisord\.conf is missing: site\.yml writes it"):
            daemon.ensure(prefix, print, everything=True)

    def test_a_prefix_that_is_too_deep(self, tmp_path: Path) -> None:
        deep = Prefix(tmp_path / ("x" * 100))
        deep.path.mkdir()
        deep.supervisord_conf.write_text("[supervisord]\n")
        with pytest.raises(SiteError, match=r"is longer than a unix socket may be \(107 bytes\): move the prefix"):
            daemon.ensure(deep, print, everything=True)

    def test_a_python_that_cannot_be_run(self, prefix: Prefix, conf: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        assert conf.is_file()
        monkeypatch.setattr(daemon.sys, "executable", "/nowhere/python")
        with pytest.raises(SiteError, match=r"cannot run /nowhere/python in .*: No such file or directory"):
            daemon.ensure(prefix, print, everything=True)

    def test_what_it_said_is_told_without_its_advice(self, prefix: Prefix) -> None:
        output = io.StringIO("Error: bad value\nFor help, use supervisord -h\n")
        text = daemon._why_not(prefix, output)
        assert text.splitlines() == [
            "supervisord does not come up: Error: bad value",
            f"  configuration: {prefix.supervisord_conf}",
            f"  log: {prefix.log / 'supervisord.log'}",
        ]
        assert daemon._why_not(prefix, io.StringIO("")).startswith("supervisord does not come up: it said nothing")


class TestEnsure:
    @pytest.fixture
    def launched(self, conf: Path, monkeypatch: pytest.MonkeyPatch) -> list[bool]:
        """Nothing runs and nothing is left behind; launches are noted, and answer from then on, each with a keeper."""
        assert conf.is_file()
        found: list[bool] = []
        keepers: list[Process] = []
        monkeypatch.setattr(processes, "all_processes", lambda: iter(keepers))
        keeper = process(2, "python", "-m", "canopsis.cli.keeper", str(conf.parent))
        monkeypatch.setattr(daemon, "_spawn_keeper", lambda _prefix: keepers.append(keeper))
        monkeypatch.setattr(daemon, "answers", lambda _prefix: bool(found))
        monkeypatch.setattr(daemon, "_launch", lambda _prefix, everything: found.append(everything))
        return found

    def test_once(self, prefix: Prefix, launched: list[bool]) -> None:
        said: list[str] = []
        assert daemon.ensure(prefix, said.append, everything=True)
        assert not daemon.ensure(prefix, said.append, everything=False)
        assert launched == [True]
        assert said == ["starting supervisord"]
        assert len(daemon.keepers(prefix)) == 1

    def test_a_keeper_that_went_is_there_again(self, prefix: Prefix, launched: list[bool]) -> None:
        launched.append(True)
        assert daemon.keepers(prefix) == []
        assert not daemon.ensure(prefix, print, everything=True)
        assert len(daemon.keepers(prefix)) == 1

    def test_the_keeper_of_another_site_is_not_ours(
        self, prefix: Prefix, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        other = process(2, "python", "-m", "canopsis.cli.keeper", str(tmp_path))
        monkeypatch.setattr(processes, "all_processes", lambda: iter([other]))
        assert daemon.keepers(prefix) == []

    def test_stale_files_go(self, prefix: Prefix, launched: list[bool]) -> None:
        prefix.run.mkdir(parents=True)
        prefix.pid_file.write_text("1\n")
        prefix.socket.touch()
        daemon.ensure(prefix, print, everything=False)
        assert launched == [False]
        assert not prefix.pid_file.exists()
        assert not prefix.socket.exists()

    def test_orphans_go_first(self, prefix: Prefix, launched: list[bool], monkeypatch: pytest.MonkeyPatch) -> None:
        order: list[str] = []
        write(prefix, "supervisord.d/mongodb.conf", "[program:mongodb]\ncommand=x\n")
        monkeypatch.setattr(orphans, "end", lambda _prefix, files, _say: order.extend(files))
        monkeypatch.setattr(daemon, "_launch", lambda _prefix, everything: order.append(f"launch {everything}"))
        daemon.ensure(prefix, print, everything=True)
        assert order == ["mongodb", "launch True"]
        assert launched == []

    def test_a_lock_that_is_held_is_waited_for(self, prefix: Prefix, launched: list[bool]) -> None:
        prefix.run.mkdir(parents=True)
        holder = (prefix.run / "service.lock").open("a")
        fcntl.flock(holder, fcntl.LOCK_EX)
        said: list[str] = []

        def say(line: str) -> None:
            said.append(line)
            holder.close()

        daemon.ensure(prefix, say, everything=True)
        assert said[0] == "waiting for another command that starts or stops supervisord"
        assert launched == [True]

    def test_a_lock_that_is_held_for_ever(
        self, prefix: Prefix, launched: list[bool], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(daemon, "_LONGEST_STOP", 0.1)
        prefix.run.mkdir(parents=True)
        with (prefix.run / "service.lock").open("a") as holder:
            fcntl.flock(holder, fcntl.LOCK_EX)
            with pytest.raises(
                SiteError, match=r"another command has held .*service\.lock for 0\.1 s; see who with: fuser"
            ):
                daemon.ensure(prefix, print, everything=True)
        assert launched == []


def test_the_environment_of_supervisord(prefix: Prefix, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SUPERVISOR_PROCESS_NAME", "engine-worker")
    monkeypatch.setenv("COLOUR", "blue")
    monkeypatch.setenv("HOME", "/of/another")
    environment = daemon._environment(prefix, everything=False)
    assert environment["CANOPSIS_PREFIX"] == str(prefix.path)
    assert environment["CANOPSIS_AUTOSTART"] == "false"
    assert environment["HOME"] == pwd.getpwuid(os.geteuid()).pw_dir
    assert not [name for name in environment if name == "COLOUR" or name.startswith("SUPERVISOR_")]
    assert daemon._environment(prefix, everything=True)["CANOPSIS_AUTOSTART"] == "true"


def test_shutdown_of_what_does_not_run(prefix: Prefix, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(processes, "all_processes", lambda: iter(()))
    said: list[str] = []
    assert not daemon.shutdown(prefix, said.append)
    assert said == []


def test_shutdown_of_one_that_does_not_end(prefix: Prefix, conf: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with subprocess.Popen(["cat"], stdin=subprocess.PIPE) as stuck:
        ours = Process(stuck.pid, 1, stuck.pid, stuck.pid, ("supervisord", "-c", str(conf)))
        monkeypatch.setattr(processes, "all_processes", lambda: iter([ours]))
        monkeypatch.setattr(daemon, "_LONGEST_STOP", 0.05)
        monkeypatch.setattr(daemon, "answers", lambda _prefix: True)
        monkeypatch.setattr(daemon.Supervisor, "shutdown", lambda _self: None)
        with pytest.raises(SiteError, match=rf"supervisord \(pid {stuck.pid}\) does not end; see .*supervisord\.log"):
            daemon.shutdown(prefix, print)
        stuck.communicate()
