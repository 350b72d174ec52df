"""The tour of the first command: a real check opens an alarm of this host, brings it to OK, and it is resolved."""

from __future__ import annotations

import json
import socket
import uuid
from collections.abc import Iterator
from typing import Any

import kombu
import pytest
from local_site import LocalSite, eventually

from canopsis.transport.topology import ALERTS

PLUGIN = "/usr/lib/nagios/plugins/check_load"
HOST = socket.gethostname()

_CRITICAL = (PLUGIN, "-w", "0", "-c", "0")
_GENEROUS = (PLUGIN, "-w", "1000", "-c", "1000")
_kombu: Any = kombu  # it has no types


class Subscriber:
    """A program of somebody else's that listens to what becomes of alarms."""

    def __init__(self, channel: Any) -> None:
        exchange = _kombu.Exchange(ALERTS, type="topic", durable=True, passive=True)
        name = f"canopsis.test.{uuid.uuid4().hex[:8]}"
        self._queue = _kombu.Queue(name, exchange, routing_key="#", durable=False, auto_delete=True)(channel)
        self._queue.declare()

    def next(self) -> dict[str, Any] | None:
        """Return the next alert, or None while there is none."""
        message = self._queue.get(no_ack=True)
        return None if message is None else json.loads(bytes(message.body))


@pytest.fixture
def subscriber(site: LocalSite) -> Iterator[Subscriber]:
    with site.broker() as connection:
        yield Subscriber(connection.channel())


def alarms_of(site: LocalSite, resource: str, *options: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = site.good_json("canopsis", "alarms", "--json", "--resource", resource, *options)
    return found


def check(site: LocalSite, resource: str, *plugin: str) -> str:
    done = site.command("canopsis", "check", "--resource", resource, "--", *plugin)
    assert done.err == "", done.err
    return done.out


def alert_about(subscriber: Subscriber, resource: str) -> dict[str, Any]:
    def wanted() -> dict[str, Any] | None:
        while (alert := subscriber.next()) is not None:
            if alert["resource"] == resource:
                return alert
        return None

    found: dict[str, Any] = eventually(wanted, 30, f"an alert about {resource}")
    return found


def test_a_check_opens_an_alarm_closes_it_and_it_is_resolved(steady: LocalSite, subscriber: Subscriber) -> None:
    resource = f"load-{uuid.uuid4().hex[:6]}"
    assert "CRITICAL" in check(steady, resource, *_CRITICAL)
    (alarm,) = eventually(lambda: alarms_of(steady, resource), 30, "the alarm is listed")
    assert (alarm["state"], alarm["status"]) == (2, 1)
    assert "CRITICAL" in alarm["output"]
    alert = alert_about(subscriber, resource)
    assert (alert["kind"], alert["state"], alert["alarm_id"]) == ("opened", 2, alarm["_id"])
    assert "CRITICAL" in steady.good("canopsis", "alarms", "--resource", resource)

    entity = alarm["entity_id"]
    names = eventually(lambda: steady.listed("metrics", entity_id=entity), 30, "the perf data is stored")
    assert {"load1", "load5", "load15"} <= {each["metric"] for each in names}

    assert "OK" in check(steady, resource, *_GENEROUS)
    eventually(lambda: alarms_of(steady, resource, "--show", "resolved"), 60, "the alarm is resolved")
    assert alarms_of(steady, resource) == []
    (alarm,) = alarms_of(steady, resource, "--show", "resolved")
    assert (alarm["state"], alarm["open"]) == (0, False)
    steps = [step["type"] for step in steady.one(f"alarms/{alarm['_id']}")["steps"]]
    assert steps == ["stateinc", "statusinc", "statedec", "statusdec", "resolve"]


def test_an_alarm_is_acknowledged_commented_and_cancelled(steady: LocalSite) -> None:
    resource = f"acked-{uuid.uuid4().hex[:6]}"
    check(steady, resource, *_CRITICAL)
    (alarm,) = eventually(lambda: alarms_of(steady, resource), 30, "the alarm is listed")
    path = f"alarms/{alarm['_id']}"
    for action in ("ack", "comment", "cancel"):
        steady.good("canopsis", "api", "POST", f"/api/v1/{path}/{action}", "--data", '{"message": "on it"}')
    wanted = {"ack", "comment", "cancel"}

    def steps() -> set[str]:
        return {step["type"] for step in steady.one(path)["steps"]}

    eventually(lambda: wanted <= steps(), 30, "the alarm has all three steps")


def test_send_event_takes_flags_json_and_csv(steady: LocalSite) -> None:
    component = f"sent-{uuid.uuid4().hex[:6]}"
    common = {"connector": "test", "connector_name": "sent", "event_type": "check", "component": component, "state": 1}
    flags = [f"--{name.replace('_', '-')}={value}" for name, value in common.items() if name != "event_type"]
    steady.good("send-event", *flags, "--resource=flags", "--output=by flags")
    steady.good("send-event", "-", given=json.dumps([common | {"resource": "json"}]))
    header = ",".join([*common, "resource"])
    steady.good("send-event", "--csv", "-", given=f"{header}\n{','.join(map(str, common.values()))},csv\n")

    def resources() -> set[str]:
        return {each["resource"] for each in steady.listed("events", component=component)}

    eventually(lambda: resources() == {"flags", "json", "csv"}, 30, "all three events are stored")
