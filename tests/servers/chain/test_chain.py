"""The whole chain over real servers, in every grouping: what goes in comes out, where it belongs."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import pytest
from chain_processes import one_process_each, one_process_for_all, with_options
from conftest import Site
from feeding import Alerts, Feed, check
from logged import logged
from servers import eventually
from whole_alarm import steps_of

from canopsis.core.alarm import Alarm
from canopsis.engines.chain import default_chain
from canopsis.runtime.selfmetrics import METRICS
from canopsis.runtime.settings import ChainSettings
from canopsis.store import alarms, metrics, rules
from canopsis.store.rules import Change
from canopsis.transport.connection import connect
from canopsis.transport.topology import COLLECTD

FILTER = "event-filter"

Grouping = Callable[[ChainSettings], ChainSettings]

GROUPINGS = pytest.mark.parametrize(
    "grouping",
    [lambda chain: chain, one_process_each, one_process_for_all],
    ids=["two hops", "one process an engine", "one process"],
)


def open_alarm(site: Site, component: str) -> Alarm | None:
    return alarms.open_alarms(site.db, [f"component:{component}"]).get(f"component:{component}")


@GROUPINGS
def test_events_become_alarms_entities_metrics_and_alerts(
    site: Site, feed: Feed, alerts: Alerts, grouping: Grouping
) -> None:
    site.configure(grouping(site.chain.settings))
    site.start()
    feed.events([check(f"quiet{number}", 0) for number in range(60)], size=20)
    feed.events([check("web", 0), check("web", 2, output="down", perf_data="time=3s;1;5 size=10B")])
    feed.events([check("web", 1, resource="disk", source_type="resource")])
    site.await_count(63, connector="test")
    opened = open_alarm(site, "web")
    assert opened is not None
    assert (opened.state, opened.status, opened.output) == (2, 1, "down")
    assert [step.type for step in opened.steps] == ["stateinc", "statusinc"]
    eventually(lambda: alerts.kinds("web") == ["opened", "opened"])
    entity = site.db["entities"].find_one({"_id": "resource:web/disk"})
    assert entity is not None
    assert (entity["parents"], entity["connectors"]) == (["component:web"], ["connector:test/chain"])
    measured = metrics.names(site.db, metrics.MetricQuery(entity_id="component:web")).data
    assert {(found["_id"]["m"], found["u"]) for found in measured} == {("time", "s"), ("size", "B")}
    series = metrics.window(site.db, "component:web", "time", 0, 4e9)
    assert series is not None
    assert series.points[-1][1] == 3.0


@GROUPINGS
def test_counters_balance_and_hand_on(site: Site, feed: Feed, grouping: Grouping) -> None:
    # No beats: their own events would keep the counters moving.
    site.configure(grouping(default_chain(partitions=4, beat_interval=3600)))
    rules.put(site.db, Change(FILTER, {"id": "no-noise", "type": "drop", "pattern": {"component": "noise"}}))
    site.start()
    feed.events([check("noise", 2), check("a", 0), check("b", 7), check("c", 1)], size=4)
    feed.send([b"not json"])
    site.await_count(2, connector="test")
    eventually(lambda: site.db["dead_letters"].count_documents({}) == 2)
    order = ["cleaner_events", "event_filter", "context", "alarm", "perfdata", "eventstore"]

    def balanced() -> bool:
        found = site.counters()
        each = all(tally["in"] == tally["forwarded"] + tally["dropped"] + tally["dead"] for tally in found.values())
        hops = all(found[a]["forwarded"] == found[b]["in"] for a, b in pairwise(order))
        told = found["cleaner_events"]["dead"] == 2 and found["event_filter"]["dropped"] == 1
        return each and hops and told

    eventually(balanced)


def test_dead_letters_keep_bytes_reason_and_origin(site: Site, feed: Feed) -> None:
    site.start()
    feed.send([b"\xff\xfe", b"[]", b'{"event_type": "check", "connector": "c"}'], key="some.key")
    feed.events([check("good", 0), check("bad", "abc"), check("good", 0)], size=3)  # type: ignore[arg-type]
    site.await_count(2, connector="test")
    eventually(lambda: site.db["dead_letters"].count_documents({}) == 4)
    letters = {found["body"]: found for found in site.db["dead_letters"].find()}
    assert letters[b"\xff\xfe"]["field"] == "body"
    assert letters[b"\xff\xfe"]["routing_key"] == "some.key"
    assert letters[b"\xff\xfe"]["exchange"] == "canopsis.events"
    assert letters[b"\xff\xfe"]["engine"] == "cleaner_events"
    broken = next(body for body in letters if b'"abc"' in body)
    assert letters[broken]["field"] == "state"
    assert json.loads(broken)["component"] == "bad"
    assert "0" in letters[broken]["reason"]


def test_alarm_ends_resolved_after_its_delay(site: Site, feed: Feed, alerts: Alerts) -> None:
    site.configure(with_options(site.chain.settings, "alarm", resolve_delay=0.5, cancel_resolve_delay=0.5))
    site.start()
    feed.events([check("disk", 2), check("disk", 0)])
    eventually(lambda: site.db["alarms"].count_documents({"component": "disk", "open": False}) == 1)
    found = site.db["alarms"].find_one({"component": "disk"})
    assert found is not None
    steps = [step["type"] for step in steps_of(site.db, found)]
    assert steps == ["stateinc", "statusinc", "statedec", "statusdec", "resolve"]
    eventually(lambda: alerts.kinds("disk") == ["opened", "changed", "resolved"])
    feed.events([check("disk", 1)])
    eventually(lambda: open_alarm(site, "disk") is not None)


def test_engines_tell_their_own_metrics_when_idle(site: Site) -> None:
    site.start()
    for engine in ("cleaner_events", "collectdgw", "alarm", "eventstore"):
        eventually(lambda engine=engine: logged(site.db, resource=f"Engine_{engine}"))
    [*_, found] = logged(site.db, resource="Engine_alarm")
    assert {item["metric"] for item in found["perf_data_array"]} == set(METRICS)


def test_collectd_messages_become_metrics(site: Site, feed: Feed) -> None:
    site.start()
    now = int(time.time())
    lines = [f"PUTVAL h1/cpu-0/cpu-user interval=2.000 {now + at}.000:{1000 + 50 * at}" for at in (-4, -2)]
    feed.send(
        [line.encode() for line in (*lines, f"PUTVAL h1/load/load interval=2.000 {now}.000:0.06:0.05:0.01")],
        COLLECTD,
        "collectd",
    )
    eventually(lambda: logged(site.db, entity_id="resource:h1/load"))
    eventually(lambda: logged(site.db, entity_id="resource:h1/cpu-0"))
    rates = [each["perf_data_array"] for each in logged(site.db, entity_id="resource:h1/cpu-0")]
    assert [item["value"] for items in rates for item in items] == [50.0]
    feed.send([b"PUTVAL broken"], COLLECTD, "collectd")
    eventually(lambda: site.db["dead_letters"].count_documents({"engine": "collectdgw"}) == 1)


def test_what_the_broker_gave_up_is_a_dead_letter(site: Site, feed: Feed) -> None:
    feed.send([b'[{"poison": 1}]'], "", "Engine_event_filter.00")
    link = connect(site.broker.settings(), "refuser")
    channel = link.channel()
    refused: list[int] = []

    def refuse(message: Any) -> None:
        channel.basic_reject(message.delivery_info["delivery_tag"], False)
        refused.append(message.delivery_info["delivery_tag"])

    channel.basic_consume("Engine_event_filter.00", callback=refuse)
    eventually(lambda: link.serve(1.0) and refused)
    link.close()
    site.start()
    eventually(lambda: site.db["dead_letters"].count_documents({"engine": "dead_letters"}) == 1)
    found = site.db["dead_letters"].find_one()
    assert found is not None
    assert found["body"] == b'[{"poison": 1}]'
    assert "Engine_event_filter.00" in found["reason"]
    assert "x-death" in found["headers"]


def test_a_large_array_is_cut_into_several_messages(site: Site, feed: Feed) -> None:
    site.start()
    text = "x" * 4000
    feed.events(
        [check(f"big{number % 3}", 0, long_output=text, event_id=f"big-{number}") for number in range(900)], size=900
    )
    site.await_count(900, connector="test")
