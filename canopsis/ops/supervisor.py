"""supervisord spoken to: XML-RPC over its unix socket."""

from __future__ import annotations

import http.client
import socket
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from xmlrpc.client import Fault, ServerProxy

from supervisor.xmlrpc import Faults, SupervisorTransport

from canopsis.errors import SiteError
from canopsis.ops.wait import until

RUNNING = "RUNNING"
UP = frozenset({RUNNING, "STARTING", "BACKOFF"})
"""States in which supervisord keeps a program running or tries to."""

DOWN = frozenset({"STOPPED", "EXITED", "FATAL", "UNKNOWN"})

_TIMEOUT = 10.0


@dataclass(frozen=True, slots=True)
class Program:
    """A program as supervisord sees it. ``start``, ``stop`` and ``now`` are its clock in seconds.

    ``logs`` are the files of its output; ``error_log`` is one of them when it has one for errors alone.
    """

    name: str
    group: str
    state: str
    description: str = ""
    pid: int = 0
    start: int = 0
    stop: int = 0
    now: int = 0
    error: str = ""
    logs: tuple[str, ...] = ()
    error_log: str = ""

    @property
    def full_name(self) -> str:
        """How supervisord is asked for it: ``group:name``, or the name alone."""
        return self.name if self.name == self.group else f"{self.group}:{self.name}"


@dataclass(frozen=True, slots=True)
class Reread:
    """Program groups whose files are not the ones in effect."""

    added: frozenset[str] = frozenset()
    changed: frozenset[str] = frozenset()
    removed: frozenset[str] = frozenset()


class Supervisor:
    """One connection to the supervisord behind ``path``; not to be shared by threads.

    Every method raises SiteError when supervisord ends just now, or does not answer within ``timeout`` seconds (10).
    """

    def __init__(self, path: Path, timeout: float | None = None) -> None:
        self._path = path
        timeout = _TIMEOUT if timeout is None else timeout
        transport = SupervisorTransport(serverurl=f"unix://{path}")
        transport._get_connection = lambda: _Connection(path, timeout)
        self._proxy = ServerProxy("http://127.0.0.1", transport=transport)

    def call(self, method: str, *params: object) -> Any:  # noqa: ANN401 - whatever the method returns
        """Return the answer of ``supervisor.METHOD``. Raises Fault when supervisord refuses."""
        try:
            return self._exchange(method, *params)
        except Fault as fault:
            if fault.faultCode != Faults.SHUTDOWN_STATE:
                raise
            raise SiteError(f"supervisord on {self._path} ends just now: run this again when it has ended") from fault

    def _exchange(self, method: str, *params: object) -> Any:  # noqa: ANN401 - whatever the method returns
        try:
            return getattr(self._proxy.supervisor, method)(*params)
        except (OSError, http.client.HTTPException) as error:
            # A connection that failed once gives nothing but errors after: begin anew.
            self._proxy("close")()
            raise SiteError(f"supervisord does not answer on {self._path} ({error or type(error).__name__})") from error

    def answers(self) -> bool:
        """Whether supervisord answers and is not about to end."""
        try:
            self.call("getState")
        except SiteError:
            return False
        return True

    def is_ending(self) -> bool:
        """Whether supervisord answers that it ends: it refuses every question then, even that for its state."""
        try:
            self._exchange("getState")
        except Fault as fault:
            return bool(fault.faultCode == Faults.SHUTDOWN_STATE)
        except SiteError:
            return False
        return False

    def pid(self) -> int:
        """Return the process id of supervisord."""
        return int(self.call("getPID"))

    def programs(self) -> list[Program]:
        """Return every program there is."""
        return [_program(info) for info in self.call("getAllProcessInfo")]

    def program(self, name: str) -> Program:
        """Return the program called ``name`` (full name); UNKNOWN when it is gone."""
        try:
            return _program(self.call("getProcessInfo", name))
        except Fault as fault:
            if fault.faultCode != Faults.BAD_NAME:
                raise
            return Program(name, name, "UNKNOWN", "no longer known to supervisord")

    def start(self, name: str) -> None:
        """Have ``name`` started, without waiting. A program that runs already is fine.

        Raises SiteError when its command is missing or may not be run.
        """
        self._ask("startProcess", name, Faults.ALREADY_STARTED, Faults.SPAWN_ERROR, Faults.ABNORMAL_TERMINATION)

    def stop(self, name: str) -> None:
        """Have ``name`` stopped, without waiting. A program that is down already is fine."""
        self._ask("stopProcess", name, Faults.NOT_RUNNING, Faults.BAD_NAME)

    def reread(self) -> Reread:
        """Have the files read again; returns what differs. Raises SiteError when a file is wrong."""
        try:
            added, changed, removed = self.call("reloadConfig")[0]
        except Fault as fault:
            raise SiteError(f"supervisord cannot read its configuration: {fault.faultString}") from fault
        return Reread(frozenset(added), frozenset(changed), frozenset(removed))

    def add(self, group: str) -> None:
        """Put a group from the files into effect."""
        self._call_unless(Faults.ALREADY_ADDED, "addProcessGroup", group)

    def remove(self, group: str) -> None:
        """Take a group whose programs are down out of effect."""
        self._call_unless(Faults.BAD_NAME, "removeProcessGroup", group)

    def shutdown(self) -> None:
        """Have supervisord stop every program and end, without waiting."""
        try:
            self._exchange("shutdown")
        except Fault as fault:
            if fault.faultCode != Faults.SHUTDOWN_STATE:
                raise SiteError(f"supervisord on {self._path} refuses to end: {fault.faultString}") from fault

    def wait(self, name: str, states: frozenset[str], timeout: float) -> Program:
        """Return ``name`` once its state is among ``states``, or as it is after ``timeout`` seconds."""
        until(lambda: self.program(name).state in states, timeout)
        return self.program(name)

    def _ask(self, method: str, name: str, *fine: int) -> None:
        try:
            self.call(method, name, False)
        except Fault as fault:
            if fault.faultCode not in fine:
                raise SiteError(f"{name}: supervisord refuses: {fault.faultString}") from fault

    def _call_unless(self, fine: int, method: str, *params: object) -> None:
        try:
            self.call(method, *params)
        except Fault as fault:
            if fault.faultCode != fine:
                raise SiteError(
                    f"supervisord refuses {method} {' '.join(map(str, params))}: {fault.faultString}"
                ) from fault


class _Connection(http.client.HTTPConnection):
    """HTTP over a unix socket, with a time-out (supervisor's own waits for ever)."""

    def __init__(self, path: Path, timeout: float) -> None:
        super().__init__("localhost", timeout=timeout)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(str(self._path))


def _program(info: dict[str, Any]) -> Program:
    logs = (info.get("stdout_logfile") or info.get("logfile"), info.get("stderr_logfile"))
    return Program(
        name=info["name"],
        group=info["group"],
        state=info["statename"],
        description=info["description"],
        pid=info["pid"],
        start=info["start"],
        stop=info["stop"],
        now=info["now"],
        error=info["spawnerr"],
        logs=tuple(log for log in logs if log),
        error_log=info.get("stderr_logfile") or "",
    )
