"""``build-install.sh remove`` over the bones of a site: what goes, what stays, and what it leaves alone."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from building import Builder, tree

PORT_BASE = 21440


@pytest.fixture
def fake(checkout: Path, tmp_path: Path) -> Builder:
    """The bones of a site that does not run."""
    prefix = tmp_path / "site"
    for path in (
        "var/lib/mongodb/data",
        "var/lib/source/x",
        "var/log/x",
        "etc/secrets.yml",
        "etc/amqp.conf",
        "etc/packages/ours.whl",
        "opt/x",
        "bin/x",
    ):
        (prefix / path).parent.mkdir(parents=True, exist_ok=True)
        (prefix / path).write_text("")
    (prefix / "var/lib/site.info").write_text(f"port_base {PORT_BASE}\n")
    return Builder(checkout, prefix)


def test_a_site_is_not_deleted_unasked(fake: Builder) -> None:
    """Without a terminal to ask on, ``remove`` wants to be told."""
    before = tree(fake.prefix)
    assert "say --yes, or --keep-data" in fake.fails("remove")
    assert tree(fake.prefix) == before
    fake.do("remove", "--yes")
    assert not fake.prefix.exists()


def test_data_are_kept_when_told(fake: Builder) -> None:
    """``--keep-data`` leaves the databases, what opens them, their ports, and packages of the site's own."""
    fake.do("remove", "--keep-data")
    files = {str(path.relative_to(fake.prefix)) for path in fake.prefix.rglob("*") if path.is_file()}
    assert files == {"var/lib/mongodb/data", "var/lib/site.info", "etc/secrets.yml", "etc/packages/ours.whl"}


class TestMounted:
    """A mount point cannot be deleted: told before anything is, not after half of it."""

    def test_a_disk_inside_the_prefix(self, fake: Builder, tmp_path: Path) -> None:
        disk, before = mounted(fake, tmp_path, "var/lib/mongodb"), tree(fake.prefix)
        told = disk.fails("remove", "--yes")
        assert f"a disk is mounted at {fake.prefix}/var/lib/mongodb: nothing removed" in told
        assert f"umount {fake.prefix}/var/lib/mongodb" in told
        assert tree(fake.prefix) == before

    def test_the_disk_of_the_data_that_are_kept(self, fake: Builder, tmp_path: Path) -> None:
        mounted(fake, tmp_path, "var/lib/mongodb").do("remove", "--keep-data")
        assert not (fake.prefix / "opt").exists()
        assert (fake.prefix / "var/lib/mongodb/data").exists()

    def test_a_disk_of_what_is_not_kept(self, fake: Builder, tmp_path: Path) -> None:
        before = tree(fake.prefix)
        assert "a disk is mounted at" in mounted(fake, tmp_path, "var/log").fails("remove", "--keep-data")
        assert tree(fake.prefix) == before

    def test_a_disk_elsewhere(self, fake: Builder, tmp_path: Path) -> None:
        """Of the prefix itself, and of a neighbour whose name begins like it."""
        mounted(fake, tmp_path, "", "../site-2/var").do("remove", "--yes")
        assert not fake.prefix.exists()


def mounted(fake: Builder, tmp_path: Path, *paths: str) -> Builder:
    """Return ``fake`` on a host whose findmnt tells of disks at ``paths`` of the prefix."""
    tool = tmp_path / "tools/findmnt"
    tool.parent.mkdir()
    targets = "".join(f"{os.path.normpath(fake.prefix / path)}\\n" for path in paths)
    tool.write_text(f"#!/bin/sh\nprintf '/\\n{targets}'\n")
    tool.chmod(0o755)
    return Builder(fake.checkout, fake.prefix, env={"PATH": f"{tool.parent}:{os.environ['PATH']}"})


@pytest.mark.parametrize("words", [("--yes",), ("--keep-data",)], ids=" ".join)
def test_what_makes_the_prefix_a_home_stays(fake: Builder, words: tuple[str, ...]) -> None:
    """The site's user may log in, with its key, and leave a history and Ansible's folder."""
    for path in (".ssh/authorized_keys", ".ansible/tmp/x", ".bash_history"):
        (fake.prefix / path).parent.mkdir(parents=True, exist_ok=True)
        (fake.prefix / path).write_text("mine")
    fake.do("remove", *words)
    assert {path.name for path in fake.prefix.iterdir()} - {"etc", "var"} == {".ssh", ".ansible", ".bash_history"}
    assert not (fake.prefix / "opt").exists()


def test_a_folder_of_something_else_is_left_alone(fake: Builder, tmp_path: Path) -> None:
    """Neither built in nor removed: a home folder, a checkout, a folder that is no site."""
    (fake.prefix / "photos").mkdir()
    before = tree(fake.prefix)
    assert "holds photos" in fake.fails("remove", "--yes", code=2)
    assert "holds photos" in fake.fails(code=2)
    assert tree(fake.prefix) == before
    holder = Builder(fake.checkout, fake.checkout.parent)
    assert "holds this checkout" in holder.fails("remove", "--yes", code=2)
    (tmp_path / "empty").mkdir()
    assert "no site of Canopsis" in Builder(fake.checkout, tmp_path / "empty").fails("remove", "--yes")


def test_the_ports_of_a_site_do_not_move(fake: Builder) -> None:
    """The databases know their address: another base is refused before anything is done."""
    moved = Builder(fake.checkout, fake.prefix, env={"CANOPSIS_PORT_BASE": "21460"})
    assert f"this site has its ports from {PORT_BASE}" in moved.fails(code=2)
