"""A real RabbitMQ and a real MongoDB on private ports, that can be killed, frozen and started again.

The programs come from an installed prefix, named by ``CANOPSIS_TEST_PREFIX``: ``opt/mongodb``,
``opt/rabbitmq-server`` and ``opt/erlang``, each with its ``current`` link, as packages/ lays them.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Self

import pymongo
from pymongo.errors import PyMongoError

from canopsis.errors import CanopsisError, TransportError
from canopsis.ops import wait
from canopsis.store.client import Store, opened
from canopsis.store.settings import StoreSettings
from canopsis.transport.connection import connect
from canopsis.transport.settings import AmqpSettings

VARIABLE = "CANOPSIS_TEST_PREFIX"
ENGINE = (sys.executable, "-c", "import sys; from canopsis.cli.engine import main; sys.exit(main(sys.argv[1:]))")
"""The command ``canopsis engine`` of the checkout."""

START_SECONDS = 90.0
HOST = "127.0.0.1"
_GIVEN: set[int] = set()

SHORT_CHAIN = """
[chain]
partitions = 2
[engine:cleaner_events]
process = cleaner
next = event_filter
[engine:dead_letters]
process = cleaner
[engine:event_filter]
next = context
[engine:context]
next = alarm
[engine:alarm]
next = perfdata
resolve_delay = 1
beat_interval = 1
[engine:perfdata]
next = eventstore
[engine:eventstore]
"""
"""etc/amqp2engines.conf of a small site whose alarms are resolved at once."""

_RABBITMQ_CONF = """
listeners.tcp.default = 127.0.0.1:{port}
loopback_users.guest = true
default_vhost = canopsis
log.file.level = warning
vm_memory_high_watermark.absolute = 2GB
disk_free_limit.absolute = 100MB
"""


class MissingServerError(Exception):
    """A program is not in the prefix: the text says which and what to do."""


def locate(package: str, *patterns: str) -> Path:
    """Return the first file of ``package`` that one of ``patterns`` names, the first pattern first."""
    prefix = os.environ.get(VARIABLE, "")
    root = Path(prefix, "opt", package, "current") if prefix else None
    for pattern in patterns if root is not None else ():
        for found in sorted(root.resolve().glob(pattern)):
            return found
    where = root or f"${VARIABLE} (not set)"
    raise MissingServerError(
        f"no {patterns[0]} in {where}: `./build-install.sh install {package} --prefix DIR` and set {VARIABLE}=DIR, "
        "or let ./run-tests.sh do both"
    )


def free_port() -> int:
    """Return a port of loopback that nobody listens on and that was not given to anybody in this run."""
    while True:
        with socket.create_server((HOST, 0)) as probe:
            port = int(probe.getsockname()[1])
        if port not in _GIVEN:
            _GIVEN.add(port)
            return port


def start_engine(prefix: Path, name: str) -> subprocess.Popen[bytes]:
    """Start the engine process ``name`` over ``prefix``, where its log is."""
    with (prefix / f"{name}.log").open("ab") as log:
        return subprocess.Popen(
            [*ENGINE, "run", name],
            env=os.environ | {"CANOPSIS_PREFIX": str(prefix)},
            stdout=log,
            stderr=log,
            stdin=subprocess.DEVNULL,
        )


def listening(port: int) -> bool:
    """Tell whether anybody listens on ``port`` of loopback."""
    with socket.socket() as probe:
        return probe.connect_ex((HOST, port)) == 0


def eventually(probe: Callable[[], object], timeout: float = 60.0) -> None:
    """Wait until ``probe`` returns something true; fail the test after ``timeout`` seconds.

    A probe that fails is asked again: what it looks into need not be there yet.
    """
    failed: list[Exception] = []

    def answer_of() -> object:
        failed.clear()
        try:
            return probe()
        except (AssertionError, LookupError, OSError, PyMongoError, CanopsisError) as error:
            failed.append(error)
            return None

    answer = wait.until(answer_of, timeout)
    assert answer, f"{probe} returned {failed or answer!r} for {timeout} s"


@dataclass
class Server:
    """A server of the test run. ``folder`` holds its data; ``process`` is it while it runs."""

    folder: Path
    port: int = field(default_factory=free_port)
    process: subprocess.Popen[bytes] | None = field(default=None, repr=False)

    def command(self) -> list[str]:
        """Return the command that runs the server in the foreground."""
        raise AssertionError("each server has its own command")

    def environment(self) -> dict[str, str]:
        """Return the environment of the server."""
        return dict(os.environ)

    def answers(self) -> bool:
        """Tell whether the server takes work."""
        raise AssertionError("each server has its own question")

    def start(self) -> None:
        """Start the server and wait until it answers."""
        self.launch()
        found = wait.until(lambda: "ended" if self.has_ended() else self.answers() and "answers", START_SECONDS)
        if found != "answers":
            tail = (self.folder / "output.log").read_text(errors="replace")[-2000:]
            raise AssertionError(f"{self.folder.name} does not answer; its output ends in:\n{tail}")

    def has_ended(self) -> bool:
        """Tell whether the process that was launched runs no more."""
        return self.process is None or self.process.poll() is not None

    @contextmanager
    def running(self) -> Iterator[Self]:
        """Have the server started; nothing of it is left at the end."""
        try:
            self.start()
            yield self
        finally:
            self.kill()

    def launch(self) -> None:
        """Start the server and do not wait."""
        self.folder.mkdir(parents=True, exist_ok=True)
        with (self.folder / "output.log").open("ab") as log:
            self.process = subprocess.Popen(
                self.command(),
                env=self.environment(),
                stdout=log,
                stderr=log,
                stdin=subprocess.DEVNULL,
                start_new_session=True,
            )

    def kill(self) -> None:
        """End the server and all its children at once."""
        self._end(signal.SIGKILL)

    def stop(self) -> None:
        """End the server in order."""
        self._end(signal.SIGTERM)

    @contextmanager
    def frozen(self) -> Iterator[None]:
        """Freeze the server for a while: it holds its connections and says nothing."""
        try:
            self._signal_all(signal.SIGSTOP)
            # On a busy host a thread may still answer a question after the signal was sent.
            assert wait.until(lambda: all(stopped(pid) for pid in self.pids()), 60)
            yield
        finally:
            self._signal_all(signal.SIGCONT)

    def pids(self) -> list[int]:
        """Return the processes of the server."""
        return [] if self.process is None else session_pids(self.process.pid)

    def _signal_all(self, number: signal.Signals) -> None:
        for pid in self.pids():
            with suppress(ProcessLookupError):
                os.kill(pid, number)

    def _end(self, number: signal.Signals) -> None:
        if self.process is None:
            return
        pids = self.pids()
        self._signal_all(number)
        try:
            self.process.wait(20)
        except subprocess.TimeoutExpired:
            self._signal_all(signal.SIGKILL)
            self.process.wait(20)
        for pid in pids:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        wait.until(lambda: not listening(self.port), 20)
        self.process = None


def stopped(pid: int) -> bool:
    """Tell whether every thread of a process has stopped."""
    try:
        states = [stat.read_text().rpartition(")")[2].split()[0] for stat in Path(f"/proc/{pid}/task").glob("*/stat")]
    except OSError:
        return False  # one of them ended just now
    return all(state in "TtZX" for state in states)


@dataclass
class RabbitMQ(Server):
    """A broker with vhost ``canopsis`` and user ``guest``."""

    dist_port: int = field(default_factory=free_port)
    epmd_port: int = field(default_factory=free_port)

    def command(self) -> list[str]:
        return [str(self._script("rabbitmq-server"))]

    def environment(self) -> dict[str, str]:
        conf, plugins = self.folder / "rabbitmq.conf", self.folder / "enabled_plugins"
        conf.write_text(_RABBITMQ_CONF.format(port=self.port))
        plugins.write_text("[].\n")
        erlang = locate("erlang", "**/releases").parent / "bin"
        return os.environ | {
            "PATH": f"{erlang}:{os.environ['PATH']}",
            "HOME": str(self.folder),
            "RABBITMQ_NODENAME": f"test{self.port}@localhost",
            "RABBITMQ_NODE_PORT": str(self.port),
            "RABBITMQ_DIST_PORT": str(self.dist_port),
            "ERL_EPMD_PORT": str(self.epmd_port),
            "ERL_EPMD_ADDRESS": HOST,
            "RABBITMQ_MNESIA_BASE": str(self.folder / "mnesia"),
            "RABBITMQ_LOG_BASE": str(self.folder / "log"),
            "RABBITMQ_ENABLED_PLUGINS_FILE": str(plugins),
            "RABBITMQ_CONFIG_FILE": str(conf),
        }

    def settings(self) -> AmqpSettings:
        """Return how to reach the broker."""
        return AmqpSettings(hosts=((HOST, self.port),), password="guest", heartbeat=6.0, write_timeout=5.0)

    def answers(self) -> bool:
        if not listening(self.port):
            return False
        try:
            connect(self.settings()).close()
        except TransportError:
            return False
        return True

    def _end(self, number: signal.Signals) -> None:
        super()._end(number)
        # epmd left our session; without its node it may be told to go.
        epmd = locate("erlang", "**/bin/epmd")
        subprocess.run([str(epmd), "-kill"], env=self.environment(), capture_output=True, timeout=20, check=False)

    def ctl(self, *arguments: str) -> str:
        """Run rabbitmqctl and return what it prints."""
        command = [str(self._script("rabbitmqctl")), *arguments]
        done = subprocess.run(command, env=self.environment(), capture_output=True, text=True, timeout=60, check=False)
        assert done.returncode == 0, f"{arguments}: {done.stdout}{done.stderr}"
        return done.stdout

    def _script(self, name: str) -> Path:
        # The broker's own scripts: those in sbin beside them look for the site's configuration.
        return locate("rabbitmq-server", f"server/sbin/{name}", f"**/rabbitmq_server-*/sbin/{name}")


@dataclass
class MongoDB(Server):
    """A replica set of one member; ``parameters`` are more of what ``--setParameter`` takes."""

    parameters: tuple[str, ...] = ()
    cache_gb: float = 0.5

    def command(self) -> list[str]:
        data = self.folder / "data"
        data.mkdir(parents=True, exist_ok=True)
        options = {
            "--port": str(self.port),
            "--bind_ip": HOST,
            "--dbpath": str(data),
            "--replSet": "canopsis",
            "--wiredTigerCacheSizeGB": str(self.cache_gb),
            "--unixSocketPrefix": str(self.folder),
        }
        common = ("diagnosticDataCollectionEnabled=false", "ttlMonitorSleepSecs=1")
        parameters = [f"--setParameter={value}" for value in (*common, *self.parameters)]
        return [
            str(locate("mongodb", "**/mongod")),
            "--quiet",
            *parameters,
            *(part for pair in options.items() for part in pair),
        ]

    def settings(self) -> StoreSettings:
        """Return how to reach the database."""
        return StoreSettings(hosts=((HOST, self.port),), selection_timeout=2.0, connect_timeout=1.0, timeout=10.0)

    def answers(self) -> bool:
        with pymongo.MongoClient(HOST, self.port, directConnection=True, serverSelectionTimeoutMS=1000) as client:
            try:
                hello = client.admin.command("hello")
                if not hello.get("setName"):
                    member = {"_id": 0, "host": f"{HOST}:{self.port}"}
                    client.admin.command("replSetInitiate", {"_id": "canopsis", "members": [member]})
                return bool(hello.get("isWritablePrimary"))
            except PyMongoError:
                return False

    @contextmanager
    def database(self, name: str) -> Iterator[Store]:
        """Give an empty database, dropped at the end."""
        with opened(patient(self.settings())) as db:
            empty = db.client[name]
            db.client.drop_database(name)
            yield empty
            db.client.drop_database(name)


def patient(settings: StoreSettings) -> StoreSettings:
    """Return ``settings`` for the test's own questions: only the product is asked for its haste."""
    return replace(settings, selection_timeout=30.0, connect_timeout=10.0, timeout=60.0)


def session_pids(leader: int) -> list[int]:
    """Return the living processes of the session that ``leader`` began."""
    found = []
    for entry in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = entry.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if int(fields[3]) == leader and fields[0] != "Z":
            found.append(int(entry.parent.name))
    return found
