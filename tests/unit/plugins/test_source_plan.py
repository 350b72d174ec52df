"""The archive of the sources: the same files, the same bytes; unpacked whole or not at all."""

from __future__ import annotations

import io
import os
import shutil
import tarfile
from pathlib import Path

import pytest
from ansible.module_utils.canopsis_source import MARK, digest, files_of, pack, unpack, unpacked


def checkout(root: Path) -> Path:
    """Make a small checkout."""
    (root / "packages" / "lib").mkdir(parents=True)
    (root / "packages" / "lib" / "a.sh").write_text("a\n")
    (root / "canopsis" / "__pycache__").mkdir(parents=True)
    (root / "canopsis" / "__init__.py").write_text("x = 1\n")
    (root / "canopsis" / "__pycache__" / "y.pyc").write_bytes(b"\0")
    (root / "build-install.sh").write_text("#!/bin/bash\n")
    (root / "build-install.sh").chmod(0o755)
    (root / "secrets.yml").write_text("no part of it\n")
    return root


def test_only_its_parts_are_packed(tmp_path: Path) -> None:
    source = checkout(tmp_path)
    assert list(files_of(source)) == ["build-install.sh", "canopsis/__init__.py", "packages/lib/a.sh"]


def test_the_same_files_give_the_same_bytes(tmp_path: Path) -> None:
    one, two = checkout(tmp_path / "one"), checkout(tmp_path / "two")
    os.utime(two / "build-install.sh", (1, 1))
    (two / "packages" / "lib" / "a.sh").chmod(0o600)
    assert pack(one) == pack(two)


def test_an_installed_wheel_gives_the_bytes_of_its_checkout(tmp_path: Path) -> None:
    source, package = checkout(tmp_path / "one"), tmp_path / "lib" / "canopsis"
    share = package / "deploy" / "share"
    shutil.copytree(source, share)
    (share / "canopsis" / "__init__.py").rename(package / "__init__.py")
    shutil.rmtree(share / "canopsis")
    assert pack(share) == pack(source)


@pytest.mark.parametrize("change", ["content", "name", "mode"])
def test_a_change_gives_other_bytes(tmp_path: Path, change: str) -> None:
    source = checkout(tmp_path)
    before = pack(source)
    if change == "content":
        (source / "canopsis" / "__init__.py").write_text("x = 2\n")
    elif change == "name":
        (source / "canopsis" / "__init__.py").rename(source / "canopsis" / "other.py")
    else:
        (source / "build-install.sh").chmod(0o644)
    assert digest(pack(source)) != digest(before)


def test_unpacking_replaces_what_was_there(tmp_path: Path) -> None:
    source, folder = checkout(tmp_path / "from"), tmp_path / "to"
    folder.mkdir()
    (folder / "stale.py").write_text("old\n")
    content = pack(source)
    assert not unpacked(folder, content)
    unpack(folder, content)
    assert unpacked(folder, content)
    assert not (folder / "stale.py").exists()
    assert (folder / "build-install.sh").stat().st_mode & 0o111
    assert sorted(str(p.relative_to(folder)) for p in folder.rglob("*") if p.is_file()) == [
        MARK,
        "build-install.sh",
        "canopsis/__init__.py",
        "packages/lib/a.sh",
    ]


@pytest.mark.parametrize("name", ["/etc/x", "../x", "a/../../x"])
def test_an_archive_that_leaves_its_folder_is_refused(tmp_path: Path, name: str) -> None:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        archive.addfile(tarfile.TarInfo(name), io.BytesIO(b""))
    with pytest.raises(ValueError, match="is refused"):
        unpack(tmp_path / "to", buffer.getvalue())
    assert not (tmp_path / "to").exists()
