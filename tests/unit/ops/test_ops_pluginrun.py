"""Plugins run for real: states, bad exits, deadlines, floods."""

from __future__ import annotations

import sys
import time
from pathlib import Path

import pytest

from canopsis.ops import pluginrun, processes
from canopsis.ops.pluginrun import Ran


def run(code: str, timeout: float = 20.0) -> Ran:
    return pluginrun.run([sys.executable, "-c", code], timeout)


@pytest.mark.parametrize("state", [0, 1, 2, 3])
def test_the_state_is_the_exit_code(state: int) -> None:
    assert run(f"print('TEXT | a=1'); raise SystemExit({state})") == Ran(state, "TEXT | a=1")


@pytest.mark.parametrize(
    ("code", "output", "note"),
    [
        ("print('x'); raise SystemExit(4)", "x", "it ended with exit code 4; a plugin ends with 0 to 3"),
        ("print('x'); raise SystemExit(255)", "x", "it ended with exit code 255; a plugin ends with 0 to 3"),
        ("import os; print('x', flush=True); os.kill(os.getpid(), 9)", "x", "it was ended by signal SIGKILL"),
    ],
)
def test_other_exits_are_unknown(code: str, output: str, note: str) -> None:
    assert run(code) == Ran(3, output, note)


def test_a_plugin_that_prints_nothing_says_so() -> None:
    assert run("raise SystemExit(1)") == Ran(1, "", "it printed nothing")


def test_errors_are_shown_when_there_is_no_output() -> None:
    assert run("import sys; sys.exit('no such device')") == Ran(1, "no such device")
    assert run("import sys; print('out'); print('err', file=sys.stderr); sys.exit(2)") == Ran(2, "out")


def test_output_that_is_not_utf8() -> None:
    assert run(r"import sys; sys.stdout.buffer.write(b'caf\xe9')") == Ran(0, "caf\ufffd")


@pytest.mark.parametrize(
    ("command", "note"),
    [
        (["/nowhere/check_x"], "cannot run /nowhere/check_x: No such file or directory"),
        (["/etc"], "cannot run /etc: Permission denied"),
        (["a\0b"], "cannot run a\0b: embedded null byte"),
    ],
)
def test_a_command_that_cannot_be_run(command: list[str], note: str) -> None:
    assert pluginrun.run(command, 5) == Ran(3, "", note)


def test_a_file_that_is_no_program(tmp_path: Path) -> None:
    path = tmp_path / "check_x"
    path.write_bytes(b"\x00\x01nothing")
    path.chmod(0o755)
    assert pluginrun.run([str(path)], 5).note == f"cannot run {path}: Exec format error"


def test_a_plugin_that_does_not_end_is_killed_with_all_it_started(tmp_path: Path) -> None:
    mark = tmp_path / "pids"
    code = f"sleep 1000 & echo $$ $! > '{mark}'; echo so far; wait"
    begin = time.monotonic()
    assert pluginrun.run(["sh", "-c", code], 2.5) == Ran(3, "so far", "it did not end in 2.5 s")
    assert time.monotonic() - begin < 60
    for pid in mark.read_text().split():
        assert processes.await_end(int(pid), 20)


def test_a_plugin_that_closes_its_output_and_stays_is_killed() -> None:
    ran = pluginrun.run(["sh", "-c", "echo x; exec >&- 2>&-; exec sleep 1000"], 1.5)
    assert ran == Ran(3, "x", "it closed its output but did not end in 1.5 s")


@pytest.mark.parametrize("stream", ["stdout", "stderr"])
def test_a_flood_is_cut(stream: str) -> None:
    ran = run(f"import sys\nwhile True: sys.{stream}.write('x' * 65536)")
    assert ran.state == 3
    assert ran.note == "it printed more than 1048576 bytes"
    assert len(ran.output) == pluginrun.MAX_OUTPUT


def test_it_reads_nothing_from_us() -> None:
    assert run("import sys; print(repr(sys.stdin.read()))") == Ran(0, "''")


def test_it_leaves_no_descriptor_open() -> None:
    before = len(list(Path("/proc/self/fd").iterdir()))
    for _ in range(5):
        run("print(1)")
    assert len(list(Path("/proc/self/fd").iterdir())) == before
