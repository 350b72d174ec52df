"""supervisord itself: found, started and ended, one command at a time."""

from __future__ import annotations

import fcntl
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from canopsis.errors import SiteError
from canopsis.ops import orphans, processes, programs
from canopsis.ops.prefix import VARIABLE, Prefix, account, user_name
from canopsis.ops.processes import Process
from canopsis.ops.supervisor import Supervisor
from canopsis.ops.wait import until

Say = Callable[[str], None]
"""Shows one line of progress."""

AUTOSTART = "CANOPSIS_AUTOSTART"
"""Tells the program files whether a supervisord that starts shall start them."""

_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_KEEPER = "canopsis.cli.keeper"

UMASK = 0o027
"""Log files are for the user of the site and its group: they may hold what others need not know."""
_LONGEST_SOCKET = 107
_LONGEST_STOP = 300.0
_PATIENCE = 30.0
_KEEPER_PATIENCE = 5.0


def answers(prefix: Prefix) -> bool:
    """Whether the supervisord of ``prefix`` answers."""
    return prefix.socket.exists() and Supervisor(prefix.socket).answers()


def ensure(prefix: Prefix, say: Say, *, everything: bool) -> bool:
    """Have supervisord running, with its keeper; return whether it was started now.

    ``everything`` lets it start its programs too. What an earlier supervisord left running is ended
    before, so nothing runs twice. Raises SiteError when it does not come up.
    """
    if answers(prefix) and keepers(prefix):
        return False
    with _lock(prefix, say):
        fresh = _start(prefix, say, everything=everything)
        if not keepers(prefix):
            _spawn_keeper(prefix)
        return fresh


def _start(prefix: Prefix, say: Say, *, everything: bool) -> bool:
    if answers(prefix):
        return False
    _await_earlier(prefix, say)
    if answers(prefix):
        return False
    orphans.end(prefix, programs.read_all(prefix), say)
    for stale in (prefix.pid_file, prefix.socket):
        stale.unlink(missing_ok=True)
    say("starting supervisord")
    _launch(prefix, everything=everything)
    return True


def shutdown(prefix: Prefix, say: Say) -> bool:
    """End supervisord with all programs and whatever they left behind; return whether there was anything to end."""
    with _lock(prefix, say):
        # One that waits to bring a killed supervisord back must not do so now.
        processes.end([keeper.pid for keeper in keepers(prefix)], signal.SIGTERM, _PATIENCE)
        there = running(prefix) is not None
        settle(prefix, say)
        if answers(prefix):
            say("stopping supervisord")
            Supervisor(prefix.socket).shutdown()
        stuck = _await_end(prefix)
        if stuck is not None:
            raise SiteError(f"supervisord (pid {stuck.pid}) does not end; see {_log(prefix)}")
        left = orphans.end(prefix, programs.read_all(prefix), say)
        return there or bool(left)


def settle(prefix: Prefix, say: Say) -> None:
    """Wait for a supervisord that starts or ends just now. Raises SiteError when one hangs."""
    if not answers(prefix):
        _await_earlier(prefix, say)


def hanging(prefix: Prefix) -> int:
    """Return the process id of a supervisord that runs but does not answer, 0 when there is none."""
    found = running(prefix)
    return found.pid if found is not None and not answers(prefix) else 0


def running(prefix: Prefix) -> Process | None:
    """Return the process of the supervisord of ``prefix``."""
    return next(iter(all_running(prefix)), None)


def all_running(prefix: Prefix) -> list[Process]:
    """Return the processes that are a supervisord of ``prefix``: more than one would be a fault.

    A child of one that is about to become a program looks like it for a moment; it is left out.
    """
    alike = {p.pid: p for p in processes.all_processes() if _serves(p, prefix)}
    return [p for p in alike.values() if p.parent not in alike]


def keepers(prefix: Prefix) -> list[Process]:
    """Return the processes that bring the supervisord of ``prefix`` back when it is killed."""
    found = (p for p in processes.all_processes() if p.command[1:3] == ("-m", _KEEPER))
    return [p for p in found if any(_same(p, value, prefix.path) for value in p.command[3:])]


def _serves(process: Process, prefix: Prefix) -> bool:
    command = process.command
    if not any(
        part.endswith(("/supervisord", "supervisor.supervisord")) or part == "supervisord" for part in command[:3]
    ):
        return False
    values = (command[at + 1] for at, part in enumerate(command[:-1]) if part in ("-c", "--configuration"))
    return any(_same(process, value, prefix.supervisord_conf) for value in values)


def _same(process: Process, value: str, path: Path) -> bool:
    try:
        return path.samefile(Path(f"/proc/{process.pid}/cwd") / value)
    except OSError:
        return False


def _await_earlier(prefix: Prefix, say: Say) -> None:
    """Wait for a supervisord that starts or ends just now; raise SiteError when one hangs."""
    found = running(prefix)
    if found is None:
        return
    say(f"waiting for supervisord (pid {found.pid}), which starts or ends just now")
    # Its process is looked for each time: a last child of a dead one becomes a program meanwhile.
    until(lambda: answers(prefix) or running(prefix) is None, _PATIENCE)
    if Supervisor(prefix.socket).is_ending():
        _await_end(prefix)
    silent = hanging(prefix)
    if silent:
        raise SiteError(
            f"supervisord (pid {silent}) runs but does not answer on {prefix.socket}; see {_log(prefix)}; "
            f"end it with: kill -9 {silent}, and run this again: what it runs is stopped cleanly then"
        )


def _await_end(prefix: Prefix) -> Process | None:
    """Wait for the end of supervisord; return the one that does not end."""
    until(lambda: running(prefix) is None, _LONGEST_STOP)
    return running(prefix)


def _launch(prefix: Prefix, *, everything: bool) -> None:
    _refuse_impossible(prefix)
    with tempfile.TemporaryFile("w+") as output:
        process = _spawn(prefix, output, _environment(prefix, everything=everything))
        # It leaves for the background while it still starts; then only its new process tells.
        found = until(lambda: _start_of(process, prefix), _PATIENCE)
        if found != "up":
            raise SiteError(_why_not(prefix, output))


def _start_of(process: subprocess.Popen[bytes], prefix: Prefix) -> str:
    """Return "up", "failed", or nothing while supervisord still starts."""
    if answers(prefix):
        return "up"
    return "failed" if process.poll() is not None and running(prefix) is None else ""


def _spawn_keeper(prefix: Prefix) -> None:
    """Start the keeper, as a child of nobody here."""
    with open(prefix.log / "keeper.log", "a", opener=_private) as log:
        subprocess.run(
            ["setsid", "--fork", sys.executable, "-m", _KEEPER, str(prefix.path)],
            cwd=prefix.path,
            env=_environment(prefix, everything=True),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            check=True,
            umask=UMASK,
        )
    # setsid ends before its child is the keeper; another command would find none, and start a second.
    until(lambda: keepers(prefix), _KEEPER_PATIENCE)


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o666 & ~UMASK)


def _spawn(prefix: Prefix, output: IO[str], environment: dict[str, str]) -> subprocess.Popen[bytes]:
    try:
        return subprocess.Popen(
            [sys.executable, "-m", "supervisor.supervisord", "-c", str(prefix.supervisord_conf)],
            cwd=prefix.path,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            umask=UMASK,
        )
    except OSError as error:
        who = user_name(os.geteuid())
        raise SiteError(
            f"{who} cannot run {sys.executable} in {prefix.path}: {error.strerror}; look at its mode"
        ) from error


def _refuse_impossible(prefix: Prefix) -> None:
    if not prefix.supervisord_conf.is_file():
        raise SiteError(f"{prefix.supervisord_conf} is missing: site.yml writes it")
    if len(os.fsencode(prefix.socket)) > _LONGEST_SOCKET:
        raise SiteError(
            f"{prefix.socket} is longer than a unix socket may be ({_LONGEST_SOCKET} bytes): move the prefix"
        )
    prefix.run.mkdir(parents=True, exist_ok=True)
    prefix.log.mkdir(parents=True, exist_ok=True)


def _environment(prefix: Prefix, *, everything: bool) -> dict[str, str]:
    """Return what services hear: the same at boot and from any shell, so nothing of who types the command."""
    return (
        account(os.geteuid(), prefix)
        | _checkout()
        | {
            "PATH": _PATH,
            "LANG": "C.UTF-8",
            VARIABLE: str(prefix.path),
            AUTOSTART: "true" if everything else "false",
        }
    )


def _checkout() -> dict[str, str]:
    """Return where the code is when it is run without being installed."""
    root = Path(__file__).parents[2]
    return {} if root.is_relative_to(sys.prefix) else {"PYTHONPATH": str(root)}


def _why_not(prefix: Prefix, output: IO[str]) -> str:
    output.seek(0)
    lines = [line for line in output.read().splitlines() if not line.startswith("For help, use")]
    said = " ".join(lines) or "it said nothing"
    return f"supervisord does not come up: {said}\n  configuration: {prefix.supervisord_conf}\n  log: {_log(prefix)}"


def _log(prefix: Prefix) -> Path:
    return prefix.log / "supervisord.log"


@contextmanager
def _lock(prefix: Prefix, say: Say) -> Iterator[None]:
    """Hold the site's lock, so that two commands at once never start two supervisords."""
    prefix.run.mkdir(parents=True, exist_ok=True)
    with (prefix.run / "service.lock").open("a") as file:
        if not _try_lock(file):
            say("waiting for another command that starts or stops supervisord")
            if not until(lambda: _try_lock(file), _LONGEST_STOP):
                raise SiteError(
                    f"another command has held {file.name} for {_LONGEST_STOP:g} s; see who with: fuser {file.name}"
                )
        yield


def _try_lock(file: IO[str]) -> bool:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
