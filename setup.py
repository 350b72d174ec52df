"""Builds the wheel. ``setup.cfg`` says what it is; this adds what deploys, in ``canopsis/deploy/share``.

Hosts build their own Canopsis from a part of the sources, without this file: theirs carries no roles, so a changed role
restarts no engine.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py

ROOT = Path(__file__).resolve().parent
SHARE = Path("canopsis", "deploy", "share")
PARTS = (
    "roles",
    "playbooks",
    "plugins",
    "inventories",
    "packages",
    "requirements",
    "site.yml",
    "ansible.cfg",
    "build-install.sh",
    "requirements.yml",
    "setup.cfg",
    "pyproject.toml",
    "README.md",
    "LICENSE",
)


def shared() -> Iterator[Path]:
    """Yield the files, relative to the checkout."""
    for part in PARTS:
        path = ROOT / part
        for found in [path] if path.is_file() else sorted(path.rglob("*")):
            name = found.relative_to(ROOT)
            if found.is_file() and "__pycache__" not in name.parts and not is_secret(name):
                yield name


def is_secret(name: Path) -> bool:
    """Whether a file holds the secrets of a site that was made in this checkout. The local inventory's holds none."""
    return name.parts[0] == "inventories" and name.name == "secrets.yml" and name.parts[1] != "local"


class BuildPy(build_py):
    """Copies the shared files beside the package."""

    def run(self) -> None:
        """Build; an editable install finds the checkout itself."""
        super().run()
        for name in () if self.editable_mode else shared():
            target = Path(self.build_lib, SHARE, name)
            self.mkpath(str(target.parent))
            self.copy_file(str(ROOT / name), str(target))

    def get_outputs(self, include_bytecode: bool = True) -> list[str]:
        """Return what was built."""
        return [*super().get_outputs(include_bytecode), *(str(Path(self.build_lib, SHARE, name)) for name in shared())]

    def get_source_files(self) -> list[str]:
        """Return what an archive of the sources must hold."""
        return [*super().get_source_files(), *map(str, shared())]


setup(cmdclass={"build_py": BuildPy})
