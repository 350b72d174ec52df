"""Processes of this host: found in /proc, stopped and awaited without a race."""

from __future__ import annotations

import os
import select
import signal
import time
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

PROC = Path("/proc")


@dataclass(frozen=True, slots=True)
class Process:
    """A live process. ``environment`` is empty where we may not read it."""

    pid: int
    parent: int
    group: int
    session: int
    command: tuple[str, ...]
    environment: dict[str, str] = field(default_factory=dict, repr=False)


def all_processes(proc: Path = PROC) -> Iterator[Process]:
    """Yield the processes of the host; one that ends while it is looked at is left out."""
    for folder in proc.iterdir():
        if folder.name.isdecimal():
            process = _look(folder)
            if process is not None:
                yield process


def _look(folder: Path) -> Process | None:
    try:
        # The name in parentheses may itself hold spaces and parentheses.
        state, *numbers = (folder / "stat").read_text(errors="replace").rpartition(")")[2].split()[:4]
        parent, group, session = map(int, numbers)
        command = _strings(folder / "cmdline")
    except (OSError, ValueError):
        return None
    if state in "ZX":
        return None
    return Process(int(folder.name), parent, group, session, command, _environment(folder))


def _environment(folder: Path) -> dict[str, str]:
    try:
        pairs = (item.partition("=") for item in _strings(folder / "environ"))
        return {name: value for name, _, value in pairs}
    except OSError:
        return {}


def _strings(path: Path) -> tuple[str, ...]:
    return tuple(os.fsdecode(part) for part in path.read_bytes().split(b"\0") if part)


def ancestors(pid: int, processes: Iterable[Process]) -> set[int]:
    """Return ``pid`` and all processes above it."""
    parents = {process.pid: process.parent for process in processes}
    found: set[int] = set()
    while pid and pid not in found:
        found.add(pid)
        pid = parents.get(pid, 0)
    return found


def end(pids: Iterable[int], sign: signal.Signals, timeout: float) -> list[int]:
    """Send ``sign`` to each process and wait for their end; return those alive after ``timeout`` seconds.

    A process is held by a descriptor, so a pid that is used anew meanwhile is never hit.
    """
    with ExitStack() as stack:
        held = {}
        for pid in pids:
            descriptor = _hold(pid)
            if descriptor is not None:
                stack.callback(os.close, descriptor)
                held[descriptor] = pid
        for descriptor in held:
            _send(descriptor, sign)
        return _await(held, timeout)


def await_end(pid: int, timeout: float) -> bool:
    """Wait for the end of ``pid``; return whether it ended within ``timeout`` seconds."""
    descriptor = _hold(pid)
    if descriptor is None:
        return True
    try:
        return not _await({descriptor: pid}, timeout)
    finally:
        os.close(descriptor)


def _hold(pid: int) -> int | None:
    try:
        return os.pidfd_open(pid)
    except ProcessLookupError:
        return None


def _send(descriptor: int, sign: signal.Signals) -> None:
    try:
        signal.pidfd_send_signal(descriptor, sign)
    except ProcessLookupError:
        return


def _await(held: dict[int, int], timeout: float) -> list[int]:
    poller, left, deadline = select.poll(), dict(held), time.monotonic() + timeout
    for descriptor in held:
        poller.register(descriptor, select.POLLIN)
    while left:
        pause = deadline - time.monotonic()
        ready = poller.poll(max(0.0, pause) * 1000)
        for descriptor, _ in ready:
            poller.unregister(descriptor)
            del left[descriptor]
        if not ready and pause <= 0:
            break
    return list(left.values())
