"""What supervisord has to do so that its programs are those of the files. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from fnmatch import fnmatch

UP = ("RUNNING", "STARTING")


def program_of(path: str) -> str:
    """Return the program of a file below the prefix, empty for any other file."""
    found = re.fullmatch(r"etc/(engines|supervisord\.d)/([^/]+)\.conf", path)
    return "" if not found else f"engine-{found[2]}" if found[1] == "engines" else found[2]


@dataclass(frozen=True)
class Files:
    """What supervisord says of its files against what is in effect: names of programs."""

    added: frozenset[str] = frozenset()
    changed: frozenset[str] = frozenset()
    removed: frozenset[str] = frozenset()

    def with_written(self, paths: Iterable[str], states: Mapping[str, str]) -> Files:
        """Return the same as it will be once ``paths`` are written; ``states`` are the programs in effect."""
        programs = {name for path in paths if (name := program_of(path))}
        return Files(self.added | (programs - states.keys()), self.changed | (programs & states.keys()), self.removed)


@dataclass(frozen=True)
class Plan:
    """Programs to take out, to put in anew, to restart as they are, to start. Each name is in one of them."""

    remove: tuple[str, ...] = ()
    replace: tuple[str, ...] = ()
    restart: tuple[str, ...] = ()
    start: tuple[str, ...] = ()

    @property
    def lines(self) -> list[str]:
        """The plan, one step a line."""
        steps = (("remove", self.remove), ("replace", self.replace), ("restart", self.restart), ("start", self.start))
        return [f"{verb} {name}" for verb, names in steps for name in names]

    def holding(self, states: Mapping[str, str]) -> tuple[Plan, tuple[str, ...]]:
        """Return the plan without what would end a program that runs, and the names of those programs."""
        held = (*(name for name in self.replace if states.get(name) in UP), *self.restart)
        replace = tuple(name for name in self.replace if name not in held)
        return Plan(self.remove, replace, (), self.start), tuple(sorted(held))


def plan(wanted: Iterable[str], family: str, files: Files, states: Mapping[str, str], drifted: bool) -> Plan:
    """Plan for the programs ``wanted``; those of ``family`` (a pattern) that are not wanted go.

    Only what changed restarts. ``drifted`` says that a file behind the programs was put right although their
    own files may be as they were: then all that run restart, unless a program's own file tells which, by having
    changed, come or gone.
    """
    names = sorted(set(wanted))
    missing = [name for name in names if name not in states and name not in files.added]
    if missing:
        raise ValueError(f"no program file names {', '.join(missing)}; write etc/supervisord.d or etc/engines first")
    removed = tuple(sorted(name for name in states if fnmatch(name, family) and name not in names))
    replaced = tuple(name for name in names if name in files.changed)
    running = tuple(name for name in names if states.get(name) in UP and name not in replaced)
    told = replaced or removed or any(name in files.added for name in names)
    restarted = running if drifted and not told else ()
    started = tuple(name for name in names if name not in (*replaced, *running))
    return Plan(removed, replaced, restarted, started)
