"""Where a site lives, whose it is, and waiting for it."""

from __future__ import annotations

import os
import pwd
import threading
from pathlib import Path

import pytest

from canopsis.errors import SiteError
from canopsis.ops import prefix as module
from canopsis.ops.prefix import Prefix, become_owner, drop_to, user_name
from canopsis.ops.wait import until


def test_find(tmp_path: Path) -> None:
    assert Prefix.find({"CANOPSIS_PREFIX": str(tmp_path)}) == Prefix(tmp_path)


def test_find_makes_the_path_absolute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert Prefix.find({"CANOPSIS_PREFIX": "."}).path == tmp_path


@pytest.mark.parametrize("environ", [{}, {"CANOPSIS_PREFIX": ""}])
def test_without_the_variable(environ: dict[str, str]) -> None:
    with pytest.raises(SiteError, match=r"CANOPSIS_PREFIX is not set: run the command from the bin/ folder"):
        Prefix.find(environ)


def test_a_folder_that_is_not_there() -> None:
    with pytest.raises(SiteError, match=r"CANOPSIS_PREFIX=/nowhere: no such folder; build the site"):
        Prefix.find({"CANOPSIS_PREFIX": "/nowhere"})


def test_places(tmp_path: Path) -> None:
    prefix = Prefix(tmp_path)
    places = (prefix.supervisord_conf, prefix.socket, prefix.pid_file, prefix.log, prefix.etc("amqp.conf"))
    assert [prefix.shown(path) for path in places] == [
        "supervisord.conf",
        "var/run/supervisor.sock",
        "var/run/supervisord.pid",
        "var/log",
        "etc/amqp.conf",
    ]
    assert prefix.shown(Path("/etc/hosts")) == "/etc/hosts"
    assert prefix.owner == os.geteuid()


def test_the_owner_stays_the_owner(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "drop_to", lambda _uid: pytest.fail("nothing is to be dropped"))
    become_owner(Prefix(tmp_path))


def as_user(monkeypatch: pytest.MonkeyPatch, uid: int, owner: int) -> list[int]:
    dropped: list[int] = []
    monkeypatch.setattr(module.os, "geteuid", lambda: uid)
    monkeypatch.setattr(Prefix, "owner", owner)
    monkeypatch.setattr(module, "drop_to", dropped.append)
    return dropped


def test_root_becomes_the_owner(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    dropped = as_user(monkeypatch, 0, 4242)
    become_owner(Prefix(tmp_path))
    assert dropped == [4242]


def test_root_stays_root_only_for_a_site_of_root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    dropped = as_user(monkeypatch, 0, 0)
    become_owner(Prefix(tmp_path))
    assert dropped == []


@pytest.mark.parametrize(
    ("owner", "who"), [(0, "belongs to root: run this as root, not as"), (987654, "run this as user id 987654 or root")]
)
def test_anybody_else_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, owner: int, who: str) -> None:
    as_user(monkeypatch, 4242, owner)
    with pytest.raises(SiteError, match=who):
        become_owner(Prefix(tmp_path))


def test_dropping_takes_groups_user_and_home(monkeypatch: pytest.MonkeyPatch) -> None:
    account = pwd.getpwnam("nobody")
    calls: list[tuple[object, ...]] = []
    for name in ("initgroups", "setgid", "setuid"):
        monkeypatch.setattr(module.os, name, lambda *args, name=name: calls.append((name, *args)))
    environ = {"HOME": "/root", "USER": "root", "PATH": "/bin"}
    monkeypatch.setattr(module.os, "environ", environ)
    drop_to(account.pw_uid)
    assert calls == [("initgroups", "nobody", account.pw_gid), ("setgid", account.pw_gid), ("setuid", account.pw_uid)]
    assert environ == {"HOME": account.pw_dir, "USER": "nobody", "LOGNAME": "nobody", "PATH": "/bin"}


def test_an_owner_without_an_account() -> None:
    with pytest.raises(SiteError, match=r"user id 987654 has no account on this host: .*chown"):
        drop_to(987654)
    assert user_name(987654) == "user id 987654"
    assert user_name(0) == "root"


class TestUntil:
    def test_at_once(self) -> None:
        assert until(lambda: "yes", 0) == "yes"

    def test_after_some_tries(self) -> None:
        answers = iter([0, 0, 0, 7])
        assert until(lambda: next(answers), 10) == 7

    def test_the_last_answer_when_time_is_over(self) -> None:
        assert until(lambda: 0, 0.05) == 0

    def test_it_looks_once_more_at_the_end(self) -> None:
        looked: list[int] = []
        until(lambda: looked.append(1), 0)
        assert looked == [1]

    def test_a_set_event_ends_it(self) -> None:
        stop = threading.Event()
        stop.set()
        assert until(lambda: False, 60, stop=stop) is False

    def test_progress_is_told(self) -> None:
        ticks: list[float] = []
        until(lambda: len(ticks) > 3, 10, tick=ticks.append)
        assert len(ticks) == 4
        assert ticks == sorted(ticks)
