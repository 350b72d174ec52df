"""Whoever deploys sees that a long task still runs."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from plugin_loader import load

from canopsis.deploy.folder import configuration
from canopsis.ops.wait import until

ROOT = Path(__file__).resolve().parents[3]
progress = load("callback", "canopsis_progress")


@dataclass(frozen=True)
class Thing:
    """A host or a task of Ansible's."""

    name: str

    def get_name(self) -> str:
        return self.name


@dataclass(frozen=True)
class Result:
    """What came of a task on a host."""

    _host: Thing


class Run:
    """A playbook that runs, with a clock of its own."""

    def __init__(self) -> None:
        self.said: list[str] = []
        self.now = 1000.0
        self.plugin: Any = progress.CallbackModule()
        self.plugin._clock = lambda: self.now
        self.plugin._display = self

    def display(self, line: str) -> None:
        self.said.append(line)

    def begin(self, *hosts: str) -> None:
        self.plugin.v2_playbook_on_task_start(Thing("environment : Install the packages"), False)
        for host in hosts:
            self.plugin.v2_runner_on_start(Thing(host), Thing("same"))


@pytest.fixture
def run() -> Run:
    return Run()


def test_f8_a_long_task_tells_its_time_and_its_hosts(run: Run) -> None:
    run.begin("n2", "n1")
    run.now += 30
    assert run.plugin.line() == "  environment : Install the packages: 30 s, still at it on n1, n2"


def test_f8_hosts_that_are_done_are_left_out(run: Run) -> None:
    run.begin("n1", "n2", "n3", "n4", "n5")
    run.now += 60
    run.plugin.v2_runner_on_ok(Result(Thing("n1")))
    run.plugin.v2_runner_on_failed(Result(Thing("n2")))
    run.plugin.v2_runner_on_unreachable(Result(Thing("n3")))
    run.plugin.v2_runner_on_skipped(Result(Thing("n4")))
    assert run.plugin.line().endswith("60 s, still at it on n5")
    run.plugin.v2_runner_on_ok(Result(Thing("n5")))
    assert run.plugin.line() == ""


def test_f8_many_hosts_are_counted(run: Run) -> None:
    run.begin(*(f"n{number}" for number in range(1, 10)))
    run.now += 60
    assert run.plugin.line().endswith("on n1, n2, n3, n4, n5 and 4 more")


def test_f8_a_task_that_has_just_begun_is_no_news(run: Run) -> None:
    run.begin("n1")
    run.now += 2
    assert run.plugin.line() == ""


def test_f8_it_is_told_while_it_lasts(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress, "EVERY", 0.01)
    before = set(threading.enumerate())
    run.plugin.v2_playbook_on_start(None)
    (thread,) = set(threading.enumerate()) - before
    run.begin("n1")
    run.now += 75
    assert until(lambda: run.said, 20)
    assert run.said[0].endswith("75 s, still at it on n1")
    run.plugin.v2_playbook_on_stats(None)
    thread.join(20)
    assert not thread.is_alive()


def test_f8_ansible_is_told_to_use_it() -> None:
    text = (ROOT / "ansible.cfg").read_text()
    assert "\ncallbacks_enabled = canopsis_progress\n" in text
    assert "\ncallback_plugins = /srv/home/plugins/callback\n" in configuration(text, Path("/srv/home"))
