"""What is wrong with a site, out of what its programs and its API say."""

from __future__ import annotations

from typing import Any

import pytest

from canopsis.ops import health
from canopsis.ops.health import Report
from canopsis.ops.services import State


def state(program: str, name: str = "RUNNING") -> State:
    return State(program, name, "why", name == "RUNNING", 5)


SERVER = {"name": "mongodb", "hosts": ["a:1"], "version": "6", "reachable": True, "error": ""}
ENGINE = {"_id": "instance:worker:h:1", "process": "worker", "alive": True, "age": 1.0, "partitions": [0, 1]}
GOOD: dict[str, Any] = {
    "servers": [SERVER],
    "engines": [ENGINE],
    "partitions": [{"process": "worker", "partition": 0}, {"process": "worker", "partition": 1}],
    "queues": [{"name": "Engine_alarm.00", "messages": 3, "exists": True}],
}


def site(**changes: object) -> list[str]:
    return list(health.of_site(GOOD | changes, ["worker"], 2))


def test_all_is_well() -> None:
    programs = [state("mongodb"), state("engine-worker")]
    assert list(health.of_programs(programs, ["mongodb", "amqp2engines"])) == []
    assert site() == []
    assert Report(programs, GOOD).healthy


@pytest.mark.parametrize("name", ["STOPPED", "BACKOFF", "FATAL", "ORPHAN"])
def test_a_program_that_does_not_run_tells_what_to_do(name: str) -> None:
    assert list(health.of_programs([state("engine-worker", name)], ["amqp2engines"])) == [
        f"engine-worker is {name} (why); do: service amqp2engines start"
    ]


def test_a_program_that_is_starting_needs_nothing_but_time() -> None:
    starting = State("mongodb", "STARTING", "", False)
    assert list(health.of_programs([starting], ["mongodb"])) == ["mongodb is STARTING"]


def test_a_program_that_this_host_need_not_run() -> None:
    assert list(health.of_programs([state("mongodb", "STOPPED")], [])) == []


def test_a_service_without_a_program() -> None:
    assert list(health.of_programs([], ["collectd"])) == ["collectd has no program file; site.yml writes it"]


def test_a_server_that_is_away() -> None:
    assert site(servers=[SERVER | {"reachable": False, "error": "timed out"}]) == [
        "mongodb (a:1) does not answer the web server: timed out"
    ]


def test_no_engine_process() -> None:
    assert site(engines=[], partitions=[]) == [
        "no engine process worker is alive; see var/log/engines/ and: service amqp2engines status"
    ]


def test_an_engine_process_that_is_silent() -> None:
    silent = ENGINE | {"_id": "instance:worker:h:2", "alive": False, "age": 61.4}
    assert site(engines=[ENGINE, silent]) == ["instance:worker:h:2 has said nothing for 61 s"]


def test_partitions_without_a_worker() -> None:
    assert site(partitions=[{"process": "worker", "partition": 1}]) == ["nobody works on partitions 0 of worker"]


def test_a_queue_that_is_not_there() -> None:
    (text,) = site(queues=[{"name": "Engine_alarm.00", "messages": None, "exists": False}])
    assert text.startswith("queue Engine_alarm.00 does not exist")


def test_an_answer_without_its_parts() -> None:
    assert list(health.of_site({}, [], 8)) == []


def test_facts() -> None:
    report = Report([state("mongodb", "FATAL")], None, ["it is broken"])
    assert not report.healthy
    assert report.facts() == {
        "healthy": False,
        "problems": ["it is broken"],
        "programs": [{"program": "mongodb", "state": "FATAL", "description": "why", "ok": False, "pid": 5}],
        "api": None,
    }
