"""Program files of supervisord, services made of them, and the processes they leave behind."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest
from ops_scratch import write

from canopsis.errors import InputError, SiteError
from canopsis.ops import orphans, processes, programs
from canopsis.ops.prefix import Prefix
from canopsis.ops.processes import Process
from canopsis.ops.programs import ProgramFile

NAMES = ("mongodb", "webserver", "engine-cleaner", "engine-worker", "engine-worker-2")


def test_read_all(prefix: Prefix) -> None:
    write(
        prefix,
        "supervisord.d/mongodb.conf",
        "[program:mongodb]\ncommand=mongod --config x ; the server\nstopwaitsecs=120\nstopsignal=INT\n"
        "stdout_logfile=%(here)s/var/log/mongodb.out\n",
    )
    write(prefix, "engines/worker.conf", "[program:engine-worker]\ncommand=canopsis engine run worker\n")
    write(prefix, "engines/notes.txt", "[program:not-this]\n")
    found = programs.read_all(prefix)
    assert set(found) == {"mongodb", "engine-worker"}
    mongodb = found["mongodb"]
    assert mongodb.command == "mongod --config x"
    assert (mongodb.stop_signal, mongodb.stop_wait) == ("INT", 120)
    assert mongodb.log == f"{prefix.path}/var/log/mongodb.out"
    worker = found["engine-worker"]
    assert (worker.stop_signal, worker.stop_wait, worker.log) == ("TERM", 10, "")
    assert worker.path == prefix.etc("engines/worker.conf")


def test_several_programs_in_one_file_and_other_sections(prefix: Prefix) -> None:
    write(
        prefix,
        "engines/all.conf",
        "[program:engine-a]\ncommand=a\n[group:x]\nprograms=y\n[program:engine-b]\ncommand=b\n",
    )
    assert set(programs.read_all(prefix)) == {"engine-a", "engine-b"}


@pytest.mark.parametrize(("value", "read"), [("SIGQUIT", "QUIT"), ("quit", "QUIT"), (" TERM ", "TERM")])
def test_stop_signals(prefix: Prefix, value: str, read: str) -> None:
    write(prefix, "engines/a.conf", f"[program:engine-a]\ncommand=a\nstopsignal={value}\n")
    assert programs.read_all(prefix)["engine-a"].stop_signal == read


def test_a_time_that_is_no_number_is_the_default(prefix: Prefix) -> None:
    write(prefix, "engines/a.conf", "[program:engine-a]\ncommand=a\nstopwaitsecs=%(ENV_WAIT)s\n")
    assert programs.read_all(prefix)["engine-a"].stop_wait == 10


@pytest.mark.parametrize("text", ["command=a\n", "[program:x\n", b"[program:x]\ncommand=\xff\n"])
def test_a_file_that_cannot_be_read_is_named(prefix: Prefix, text: str | bytes) -> None:
    path = write(prefix, "engines/a.conf", "")
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(SiteError, match=r"etc/engines/a\.conf cannot be read"):
        programs.read_all(prefix)


def test_no_program_at_all(prefix: Prefix) -> None:
    assert programs.read_all(prefix) == {}


@pytest.mark.parametrize(
    ("service", "found"),
    [
        ("mongodb", ["mongodb"]),
        ("engine-worker", ["engine-worker"]),
        ("amqp2engines", ["engine-cleaner", "engine-worker", "engine-worker-2"]),
    ],
)
def test_members(service: str, found: list[str]) -> None:
    assert programs.members(service, NAMES) == found


def test_an_unknown_service() -> None:
    with pytest.raises(InputError, match=r"allowed: amqp2engines, mongodb, webserver; did you mean webserver\?"):
        programs.members("webservr", NAMES)


def test_no_engine() -> None:
    with pytest.raises(SiteError, match="no engine-"):
        programs.members("amqp2engines", ["mongodb"])


def test_services() -> None:
    assert programs.services(NAMES) == ["amqp2engines", "mongodb", "webserver"]
    assert programs.services([]) == []


class TestProcesses:
    """Processes found in /proc and ended."""

    def test_ourselves(self) -> None:
        mine = subprocess.Popen(
            [sys.executable, "-c", "print(flush=True); input()", "some argument"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={"COLOUR": "blue"},
        )
        try:
            # Until it runs, the kernel may show it without its arguments.
            assert mine.stdout is not None
            assert mine.stdout.readline() == b"\n"
            found = {process.pid: process for process in processes.all_processes()}
            process = found[mine.pid]
            assert process.command[-2:] == ("print(flush=True); input()", "some argument")
            assert process.parent in found
            assert mine.pid in found
        finally:
            mine.communicate(b"\n")
        assert mine.pid not in {process.pid for process in processes.all_processes()}

    def test_a_name_with_blanks_and_parentheses(self, tmp_path: Path) -> None:
        folder = tmp_path / "42"
        folder.mkdir()
        (folder / "stat").write_text("42 (a) b (c) S 7 40 3 0 -1")
        (folder / "cmdline").write_bytes(b"prog\0-c\0x y\0")
        (folder / "environ").write_bytes(b"A=1\0B=x=y\0C\0")
        (tmp_path / "self").mkdir()
        (found,) = processes.all_processes(tmp_path)
        assert (found.pid, found.parent, found.group, found.session) == (42, 7, 40, 3)
        assert found.command == ("prog", "-c", "x y")
        assert found.environment == {"A": "1", "B": "x=y", "C": ""}

    @pytest.mark.parametrize("stat", ["42 (a) Z 7 40 3 0", "42 (a) X 7 40 3 0", "", "42 (a) S"])
    def test_what_has_ended_or_is_ending_is_left_out(self, tmp_path: Path, stat: str) -> None:
        folder = tmp_path / "42"
        folder.mkdir()
        (folder / "stat").write_text(stat)
        (folder / "cmdline").write_bytes(b"prog\0")
        assert list(processes.all_processes(tmp_path)) == []

    def test_an_environment_that_may_not_be_read_is_empty(self, tmp_path: Path) -> None:
        folder = tmp_path / "42"
        folder.mkdir()
        (folder / "stat").write_text("42 (a) S 1 42 3 0")
        (folder / "cmdline").write_bytes(b"prog\0")
        (found,) = processes.all_processes(tmp_path)
        assert found.environment == {}

    def test_ancestors(self) -> None:
        family = [Process(pid, parent, pid, 1, ()) for pid, parent in ((1, 0), (5, 1), (9, 5), (7, 1))]
        assert processes.ancestors(9, family) == {9, 5, 1}
        assert processes.ancestors(99, family) == {99}
        assert processes.ancestors(3, [Process(3, 4, 3, 1, ()), Process(4, 3, 4, 1, ())]) == {3, 4}

    def test_end(self) -> None:
        gone = subprocess.Popen([sys.executable, "-c", "import signal; signal.pause()"])
        assert processes.end([gone.pid], signal.SIGTERM, 10) == []
        assert gone.wait() == -signal.SIGTERM
        assert processes.end([gone.pid], signal.SIGTERM, 10) == []

    def test_end_of_one_that_does_not(self) -> None:
        code = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); print(flush=True); input()"
        deaf = subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        assert deaf.stdout is not None
        deaf.stdout.readline()
        assert processes.end([deaf.pid], signal.SIGTERM, 0.05) == [deaf.pid]
        assert not processes.await_end(deaf.pid, 0.0)
        assert processes.end([deaf.pid], signal.SIGKILL, 10) == []
        assert processes.await_end(deaf.pid, 0.0)
        deaf.communicate()


class TestOrphans:
    """Which processes count as what a dead supervisord left behind."""

    @staticmethod
    def left(
        prefix: Prefix, pid: int, parent: int, name: str, *, session: int = 50, group: int | None = None
    ) -> Process:
        environment = {orphans.SERVER_URL: f"unix://{prefix.socket}", orphans.PROCESS_NAME: name}
        return Process(pid, parent, pid if group is None else group, session, (name,), environment)

    def test_only_those_of_the_prefix(self, prefix: Prefix, monkeypatch: pytest.MonkeyPatch) -> None:
        mine = self.left(prefix, 10, 1, "mongodb")
        other = self.left(Prefix(prefix.path / "other"), 11, 1, "mongodb")
        foreign = Process(12, 1, 12, 12, ("mongod",), {})
        monkeypatch.setattr(processes, "all_processes", lambda: iter([mine, other, foreign]))
        assert orphans.find(prefix) == {10: mine}

    def test_a_prefix_behind_a_link_is_the_same(self, prefix: Prefix, monkeypatch: pytest.MonkeyPatch) -> None:
        link = prefix.path.parent / "link"
        link.symlink_to(prefix.path)
        mine = self.left(prefix, 10, 1, "mongodb")
        monkeypatch.setattr(processes, "all_processes", lambda: iter([mine]))
        assert set(orphans.find(Prefix(link))) == {10}

    def test_never_ourselves_nor_what_we_run_in(self, prefix: Prefix, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(orphans.os, "getpid", lambda: 30)
        shell = self.left(prefix, 20, 1, "engine-worker")
        us = self.left(prefix, 30, 20, "engine-worker")
        mine = self.left(prefix, 40, 1, "mongodb")
        monkeypatch.setattr(processes, "all_processes", lambda: iter([shell, us, mine]))
        assert set(orphans.find(prefix)) == {40}

    def test_heads_are_programs_not_their_helpers(self, prefix: Prefix) -> None:
        wrapper = self.left(prefix, 10, 1, "rabbitmq-server")
        beam = self.left(prefix, 11, 10, "rabbitmq-server", group=10)
        epmd = self.left(prefix, 12, 1, "rabbitmq-server", session=12)
        found = {process.pid: process for process in (wrapper, beam, epmd)}
        assert orphans.heads(found) == [wrapper]

    def test_nothing_left_is_nothing_said(self, prefix: Prefix, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(processes, "all_processes", lambda: iter(()))
        said: list[str] = []
        assert orphans.end(prefix, {}, said.append) == []
        assert said == []

    def test_order_signals_and_patience(self, prefix: Prefix, monkeypatch: pytest.MonkeyPatch) -> None:
        names = ("mongodb", "webserver", "rabbitmq-server", "engine-worker")
        alive = {pid: self.left(prefix, pid, 1, name) for pid, name in enumerate(names, 10)}
        calls: list[tuple[list[str], signal.Signals, float]] = []

        def end(pids: object, sign: signal.Signals, timeout: float) -> list[int]:
            ended = [alive.pop(pid) for pid in list(pids)]  # type: ignore[call-overload]
            if ended:
                calls.append(([process.command[0] for process in ended], sign, timeout))
            return []

        monkeypatch.setattr(processes, "all_processes", lambda: iter(alive.values()))
        monkeypatch.setattr(processes, "end", end)
        files = {
            "webserver": ProgramFile("webserver", prefix.path, stop_signal="QUIT", stop_wait=20),
            "mongodb": ProgramFile("mongodb", prefix.path, stop_wait=120),
        }
        said: list[str] = []
        assert orphans.end(prefix, files, said.append) == sorted(names)
        assert said == [f"left behind by an earlier supervisord: {', '.join(sorted(names))}; stopping"]
        assert calls == [
            (["webserver"], signal.SIGQUIT, 20),
            (["engine-worker"], signal.SIGTERM, 10),
            (["mongodb", "rabbitmq-server"], signal.SIGTERM, 120),
        ]

    def test_only_some(self, prefix: Prefix, monkeypatch: pytest.MonkeyPatch) -> None:
        alive = {pid: self.left(prefix, pid, 1, name) for pid, name in ((10, "mongodb"), (11, "webserver"))}
        monkeypatch.setattr(processes, "all_processes", lambda: iter(alive.values()))
        monkeypatch.setattr(processes, "end", lambda pids, _sign, _timeout: [alive.pop(p) for p in list(pids)] and [])
        assert orphans.end(prefix, {}, print, only=["webserver"]) == ["webserver"]
        assert set(alive) == {10}

    def test_one_that_survives_everything_is_named(self, prefix: Prefix, monkeypatch: pytest.MonkeyPatch) -> None:
        stuck = self.left(prefix, 10, 1, "mongodb")
        monkeypatch.setattr(processes, "all_processes", lambda: iter([stuck]))
        monkeypatch.setattr(processes, "end", lambda pids, _sign, _timeout: list(pids))
        with pytest.raises(SiteError, match=r"processes \[10\] do not end, even when killed"):
            orphans.end(prefix, {}, print)

    @pytest.mark.parametrize(
        ("name", "sign"), [("TERM", signal.SIGTERM), ("USR1", signal.SIGUSR1), ("%(x)s", signal.SIGTERM)]
    )
    def test_signals(self, prefix: Prefix, name: str, sign: signal.Signals) -> None:
        assert orphans._signal(ProgramFile("x", prefix.path, stop_signal=name)) == sign
