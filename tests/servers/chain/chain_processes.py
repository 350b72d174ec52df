"""A chain of real engine processes over real servers."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import msgspec

from canopsis.engines.chain import default_chain
from canopsis.runtime.settings import ChainSettings, ProcessSettings
from canopsis.store.settings import StoreSettings
from canopsis.transport.settings import AmqpSettings

ROOT = Path(__file__).parents[3]
PROGRAM = Path(__file__).with_name("engine_process.py")


def one_process_each(chain: ChainSettings) -> ChainSettings:
    """Return ``chain`` with a process for every engine."""
    return replace(chain, engines=tuple(replace(engine, process=engine.name) for engine in chain.engines))


def one_process_for_all(chain: ChainSettings) -> ChainSettings:
    """Return ``chain`` with one process for all engines."""
    return replace(chain, engines=tuple(replace(engine, process="all") for engine in chain.engines))


def with_options(chain: ChainSettings, engine: str, **options: Any) -> ChainSettings:
    """Return ``chain`` with other options of one engine."""
    engines = tuple(replace(own, options=options) if own.name == engine else own for own in chain.engines)
    return replace(chain, engines=engines)


@dataclass
class EngineProcess:
    """One engine process, as supervisord would run it."""

    settings: ProcessSettings
    log: Path
    program: Path = PROGRAM
    popen: subprocess.Popen[bytes] | None = field(default=None, repr=False)

    def start(self) -> None:
        """Start it and do not wait."""
        command = [sys.executable, str(self.program), msgspec.json.encode(self.settings).decode()]
        environment = os.environ | {"PYTHONPATH": f"{ROOT}:{os.environ.get('PYTHONPATH', '')}", "PYTHONUNBUFFERED": "1"}
        with self.log.open("ab") as log:
            self.popen = subprocess.Popen(command, env=environment, stdout=log, stderr=log, stdin=subprocess.DEVNULL)

    def kill(self) -> None:
        """End it at once."""
        self._end(signal.SIGKILL)

    def stop(self, timeout: float = 60.0) -> int:
        """End it in order and return its exit code."""
        return self._end(signal.SIGTERM, timeout)

    @property
    def pid(self) -> int:
        """Its process id."""
        assert self.popen is not None
        return self.popen.pid

    def is_running(self) -> bool:
        """Tell whether it runs."""
        return self.popen is not None and self.popen.poll() is None

    def _end(self, number: signal.Signals, timeout: float = 60.0) -> int:
        if self.popen is None:
            return 0
        self.popen.send_signal(number)
        return self.popen.wait(timeout)


@dataclass
class Chain:
    """All engine processes of a site."""

    amqp: AmqpSettings
    store: StoreSettings
    folder: Path
    settings: ChainSettings = field(default_factory=default_chain)
    processes: dict[str, EngineProcess] = field(default_factory=dict)

    def add(self, process: str, instance: int = 1, program: Path = PROGRAM) -> EngineProcess:
        """Start one process of the chain."""
        name = process if instance == 1 else f"{process}-{instance}"
        told = ProcessSettings(process, self.settings, self.amqp, self.store, instance)
        self.processes[name] = EngineProcess(told, self.folder / f"engine-{name}.log", program)
        self.processes[name].start()
        return self.processes[name]

    def start(self) -> None:
        """Start one instance of every process."""
        for process in self.settings.processes():
            self.add(process)

    def stop(self) -> dict[str, int]:
        """Stop all processes in order; return their exit codes."""
        for process in self.processes.values():
            if process.is_running() and process.popen is not None:
                process.popen.terminate()
        return {name: process.stop() for name, process in self.processes.items() if process.popen is not None}

    def kill(self) -> None:
        """End all processes at once."""
        for process in self.processes.values():
            if process.is_running():
                process.kill()

    def logs(self) -> str:
        """Return what the processes said."""
        return "\n".join(f"--- {log.name}\n{log.read_text()}" for log in sorted(self.folder.glob("engine-*.log")))
