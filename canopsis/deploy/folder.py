"""``init``: a folder of the operator's own with hosts, variables and an ``ansible.cfg`` that finds the roles."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from canopsis.deploy.home import CONFIG
from canopsis.errors import InputError, SiteError

MARK = "# Made by canopsis-deploy init; it renews the paths and keeps the rest."
HOSTS = "hosts.yml"
SECRETS = Path("group_vars", "canopsis", "secrets.yml")
MAKES_ITS_OWN = "local"
"""The sample whose file of secrets holds none: it reads those that the host itself makes."""

PATHS = {
    "roles_path": "roles",
    "library": "plugins/modules",
    "module_utils": "plugins/module_utils",
    "filter_plugins": "plugins/filter",
}


@dataclass(frozen=True, slots=True)
class Laid:
    """What ``init`` did: the files it wrote and those it kept, relative to the folder."""

    wrote: list[str]
    kept: list[str]


def samples(home: Path) -> list[str]:
    """Return the names of the sample inventories."""
    return sorted(path.parent.name for path in (home / "inventories").glob(f"*/{HOSTS}"))


def init(home: Path, folder: Path, sample: str) -> Laid:
    """Lay the sample in ``folder`` unless hosts are there, and (re)write its ``ansible.cfg``.

    Raises InputError for an unknown sample, SiteError when the folder has an ``ansible.cfg`` of somebody else's.
    """
    if sample not in samples(home):
        raise InputError("--inventory", sample, ", ".join(samples(home)))
    config = folder / CONFIG
    if config.exists() and MARK not in config.read_text(encoding="utf-8"):
        raise SiteError(f"{config} is not of canopsis-deploy: choose an empty folder, or move that file away")
    _refuse_colon(home)
    laid = Laid([], [])
    fresh = not (folder / HOSTS).exists()
    for name, path in _files(home / "inventories" / sample):
        if fresh and not (folder / name).exists():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, folder / name)
            laid.wrote.append(str(name))
        elif (folder / name).exists():
            laid.kept.append(str(name))
    folder.mkdir(parents=True, exist_ok=True)
    before = config.read_text(encoding="utf-8") if config.exists() else (home / CONFIG).read_text(encoding="utf-8")
    config.write_text(configuration(before, home), encoding="utf-8")
    laid.wrote.append(CONFIG)
    return laid


def _refuse_colon(home: Path) -> None:
    if ":" in str(home):
        raise SiteError(f"{home}: Ansible cannot take a path with a colon; install Canopsis in another folder")


def _files(sample: Path) -> Iterator[tuple[Path, Path]]:
    for path in sorted(sample.rglob("*")):
        name = path.relative_to(sample)
        # A checkout may hold secrets that were made in it: they are of another site.
        if path.is_file() and (name != SECRETS or sample.name == MAKES_ITS_OWN):
            yield name, path


def configuration(text: str, home: Path) -> str:
    """Return the ``ansible.cfg`` in ``text`` with the paths of ``home``; everything else in it stays."""
    lines = text.splitlines()
    for key, path in PATHS.items():
        lines = [re.sub(rf"^{key}\s*=.*", lambda _, k=key, p=path: f"{k} = {home / p}", line) for line in lines]  # type: ignore[misc]
    if MARK not in lines:
        lines = [MARK, *(re.sub(r"^inventory\s*=.*", f"inventory = {HOSTS}", line) for line in lines)]
    return "\n".join(lines) + "\n"
