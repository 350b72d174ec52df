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
VARIABLES = Path("group_vars", "canopsis", "main.yml")
MAKES_ITS_OWN = "local"
"""The sample whose file of secrets holds none: it reads those that the host itself makes."""

_LOGIN = re.compile(r"(?m)^ansible_user: .*$")
PATHS = {
    "roles_path": "roles",
    "library": "plugins/modules",
    "module_utils": "plugins/module_utils",
    "filter_plugins": "plugins/filter",
    "callback_plugins": "plugins/callback",
}


@dataclass(frozen=True, slots=True)
class Laid:
    """What ``init`` did: the files it wrote and those it kept, relative to the folder."""

    wrote: list[str]
    kept: list[str]


def samples(home: Path) -> list[str]:
    """Return the names of the sample inventories."""
    return sorted(path.parent.name for path in (home / "inventories").glob(f"*/{HOSTS}"))


def init(home: Path, folder: Path, sample: str, user: str = "") -> Laid:
    """Lay the sample in ``folder`` unless hosts are there, and (re)write its ``ansible.cfg``.

    ``user`` is who logs in at the hosts; empty leaves what the sample says. Raises InputError for an unknown sample or
    a user that cannot be put in, SiteError when the folder has an ``ansible.cfg`` of somebody else's.
    """
    if sample not in samples(home):
        raise InputError("--inventory", sample, ", ".join(samples(home)))
    if user:
        _check_user(home / "inventories" / sample, folder, user)
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
            if user and name == VARIABLES:
                _put_user(folder / name, user)
            laid.wrote.append(str(name))
        elif (folder / name).exists():
            laid.kept.append(str(name))
    folder.mkdir(parents=True, exist_ok=True)
    before = config.read_text(encoding="utf-8") if config.exists() else (home / CONFIG).read_text(encoding="utf-8")
    config.write_text(configuration(before, home), encoding="utf-8")
    laid.wrote.append(CONFIG)
    return laid


def _check_user(sample: Path, folder: Path, user: str) -> None:
    """Raise InputError unless ``user`` is a name, and ``init`` writes the file that it stands in."""
    if not re.fullmatch(r"[a-z_][a-z0-9_.-]*", user):
        raise InputError("--user", user, "a name of a user: small letters, digits, _ . and -")
    if not _LOGIN.search((sample / VARIABLES).read_text(encoding="utf-8")):
        raise InputError("--user", user, f"no user, with --inventory {sample.name}: it deploys here, without SSH")
    if (folder / HOSTS).exists() or (folder / VARIABLES).exists():
        raise InputError("--user", user, f"a new folder; set ansible_user in {folder / VARIABLES}, which is kept")


def _put_user(path: Path, user: str) -> None:
    path.write_text(_LOGIN.sub(f"ansible_user: {user}", path.read_text(encoding="utf-8")), encoding="utf-8")


def _refuse_colon(home: Path) -> None:
    if ":" in str(home):
        raise SiteError(f"{home}: Ansible cannot take a path with a colon; install Canopsis in another folder")


def logs_in_as(folder: Path) -> str:
    """Return who logs in at the hosts of ``folder`` by SSH, empty where its variables do not say."""
    path = folder / VARIABLES
    found = _LOGIN.search(path.read_text(encoding="utf-8")) if path.is_file() else None
    return found[0].partition(": ")[2] if found else ""


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
