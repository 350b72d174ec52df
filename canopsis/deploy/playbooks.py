"""One verb a playbook: the command line of ansible-playbook, shown before it runs."""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from canopsis.deploy.home import Site, find_program, locale_for


@dataclass(frozen=True, slots=True)
class Playbook:
    """A playbook: ``verb`` is its name, ``about`` the comment that it begins with (Purpose, Usage and so on)."""

    verb: str
    path: Path
    about: str

    @property
    def purpose(self) -> str:
        """The first sentence of its purpose."""
        text = " ".join(line.strip() for line in self.about.splitlines()).removeprefix("Purpose").lstrip()
        return re.split(r"[.:;] |  ", text, maxsplit=1)[0].rstrip(".")


def playbooks(home: Path) -> dict[str, Playbook]:
    """Return the playbooks by verb."""
    found = (Playbook(path.stem, path, about(path)) for path in sorted((home / "playbooks").glob("*.yml")))
    return {playbook.verb: playbook for playbook in found}


def about(path: Path) -> str:
    """Return the comment that a file begins with, after the ``---``."""
    lines: list[str] = []
    for line in path.read_text(encoding="utf-8").splitlines():
        if line.startswith("#"):
            lines.append(line.removeprefix("#").removeprefix(" "))
        elif line != "---":
            break
    return "\n".join(lines)


@dataclass(frozen=True, slots=True)
class Call:
    """A command line and the variables that it needs, so that it can be typed again in any folder."""

    config: Path
    arguments: tuple[str, ...]

    def __str__(self) -> str:
        wanted = {"ANSIBLE_CONFIG": str(self.config), **locale_for(os.environ)}
        return " ".join(
            (*(f"{name}={shlex.quote(value)}" for name, value in wanted.items()), shlex.join(self.arguments))
        )


def call(site: Site, playbook: Playbook, arguments: Sequence[str]) -> Call:
    """Return the call of ``playbook`` with the operator's ``arguments``. Raises SiteError without ansible-playbook."""
    return Call(site.config, (find_program("ansible-playbook"), str(playbook.path), *arguments))
