"""A file that may be encrypted by Ansible Vault: its clear text is in memory only, never in a file."""

from __future__ import annotations

import os
import stat
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from canopsis.deploy.home import Site, ask
from canopsis.errors import SiteError

MAGIC = "$ANSIBLE_VAULT;"
MODE = 0o600


@dataclass(frozen=True, slots=True)
class Vault:
    """How to open a vault: ``options`` are those of Ansible's programs (``--vault-id``, ``--vault-password-file``)."""

    site: Site
    options: Sequence[str] = field(default_factory=tuple)

    def read(self, path: Path) -> str:
        """Return the clear text of ``path``, empty when there is no file. Raises SiteError when it cannot be opened."""
        try:
            text = path.read_text(encoding="utf-8")
        except FileNotFoundError:
            return ""
        except (OSError, UnicodeDecodeError) as error:
            raise SiteError(f"{path} cannot be read: {error}") from error
        if not text.startswith(MAGIC):
            return text
        return ask(self.site, "ansible-vault", ["decrypt", *self.options, "--output", "-", str(path)])

    def write(self, path: Path, clear: str) -> None:
        """Replace ``path``, mode 0600: encrypted when it was, or when it is new and a vault is given.

        Raises SiteError when it cannot be encrypted or written.
        """
        text = self._encrypt(path, clear) if self.closes(path) else clear
        try:
            replace(path, text)
        except OSError as error:
            raise SiteError(f"{path} cannot be written: {error}") from error

    def closes(self, path: Path) -> bool:
        """Whether ``path`` is, or as a new file will be, encrypted."""
        return is_vaulted(path) if path.exists() else bool(self.options)

    def _encrypt(self, path: Path, clear: str) -> str:
        label = label_of(path)
        chosen = ["--encrypt-vault-id", label] if label else []
        return ask(self.site, "ansible-vault", ["encrypt", *self.options, *chosen, "--output", "-"], clear)


def is_vaulted(path: Path) -> bool:
    """Whether a file is encrypted."""
    return path.exists() and path.read_text(encoding="utf-8", errors="replace").startswith(MAGIC)


def label_of(path: Path) -> str:
    """Return the vault id that a file was encrypted with, empty when its header names none."""
    if not is_vaulted(path):
        return ""
    header = path.read_text(encoding="utf-8").splitlines()[0].split(";")
    return header[3] if len(header) > 3 else ""


def is_open(path: Path) -> bool:
    """Whether anybody but its owner may read or write a clear file."""
    return path.exists() and not is_vaulted(path) and bool(stat.S_IMODE(path.stat().st_mode) & ~MODE)


def replace(path: Path, text: str) -> None:
    """Put ``text`` in the place of ``path``, whole or not at all, readable by its owner only."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        Path(name).replace(path)
    except OSError:
        Path(name).unlink(missing_ok=True)
        raise
