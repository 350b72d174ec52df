"""kill -9 under load: what was killed comes back by itself, nothing is lost and nothing is counted twice."""

from __future__ import annotations

import os
import signal
from collections import Counter

import pytest
from load import RATE, under_load
from local_site import LocalSite, eventually, processes_of

ENGINES = ("engine-cleaner", "engine-sender", "engine-worker")
MARKS = ("libexec/mongod", "beam.smp", "libexec/collectd", "engine run", "gunicorn", "supervisord")
"""What the command line of each kind of process has in it."""


@pytest.mark.parametrize("program", ENGINES)
def test_an_engine_is_killed(site: LocalSite, program: str) -> None:
    with under_load(site) as load:
        for _ in range(2):
            old = site.kill(program)
            site.runs_again(program, old)
            load.more(RATE)
    site.ready()


def test_the_web_server_is_killed(site: LocalSite) -> None:
    old = site.kill("webserver")
    site.runs_again("webserver", old)
    site.ready()


def test_collectd_is_killed(site: LocalSite) -> None:
    old = site.kill("collectd")
    site.runs_again("collectd", old)


def servers(site: LocalSite) -> Counter[str]:
    """Return how many processes of each kind the site has."""
    lines = processes_of(site.prefix.path).values()
    return Counter(mark for line in lines for mark in MARKS if mark in line)


def pid_of_supervisord(site: LocalSite) -> int:
    """Return what the pid file says, 0 while there is none."""
    try:
        return int(site.prefix.pid_file.read_text() or 0)
    except FileNotFoundError:
        return 0


def test_supervisord_is_killed(site: LocalSite) -> None:
    before = servers(site)
    assert before.keys() == set(MARKS)
    with under_load(site) as load:
        old = int(site.prefix.pid_file.read_text())
        os.kill(old, signal.SIGKILL)
        # What the old one left is stopped first, each program in the time that its file gives it.
        eventually(lambda: pid_of_supervisord(site) not in (0, old), 240, "another supervisord")
        for _ in range(2):
            site.good("hypcontrol", "start")
        site.ready()
        load.more(RATE)
    eventually(lambda: servers(site) == before, 60, f"one copy of everything, as before: {before}")
    site.good("hypcontrol", "status")
