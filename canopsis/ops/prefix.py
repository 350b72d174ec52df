"""The prefix: the one folder a site lives in, and where everything in it stands."""

from __future__ import annotations

import os
import pwd
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from canopsis.errors import SiteError

VARIABLE = "CANOPSIS_PREFIX"


@dataclass(frozen=True, slots=True)
class Prefix:
    """A site on this host. ``path`` is absolute."""

    path: Path

    @classmethod
    def find(cls, environ: Mapping[str, str] = os.environ) -> Prefix:
        """Return the prefix named by ``CANOPSIS_PREFIX`` (the commands in its ``bin/`` set it).

        Raises SiteError when the variable is missing or names no folder.
        """
        name = environ.get(VARIABLE, "")
        if not name:
            raise SiteError(f"{VARIABLE} is not set: run the command from the bin/ folder of the site")
        path = Path(name).absolute()
        if not path.is_dir():
            raise SiteError(f"{VARIABLE}={name}: no such folder; build the site with ./build-install.sh")
        return cls(path)

    def etc(self, name: str) -> Path:
        """Return the path of the configuration file ``name``."""
        return self.path / "etc" / name

    def shown(self, path: Path) -> str:
        """Return ``path`` as an operator reads it: relative when it is inside the prefix."""
        return str(path.relative_to(self.path)) if path.is_relative_to(self.path) else str(path)

    @property
    def supervisord_conf(self) -> Path:
        """The configuration of supervisord."""
        return self.path / "supervisord.conf"

    @property
    def run(self) -> Path:
        """Where pid files, sockets and locks are."""
        return self.path / "var" / "run"

    @property
    def socket(self) -> Path:
        """The unix socket of supervisord."""
        return self.run / "supervisor.sock"

    @property
    def pid_file(self) -> Path:
        """The pid file of supervisord."""
        return self.run / "supervisord.pid"

    @property
    def log(self) -> Path:
        """Where log files are."""
        return self.path / "var" / "log"

    @property
    def owner(self) -> int:
        """The user id of whoever owns the site."""
        return self.path.stat().st_uid


def become_owner(prefix: Prefix) -> None:
    """Run on as the owner of ``prefix``: root gives its rights up for good.

    Nothing of a site runs as root unless root owns it. Raises SiteError for any other user.
    """
    owner, me = prefix.owner, os.geteuid()
    if me == owner:
        return
    name = user_name(owner)
    if me != 0:
        who = " or ".join(dict.fromkeys((name, "root")))
        raise SiteError(f"{prefix.path} belongs to {name}: run this as {who}, not as {user_name(me)}")
    drop_to(owner)


def drop_to(uid: int) -> None:
    """Become user ``uid`` with its groups and home. Raises SiteError when it has no account."""
    try:
        found = pwd.getpwuid(uid)
    except KeyError:
        raise SiteError(f"user id {uid} has no account on this host: give the prefix to a user with chown -R") from None
    os.initgroups(found.pw_name, found.pw_gid)
    os.setgid(found.pw_gid)
    os.setuid(uid)
    os.environ.update(HOME=found.pw_dir, USER=found.pw_name, LOGNAME=found.pw_name)


def account(uid: int, prefix: Prefix) -> dict[str, str]:
    """Return the variables that name user ``uid`` and its home; of one without an account the home is the prefix."""
    try:
        found = pwd.getpwuid(uid)
    except KeyError:
        return {"HOME": str(prefix.path)}
    return {"HOME": found.pw_dir, "USER": found.pw_name, "LOGNAME": found.pw_name}


def user_name(uid: int) -> str:
    """Return the name of user ``uid``, or ``user id N`` when it has none."""
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return f"user id {uid}"
