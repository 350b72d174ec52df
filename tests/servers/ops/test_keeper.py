"""A supervisord that is killed comes back by itself, with all it ran; one that was stopped stays away."""

from __future__ import annotations

import signal

import pytest
from scratch_host import SERVICES, Host
from servers import eventually

from canopsis.ops import daemon, keeper, processes

KILLED = "supervisord was killed"


def kill(host: Host) -> int:
    """Kill supervisord alone; return which it was."""
    pid = host.supervisord()
    assert processes.end([pid], signal.SIGKILL, 10) == []
    return pid


def back(host: Host, old: int) -> bool:
    """Whether another supervisord runs everything, once."""
    if not daemon.answers(host.prefix) or host.supervisord() == old:
        return False
    pids = host.pids()
    return pids.keys() == SERVICES and all(len(each) == 1 for each in pids.values()) and is_done(host)


def is_done(host: Host) -> bool:
    """Whether whoever brought supervisord back has seen that it is."""
    with (host.prefix.run / "service.lock").open("a") as lock:
        return daemon._try_lock(lock)


@pytest.fixture
def kept(site: Host) -> Host:
    """A host that runs, with its keeper."""
    assert site.command("hypcontrol", "start").returncode == 0
    assert len(site.keepers()) == 1
    return site


def test_a_killed_one_comes_back_again_and_again(kept: Host) -> None:
    keepers = kept.keepers()
    for _ in range(2):
        before, old = kept.pids(), kill(kept)
        # The pause of one that did not live long, and the end of what it left.
        eventually(lambda old=old: back(kept, old), keeper.PAUSE + 90)  # type: ignore[misc]
        assert not {pid for pids in before.values() for pid in pids} & {
            pid for pids in kept.pids().values() for pid in pids
        }
    assert kept.keepers() == keepers
    assert (kept.prefix.log / "keeper.log").read_text().count(KILLED) == 2


def test_one_that_was_stopped_stays_away(kept: Host) -> None:
    assert kept.command("hypcontrol", "stop").returncode == 0
    assert (kept.keepers(), kept.pids()) == ([], {})
    assert KILLED not in (kept.prefix.log / "keeper.log").read_text()


def test_a_stop_after_a_kill_is_a_stop(kept: Host) -> None:
    kill(kept)
    eventually(lambda: KILLED in (kept.prefix.log / "keeper.log").read_text())
    assert kept.command("hypcontrol", "stop").returncode == 0
    assert (kept.keepers(), kept.pids(), daemon.answers(kept.prefix)) == ([], {}, False)


def test_a_start_after_a_kill_has_one_of_everything(kept: Host) -> None:
    keepers, old = kept.keepers(), kill(kept)
    assert kept.command("hypcontrol", "start").returncode == 0
    assert back(kept, old)
    assert kept.keepers() == keepers


def test_a_restart_has_a_keeper_of_its_own(kept: Host) -> None:
    before = kept.keepers()
    assert kept.command("hypcontrol", "restart").returncode == 0
    assert len(kept.keepers()) == 1
    assert kept.keepers() != before


def test_a_killed_keeper_is_there_again_after_the_next_start(kept: Host) -> None:
    before, supervisord = kept.keepers(), kept.supervisord()
    processes.end(before, signal.SIGKILL, 10)
    assert kept.keepers() == []
    assert kept.command("hypcontrol", "start").returncode == 0
    assert len(kept.keepers()) == 1
    assert kept.supervisord() == supervisord
