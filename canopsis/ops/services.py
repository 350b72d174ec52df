"""Services of a host: started, stopped and watched through supervisord until they are what was asked for."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from canopsis.errors import SiteError
from canopsis.ops import daemon, orphans, programs
from canopsis.ops.daemon import Say
from canopsis.ops.prefix import Prefix
from canopsis.ops.probes import Probe, probe_of
from canopsis.ops.programs import ProgramFile
from canopsis.ops.supervisor import DOWN, RUNNING, Program, Supervisor
from canopsis.ops.wait import until

START_TIMEOUT = 120.0
"""Seconds a service may take to come up."""

_ATTEMPTS = 3
_EXITED_FOR_GOOD = 2
_TAIL_LINES = 15
_TAIL_BYTES = 16384
_LINE = 300
_REPORT_EVERY = 10.0


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one program: ``changed`` says whether anything was done, ``seconds`` how long it took."""

    program: str
    text: str
    changed: bool
    seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class State:
    """One program now. ``ok`` means that it runs."""

    program: str
    state: str
    description: str
    ok: bool
    pid: int = 0


def known(prefix: Prefix) -> list[str]:
    """Return the names of the services of this host."""
    return programs.services(programs.read_all(prefix))


def start(
    prefix: Prefix, service: str, say: Say, timeout: float = START_TIMEOUT, *, fresh: bool = False
) -> list[Outcome]:
    """Start every program of ``service`` and wait until it is ready; one that runs already is fine.

    ``fresh`` says that supervisord was started just now, so nothing ran before.
    Raises SiteError with the last lines of its log when one does not come up within ``timeout``.
    """
    files = programs.read_all(prefix)
    names = programs.members(service, files)
    fresh = daemon.ensure(prefix, say, everything=False) or fresh
    supervisor = Supervisor(prefix.socket)
    stale = _bring_up_to_date(supervisor, names)
    before = {program.name: program for program in supervisor.programs()}
    running = {name for name in names if not fresh and _state(before, name) == RUNNING}
    _request(supervisor, before, [name for name in names if name not in running])
    watches = {name: Watch(prefix, files[name], name in running, stale=name in stale) for name in names}
    return _watch(supervisor, watches, say, timeout)


def stop(prefix: Prefix, service: str, say: Say) -> list[Outcome]:
    """Stop every program of ``service`` and wait for its end; one that is down already is fine.

    Raises SiteError when one does not end in the time its file gives it.
    """
    files = programs.read_all(prefix)
    daemon.settle(prefix, say)
    if not daemon.answers(prefix):
        names = programs.members(service, files)
        ended = orphans.end(prefix, files, say, only=names)
        return [_stopped(name, name in ended, 0.0) for name in names]
    supervisor = Supervisor(prefix.socket)
    # One that was killed just now cannot be stopped, and comes back a moment later.
    until(lambda: not any(_ended_just_now(program) for program in supervisor.programs()), _EXITED_FOR_GOOD + 1)
    before = {program.name: program for program in supervisor.programs()}
    names = programs.members(service, files.keys() | before.keys())
    begin = time.monotonic()
    up = [name for name in names if _state(before, name) not in DOWN]
    for name in up:
        supervisor.stop(before[name].full_name)
    return [
        _await_stop(supervisor, before, files, name, begin) if name in up else _stopped(name, False, 0.0)
        for name in names
    ]


def restart(prefix: Prefix, service: str, say: Say, timeout: float = START_TIMEOUT) -> list[Outcome]:
    """Stop ``service``, put its files into effect, start it. Raises SiteError as those do."""
    for outcome in stop(prefix, service, say):
        say(outcome.text)
    return start(prefix, service, say, timeout)


def status(prefix: Prefix, service: str | None = None) -> list[State]:
    """Return the state of every program of ``service`` (None: of this host). Starts nothing.

    Raises InputError when there is no such service.
    """
    files = programs.read_all(prefix)
    if not daemon.answers(prefix):
        return _without_supervisord(prefix, files, service)
    found = {program.name: program for program in Supervisor(prefix.socket).programs()}
    names = files.keys() | found.keys()
    wanted = programs.members(service, names) if service else sorted(names)
    return [_shown(name, found.get(name)) for name in wanted]


def _without_supervisord(prefix: Prefix, files: Mapping[str, ProgramFile], service: str | None) -> list[State]:
    wanted = programs.members(service, files) if service else sorted(files)
    silent = daemon.hanging(prefix)
    if silent:
        why = f"supervisord (pid {silent}) ends just now or does not answer"
        return [State(name, "UNKNOWN", why, False) for name in wanted]
    left = {p.environment.get(orphans.PROCESS_NAME): p.pid for p in orphans.heads(orphans.find(prefix))}
    return [
        State(name, "ORPHAN", f"pid {left[name]}, without supervisord; start the service to recover", False, left[name])
        if name in left
        else State(name, "STOPPED", "supervisord does not run", False)
        for name in wanted
    ]


def _shown(name: str, program: Program | None) -> State:
    if program is None:
        return State(name, "STOPPED", "new, not in effect yet; start it", False)
    return State(name, program.state, program.error or program.description, program.state == RUNNING, program.pid)


def _ended_just_now(program: Program) -> bool:
    """Whether supervisord may be about to start ``program`` again."""
    return program.state == "EXITED" and program.now - program.stop < _EXITED_FOR_GOOD


def _state(found: Mapping[str, Program], name: str) -> str:
    return found[name].state if name in found else "STOPPED"


def _bring_up_to_date(supervisor: Supervisor, names: Iterable[str]) -> set[str]:
    """Put new and changed files of stopped programs into effect; return those that run with an old one."""
    reread = supervisor.reread()
    states = {program.name: program.state for program in supervisor.programs()}
    stale = set()
    for name in names:
        if name in reread.changed and states.get(name, "STOPPED") not in DOWN:
            stale.add(name)
        elif name in reread.changed:
            supervisor.remove(name)
            supervisor.add(name)
        elif name in reread.added:
            supervisor.add(name)
    for name in reread.removed:
        if states.get(name) in DOWN:
            supervisor.remove(name)
    return stale


def _request(supervisor: Supervisor, before: Mapping[str, Program], names: Iterable[str]) -> None:
    for name in names:
        program = before.get(name)
        if program is not None and program.state == "BACKOFF":
            supervisor.stop(program.full_name)  # else the next attempt may be minutes away
        if program is not None and program.state in ("STOPPING", "BACKOFF"):
            # Or another command starts it meanwhile, which is as good.
            supervisor.wait(program.full_name, DOWN | {RUNNING, "STARTING"}, START_TIMEOUT)
        supervisor.start(name)


@dataclass(slots=True)
class Watch:
    """A program on its way up. ``attempts`` are the starts seen, by their time."""

    prefix: Prefix
    file: ProgramFile
    was_running: bool
    stale: bool
    attempts: set[int] = field(default_factory=set)
    missing: str = "it does not run"

    def verdict(self, program: Program, probe: Probe | None) -> bool:
        """Return whether ``program`` is ready. Raises SiteError when it will not be."""
        if program.state == RUNNING:
            self.missing = probe() if probe else ""
            if not self.missing:
                return True
        else:
            self.missing = f"it is {program.state}"
        self.attempts.add(program.start)
        if self._has_failed(program):
            raise SiteError(self.failure(program))
        return False

    def _has_failed(self, program: Program) -> bool:
        # The current start may still succeed, unless supervisord already counts it as failed.
        failed = len(self.attempts) - (program.state in (RUNNING, "STARTING"))
        for_good = program.state == "EXITED" and not _ended_just_now(program)
        return failed >= _ATTEMPTS or for_good or program.state in ("FATAL", "UNKNOWN")

    def failure(self, program: Program) -> str:
        """Return why the program is not up, with the end of its log."""
        tries = f" ({len(self.attempts)} attempts)" if len(self.attempts) > 1 else ""
        why = program.error or (self.missing if program.state == RUNNING else program.description) or "no reason given"
        head = f"{program.name} does not come up: {program.state}{tries}, {why}"
        log = newest_log(self.prefix, self.file, program)
        if log is None:
            return f"{head}\n  it has written no log; its command is in {self.prefix.shown(self.file.path)}"
        return f"{head}\n  log: {log}, which ends with:\n" + "\n".join(f"    | {line}" for line in tail(log))

    def outcome(self, program: Program, seconds: float) -> Outcome:
        """Return what to tell when the program is ready."""
        note = "; its file has changed: restart it to put that into effect" if self.stale else ""
        if self.was_running:
            return Outcome(program.name, f"{program.name}: already running (pid {program.pid}){note}", False)
        text = f"{program.name}: running (pid {program.pid}, {seconds:.1f} s){note}"
        return Outcome(program.name, text, True, seconds)


def _watch(supervisor: Supervisor, watches: Mapping[str, Watch], say: Say, timeout: float) -> list[Outcome]:
    begin = time.monotonic()
    left = {name: (watch, probe_of(watch.prefix, watch.file)) for name, watch in watches.items()}
    ready: dict[str, Outcome] = {}

    def look() -> bool:
        found = {program.name: program for program in supervisor.programs()}
        for name, (watch, probe) in list(left.items()):
            program = found.get(name) or Program(name, name, "UNKNOWN", "no longer known to supervisord")
            if watch.verdict(program, probe):
                ready[name] = watch.outcome(program, time.monotonic() - begin)
                del left[name]
        return not left

    if not until(look, timeout, tick=_reporter(left, say)):
        name, (watch, _) = next(iter(left.items()))
        raise SiteError(f"after {timeout:g} s: {watch.failure(supervisor.program(name))}")
    return [ready[name] for name in watches]


def _reporter(left: Mapping[str, object], say: Say) -> Callable[[float], None]:
    said = 0.0

    def tick(waited: float) -> None:
        nonlocal said
        if waited - said >= _REPORT_EVERY:
            said = waited
            say(f"still waiting for {', '.join(left)} ({waited:.0f} s)")

    return tick


def _await_stop(
    supervisor: Supervisor, before: Mapping[str, Program], files: Mapping[str, ProgramFile], name: str, begin: float
) -> Outcome:
    patience = files[name].stop_wait if name in files else 10.0
    old = before[name]
    if not until(lambda: _has_ended(old, supervisor.program(old.full_name)), patience + 30.0):
        program = supervisor.program(old.full_name)
        raise SiteError(f"{name} does not stop: {program.state}, pid {program.pid}; see {' '.join(program.logs)}")
    return _stopped(name, True, time.monotonic() - begin)


def _has_ended(old: Program, now: Program) -> bool:
    """Whether the process of ``old`` is gone; another command may have started the program again."""
    return now.state in DOWN or bool(old.pid and now.pid not in (0, old.pid))


def _stopped(name: str, changed: bool, seconds: float) -> Outcome:
    text = f"{name}: stopped ({seconds:.1f} s)" if changed else f"{name}: already stopped"
    return Outcome(name, text, changed, seconds)


def newest_log(prefix: Prefix, file: ProgramFile, program: Program) -> Path | None:
    """Return the log that says most: that of errors if this start wrote to it, else the one written to last.

    None when there is none.
    """
    candidates = {*program.logs, file.log, str(prefix.log / f"{program.name}.log")}
    paths = [path for path in map(Path, filter(None, candidates)) if path.is_file() and path.stat().st_size]
    written = {str(path): path.stat().st_mtime for path in paths}
    if written.get(program.error_log, -1.0) >= program.start:
        return Path(program.error_log)
    return max(paths, key=lambda path: written[str(path)], default=None)


def tail(path: Path, lines: int = _TAIL_LINES) -> list[str]:
    """Return the last ``lines`` lines of a text file, each cut at 300 characters."""
    with path.open("rb") as file:
        file.seek(max(0, path.stat().st_size - _TAIL_BYTES))
        text = file.read().decode(errors="replace")
    return [line if len(line) <= _LINE else line[: _LINE - 1] + "…" for line in text.splitlines()[-lines:]]
