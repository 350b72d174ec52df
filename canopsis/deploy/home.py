"""Where the roles and playbooks are: around this package in a checkout, inside it in an installed wheel."""

from __future__ import annotations

import configparser
import locale
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from canopsis.errors import ConfigError, SiteError

PACKAGE = Path(__file__).resolve().parents[1]
CONFIG = "ansible.cfg"
LOCALES = ("C.UTF-8", "en_US.UTF-8")
UTF8 = re.compile(r"utf-?8", re.IGNORECASE)
GET_ANSIBLE = (
    "get it with: pip install 'canopsis[deploy]' (or, from a checkout: pip install -r requirements/deploy.txt)"
)


def find_home(package: Path = PACKAGE) -> Path:
    """Return the folder with ``roles`` and ``playbooks``. Raises SiteError where there is none."""
    for folder in (package / "deploy" / "share", package.parent):
        if (folder / "playbooks" / "site.yml").is_file() and (folder / "roles").is_dir():
            return folder
    raise SiteError(
        f"{package} carries no roles: it was laid on this host by a deployment. "
        "Deploy from the controller, with the wheel of Canopsis or a checkout"
    )


def find_program(name: str, environ: Mapping[str, str] = os.environ) -> str:
    """Return the path of one of Ansible's programs: beside this Python, else in PATH. Raises SiteError without it."""
    beside = Path(sys.executable).parent / name
    found = str(beside) if beside.is_file() else shutil.which(name, path=environ.get("PATH", ""))
    if not found:
        raise SiteError(f"{name} is not here, neither beside {sys.executable} nor in PATH; {GET_ANSIBLE}")
    return found


def locale_for(environ: Mapping[str, str]) -> dict[str, str]:
    """Return what has to be set so that Ansible, which refuses anything but UTF-8, begins; nothing when it does."""
    named = next((value for name in ("LC_ALL", "LC_CTYPE", "LANG") if (value := environ.get(name))), "")
    if UTF8.search(named) and _is_known(named):
        return {}
    return {"LC_ALL": next(filter(_is_known, LOCALES), LOCALES[0])}


def _is_known(name: str) -> bool:
    """Whether this machine has the locale ``name``."""
    before = locale.setlocale(locale.LC_CTYPE)
    try:
        locale.setlocale(locale.LC_CTYPE, name)
    except locale.Error:
        return False
    locale.setlocale(locale.LC_CTYPE, before)
    return True


@dataclass(frozen=True, slots=True)
class Site:
    """A site's folder on the controller: its ``ansible.cfg`` (absolute) says where everything else is."""

    config: Path

    @classmethod
    def find(cls, folder: Path, environ: Mapping[str, str] = os.environ) -> Site:
        """Return the site that ``ANSIBLE_CONFIG`` names, else the one in ``folder``. Raises ConfigError without one."""
        config = Path(environ.get("ANSIBLE_CONFIG") or folder / CONFIG).absolute()
        if config.is_dir():
            config /= CONFIG
        if not config.is_file():
            raise ConfigError(f"{config}: no such file; make a folder with `canopsis-deploy init DIR`, and cd to it")
        return cls(config)

    def paths(self, key: str) -> list[Path]:
        """Return the paths of ``key`` in section ``[defaults]``, absolute. Raises ConfigError when it is not INI."""
        parser = configparser.ConfigParser(interpolation=None)
        try:
            parser.read_string(self.config.read_text(encoding="utf-8"))
        except (configparser.Error, UnicodeDecodeError) as error:
            raise ConfigError(f"{self.config} cannot be read: {error}") from error
        value = parser.get("defaults", key, fallback="")
        words = value.split("," if key == "inventory" else ":")
        return [self.config.parent / Path(word.strip()).expanduser() for word in words if word.strip()]

    def check(self, home: Path) -> None:
        """Raise ConfigError when the configuration points at roles that are not those in ``home``."""
        roles = self.paths("roles_path")
        if (home / "roles").resolve() not in [path.resolve() for path in roles]:
            shown = ":".join(map(str, roles)) or "nothing"
            raise ConfigError(
                f"{self.config}, [defaults] roles_path: {shown} is not where this Canopsis has them ({home}/roles); "
                f"renew it with `canopsis-deploy init {self.config.parent}`, which keeps hosts and variables"
            )

    def inventory(self) -> Path:
        """Return the inventory that the configuration names. Raises ConfigError when it names none."""
        found = self.paths("inventory")
        if not found:
            raise ConfigError(f"{self.config}, [defaults]: inventory is missing; give --inventory")
        return found[0]

    def environ(self) -> dict[str, str]:
        """Return the environment that Ansible's programs need."""
        return {**os.environ, **locale_for(os.environ), "ANSIBLE_CONFIG": str(self.config)}


def ask(site: Site, name: str, arguments: Sequence[str], text: str | None = None) -> str:
    """Run one of Ansible's programs with ``text`` on its standard input, return what it says.

    Raises SiteError with its own words when it fails.
    """
    environ = {**site.environ(), "ANSIBLE_NOCOLOR": "1", "ANSIBLE_DEPRECATION_WARNINGS": "0"}
    done = subprocess.run(
        [find_program(name), *arguments], input=text, capture_output=True, text=True, env=environ, check=False
    )
    if done.returncode:
        said = (done.stderr.strip() or done.stdout.strip()).replace("\n\n", "\n")
        raise SiteError(f"{name} failed:\n{said}")
    return done.stdout
