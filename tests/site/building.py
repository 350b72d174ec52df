"""Run build-install.sh in scratch prefixes, and compare what a prefix holds."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from canopsis.ops.wait import until

CHECKOUT = Path(__file__).resolve().parents[2]
PARTS = ("build-install.sh", "packages", "requirements", "canopsis", "setup.cfg", "pyproject.toml")
TIMEOUT = 300.0
CACHE = "var/cache"


@dataclass(frozen=True, slots=True)
class Ran:
    """What a command ended with. ``output`` is both of its streams."""

    code: int
    output: str


@dataclass(frozen=True, slots=True)
class Builder:
    """A checkout's build system, building in one prefix. ``before`` stands before each command (``unshare -n``)."""

    checkout: Path
    prefix: Path
    source: Path | None = None
    before: tuple[str, ...] = ()
    env: Mapping[str, str] = field(default_factory=dict)

    def command(self, *args: str) -> list[str]:
        """Return the whole command line of ``build-install.sh ARGS``."""
        given = ["--from", str(self.source)] if self.source else []
        script = str(self.checkout / "build-install.sh")
        return [*self.before, script, *args, "--prefix", str(self.prefix), *given]

    def run(self, *args: str) -> Ran:
        """Run a verb and return how it ended."""
        done = subprocess.run(
            self.command(*args),
            env={**os.environ, **self.env},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=TIMEOUT,
            check=False,
        )
        return Ran(done.returncode, done.stdout)

    def do(self, *args: str) -> str:
        """Run a verb that must succeed; return its output."""
        ran = self.run(*args)
        assert ran.code == 0, ran.output
        return ran.output

    def fails(self, *args: str, code: int = 1) -> str:
        """Run a verb that must be refused with exit code ``code``; return its output."""
        ran = self.run(*args)
        assert ran.code == code, ran.output
        return ran.output

    def killed(self, number: signal.Signals, after: float, *args: str) -> bool:
        """Start a verb and signal its whole process group after ``after`` seconds; False when it was done before."""
        process = self._begun(*args)
        try:
            process.wait(after)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, number)
            process.wait(TIMEOUT)
            return True
        return False

    def killed_while_building(self, name: str, *args: str) -> bool:
        """Start a verb and kill it once it lays a version of ``name``; False when it was done before."""
        home = self.prefix / "opt" / name
        whole = {path.parent for path in home.glob("*/.package")}
        process = self._begun(*args)

        def is_laying() -> bool:
            folders = {path for path in home.glob("*") if path.is_dir() and not path.is_symlink()} - whole
            return any(any(folder.iterdir()) for folder in folders)

        until(lambda: process.poll() is not None or is_laying(), TIMEOUT)
        under_way = process.poll() is None
        os.killpg(process.pid, signal.SIGKILL)
        process.wait(TIMEOUT)
        return under_way

    def _begun(self, *args: str) -> subprocess.Popen[bytes]:
        """Start a verb in a process group of its own, and do not wait."""
        return subprocess.Popen(
            self.command(*args), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
        )

    def current(self, name: str) -> str:
        """Return the version of package ``name`` that is in use, "" when there is none."""
        link = self.prefix / "opt" / name / "current"
        return str(link.readlink()) if link.is_symlink() else ""

    def tool(self, path: str, *args: str) -> str:
        """Run a program of the prefix and return its output."""
        command = [*self.before, str(self.prefix / path), *args]
        return subprocess.run(command, capture_output=True, text=True, timeout=60, check=True).stdout


def tree(prefix: Path) -> set[str]:
    """Return every path below ``prefix`` but the kept files."""
    paths = (str(path.relative_to(prefix)) for path in prefix.rglob("*"))
    return {path for path in paths if not path.startswith(CACHE) and "__pycache__" not in path}


def leftovers(prefix: Path) -> set[str]:
    """Return the remains of unfinished work: staging folders, scratch folders, half-written records."""
    marks = (".staging.", ".work.", "/work.", ".new")
    paths = (str(path.relative_to(prefix)) for path in prefix.rglob("*"))
    return {path for path in paths if any(mark in path for mark in marks)}


def copy_checkout(target: Path) -> Path:
    """Copy the build system and what it builds to ``target``, so that a test may change it."""
    target.mkdir(parents=True)
    for part in PARTS:
        source = CHECKOUT / part
        if source.is_dir():
            shutil.copytree(source, target / part, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy2(source, target / part)
    return target


def change(checkout: Path, package: str, text: str = "# changed\n") -> None:
    """Make ``package`` of a copied checkout another one."""
    control = checkout / "packages" / package / "control"
    control.write_text(control.read_text() + text)
