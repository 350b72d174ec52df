"""The system's own ``service``, which ours hides where ``bin/`` is first in the PATH."""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from canopsis.errors import CanopsisError
from canopsis.ops import programs
from canopsis.ops.prefix import VARIABLE, Prefix

COMMAND = "service"
_USUAL = ("/usr/sbin", "/sbin")
_SCRIPTS = Path("/etc/init.d")
_UNITS = tuple(Path(folder) / "systemd/system" for folder in ("/etc", "/run", "/usr/local/lib", "/usr/lib", "/lib"))


def hand_on(argv: Sequence[str]) -> None:
    """Become the system's ``service`` when ``argv`` names a service of the system that is none of the site.

    Called with the rights of who types it: root does not give them up for what is not ours.
    """
    if not argv or argv[0].startswith("-") or not os.environ.get(VARIABLE):
        return
    prefix = Prefix.find()
    if argv[0] in _ours(prefix) or not _of_the_system(argv[0]):
        return
    found = _system_command(prefix)
    if found:
        os.execv(found, [found, *argv])  # noqa: S606  what the user typed, to the command that was meant


def _ours(prefix: Prefix) -> set[str]:
    """Return all names of the site: where its files cannot be read, none."""
    with suppress(CanopsisError):
        files = programs.read_all(prefix)
        return {programs.ENGINES, *files, *programs.services(files)}
    return set()


def _of_the_system(name: str) -> bool:
    if "/" in name:
        return False
    return (_SCRIPTS / name).exists() or any((folder / f"{name}.service").exists() for folder in _UNITS)


def _system_command(prefix: Prefix) -> str:
    """Return the path of a ``service`` outside the prefix, empty when there is none."""
    folders = [*os.environ.get("PATH", "").split(os.pathsep), *_USUAL]
    found = (shutil.which(COMMAND, path=folder) for folder in folders if folder)
    return next((path for path in found if path and not _inside(Path(path), prefix)), "")


def _inside(path: Path, prefix: Prefix) -> bool:
    return path.resolve().is_relative_to(prefix.path.resolve())
