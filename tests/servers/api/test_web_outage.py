"""Broker or database away: 503 in time, nothing claimed, and all well again by itself."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from servers import MongoDB, RabbitMQ, Server, eventually
from web import Answer, Tap, Web

EVENTS = "/api/v1/events"
IN_TIME = 25.0
"""Seconds within which the answer must be there, whatever is away."""


def event(event_id: str) -> dict[str, Any]:
    return {
        "connector": "shell",
        "connector_name": "t",
        "component": "web1",
        "state": 0,
        "event_id": event_id,
    }


def in_time(ask: Callable[[], Answer]) -> Answer:
    begin = time.monotonic()
    answer = ask()
    assert time.monotonic() - begin < IN_TIME
    return answer


def assert_away(answer: Answer, server: str) -> None:
    assert answer.status == 503, answer.data
    assert int(answer.headers["Retry-After"]) > 0
    assert answer.headers["Content-Type"] == "application/problem+json"
    assert answer.json["server"] == server


@pytest.fixture
def broker_away(web: Web, rabbitmq: RabbitMQ, tap: Tap) -> Iterator[RabbitMQ]:
    """The broker, which comes back at the end of the test whatever happens."""
    assert tap.messages() == []
    # A worker that found the broker away answers so for a second more, and the test before may have ended on the other.
    eventually(lambda: {a.status for a in busy(lambda n: web.post(EVENTS, event(f"settle{n}")), 20)} == {202})
    tap.messages()
    # RabbitMQ writes down what was declared within two seconds; a queue killed earlier is forgotten.
    rabbitmq.ctl("eval", "mnesia:sync_log().")
    yield rabbitmq
    if not rabbitmq.pids():
        rabbitmq.start()


@pytest.fixture
def database_away(mongodb: MongoDB) -> Iterator[MongoDB]:
    """The database, which comes back at the end of the test whatever happens."""
    yield mongodb
    if not mongodb.pids():
        mongodb.start()


def busy(ask: Callable[[int], Answer], count: int = 40) -> list[Answer]:
    """Return the answers to many requests at once, each in time."""
    with ThreadPoolExecutor(20) as pool:
        return list(pool.map(lambda number: in_time(lambda: ask(number)), range(count)))


def test_the_broker_is_killed_and_comes_back(web: Web, tap: Tap, broker_away: RabbitMQ) -> None:
    assert web.post(EVENTS, event("before")).status == 202
    assert [each["event_id"] for each in tap.events()] == ["before"]
    broker_away.kill()
    for answer in busy(lambda number: web.post(EVENTS, event(f"lost{number}"))):
        assert_away(answer, "rabbitmq-server")
    ready = in_time(lambda: web.get("/api/v1/readyz", None))
    assert (ready.status, ready.json["servers"]) == (503, ["rabbitmq-server"])
    assert web.get("/api/v1/healthz", None).status == 200
    assert web.get("/api/v1/alarms").status == 200
    [status] = in_time(lambda: web.get("/api/v1/status")).json["data"]
    assert status["healthy"] is False
    broker_away.start()
    eventually(lambda: web.post(EVENTS, event("after")).status == 202)
    # Whoever reads without acknowledging safely gets "before" again; what was answered 503 never comes.
    assert {each["event_id"] for each in tap.events()} - {"before"} == {"after"}
    eventually(lambda: web.get("/api/v1/readyz", None).status == 200)


def test_the_broker_is_restarted_between_two_requests(web: Web, tap: Tap, broker_away: RabbitMQ) -> None:
    for answer in busy(lambda number: web.post(EVENTS, event(f"a{number}"))):
        assert answer.status == 202
    broker_away.kill()
    broker_away.start()
    # One after the other: many that connect anew at once may take longer than the API waits for one.
    for number in range(40):
        assert web.post(EVENTS, event(f"b{number}")).status == 202
    found = {each["event_id"] for each in tap.events()}
    assert {f"b{number}" for number in range(40)} <= found


def test_the_broker_says_nothing(web: Web, tap: Tap, broker_away: RabbitMQ) -> None:
    assert web.post(EVENTS, event("before")).status == 202
    with broker_away.frozen():
        for answer in busy(lambda number: web.post(EVENTS, event(f"silent{number}")), 10):
            assert_away(answer, "rabbitmq-server")
        assert in_time(lambda: web.get("/api/v1/readyz", None)).status == 503
        assert web.get("/api/v1/healthz", None).status == 200
    eventually(lambda: web.post(EVENTS, event("after")).status == 202)
    assert "after" in {each["event_id"] for each in tap.events()}


def test_a4_what_a_frozen_broker_got_has_the_ids_of_the_answers(web: Web, tap: Tap, broker_away: RabbitMQ) -> None:
    unnamed = [{name: value for name, value in event("").items() if name != "event_id"} for _ in range(2)]
    with broker_away.frozen():
        answers = busy(lambda _: web.post(EVENTS, unnamed), 16)
    told: list[str] = []
    for answer in answers:
        assert_away(answer, "rabbitmq-server")
        assert "is not known" in answer.json["detail"]
        assert [(each["index"], each["status"]) for each in answer.json["data"]] == [(0, "unknown"), (1, "unknown")]
        told += [each["event_id"] for each in answer.json["data"]]
    assert len(set(told)) == 32
    eventually(lambda: web.post(EVENTS, event("after")).status == 202)
    found: set[str] = set()

    def came() -> bool:
        found.update(each["event_id"] for each in tap.events())
        return bool(found & set(told))

    # The broker takes what lay in the connections: some of what was not confirmed counts all the same.
    eventually(came)
    assert found - {"after"} <= set(told)
    again = [event(event_id) for event_id in told]
    assert web.post(EVENTS, again).status == 202
    assert {each["event_id"] for each in tap.events()} == set(told)


def test_the_broker_has_no_memory_left(web: Web, tap: Tap, broker_away: RabbitMQ) -> None:
    assert web.post(EVENTS, event("before")).status == 202
    broker_away.ctl("set_vm_memory_high_watermark", "absolute", "1MB")
    try:
        eventually(lambda: in_time(lambda: web.post(EVENTS, event("full"))).status == 503)
        assert_away(in_time(lambda: web.post(EVENTS, event("full"))), "rabbitmq-server")
    finally:
        broker_away.ctl("set_vm_memory_high_watermark", "absolute", "2GB")
    eventually(lambda: web.post(EVENTS, event("after")).status == 202)
    assert "after" in {each["event_id"] for each in tap.events()}


def test_the_database_is_killed_and_comes_back(web: Web, tap: Tap, database_away: MongoDB) -> None:
    assert web.get("/api/v1/alarms").status == 200
    assert web.post(EVENTS, event("before")).status == 202
    database_away.kill()
    for path in ("alarms", "alarms/a1", "events", "entities", "metrics", "metrics/component:a/load", "dead-letters"):
        assert_away(in_time(lambda path=path: web.get(f"/api/v1/{path}")), "mongodb")  # type: ignore[misc]
    for answer in busy(lambda _: web.get("/api/v1/alarms")):
        assert_away(answer, "mongodb")
    assert_away(in_time(lambda: web.post("/api/v1/alarms/a1/ack")), "mongodb")
    assert_away(in_time(lambda: web.get("/api/v1/alarms", "a stranger")), "mongodb")
    login = {"username": "some-reader", "password": "correct horse"}
    assert_away(in_time(lambda: web.post("/api/v1/login", login, None)), "mongodb")
    eventually(lambda: in_time(lambda: web.get("/api/v1/readyz", None)).json["servers"] == ["mongodb"])
    assert web.get("/api/v1/readyz", None).status == 503
    # One of the two processes remembers who asks; the other may never have been asked.
    eventually(lambda: in_time(lambda: web.get("/api/v1/status")).status == 200)
    assert web.get("/api/v1/healthz", None).status == 200
    database_away.start()
    eventually(lambda: web.get("/api/v1/alarms").status == 200)
    eventually(lambda: web.get("/api/v1/readyz", None).status == 200)
    assert [each["event_id"] for each in tap.events()] == ["before"]


def test_a_known_sender_is_not_held_up_by_the_database(web: Web, tap: Tap, database_away: MongoDB) -> None:
    for _ in range(10):
        assert web.post(EVENTS, event("before")).status == 202
    database_away.kill()
    answers = busy(lambda number: web.post(EVENTS, event(f"during{number}")))
    assert [answer.status for answer in answers if answer.status not in (202, 503)] == []
    assert any(answer.status == 202 for answer in answers)
    accepted = {answer.json["data"][0]["event_id"] for answer in answers if answer.status == 202}
    assert accepted <= {each["event_id"] for each in tap.events()}


def test_the_database_says_nothing(web: Web, database_away: MongoDB) -> None:
    eventually(lambda: web.get("/api/v1/alarms").status == 200)
    with database_away.frozen():
        for answer in busy(lambda _: web.get("/api/v1/alarms"), 10):
            assert_away(answer, "mongodb")
        assert web.get("/api/v1/healthz", None).status == 200
    eventually(lambda: web.get("/api/v1/alarms").status == 200)


@pytest.mark.parametrize("name", ["rabbitmq", "mongodb"])
def test_the_web_server_starts_while_a_server_is_away(
    web: Web, broker_away: RabbitMQ, database_away: MongoDB, name: str
) -> None:
    servers: dict[str, Server] = {"rabbitmq": broker_away, "mongodb": database_away}
    server = servers[name]
    web.stop()
    server.kill()
    web.start(broker_away, database_away)
    assert web.get("/api/v1/readyz", None).status == 503
    server.start()
    eventually(lambda: web.get("/api/v1/readyz", None).status == 200)
    eventually(lambda: web.post(EVENTS, event("after")).status == 202)


def test_after_all_that_no_worker_was_lost(web: Web) -> None:
    log = (web.prefix / "web.log").read_text()
    assert log.count("Booting worker") == 2 * log.count("Starting gunicorn")
    assert "Traceback" not in log
