"""The sources as one archive that is the same for the same files, and their place on a host."""

from __future__ import annotations

import hashlib
import io
import shutil
import tarfile
from collections.abc import Iterable
from pathlib import Path

PARTS = (
    "build-install.sh",
    "packages",
    "requirements",
    "canopsis",
    "setup.cfg",
    "pyproject.toml",
    "README.md",
    "LICENSE",
)
"""What a host builds its packages from, below the checkout."""

SHARE = ("canopsis", "deploy", "share")
"""Where an installed wheel has all parts but the package, which stands around it."""

MARK = ".archive"


def place_of(part: str, source: Path) -> Path:
    """Return where ``part`` is."""
    if part == SHARE[0] and source.parts[-len(SHARE) :] == SHARE:
        return source.parents[len(SHARE) - 2]
    return source / part


def files_of(source: Path, parts: Iterable[str] = PARTS) -> dict[str, Path]:
    """Return the files of ``parts`` by name, in one order everywhere, without what Python leaves behind."""
    found: dict[str, Path] = {}
    for part in parts:
        place = place_of(part, source)
        for path in [place] if place.is_file() else place.rglob("*"):
            name = Path(part, path.relative_to(place))
            if path.is_file() and "__pycache__" not in name.parts and name.parts[: len(SHARE)] != SHARE:
                found[name.as_posix()] = path
    return dict(sorted(found.items()))


def pack(source: Path) -> bytes:
    """Return the archive, the same of a checkout and of an installed wheel.

    Only names, contents and the right to execute decide its bytes.
    """
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for name, path in files_of(source).items():
            content = path.read_bytes()
            entry = tarfile.TarInfo(name)
            entry.size, entry.mode = len(content), 0o755 if path.stat().st_mode & 0o100 else 0o644
            archive.addfile(entry, io.BytesIO(content))
    return buffer.getvalue()


def digest(content: bytes) -> str:
    """Return the SHA-256 of an archive."""
    return hashlib.sha256(content).hexdigest()


def unpacked(folder: Path, content: bytes) -> bool:
    """Whether ``folder`` was unpacked from this archive."""
    mark = folder / MARK
    return mark.is_file() and mark.read_text().strip() == digest(content)


def unpack(folder: Path, content: bytes) -> None:
    """Put the archive in the place of ``folder``: whole or not at all."""
    new = folder.with_name(folder.name + ".new")
    shutil.rmtree(new, ignore_errors=True)
    with tarfile.open(fileobj=io.BytesIO(content)) as archive:
        for entry in archive.getmembers():
            if entry.name.startswith("/") or ".." in Path(entry.name).parts or not entry.isfile():
                raise ValueError(f"{entry.name} is refused; allowed: plain files below the folder")
            path = new / entry.name
            path.parent.mkdir(parents=True, exist_ok=True)
            member = archive.extractfile(entry)
            path.write_bytes(member.read() if member else b"")
            path.chmod(entry.mode)
    (new / MARK).write_text(digest(content) + "\n")
    shutil.rmtree(folder, ignore_errors=True)
    new.rename(folder)
