"""In at one end, out at the other: HTTP, engines, database, HTTP."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from typing import Any

import pytest
from servers import SHORT_CHAIN, MongoDB, RabbitMQ, eventually, start_engine
from web import Web, write_files

from canopsis.api.broker import AmqpBroker
from canopsis.api.ports import Message
from canopsis.store.client import Store
from canopsis.transport.topology import EVENTS


@pytest.fixture(scope="module")
def rabbitmq(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RabbitMQ]:
    """A broker of its own: the queues of a chain would catch what other tests send."""
    with RabbitMQ(tmp_path_factory.mktemp("chain_broker")).running() as server:
        yield server


@pytest.fixture(scope="module", autouse=True)
def engines(web: Web, rabbitmq: RabbitMQ, mongodb: MongoDB, site_db: Store) -> Iterator[None]:
    """The engine processes of a whole chain, over the servers of the web server."""
    assert site_db.name
    write_files(web.prefix, rabbitmq, mongodb, {"amqp2engines.conf": SHORT_CHAIN})
    running = [start_engine(web.prefix, name) for name in ("cleaner", "worker")]
    try:
        eventually(lambda: is_whole(status(web)))
        yield
    finally:
        for process in running:
            process.terminate()
        codes = [process.wait(60) for process in running]
    assert codes == [0, 0]


def is_whole(found: dict[str, Any]) -> bool:
    """Tell whether both processes work and every partition has a reader."""
    alive = {each["process"] for each in found["engines"] if each["alive"]}
    return alive == {"cleaner", "worker"} and {0, 1} == {each["partition"] for each in found["partitions"]}


def status(web: Web) -> dict[str, Any]:
    [found] = web.get("/api/v1/status").json["data"]
    assert isinstance(found, dict)
    return found


def check(component: str, state: int, **facts: Any) -> dict[str, Any]:
    return {
        "connector": "shell",
        "connector_name": "t",
        "event_type": "check",
        "component": component,
        "resource": "disk",
        "state": state,
        "output": f"state is {state}",
    } | facts


def send(web: Web, *events: dict[str, Any]) -> list[str]:
    answer = web.post("/api/v1/events", list(events))
    assert answer.status == 202, answer.data
    return [each["event_id"] for each in answer.json["data"]]


def alarm_of(web: Web, component: str, show: str = "all") -> dict[str, Any]:
    """Return the only alarm of a component with its steps, or nothing yet."""
    found = web.get(f"/api/v1/alarms?component={component}&show={show}").json["data"]
    assert len(found) <= 1
    return web.get(f"/api/v1/alarms/{found[0]['_id']}").json["data"][0] if found else {}


def once_there(web: Web, path: str) -> Any:
    """Return what a list holds, once it holds anything."""
    eventually(lambda: web.get(f"/api/v1/{path}").json["data"])
    return web.get(f"/api/v1/{path}").json["data"]


@pytest.fixture
def component() -> str:
    """A name that no other test uses."""
    return f"web-{uuid.uuid4().hex[:8]}"


def test_a_check_opens_an_alarm_and_closes_it(web: Web, component: str) -> None:
    send(web, check(component, 2, perf_data="/=95%;80;90"))
    eventually(lambda: alarm_of(web, component))
    alarm = alarm_of(web, component)
    assert (alarm["state"], alarm["status"], alarm["open"], alarm["output"]) == (2, 1, True, "state is 2")
    send(web, check(component, 0))
    eventually(lambda: alarm_of(web, component)["state"] == 0)
    eventually(lambda: not alarm_of(web, component)["open"])
    assert alarm_of(web, component, "resolved")["_id"] == alarm["_id"]
    assert [step["type"] for step in alarm_of(web, component)["steps"]][-1] == "resolve"


def test_what_an_operator_does_is_seen(web: Web, component: str) -> None:
    send(web, check(component, 3))
    eventually(lambda: alarm_of(web, component))
    path = f"/api/v1/alarms/{alarm_of(web, component)['_id']}"
    assert web.post(f"{path}/ack", {"message": "mine"}).status == 202
    eventually(lambda: alarm_of(web, component)["ack"])
    assert alarm_of(web, component)["ack"]["author"] == "some-operator"
    assert web.post(f"{path}/ack").status == 409
    assert web.post(f"{path}/comment", {"message": "ticket 4711"}).status == 202
    assert web.post(f"{path}/ackremove").status == 202
    eventually(lambda: not alarm_of(web, component)["ack"])
    assert web.post(f"{path}/cancel", {"message": "a test"}).status == 202
    eventually(lambda: alarm_of(web, component)["status"] == 4)
    assert web.post(f"{path}/uncancel").status == 202
    eventually(lambda: alarm_of(web, component)["status"] == 1)
    steps = alarm_of(web, component)["steps"]
    kinds = [step["type"] for step in steps]
    assert [kind for kind in kinds if kind in {"ack", "comment", "ackremove", "cancel", "uncancel"}] == [
        "ack",
        "comment",
        "ackremove",
        "cancel",
        "uncancel",
    ]
    assert {step["message"] for step in steps} >= {"mine", "ticket 4711", "a test"}


def test_an_alarm_that_is_snoozed_comes_back(web: Web, component: str) -> None:
    send(web, check(component, 3))
    eventually(lambda: alarm_of(web, component))
    path = f"/api/v1/alarms/{alarm_of(web, component)['_id']}"
    assert web.post(f"{path}/snooze", {"message": "lunch", "duration": 1}).status == 202
    eventually(lambda: alarm_of(web, component).get("snooze"))
    assert web.get(f"/api/v1/alarms?component={component}&snoozed=false").json["data"] == []
    eventually(lambda: not alarm_of(web, component)["snooze"])
    assert [step["type"] for step in alarm_of(web, component)["steps"]][-2:] == ["snooze", "unsnooze"]


def task_of(web: Web, task_id: str) -> dict[str, Any]:
    """Return a task once it is over."""
    path = f"/api/v1/alarms/actions/{task_id}"
    eventually(lambda: not web.get(path).json["data"][0]["pending"])
    (found,) = web.get(path).json["data"]
    assert isinstance(found, dict)
    return found


def test_many_alarms_are_acted_on_and_each_says_what_came_of_it(web: Web, component: str) -> None:
    names = [f"{component}-{number}" for number in range(5)]
    send(web, *[check(name, 2) for name in names])
    eventually(lambda: all(alarm_of(web, name) for name in names))
    asked = {"action": "ack", "filter": {"search": component}, "parameters": {"message": "all of them"}}
    answer = web.post("/api/v1/alarms/actions", asked)
    assert answer.status == 202, answer.data
    task = task_of(web, answer.json["data"][0]["task_id"])
    assert (task["total"], task["applied"], task["failures"]) == (5, 5, [])
    assert {alarm_of(web, name)["ack"]["author"] for name in names} == {"some-operator"}
    ids = [alarm_of(web, name)["_id"] for name in names[:2]]
    again = web.post("/api/v1/alarms/actions", {"action": "ack", "alarm_ids": [*ids, "not there"]}).json["data"][0]
    assert {each["reason"] for each in task_of(web, again["task_id"])["failures"]} == {
        "some-operator acknowledged it already",
        "there is no such alarm",
    }


def test_a_task_that_is_sent_again_counts_once(web: Web, component: str) -> None:
    send(web, check(component, 2))
    eventually(lambda: alarm_of(web, component))
    asked = {"action": "comment", "alarm_ids": [alarm_of(web, component)["_id"]], "parameters": {"message": "once"}}
    for _ in range(2):
        assert web.post("/api/v1/alarms/actions", asked | {"task_id": component}).status == 202
    assert task_of(web, component)["applied"] == 1
    assert [step["type"] for step in alarm_of(web, component)["steps"]].count("comment") == 1


def test_a_task_that_is_sent_again_keeps_the_alarms_that_its_filter_found(web: Web, component: str) -> None:
    send(web, check(component, 2))
    eventually(lambda: alarm_of(web, component))
    asked = {"action": "ack", "filter": {"component": component, "acked": False}, "task_id": component}
    assert web.post("/api/v1/alarms/actions", asked).status == 202
    assert task_of(web, component)["applied"] == 1
    # Acknowledged, it is not among those that the filter finds now.
    assert web.post("/api/v1/alarms/actions", asked).json["data"][0]["total"] == 1
    assert task_of(web, component)["applied"] == 1
    other = web.post("/api/v1/alarms/actions", asked | {"action": "ackremove"})
    assert (other.status, other.json["field"]) == (409, "task_id")


def test_an_action_for_an_alarm_that_ended_does_not_touch_the_next(web: Web, component: str) -> None:
    send(web, check(component, 2))
    eventually(lambda: alarm_of(web, component))
    old = alarm_of(web, component)
    send(web, check(component, 0))
    eventually(lambda: not alarm_of(web, component)["open"])
    late = check(component, 2, event_type="ack", author="ann", alarm_id=old["_id"], event_id=f"{component}.ack")
    send(web, check(component, 2))
    send(web, late)
    path = f"/api/v1/events/{component}.ack"
    eventually(lambda: web.get(path).status == 200)
    assert web.get(path).json["data"][0]["outcome"] == f"alarm {old['_id']} is not open any more"
    open_ones = web.get(f"/api/v1/alarms?component={component}").json["data"]
    assert [alarm["ack"] for alarm in open_ones] == [None]


def test_the_same_id_twice_counts_once(web: Web, component: str) -> None:
    for _ in range(3):
        send(web, check(component, 2, event_id=f"once-{component}"))
    send(web, check(component, 2, event_id=f"last-{component}"))
    listed = f"/api/v1/events?component={component}&sort=received"
    eventually(lambda: len(web.get(listed).json["data"]) == 2)
    assert [each["_id"] for each in web.get(listed).json["data"]] == [f"once-{component}", f"last-{component}"]
    assert len(alarm_of(web, component)["steps"]) <= 2


def test_entities_events_and_metrics_follow(web: Web, component: str) -> None:
    [event_id] = send(web, check(component, 0, perf_data="load=0.5 '/var log'=3MB;5;6"))
    entity = f"resource:{component}/disk"
    # Collections are written side by side: that one is there says nothing of another.
    eventually(lambda: web.get(f"/api/v1/metrics?entity_id={entity}").json["total"] == 2)
    [(_, value)] = once_there(web, f"metrics/{entity}//var%20log")
    assert value == 3.0
    assert [each["_id"] for each in once_there(web, f"entities?component={component}&type=resource")] == [entity]
    [found] = once_there(web, f"events?component={component}")
    assert (found["_id"], found["entity_id"]) == (event_id, entity)


def test_a_dead_letter_is_seen_and_replayed(web: Web, rabbitmq: RabbitMQ, component: str) -> None:
    broker = AmqpBroker(rabbitmq.settings())
    broken = f'{{"connector": "shell", "component": "{component}"'
    broker.publish([Message(EVENTS, "a.b.check.component.c", broken.encode())])
    broker.close()

    def letters() -> list[dict[str, Any]]:
        found = web.get("/api/v1/dead-letters?limit=1000").json["data"]
        whole = [web.get(f"/api/v1/dead-letters/{each['_id']}").json["data"][0] for each in found]
        return [each for each in whole if component in each["body"]]

    eventually(letters)
    [letter] = letters()
    assert letter["engine"] == "cleaner_events"
    assert letter["reason"]
    assert web.call("POST", f"/api/v1/dead-letters/{letter['_id']}/replay").status == 202
    # The same fault again: it counts on the same letter, which is not done with.
    eventually(
        lambda: [(each["count"], each.get("replays"), "replayed" in each) for each in letters()] == [(2, 1, False)]
    )


def test_the_status_shows_the_chain(web: Web) -> None:
    found = status(web)
    assert found["healthy"] is True
    assert {each["process"] for each in found["engines"] if each["alive"]} == {"cleaner", "worker"}
    assert {(each["process"], each["partition"]) for each in found["partitions"]} == {("worker", 0), ("worker", 1)}
    assert {each["name"] for each in found["queues"] if each["exists"]} >= {"Engine_cleaner_events"}


SEND = "/api/v1/sources/generic/house"


def mapper(**fields: Any) -> dict[str, Any]:
    state = {"from": "$.open", "map": {"true": 2, "false": 0}}
    test = {"name": "open", "payload": {"door": "hall", "open": True}, "events": [{"component": "hall", "state": 2}]}
    made = {"component": "$.door", "resource": "door", "state": state}
    return {"id": "door", "pattern": {"door": {"$exists": True}}, "fields": made, "tests": [test]} | fields


def door(web: Web, is_open: bool) -> int:
    """Send the payload of a door; return the status of the answer."""
    return web.post(SEND, {"door": "hall", "open": is_open}).status


def test_a_payload_becomes_an_alarm_by_a_mapper_once_its_tests_hold(web: Web) -> None:
    path = "/api/v1/mappers/door"
    assert door(web, True) == 400
    wrong = mapper(tests=[{"name": "shut", "payload": {"door": "hall", "open": False}, "events": [{"state": 2}]}])
    answer = web.call("PUT", path, "admin", wrong)
    assert (answer.status, answer.json["field"], answer.json["value"]) == (400, "tests[0].events[0].state", "0")
    assert "the test 'shut' wants 2 and found 0" in answer.json["detail"]
    assert web.get(path).status == 404
    made = web.call("PUT", path, "admin", mapper())
    assert (made.status, made.json["data"][0]["tests"][0]["name"]) == (201, "open")
    # A process that looked just before finds it a second later.
    eventually(lambda: door(web, True) == 202)
    eventually(lambda: alarm_of(web, "hall")["state"] == 2)
    alarm = alarm_of(web, "hall")
    assert (alarm["entity_id"], alarm["connector"], alarm["connector_name"]) == (
        "resource:hall/door",
        "generic",
        "house",
    )
    eventually(lambda: door(web, False) == 202)
    eventually(lambda: alarm_of(web, "hall")["state"] == 0)
    eventually(lambda: "not in map" in web.post(SEND, {"door": "hall", "open": "ajar"}).json["detail"])
    eventually(lambda: "ajar" in web.get(path).json["data"][0]["counts"]["failure"]["reason"])
    assert web.get(path).json["data"][0]["counts"]["failed"] >= 1
    tag = web.get(path).headers["ETag"]
    assert web.call("PATCH", path, "admin", {"enabled": False}, headers={"If-Match": tag}).status == 200
    assert web.call("DELETE", path, "admin", headers={"If-Match": tag}).status == 412
    eventually(lambda: door(web, False) == 400)
    assert web.call("DELETE", path, "operator").status == 403
    assert web.call("DELETE", path, "admin").status == 200
