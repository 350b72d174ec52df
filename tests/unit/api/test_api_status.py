"""What ``/status`` names and when ``/readyz`` is 503, over handed-in servers."""

from __future__ import annotations

from typing import Any

from api_fakes import Api

from canopsis.api import readiness
from canopsis.api.ports import Depth
from canopsis.core.health import Process, Queue
from canopsis.errors import StoreError, TransportError
from canopsis.store import leases

LIVING: dict[str, Any] = {"_id": "instance:worker:h1:1", "process": "worker", "host": "h1", "age": 2.0}
CHAIN = (Process("cleaner", ("Engine_cleaner_events",)), Process("worker", ("Engine_alarm.00",), 1))
WORKING = [
    LIVING | {"_id": "instance:cleaner:h1:1", "process": "cleaner", "partitions": [], "state": "running"},
    LIVING | {"partitions": [0], "state": "running", "starts": [90.0]},
]


def working(**settings: Any) -> Api:
    """Return an application over a site in which all is well."""
    api = Api(**{"chain": CHAIN} | settings)
    api.database.living = [dict(each) for each in WORKING]
    api.broker.waiting = {"Engine_cleaner_events": 0, "Engine_alarm.00": 0}
    return api


def told(api: Api) -> list[tuple[str, str]]:
    """Return the severity and the place of everything that is wrong, and check that the whole agrees."""
    [found] = api.get("/api/v1/status", "reader").json["data"]
    assert found["healthy"] is not bool(found["problems"])
    assert all(problem["what"] for problem in found["problems"])
    return [(problem["severity"], problem["where"]) for problem in found["problems"]]


class TestStatus:
    """What ``/status`` names."""

    def test_a6_all_is_well_only_when_it_is(self) -> None:
        api = working()
        assert told(api) == []
        assert api.get("/api/v1/status").json["data"][0]["state"] == "well"
        assert api.get("/api/v1/readyz", None).status_code == 200

    def test_a6_blocked_publishers_are_told_and_take_the_web_server_out(self) -> None:
        api = working()
        api.broker.blocked = "low on disk"
        assert told(api) == [("down", "rabbitmq-server (127.0.0.1:1)")]
        answer = api.get("/api/v1/readyz", None)
        assert (answer.status_code, answer.json["servers"]) == (503, ["rabbitmq-server"])
        assert answer.json["reasons"] == ["rabbitmq-server takes no messages"]
        assert "low on disk" not in answer.text

    def test_a6_a_deleted_queue_and_exchange(self) -> None:
        api = working()
        del api.broker.waiting["Engine_cleaner_events"]
        api.broker.missing = ("canopsis.dead",)
        assert told(api) == [("down", "exchange canopsis.dead"), ("down", "queue Engine_cleaner_events")]
        assert api.get("/api/v1/readyz", None).json["reasons"] == ["the queue of new events is missing"]

    def test_a6_a_broker_of_several_and_a_migration_that_is_missing(self) -> None:
        api = working()
        api.broker.silent = {"h2:5672": "Connection refused"}
        api.database.version = 0
        assert told(api) == [("down", "the database"), ("degraded", "rabbitmq-server on h2:5672")]
        assert api.get("/api/v1/readyz", None).status_code == 200

    def test_a6_the_chain_of_a_host_without_its_file_is_that_which_the_engines_noted(self) -> None:
        api = working(chain=())
        assert told(api) == []
        api.database.noted = {"cleaner": {"queues": ["Engine_x"], "partitions": 0}}
        assert told(api) == [("down", "queue Engine_x")]

    def test_a6_an_instance_of_another_host_that_said_no_goodbye(self) -> None:
        api = working()
        api.database.living.append(WORKING[1] | {"_id": "instance:worker:h2:1", "host": "h2", "age": 11.0})
        assert told(api) == [("degraded", "host h2")]
        assert api.get("/api/v1/readyz", None).status_code == 200

    def test_a1_a_process_that_keeps_dying(self) -> None:
        api = working()
        api.database.living[0] |= {"starts": [200.0, 100.0, 5.0], "error": "ValueError: year -2"}
        [found] = api.get("/api/v1/status", "reader").json["data"]
        [problem] = found["problems"]
        assert (problem["severity"], problem["where"]) == ("down", "cleaner:h1:1")
        assert problem["what"] == "keeps dying: 3 starts in 5 minutes, the last time: ValueError: year -2"

    def test_dead_letters_that_grow(self) -> None:
        api = working()
        api.database.letters = (10, "not JSON")
        assert told(api) == [("degraded", "dead letters")]

    def test_a_broker_that_goes_between_two_questions(self) -> None:
        api = working()
        api.broker.look = api.broker.depth = _gone  # type: ignore[method-assign, assignment]
        assert told(api) == [("down", "rabbitmq-server (127.0.0.1:1)")]
        assert api.get("/api/v1/readyz", None).json["reasons"] == ["a server goes away just now"]

    def test_a_database_that_goes_between_two_questions(self) -> None:
        api = working()
        api.database.answers[leases.all_instances] = _away
        assert told(api) == [("down", "mongodb (127.0.0.1:2)")]

    def test_a6_not_ready_when_nobody_reads_new_events_for_longer_than_a_restart_takes(self) -> None:
        clock = [0.0]
        api = working()
        ready = readiness.Readiness(api.app.extensions["canopsis"].backend, CHAIN, lambda: clock[0])
        api.database.living = []
        assert ready.refusals() == []
        clock[0] = readiness.GRACE + 1
        assert ready.refusals() == ["new events are not read by any process"]
        api.database.living = [dict(each) for each in WORKING]
        assert ready.refusals() == ["new events are not read by any process"], "an answer is kept for a second"
        clock[0] += 2
        assert ready.refusals() == []

    def test_what_only_time_shows_of_a_queue(self) -> None:
        watch = readiness.Watch()
        assert watch.see("q", Depth(5, 0), 0.0) == Queue("q", 5, 0, 0.0, 0.0)
        assert watch.see("q", Depth(6, 0), 7.0) == Queue("q", 6, 0, 7.0, 7.0)
        assert watch.see("q", Depth(4, 1), 9.0) == Queue("q", 4, 1, 0.0, 0.0)
        assert watch.see("q", Depth(4, 0), 10.0) == Queue("q", 4, 0, 0.0, 1.0)
        assert watch.see("q", None, 11.0) == Queue("q", None)
        assert watch.see("q", Depth(0, 1), 12.0) == Queue("q", 0, 1, 0.0, 0.0)


def _away() -> Any:
    raise StoreError("away")


def _gone(*_asked: object) -> Any:
    raise TransportError("gone")
