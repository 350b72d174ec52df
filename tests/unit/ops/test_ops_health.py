"""What is wrong with a site, out of what its programs, its broker and its API say."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

import pytest

from canopsis.core.health import Problem
from canopsis.errors import SiteError
from canopsis.ops import brokerctl, health
from canopsis.ops.health import Report
from canopsis.ops.prefix import Prefix
from canopsis.ops.services import State


def state(program: str, name: str = "RUNNING") -> State:
    return State(program, name, "why", name == "RUNNING", 5)


def of_programs(programs: list[State], wanted: list[str]) -> list[str]:
    return [problem.text() for problem in health.of_programs(programs, wanted)]


def test_all_is_well() -> None:
    programs = [state("mongodb"), state("engine-worker")]
    assert of_programs(programs, ["mongodb", "amqp2engines"]) == []
    report = Report(programs, {})
    assert (report.healthy, report.state, report.exit_code) == (True, "well", 0)


@pytest.mark.parametrize("name", ["STOPPED", "BACKOFF", "FATAL", "ORPHAN"])
def test_a_program_that_does_not_run_tells_what_to_do(name: str) -> None:
    assert of_programs([state("engine-worker", name)], ["amqp2engines"]) == [
        f"engine-worker: is {name} (why); do: service amqp2engines start"
    ]


def test_f7_after_a_reboot_one_command_is_advised() -> None:
    names = ["mongodb", "rabbitmq-server", "engine-cleaner", "engine-worker", "webserver"]
    programs = [State(name, "STOPPED", "supervisord does not run", False) for name in names]
    assert of_programs(programs, ["mongodb", "rabbitmq-server", "amqp2engines", "webserver"]) == [
        f"this host: {', '.join(names)}: STOPPED (supervisord does not run); do: hypcontrol start"
    ]


def test_two_processes_of_one_service_are_started_by_it() -> None:
    programs = [State(name, "FATAL", "", False) for name in ("engine-cleaner", "engine-worker")]
    assert of_programs(programs, ["amqp2engines"]) == [
        f"{name}: is FATAL; do: service amqp2engines start" for name in ("engine-cleaner", "engine-worker")
    ]


def test_several_programs_for_several_reasons() -> None:
    programs = [State("mongodb", "FATAL", "", False), state("webserver", "STOPPED"), state("collectd", "STARTING")]
    assert of_programs(programs, ["mongodb", "webserver", "collectd"]) == [
        "this host: mongodb, webserver: FATAL, STOPPED (why); do: hypcontrol start",
        "collectd: is STARTING (why)",
    ]


def test_a_program_that_is_starting_needs_nothing_but_time() -> None:
    (problem,) = health.of_programs([State("mongodb", "STARTING", "", False)], ["mongodb"])
    assert (problem.severity, problem.text()) == ("starting", "mongodb: is STARTING")


def test_a_program_that_this_host_need_not_run() -> None:
    assert of_programs([state("mongodb", "STOPPED")], []) == []


def test_a_service_without_a_program() -> None:
    assert of_programs([], ["collectd"]) == ["collectd: has no program file; site.yml writes it"]


def test_a6_what_the_api_says_is_said_here() -> None:
    told = [Problem("down", "queue q", "does not exist", "do it"), Problem("starting", "worker:h:1", "starting")]
    assert health.of_site({"problems": [asdict(problem) for problem in told]}) == told
    assert health.of_site({"problems": [{"where": "a", "what": "b", "severity": "odd"}]}) == [
        Problem("degraded", "a", "b")
    ]
    assert health.of_site({}) == []


@pytest.mark.parametrize(("severity", "code"), [("starting", 1), ("degraded", 1), ("down", 3)])
def test_a6_exit_codes(severity: str, code: int) -> None:
    assert Report([], None, [Problem(severity, "a", "b")]).exit_code == code  # type: ignore[arg-type]


def test_a3_messages_that_are_neither_ready_nor_unacknowledged() -> None:
    good = {"name": "fine", "messages": 7, "messages_ready": 4, "messages_unacknowledged": 3}
    stuck = {"name": "Engine_x", "messages": 46, "messages_ready": 0, "messages_unacknowledged": 0}
    busy = {"name": "busy", "messages": "", "messages_ready": 3}
    (problem,) = health.of_stuck([good, stuck, busy])
    assert (problem.severity, problem.where) == ("degraded", "queue Engine_x")
    assert problem.what == "46 messages are neither ready nor unacknowledged: its log only grows"


def test_whose_log_says_more() -> None:
    programs = [state("mongodb", "FATAL"), state("engine-cleaner"), state("engine-worker"), state("engine-worker-2")]
    assert health.programs_in_doubt(programs, None, "h") == ["mongodb"]
    working = {"process": "worker", "host": "h", "alive": True, "state": "running"}
    engines = [
        working | {"n": 1},
        working | {"n": 2, "error": "ValueError: x"},
        working | {"process": "cleaner", "n": 1, "host": "other"},
    ]
    assert health.programs_in_doubt(programs, {"engines": engines}, "h") == [
        "mongodb",
        "engine-cleaner",
        "engine-worker-2",
    ]


def test_facts() -> None:
    report = Report([state("mongodb", "FATAL")], None, [Problem("down", "it", "is broken", "mend it")])
    assert not report.healthy
    assert report.facts() == {
        "healthy": False,
        "state": "down",
        "problems": ["it: is broken; mend it"],
        "details": [{"severity": "down", "where": "it", "what": "is broken", "todo": "mend it"}],
        "programs": [{"program": "mongodb", "state": "FATAL", "description": "why", "ok": False, "pid": 5}],
        "api": None,
    }


class TestBrokerctl:
    def control(self, prefix: Prefix, text: str) -> None:
        path = prefix.path / "bin" / "rabbitmqctl"
        path.parent.mkdir(exist_ok=True)
        path.write_text(f"#!/bin/sh\n{text}\n")
        path.chmod(0o755)

    def test_a_host_without_a_broker_of_ours(self, prefix: Prefix) -> None:
        assert brokerctl.list_queues(prefix) == []

    def test_its_answer(self, prefix: Prefix, tmp_path: Path) -> None:
        answer = [{"name": "q", "messages": 1}, "odd"]
        (tmp_path / "answer").write_text(json.dumps(answer))
        self.control(prefix, f'[ "$2 $3 $4" = "list_queues -p canopsis" ] && cat {tmp_path / "answer"}')
        assert brokerctl.list_queues(prefix) == answer[:1]
        (tmp_path / "answer").write_text('{"error": 1}')
        assert brokerctl.list_queues(prefix) == []

    def test_a_broker_that_does_not_answer(self, prefix: Prefix, monkeypatch: pytest.MonkeyPatch) -> None:
        self.control(prefix, "echo nodedown >&2; exit 69")
        with pytest.raises(SiteError, match="cannot list the queues"):
            brokerctl.list_queues(prefix)
        self.control(prefix, "exec sleep 60")
        monkeypatch.setattr(brokerctl, "_TIMEOUT", 0.1)
        with pytest.raises(SiteError, match=r"within 0\.1 s"):
            brokerctl.list_queues(prefix)
