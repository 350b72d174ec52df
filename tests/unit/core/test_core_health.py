"""What is wrong with a site, out of facts."""

from __future__ import annotations

from dataclasses import replace

import pytest

from canopsis.core import health
from canopsis.core.health import Facts, Instance, Letters, Problem, Process, Queue, Server

CHAIN = (Process("cleaner", ("in",)), Process("worker", ("w.00", "w.01"), 2))
CLEANER = Instance("instance:cleaner:h1:1", "cleaner", "h1", 1.0, starts=(500.0,))
WORKER = Instance("instance:worker:h1:1", "worker", "h1", 1.0, partitions=frozenset({0, 1}), starts=(500.0,))
BROKER = Server("rabbitmq-server", ("h1:5672", "h2:5672"))
DATABASE = Server("mongodb", ("h1:27017",))
QUEUES = tuple(Queue(name, 0, 1) for name in ("in", "w.00", "w.01"))
GOOD = Facts((DATABASE, BROKER), (CLEANER, WORKER), CHAIN, QUEUES, (1, 1))


def told(**changes: object) -> list[tuple[str, str, str]]:
    """Return severity, place and what is wrong when some facts are others."""
    found = health.problems(replace(GOOD, **changes))  # type: ignore[arg-type]
    return [(problem.severity, problem.where, problem.what) for problem in found]


def one(**changes: object) -> tuple[str, str, str]:
    (found,) = told(**changes)
    return found


def cleaner(**changes: object) -> Instance:
    return replace(CLEANER, **changes)  # type: ignore[arg-type]


def worker(**changes: object) -> Instance:
    return replace(WORKER, **changes)  # type: ignore[arg-type]


def test_nothing_is_wrong() -> None:
    assert told() == []
    assert health.worst([]) == "well"


def test_the_worst_comes_first_and_names_the_site() -> None:
    found = health.problems(
        replace(GOOD, letters=Letters(99, "x"), servers=(replace(DATABASE, error="timed out"), BROKER))
    )
    assert [problem.severity for problem in found] == ["down", "degraded"]
    assert health.worst(found) == "down"
    assert health.worst(found[1:]) == "degraded"


def test_a_problem_as_a_line() -> None:
    assert Problem("down", "a", "b").text() == "a: b"
    assert Problem("down", "a", "b", "c").text() == "a: b; c"


class TestServers:
    def test_away(self) -> None:
        found = one(servers=(replace(DATABASE, error="timed out"),))
        assert found == ("down", "mongodb (h1:27017)", "does not answer the web server: timed out")

    def test_a6_blocked(self) -> None:
        found = one(servers=(replace(BROKER, blocked="low on memory"),))
        assert found == ("down", "rabbitmq-server (h1:5672, h2:5672)", "takes no messages: low on memory")

    def test_a6_one_of_several_hosts(self) -> None:
        found = one(servers=(replace(BROKER, away={"h2:5672": "refused"}),))
        assert found == ("degraded", "rabbitmq-server on h2:5672", "does not answer: refused")

    @pytest.mark.parametrize(("schema", "severity"), [((0, 1), "down"), ((2, 1), "degraded")])
    def test_a6_a_database_of_another_release(self, schema: tuple[int, int], severity: str) -> None:
        assert one(schema=schema)[:2] == (severity, "the database")


class TestProcesses:
    def test_a6_a_process_that_nobody_runs(self) -> None:
        assert one(instances=(WORKER,)) == ("down", "process cleaner", "no instance of it is alive")

    def test_a6_no_engine_and_no_chain(self) -> None:
        assert one(instances=(), chain=(), queues=()) == ("down", "engines", "no engine process is alive")
        assert told(chain=(), queues=()) == []

    def test_who_cannot_be_asked_is_not_told(self) -> None:
        assert told(instances=None, queues=None) == []

    @pytest.mark.parametrize(("held", "severity"), [(frozenset(), "down"), (frozenset({1}), "degraded")])
    def test_a6_partitions_that_no_one_holds(self, held: frozenset[int], severity: str) -> None:
        free = "0" if held else "0, 1"
        found = one(instances=(CLEANER, worker(partitions=held)))
        assert found == (severity, "process worker", f"no process works on partitions {free}")

    def test_a6_shortly_after_a_start_it_is_starting_and_not_well(self) -> None:
        young = worker(partitions=frozenset(), starts=(7.0,))
        assert one(instances=(CLEANER, young)) == (
            "starting",
            "process worker",
            "no process works on partitions 0, 1 yet",
        )

    def test_a6_a_host_of_three_that_is_away(self) -> None:
        gone = [
            replace(each, id=each.id.replace("h1", "h3"), host="h3", age=age, partitions=frozenset())
            for each, age in ((CLEANER, 40.0), (WORKER, 41.0))
        ]
        severity, where, what = one(instances=(CLEANER, WORKER, *gone))
        assert (severity, where) == ("degraded", "host h3")
        assert what == "cleaner:h3:1, worker:h3:1 said nothing for 40 s, and no goodbye"

    @pytest.mark.parametrize(
        "state", ["waiting for the broker: ACCESS_REFUSED", "waiting for the broker: cannot subscribe"]
    )
    def test_a6_an_instance_that_does_not_work(self, state: str) -> None:
        assert one(instances=(cleaner(state=state), WORKER)) == ("down", "cleaner:h1:1", state)
        second = cleaner(id="instance:cleaner:h2:1", host="h2", state=state)
        assert one(instances=(CLEANER, second, WORKER)) == ("degraded", "cleaner:h2:1", state)

    @pytest.mark.parametrize("state", ["starting cleaner_events", "waiting for the broker: Connection refused"])
    def test_an_instance_that_starts(self, state: str) -> None:
        starting = cleaner(state=state, starts=(2.0,))
        assert one(instances=(starting, WORKER))[0] == "starting"
        assert one(instances=(replace(starting, starts=(60.0,)), WORKER))[0] == "down"

    def test_a1_an_instance_that_keeps_dying(self) -> None:
        dying = cleaner(starts=(290.0, 200.0, 40.0), error="ValueError: year -2")
        assert one(instances=(dying, WORKER)) == (
            "down",
            "cleaner:h1:1",
            "keeps dying: 3 starts in 5 minutes, the last time: ValueError: year -2",
        )
        killed = replace(dying, error="")
        steady = cleaner(id="instance:cleaner:h2:1", host="h2")
        assert one(instances=(killed, steady, WORKER)) == (
            "degraded",
            "cleaner:h1:1",
            "keeps dying: 3 starts in 5 minutes",
        )
        assert told(instances=(cleaner(starts=(400.0, 200.0, 40.0)), WORKER)) == []

    def test_a1_an_instance_that_ended_by_an_error(self) -> None:
        ended = cleaner(ended=True, error="ValueError: x", age=60.0)
        assert told(instances=(ended, WORKER)) == [
            ("down", "process cleaner", "no instance of it is alive"),
            ("down", "cleaner:h1:1", "ended: ValueError: x"),
        ]

    def test_an_instance_of_no_process_of_the_chain(self) -> None:
        other = cleaner(id="instance:old:h1:1", process="old", state="waiting for the database")
        assert one(instances=(CLEANER, WORKER, other))[:2] == ("down", "old:h1:1")

    def test_a_beat_that_fails(self) -> None:
        failing = worker(beats={"alarm": "timed out"})
        assert one(instances=(CLEANER, failing)) == ("degraded", "worker:h1:1", "the beat of alarm fails: timed out")
        assert "the beat" not in str(told(instances=(CLEANER, replace(failing, age=60.0))))


class TestQueues:
    def test_a6_deleted(self) -> None:
        assert one(queues=(Queue("in", None), *QUEUES[1:]))[:2] == ("down", "queue in")
        broker = replace(BROKER, missing=("canopsis.dead",))
        assert one(servers=(DATABASE, broker))[:2] == ("down", "exchange canopsis.dead")

    def test_a6_nobody_reads_it(self) -> None:
        unread = (Queue("in", 3), *QUEUES[1:])
        assert one(queues=unread) == ("down", "queue in", "it has no consumer, 3 messages wait")
        assert one(queues=unread, instances=(cleaner(starts=(3.0,)), WORKER))[0] == "starting"

    def test_a_queue_whose_leader_is_busy_seems_unread(self) -> None:
        assert told(queues=(Queue("in", 0, 0, unread_for=19.0), *QUEUES[1:])) == []
        assert one(queues=(Queue("in", 0, 0, unread_for=21.0), *QUEUES[1:]))[1] == "queue in"

    def test_a_process_that_is_missing_is_told_once(self) -> None:
        assert one(queues=(Queue("in", 3), *QUEUES[1:]), instances=(WORKER,))[1] == "process cleaner"

    def test_a_backlog(self) -> None:
        long = Queue("in", 1000, 1, standing_for=60.0)
        assert one(queues=(long, *QUEUES[1:])) == ("degraded", "queue in", "1000 messages wait, not fewer for 60 s")
        for less in (replace(long, messages=999), replace(long, standing_for=59.0)):
            assert told(queues=(less, *QUEUES[1:])) == []


def test_dead_letters() -> None:
    assert one(letters=Letters(10, "not JSON")) == ("degraded", "dead letters", "10 in 5 minutes, the newest: not JSON")
    assert told(letters=Letters(9, "not JSON")) == []


def test_the_chain_as_it_is_kept() -> None:
    kept = {"cleaner": {"queues": ["in"], "partitions": 0}, "idle": {}}
    assert health.processes(kept) == (Process("cleaner", ("in",)), Process("idle"))


class TestReady:
    """What takes a web server out of a load balancer."""

    def refusals(self, entry: Queue | None = QUEUES[0], idle_for: float = 0.0, **changes: object) -> list[str]:
        servers = (DATABASE, replace(BROKER, **changes))  # type: ignore[arg-type]
        return health.refusals(servers, entry, idle_for, 30.0)

    def test_a6_ready(self) -> None:
        assert self.refusals() == []
        assert self.refusals(None, 99.0) == []
        assert self.refusals(idle_for=30.0) == []

    def test_a6_not_ready(self) -> None:
        assert self.refusals(error="secret") == ["rabbitmq-server away"]
        assert self.refusals(missing=("canopsis.events",)) == ["rabbitmq-server has no exchange canopsis.events"]
        assert self.refusals(blocked="secret") == ["rabbitmq-server takes no messages"]
        assert self.refusals(Queue("in", None)) == ["the queue of new events is missing"]
        assert self.refusals(idle_for=31.0) == ["new events are not read by any process"]
