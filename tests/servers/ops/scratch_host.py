"""A host in a scratch prefix: a real supervisord over small programs that stand where the large ones would."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
from dataclasses import dataclass, field
from pathlib import Path

from canopsis.ops import daemon, orphans, processes
from canopsis.ops.prefix import Prefix
from canopsis.ops.supervisor import Supervisor
from canopsis.ops.wait import until

_TEMPLATE = Path(__file__).parents[3] / "roles" / "supervisor" / "templates" / "supervisord.conf.j2"
UMASK = next(line for line in _TEMPLATE.read_text().splitlines() if line.startswith("umask="))

SUPERVISORD = f"""
[unix_http_server]
file=%(here)s/var/run/supervisor.sock
[supervisord]
{UMASK}
logfile=%(here)s/var/log/supervisord.log
pidfile=%(here)s/var/run/supervisord.pid
[rpcinterface:supervisor]
supervisor.rpcinterface_factory = supervisor.rpcinterface:make_main_rpcinterface
[include]
files = etc/supervisord.d/*.conf etc/engines/*.conf
"""

HYPCONTROL = """
[backend]
services = mongodb,rabbitmq-server
[middleware]
services = amqp2engines
[frontend]
services = webserver
"""

SERVICES = {"mongodb", "rabbitmq-server", "engine-cleaner", "engine-worker", "webserver"}
WAIT = "import signal; signal.pause()"

LISTEN = "import socket, signal; s = socket.create_server(('127.0.0.1', {port})); signal.pause()"


@dataclass
class Host:
    """A scratch prefix with what its commands said."""

    prefix: Prefix
    said: list[str] = field(default_factory=list)

    def say(self, line: str) -> None:
        self.said.append(line)

    def write(self, name: str, text: str) -> Path:
        path = self.prefix.path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(textwrap.dedent(text))
        return path

    def program(self, name: str, code: str = WAIT, *, autostart: bool = True, **options: object) -> Path:
        """Write the program file of ``name``, which runs Python ``code``."""
        script = self.write(f"opt/{name}.py", code)
        folder = "engines" if name.startswith("engine-") else "supervisord.d"
        settings = {
            "command": f"{sys.executable} {script}",
            "startsecs": 0,
            "startretries": 1000,
            "autostart": str(autostart).lower(),
            "redirect_stderr": "true",
            "stdout_logfile": self.prefix.log / f"{name}.log",
        } | options
        lines = [f"[program:{name}]", *(f"{key}={value}" for key, value in settings.items())]
        return self.write(f"etc/{folder}/{name.removeprefix('engine-')}.conf", "\n".join(lines) + "\n")

    def pids(self) -> dict[str, list[int]]:
        """Return the processes of the host by program, whoever is their parent."""
        self.settle()
        found: dict[str, list[int]] = {}
        for process in orphans.find(self.prefix).values():
            found.setdefault(process.environment[orphans.PROCESS_NAME], []).append(process.pid)
        return found

    def settle(self) -> None:
        """Wait until what supervisord calls RUNNING, from its fork on, is the program: before, nothing tells so."""
        until(lambda: not self._forked(), 20)

    def _forked(self) -> list[int]:
        everything = list(processes.all_processes())
        parents = {p.pid for p in daemon.all_running(self.prefix)}
        return [p.pid for p in everything if p.parent in parents and orphans.PROCESS_NAME not in p.environment]

    def supervisord(self) -> int:
        return Supervisor(self.prefix.socket).pid()

    def keepers(self) -> list[int]:
        return [keeper.pid for keeper in daemon.keepers(self.prefix)]

    def kill_supervisord(self) -> None:
        """Kill supervisord and what would bring it back."""
        self.settle()
        assert processes.end([*self.keepers(), self.supervisord()], signal.SIGKILL, 10) == []

    def begin(self, *argv: str) -> subprocess.Popen[str]:
        """Begin a command of ours as an operator does."""
        module, *rest = argv
        run = f"import sys; from canopsis.cli.{module} import main; sys.exit(main())"
        return subprocess.Popen(
            [sys.executable, "-c", run, *rest],
            env=os.environ | {"CANOPSIS_PREFIX": str(self.prefix.path), "PYTHONPATH": str(Path(__file__).parents[3])},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def command(self, *argv: str, timeout: float = 300) -> subprocess.CompletedProcess[str]:
        """Run a command of ours to its end."""
        with self.begin(*argv) as process:
            try:
                output, errors = process.communicate(timeout=timeout)
            finally:
                process.kill()
        return subprocess.CompletedProcess(argv, process.returncode, output, errors)
