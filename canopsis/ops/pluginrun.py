"""Running a monitoring plugin: with a deadline, and never more output than is read."""

from __future__ import annotations

import os
import selectors
import signal
import subprocess
import time
from collections.abc import Sequence
from dataclasses import dataclass

UNKNOWN = 3
MAX_OUTPUT = 1 << 20

_CHUNK = 65536
_GRACE = 0.5


@dataclass(frozen=True, slots=True)
class Ran:
    """What a plugin did. ``state`` is 0..3; ``note`` says why it is 3 when the plugin did not say so itself."""

    state: int
    output: str
    note: str = ""


def run(command: Sequence[str], timeout: float) -> Ran:
    """Run ``command`` for at most ``timeout`` seconds and return what it did; never raises for what it does."""
    try:
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True
        )
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else str(error)
        return Ran(UNKNOWN, "", f"cannot run {command[0]}: {reason}")
    deadline = time.monotonic() + timeout
    with process:
        output, errors, note = _read(process, deadline, timeout)
        note = note or _await(process, deadline, timeout)
        if note:
            _kill(process)
    spoken = output.decode(errors="replace").strip() or errors.decode(errors="replace").strip()
    return Ran(UNKNOWN, spoken, note) if note else _by_exit_code(process.returncode, spoken)


def _read(process: subprocess.Popen[bytes], deadline: float, timeout: float) -> tuple[bytes, bytes, str]:
    """Read both streams to their ends; the note tells why that was given up."""
    with selectors.DefaultSelector() as selector:
        heard: dict[object, bytearray] = {}
        for stream in (process.stdout, process.stderr):
            heard[stream] = bytearray()
            selector.register(stream, selectors.EVENT_READ)  # type: ignore[arg-type] # both are pipes
        note = ""
        while selector.get_map() and not note:
            ready = selector.select(max(0.0, deadline - time.monotonic()))
            note = "" if ready else f"it did not end in {timeout:g} s"
            for key, _ in ready:
                part = os.read(key.fd, _CHUNK)
                heard[key.fileobj] += part
                if not part:
                    selector.unregister(key.fileobj)
                elif len(heard[key.fileobj]) > MAX_OUTPUT:
                    note = f"it printed more than {MAX_OUTPUT} bytes"
    return bytes(heard[process.stdout][:MAX_OUTPUT]), bytes(heard[process.stderr][:MAX_OUTPUT]), note


def _await(process: subprocess.Popen[bytes], deadline: float, timeout: float) -> str:
    try:
        process.wait(max(_GRACE, deadline - time.monotonic()))
    except subprocess.TimeoutExpired:
        return f"it closed its output but did not end in {timeout:g} s"
    return ""


def _kill(process: subprocess.Popen[bytes]) -> None:
    """Kill the plugin and whatever it started: all of it is one process group."""
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except (ProcessLookupError, PermissionError):
        return


def _by_exit_code(code: int, output: str) -> Ran:
    if code < 0:
        return Ran(UNKNOWN, output, f"it was ended by signal {_signal(-code)}")
    if code > UNKNOWN:
        return Ran(UNKNOWN, output, f"it ended with exit code {code}; a plugin ends with 0 to 3")
    return Ran(code, output, "" if output else "it printed nothing")


def _signal(number: int) -> str:
    return signal.Signals(number).name if number in set(signal.Signals) else str(number)
