"""Whether a host can carry its roles: pure arithmetic over figures that the module found."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

GB = 1024**3
MB = 1024**2

ASKS = {"mongodb": 384, "rabbitmq": 300, "engines": 250, "webserver": 200, "collectd": 30}
"""Memory in MB that each role needs beside MongoDB's cache of what is read regularly."""

SYSTEM_ASK = 200
LEAST_CACHE = 0.25
LEAST_PYTHON = (3, 11)
MACHINES = ("x86_64", "amd64")
LEAST_OPEN_FILES = 4096


@dataclass(frozen=True)
class Listener:
    """Who listens on a port. ``ours`` says that it belongs to this site."""

    port: int
    process: str
    ours: bool


@dataclass(frozen=True)
class Found:
    """What a host is. Sizes in bytes; ``held`` is what the data path holds already.

    ``database`` says that a database lives there, so that ``held`` is not somebody else's; ``venv`` that its Python can
    make virtual environments, ``acl`` that files can be given to one user more.
    """

    name: str
    memory: int
    free: int
    held: int
    indexes: int
    mount: str
    open_files: int
    python: tuple[int, int]
    machine: str
    listeners: tuple[Listener, ...] = ()
    database: bool = False
    venv: bool = True
    acl: bool = True


@dataclass(frozen=True)
class Needed:
    """What is asked of a host. ``ports`` are names by number.

    ``disk_gb`` is the floor for a new database, ``running_gb`` what one that is there has to have free; ``login`` is
    who comes by SSH.
    """

    roles: tuple[str, ...]
    disk_gb: float
    read_share: float
    data_path: str
    running_gb: float = 0.0
    memory_mb: int = 0
    login: str = "root"
    ports: Mapping[int, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Finding:
    """One line of the table. ``level`` is error or warning; ``variable`` is what changes it."""

    host: str
    check: str
    found: str
    needed: str
    variable: str
    level: str = "error"


def memory_ask(roles: Iterable[str]) -> int:
    """Return the memory in MB that ``roles`` need together with the system."""
    return SYSTEM_ASK + sum(ASKS.get(role, 0) for role in roles)


def working_set(held: int, indexes: int, read_share: float) -> int:
    """Return the bytes that MongoDB reads regularly: its indexes and a share of its data."""
    return indexes + int(max(held - indexes, 0) * read_share)


def cache_gb(memory: int, roles: Iterable[str], most: float = 0.0) -> float:
    """Return WiredTiger's cache in GB: half of what the other roles leave of ``memory`` bytes.

    At least 0.25, in steps of 0.25; ``most`` (0: no limit) bounds it.
    """
    left = memory / GB - memory_ask(role for role in roles if role != "mongodb") / 1024
    size = max(int(left / 2 / LEAST_CACHE) * LEAST_CACHE, LEAST_CACHE)
    return min(size, most) if most else size


def check(found: Found, needed: Needed) -> list[Finding]:
    """Return everything that is wrong with a host, errors and warnings."""
    groups = (_disk, _memory, _working_set, _ports, _system)
    return [finding for group in groups for finding in group(found, needed)]


def _disk(found: Found, needed: Needed) -> list[Finding]:
    if "mongodb" not in needed.roles:
        return []
    what = f"disk of {needed.data_path}"
    have = f"{found.free / GB:.1f} GB free and {found.held / GB:.1f} GB in use by it on {found.mount}"
    if found.database and found.free < needed.running_gb * GB:
        ask = f"{needed.running_gb:g} GB free for a database that is there"
        return [Finding(found.name, what, have, ask, "preflight_disk_running_gb")]
    if not found.database and found.free + found.held < needed.disk_gb * GB:
        return [Finding(found.name, what, have, f"{needed.disk_gb:g} GB", "preflight_disk_gb")]
    return []


def _memory(found: Found, needed: Needed) -> list[Finding]:
    ask = needed.memory_mb or memory_ask(needed.roles)
    if found.memory >= ask * MB:
        return []
    what = f"memory of {', '.join(needed.roles)}"
    return [Finding(found.name, what, f"{found.memory // MB} MB", f"{ask} MB", "preflight_memory_mb")]


def _working_set(found: Found, needed: Needed) -> list[Finding]:
    """RAM against indexes and data that is read regularly: it only warns."""
    if "mongodb" not in needed.roles:
        return []
    wanted = working_set(found.held, found.indexes, needed.read_share)
    left = found.memory - memory_ask(role for role in needed.roles if role != "mongodb") * MB
    if wanted <= max(left, 0):
        return []
    ask = f"{wanted / GB:.1f} GB: indexes and {needed.read_share:.0%} of the data"
    have = f"{max(left, 0) / GB:.1f} GB left by the other roles"
    return [Finding(found.name, "working set of mongodb", have, ask, "preflight_read_share", "warning")]


def _ports(found: Found, needed: Needed) -> list[Finding]:
    taken = [(needed.ports[each.port], each) for each in found.listeners if each.port in needed.ports and not each.ours]
    return [
        Finding(found.name, f"port {each.port}", f"taken by {each.process}", "a free port", variable)
        for variable, each in sorted(taken, key=lambda pair: pair[1].port)
    ]


def _system(found: Found, needed: Needed) -> list[Finding]:
    findings = []
    if found.python < LEAST_PYTHON:
        have, ask = (".".join(map(str, version)) for version in (found.python, LEAST_PYTHON))
        findings.append(Finding(found.name, "Python", have, f"{ask} or newer", "ansible_python_interpreter"))
    elif not found.venv:
        ask = "venv: apt-get update && apt-get install python3-venv"
        findings.append(Finding(found.name, "Python", "no venv", ask, "packages of the host"))
    if needed.login != "root" and not found.acl:
        ask = f"setfacl, to hand files from {needed.login} to the site's user: apt-get update && apt-get install acl"
        findings.append(Finding(found.name, "acl", "no setfacl", ask, "ansible_user"))
    if "mongodb" in needed.roles and found.machine not in MACHINES:
        findings.append(Finding(found.name, "processor", found.machine, "x86_64 for mongodb", "group mongodb"))
    if found.open_files < LEAST_OPEN_FILES:
        ask = f"{LEAST_OPEN_FILES} (ulimit -Hn)"
        findings.append(Finding(found.name, "open files", str(found.open_files), ask, "limits of the host"))
    return findings


def as_rows(findings: Iterable[Finding]) -> list[dict[str, str]]:
    """Return ``findings`` as plain dictionaries."""
    return [asdict(finding) for finding in findings]


COLUMNS = ("host", "check", "found", "needed", "variable")


def table(rows: Iterable[Mapping[str, Any]]) -> str:
    """Return ``rows`` as a table that people read, errors first; hosts of which the same is said share a line."""
    hosts: dict[tuple[str, ...], list[str]] = {}
    for row in sorted(rows, key=lambda row: (row["level"] != "error", row["host"])):
        hosts.setdefault((*(str(row[column]) for column in COLUMNS[1:]), row["level"]), []).append(str(row["host"]))
    lines = [(", ".join(names), *said) for said, names in hosts.items()]
    head = (*(column.upper() for column in COLUMNS), "")
    widths = [max(len(line[at]) for line in [head, *lines]) for at in range(len(head))]
    return "\n".join(
        "  ".join(c.ljust(w) for c, w in zip(line, widths, strict=True)).rstrip() for line in [head, *lines]
    )
