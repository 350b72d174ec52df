"""What is done to the site: programs of this host killed or frozen, and commands that cut whole hosts."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Iterable, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from random import Random
from typing import Protocol

from canopsis.errors import InputError, SiteError
from canopsis.ops.processes import all_processes
from canopsis.ops.programs import ENGINES, members
from canopsis.ops.supervisor import RUNNING, Supervisor

KINDS = {
    "engines": ENGINES,
    "webserver": "webserver",
    "broker": "rabbitmq-server",
    "database": "mongodb",
}
"""Kinds of strikes on programs, each with its service."""

FREEZE = "freeze"
"""The kind that freezes what the others kill."""

_COMMAND_SECONDS = 120.0
_THAW_AFTER = 60.0
"""Seconds after which what is frozen goes on, whatever became of us."""

_MOST_AT_ONCE = 2
_MOST_VOLLEYS = 2


class Strike(Protocol):
    """One thing that is done. ``lasts``: it goes on until ``end``."""

    name: str
    lasts: bool

    def begin(self) -> bool:
        """Do it; return whether there was anything to do it to. Raises SiteError."""
        ...

    def end(self) -> None:
        """Undo it; may be called again, and when it was not begun. Raises SiteError."""
        ...


def tree_of(pid: int) -> list[int]:
    """Return ``pid`` and every process below it, parents first."""
    children: dict[int, list[int]] = {}
    for process in all_processes():
        children.setdefault(process.parent, []).append(process.pid)
    found = [pid]
    for each in found:
        found += children.get(each, [])
    return found


def pid_of(supervisor: Supervisor, program: str) -> int:
    """Return the process of a program that runs, 0 when it does not. Raises SiteError."""
    found = supervisor.program(program)
    return found.pid if found.state == RUNNING else 0


@dataclass
class Kill:
    """``kill -9`` for a program and all that it started."""

    program: str
    supervisor: Supervisor
    lasts: bool = False
    name: str = field(init=False)

    def __post_init__(self) -> None:
        self.name = f"kill {self.program}"

    def begin(self) -> bool:
        """Kill it."""
        pid = pid_of(self.supervisor, self.program)
        for each in tree_of(pid) if pid else ():
            with suppress(ProcessLookupError):
                os.kill(each, signal.SIGKILL)
        return bool(pid)

    def end(self) -> None:
        """Nothing to undo: supervisord starts it again."""


@dataclass
class Freeze:
    """SIGSTOP for a program and all that it started, SIGCONT at the end.

    A process of its own thaws them too, should we be killed meanwhile.
    """

    program: str
    supervisor: Supervisor
    lasts: bool = True
    name: str = field(init=False)
    _held: ExitStack = field(default_factory=ExitStack, init=False)

    def __post_init__(self) -> None:
        self.name = f"freeze {self.program}"

    def begin(self) -> bool:
        """Stop its processes."""
        pid = pid_of(self.supervisor, self.program)
        if pid:
            frozen = tree_of(pid)
            self._held.callback(_end_guard, _guard(frozen))
            for each in frozen:
                self._stop(each)
        return bool(pid)

    def _stop(self, pid: int) -> None:
        with suppress(ProcessLookupError):
            descriptor = os.pidfd_open(pid)
            self._held.callback(_thaw, descriptor)
            signal.pidfd_send_signal(descriptor, signal.SIGSTOP)

    def end(self) -> None:
        """Let them go on."""
        self._held.close()


def _thaw(descriptor: int) -> None:
    with suppress(ProcessLookupError):
        signal.pidfd_send_signal(descriptor, signal.SIGCONT)
    os.close(descriptor)


def _guard(pids: Iterable[int]) -> subprocess.Popen[bytes]:
    script = f"sleep {_THAW_AFTER:g}; kill -CONT {' '.join(map(str, pids))}"
    null = subprocess.DEVNULL
    return subprocess.Popen(["/bin/sh", "-c", script], stdin=null, stdout=null, stderr=null, start_new_session=True)


def _end_guard(guard: subprocess.Popen[bytes]) -> None:
    with suppress(ProcessLookupError):
        os.killpg(guard.pid, signal.SIGKILL)
    guard.wait()


@dataclass
class Command:
    """A command of the operator's that strikes, and one that takes it back."""

    name: str
    strike: str
    mend: str
    lasts: bool = True
    _struck: bool = field(default=False, init=False)

    def begin(self) -> bool:
        """Run the first command."""
        self._struck = True
        _run(self.name, self.strike)
        return True

    def end(self) -> None:
        """Run the second one."""
        if self._struck:
            _run(self.name, self.mend)
            self._struck = False


def _run(name: str, command: str) -> None:
    try:
        done = subprocess.run(
            ["/bin/sh", "-c", command], capture_output=True, text=True, timeout=_COMMAND_SECONDS, check=False
        )
    except subprocess.TimeoutExpired:
        raise SiteError(f"{name}: not done within {_COMMAND_SECONDS:g} s: {command}") from None
    if done.returncode:
        raise SiteError(f"{name}: ended with {done.returncode}: {command}\n{(done.stderr or done.stdout).strip()}")


def refuse_unknown(kinds: Sequence[str]) -> None:
    """Raise InputError for a kind of strike that is not there."""
    for kind in kinds:
        if kind not in (*KINDS, FREEZE):
            raise InputError("--strikes", kind, f"{', '.join((*KINDS, FREEZE))}, several with commas")


def of_programs(kinds: Sequence[str], supervisor: Supervisor) -> list[Strike]:
    """Return the strikes on programs of this host that ``kinds`` name. Raises InputError, SiteError."""
    refuse_unknown(kinds)
    here = {program.name for program in supervisor.programs()}
    wanted = [KINDS[kind] for kind in kinds if kind != FREEZE] or list(KINDS.values())
    names = [name for service in wanted for name in _members(service, here)]
    kills: list[Strike] = [Kill(name, supervisor) for name in names]
    freezes: list[Strike] = [Freeze(name, supervisor) for name in names] if FREEZE in kinds else []
    return [*(kills if set(kinds) - {FREEZE} else ()), *freezes]


def _members(service: str, here: set[str]) -> list[str]:
    """Return the programs of ``service`` that this host has; a host of many need not have every one."""
    try:
        return members(service, here)
    except (InputError, SiteError):
        return []


@dataclass(frozen=True, slots=True)
class Volley:
    """Strikes that begin together. ``after`` and ``lasting`` are in seconds."""

    strikes: tuple[Strike, ...]
    after: float
    lasting: float


def volleys(rng: Random, strikes: Sequence[Strike], number: int, freeze: float) -> list[Volley]:
    """Return what is done in round ``number`` (from 0): each strike alone once, one after the other, then at random."""
    if number < len(strikes):
        return [Volley((strikes[number],), rng.uniform(0.05, 0.2) * freeze, rng.uniform(0.25, 1.0) * freeze)]
    return [_any(rng, strikes, freeze) for _ in range(rng.randint(1, _MOST_VOLLEYS))]


def _any(rng: Random, strikes: Sequence[Strike], freeze: float) -> Volley:
    chosen = rng.sample(list(strikes), min(len(strikes), rng.randint(1, _MOST_AT_ONCE)))
    return Volley(tuple(chosen), rng.uniform(0.0, 0.4) * freeze, rng.uniform(0.1, 1.0) * freeze)
