"""What becomes of configuration files: pure comparison of what is wanted with what is there."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import PurePosixPath
from typing import Any


@dataclass(frozen=True)
class Wanted:
    """A file as it is to be. ``path`` is relative to the prefix; a ``secret`` one is never shown."""

    path: str
    content: str
    mode: int
    secret: bool = False


@dataclass(frozen=True)
class Found:
    """A file as it is. ``content`` is None when it is not there (or cannot be read as text)."""

    content: str | None
    mode: int = 0


@dataclass(frozen=True)
class Plan:
    """What to do: files to write, modes to set, files to remove; paths in order."""

    write: tuple[Wanted, ...] = ()
    chmod: tuple[Wanted, ...] = ()
    remove: tuple[str, ...] = ()

    @property
    def paths(self) -> list[str]:
        """Every path that changes."""
        return sorted([wanted.path for wanted in (*self.write, *self.chmod)] + list(self.remove))


def wanted_of(files: Iterable[Mapping[str, Any]]) -> list[Wanted]:
    """Return the ``files`` of the module's parameters. Raises ValueError naming the path that is wrong."""
    wanted = []
    for file in files:
        plain, secret = file.get("content"), file.get("secret_content")
        if (plain is None) == (secret is None):
            raise ValueError(f"files: {file['path']}: give either content or secret_content")
        wanted.append(
            Wanted(inside(file["path"]), _ended(secret if plain is None else plain), octal(file["mode"]), plain is None)
        )
    return wanted


def inside(path: str) -> str:
    """Return ``path`` when it stays inside the prefix; raises ValueError when it does not."""
    parts = PurePosixPath(path).parts
    if not parts or path.startswith("/") or ".." in parts:
        raise ValueError(f"path {path!r} is refused; allowed: a path inside the prefix, relative to it")
    return str(PurePosixPath(path))


def octal(mode: str) -> int:
    """Return a mode such as ``0640`` as a number; raises ValueError for anything else."""
    if not (3 <= len(mode) <= 4 and set(mode) <= set("01234567")):
        raise ValueError(f"mode {mode!r} is refused; allowed: three or four octal digits in quotes, such as '0640'")
    return int(mode, 8)


def _ended(text: str | None) -> str:
    return (text or "").rstrip("\n") + "\n"


def plan(wanted: Iterable[Wanted], found: Mapping[str, Found], prune: Iterable[str], present: Iterable[str]) -> Plan:
    """Compare ``wanted`` with ``found``. ``present`` are the paths there now; those matching a pattern
    of ``prune`` that nobody wants are removed."""
    files = list(wanted)
    names = {file.path for file in files}
    patterns = list(prune)
    unwanted = {path for path in present if path not in names and any(fnmatch(path, each) for each in patterns)}
    write = tuple(file for file in files if found[file.path].content != file.content)
    chmod = tuple(file for file in files if file not in write and found[file.path].mode != file.mode)
    return Plan(write, chmod, tuple(sorted(unwanted)))


def differences(steps: Plan, found: Mapping[str, Found]) -> list[dict[str, str]]:
    """Return the differences as Ansible shows them; of secret files only that they differ."""
    shown = []
    for file in steps.write:
        before, after = found[file.path].content or "", file.content
        if file.secret:
            before, after = "(hidden)\n" if before else "", "(hidden, differs)\n"
        shown.append(_difference(file.path, before, after))
    shown += [_difference(f.path, f"mode {found[f.path].mode:04o}\n", f"mode {f.mode:04o}\n") for f in steps.chmod]
    return shown + [_difference(path, "(present)\n", "") for path in steps.remove]


def _difference(path: str, before: str, after: str) -> dict[str, str]:
    return {"before_header": path, "after_header": path, "before": before, "after": after}
