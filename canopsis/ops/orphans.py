"""Programs that a killed supervisord left running: found by what it gave them, ended in order."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Collection, Iterable, Mapping

from canopsis.errors import SiteError
from canopsis.ops import processes
from canopsis.ops.prefix import Prefix
from canopsis.ops.processes import Process
from canopsis.ops.programs import ProgramFile

SERVER_URL = "SUPERVISOR_SERVER_URL"
PROCESS_NAME = "SUPERVISOR_PROCESS_NAME"

_LAST = ("rabbitmq-server", "mongodb")
"""What the others write to ends after them, and gets the time it needs."""

_PATIENCE = 60.0
_UNKNOWN = ProgramFile("", path=processes.PROC)


def find(prefix: Prefix) -> dict[int, Process]:
    """Return the processes, by id, that the supervisord of ``prefix`` started, with all they started."""
    sockets = {f"unix://{prefix.socket}", f"unix://{prefix.socket.resolve()}"}
    everything = list(processes.all_processes())
    ours = processes.ancestors(os.getpid(), everything)
    return {p.pid: p for p in everything if p.environment.get(SERVER_URL) in sockets and p.pid not in ours}


def heads(found: Mapping[int, Process]) -> list[Process]:
    """Return the programs themselves among ``found``: what supervisord started, not what those started.

    supervisord gives each program a process group in its own session; a helper that a program left
    in the background (epmd of RabbitMQ) has a session of its own. It must not go before its program.
    """
    return [p for p in found.values() if p.parent not in found and p.group == p.pid != p.session]


def end(
    prefix: Prefix,
    files: Mapping[str, ProgramFile],
    say: Callable[[str], None],
    only: Collection[str] | None = None,
) -> list[str]:
    """End what a dead supervisord left running; return the names of the programs ended.

    Each program gets its own stop signal and time, then SIGKILL; broker and database come last.
    ``only`` restricts this to some programs. Raises SiteError when something does not end.
    """
    found = _wanted(prefix, only)
    if not found:
        return []
    names = sorted({_name(process) for process in found.values()})
    say(f"left behind by an earlier supervisord: {', '.join(names)}; stopping")
    first = [head for head in heads(found) if _name(head) not in _LAST]
    last = [head for head in heads(found) if _name(head) in _LAST]
    for wave in (first, last):
        _end_wave(wave, files)
    # What the programs themselves had started and did not take along.
    helpers = _wanted(prefix, only)
    patience = max((_patience(_name(process), files) for process in helpers.values()), default=0.0)
    leftover = processes.end(processes.end(helpers, signal.SIGTERM, patience), signal.SIGKILL, 5.0)
    if leftover:
        raise SiteError(f"processes {leftover} do not end, even when killed; look at them with ps, then try again")
    return names


def _wanted(prefix: Prefix, only: Collection[str] | None) -> dict[int, Process]:
    return {pid: p for pid, p in find(prefix).items() if only is None or _name(p) in only}


def _name(process: Process) -> str:
    return process.environment.get(PROCESS_NAME, "")


def _end_wave(wave: Iterable[Process], files: Mapping[str, ProgramFile]) -> None:
    """Signal all of ``wave`` at once, then wait as long as the most patient of them may take."""
    by_signal: dict[signal.Signals, list[Process]] = {}
    for process in wave:
        by_signal.setdefault(_signal(files.get(_name(process), _UNKNOWN)), []).append(process)
    stubborn: list[int] = []
    for sign, group in by_signal.items():
        patience = max(_patience(_name(process), files) for process in group)
        stubborn += processes.end([process.pid for process in group], sign, patience)
    processes.end(stubborn, signal.SIGKILL, 10.0)


def _patience(name: str, files: Mapping[str, ProgramFile]) -> float:
    wait = files.get(name, _UNKNOWN).stop_wait
    return max(wait, _PATIENCE) if name in _LAST else wait


def _signal(program: ProgramFile) -> signal.Signals:
    name = f"SIG{program.stop_signal}"
    return signal.Signals[name] if name in signal.Signals.__members__ else signal.SIGTERM
