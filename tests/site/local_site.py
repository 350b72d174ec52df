"""A whole local site as the first command of the README lays it: built, used by its own commands, taken away."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import socket
import subprocess
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cached_property
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from typing import Any
from urllib.parse import urlencode, urlsplit

from canopsis.engines.chain import default_chain
from canopsis.ops import config, settings, wait
from canopsis.ops.apiclient import PREFIX as API
from canopsis.ops.apiclient import Answer, Api
from canopsis.ops.prefix import Prefix
from canopsis.ops.supervisor import RUNNING, Program, Supervisor
from canopsis.store.client import Store, opened
from canopsis.transport.connection import Connection, connect

CHECKOUT = Path(__file__).resolve().parents[2]
HOST = "127.0.0.1"
PORTS = 32
"""A site uses its base port and those that follow."""

BUILD_SECONDS = 600
COMMAND_SECONDS = 400


def quick() -> dict[str, object]:
    """Return variables of the roles that make the delays of a site fit for tests."""
    delays = {"resolve_delay": "3s", "cancel_resolve_delay": "3s"}
    chain = [
        {
            "name": engine.name,
            "process": engine.process,
            "next": list(engine.next),
            "beat_interval": "2s",
            "options": delays if engine.name == "alarm" else {},
        }
        for engine in default_chain().engines
    ]
    return {"engines_chain": chain}


@dataclass(frozen=True, slots=True)
class Done:
    """A command that ended: its exit code, and both of its outputs."""

    code: int
    out: str
    err: str

    @property
    def text(self) -> str:
        """Everything it said."""
        return self.out + self.err


@dataclass
class LocalSite:
    """The site in ``prefix``, whose ports begin at ``port``."""

    prefix: Prefix
    port: int

    @classmethod
    def at(cls, folder: Path) -> LocalSite:
        """Return the site that is in ``folder``."""
        prefix = Prefix(folder)
        port = urlsplit(config.client(prefix).urls[0]).port
        assert port is not None, "the URL in etc/client.conf has no port"
        return cls(prefix, port)

    # --- building

    def build(self, *arguments: str) -> Done:
        """Run ``build-install.sh`` for this site, with a site's tests' variables; must end well."""
        command = [str(CHECKOUT / "build-install.sh"), *arguments]
        if not arguments:
            command += ["--", "--extra-vars", json.dumps(quick())]
        done = run(command, self.environment(), BUILD_SECONDS)
        assert done.code == 0, f"{command} ended with {done.code}:\n{done.text[-6000:]}"
        return done

    def remove(self) -> None:
        """Take the site away, and fail when anything of it goes on running."""
        self.build("remove", "--yes")
        left = processes_of(self.prefix.path)
        assert not left, f"still running after the removal: {left}"

    def keep_logs(self) -> None:
        """Copy what the site logged to where the logs of a test run are."""
        kept = CHECKOUT / "log" / "tests" / "site"
        shutil.rmtree(kept, ignore_errors=True)
        shutil.copytree(self.prefix.log, kept, ignore_dangling_symlinks=True)

    def environment(self) -> dict[str, str]:
        """Return the environment of a command: ours, and where the site is."""
        kept = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "VIRTUAL_ENV")}
        return kept | {"CANOPSIS_PREFIX": str(self.prefix.path), "CANOPSIS_PORT_BASE": str(self.port)}

    # --- commands

    def command(self, name: str, *arguments: str, given: str | None = None, timeout: float = COMMAND_SECONDS) -> Done:
        """Run a command of the site's ``bin/``, as a person does: without our environment."""
        shell = {"PATH": "/usr/local/bin:/usr/bin:/bin", "HOME": os.environ.get("HOME", "/"), "LANG": "C.UTF-8"}
        return run([str(self.prefix.path / "bin" / name), *arguments], shell, timeout, given)

    def good(self, name: str, *arguments: str, given: str | None = None) -> str:
        """Run a command that must end well; return what it printed."""
        done = self.command(name, *arguments, given=given)
        assert done.code == 0, f"{name} {' '.join(arguments)} ended with {done.code}:\n{done.text}"
        return done.out

    def good_json(self, name: str, *arguments: str) -> Any:
        """Run a command that must end well; return the JSON it printed."""
        return json.loads(self.good(name, *arguments))

    # --- the API

    @cached_property
    def api(self) -> Api:
        """The API with the key of the site."""
        return Api(config.client(self.prefix))

    def ask(self, method: str, path: str, body: bytes | None = None, **query: object) -> Answer:
        """Return the answer of the API, whatever it is."""
        return self.api.call(method, f"{API}/{path}", body, query=query)

    def listed(self, path: str, **query: object) -> list[dict[str, Any]]:
        """Return the ``data`` of a list; must be answered well."""
        found = self.api.data("GET", f"{API}/{path}", query=query)
        assert isinstance(found, list), f"{path}?{urlencode(query)} is no list: {found!r}"
        return found

    def one(self, path: str) -> dict[str, Any]:
        """Return the one thing that ``path`` shows; must be answered well."""
        (found,) = self.listed(path)
        return found

    # --- underneath

    @contextmanager
    def database(self) -> Iterator[Store]:
        """Give the database as the engines see it."""
        with opened(settings.storage(self.prefix, "engines")) as db:
            yield db

    @contextmanager
    def broker(self) -> Iterator[Connection]:
        """Give a connection to the broker as the engines have it."""
        connection = connect(settings.amqp(self.prefix, "engines"), "canopsis-test")
        try:
            yield connection
        finally:
            connection.close()

    def programs(self) -> dict[str, Program]:
        """Return what supervisord knows of every program, by name."""
        return {program.name: program for program in Supervisor(self.prefix.socket).programs()}

    def engines(self) -> dict[str, int]:
        """Return the process id of each engine process."""
        return {name: program.pid for name, program in self.programs().items() if name.startswith("engine-")}

    def pid(self, program: str) -> int:
        """Return the process id of a program that runs."""
        found = self.programs()[program]
        assert found.state == RUNNING, f"{program} is {found.state}: {found.description}"
        return found.pid

    def kill(self, program: str) -> int:
        """Kill a program and everything it started; return its process id."""
        pid = self.pid(program)
        for each in [pid, *descendants(pid)]:
            with suppress(ProcessLookupError):
                os.kill(each, signal.SIGKILL)
        return pid

    def runs_again(self, program: str, old: int, timeout: float = 120.0) -> None:
        """Wait until supervisord runs ``program`` as another process than ``old``."""

        def again() -> bool:
            found = self.programs()[program]
            return found.state == RUNNING and found.pid != old

        eventually(again, timeout, f"{program} runs again")

    def ready(self, timeout: float = 120.0) -> None:
        """Wait until the API says that broker and database answer, and engines hold every partition."""
        eventually(lambda: status_of(self.port, "/api/v1/readyz") == 200, timeout, "/readyz answers 200")
        eventually(self.partitions_held, timeout, "every partition has a holder")

    def partitions_held(self) -> bool:
        """Tell whether engines hold every partition."""
        answer = self.ask("GET", "status")
        if not answer.good:
            return False
        (found,) = answer.json()["data"]
        held = {each["partition"] for each in found["partitions"] if each["process"] == "worker"}
        return held == set(range(settings.chain(self.prefix).partitions))


def run(command: Sequence[str], env: Mapping[str, str], timeout: float, given: str | None = None) -> Done:
    """Run a command to its end."""
    source = {"stdin": subprocess.DEVNULL} if given is None else {"input": given}
    done = subprocess.run(
        command,
        env=dict(env),
        cwd=CHECKOUT,
        timeout=timeout,
        capture_output=True,
        text=True,
        check=False,
        **source,
    )
    return Done(done.returncode, done.stdout, done.stderr)


def eventually(probe: Callable[[], object], timeout: float, what: str) -> Any:
    """Wait until ``probe`` returns something true and return it; fail the test after ``timeout`` seconds."""
    answer = wait.until(probe, timeout)
    assert answer, f"not within {timeout:g} s: {what}; the last answer is {answer!r}"
    return answer


def status_of(port: int, path: str) -> int:
    """Return the HTTP status that ``path`` answers, 0 when nobody does."""
    connection = HTTPConnection(HOST, port, timeout=10)
    try:
        connection.request("GET", path)
        return connection.getresponse().status
    except (OSError, HTTPException):
        return 0
    finally:
        connection.close()


def free_ports() -> int:
    """Return the first of ``PORTS`` ports of loopback in a row that nobody listens on."""
    begin = int(os.environ.get("CANOPSIS_TEST_PORTS", "21600"))
    for base in range(begin, 32000, PORTS):
        if all(_free(port) for port in range(base, base + PORTS)):
            return base
    raise AssertionError(f"no {PORTS} free ports in a row from {begin} on")


def _free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError:
            return False
    return True


def descendants(pid: int) -> list[int]:
    """Return the living processes that ``pid`` and its children started."""
    children: dict[int, list[int]] = {}
    for entry in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            fields = entry.read_text().rpartition(")")[2].split()
            children.setdefault(int(fields[1]), []).append(int(entry.parent.name))
    found, queue = [], [pid]
    while queue:
        born = children.get(queue.pop(), [])
        found += born
        queue += born
    return found


def processes_of(folder: Path) -> dict[int, str]:
    """Return the command lines of processes that name a path in ``folder``, by process id."""
    found = {}
    mark = re.compile(re.escape(f"{folder}/"))
    for entry in Path("/proc").glob("[0-9]*/cmdline"):
        with suppress(OSError):
            line = entry.read_bytes().replace(b"\0", b" ").decode(errors="replace").strip()
            if mark.search(line) and int(entry.parent.name) != os.getpid():
                found[int(entry.parent.name)] = line
    return found
