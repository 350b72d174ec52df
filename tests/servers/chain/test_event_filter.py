"""Rules of the event filter over a whole chain: in force within two seconds, counted, and order kept when one moves."""

from __future__ import annotations

import time
from typing import Any

from conftest import Site
from feeding import Alerts, Feed, check
from logged import logged
from servers import eventually
from test_chain import FILTER, GROUPINGS, Grouping
from test_failures import check_everything, load_on
from whole_alarm import steps_of

from canopsis.core.entity import partition_of
from canopsis.engines.chain import default_chain
from canopsis.store import rules
from canopsis.store.rules import Change

PARTITIONS = 4
IN_FORCE_SECONDS = 2.0


def save(site: Site, name: str, kind: str, pattern: Any, **fields: Any) -> None:
    assert rules.put(site.db, Change(FILTER, {"id": name, "type": kind, "pattern": pattern} | fields)) is not None


def counts(site: Site, name: str) -> dict[str, Any]:
    found = rules.get(site.db, FILTER, name)
    assert found is not None
    told: dict[str, Any] = found["counts"]
    return told


def test_a_change_is_in_force_on_all_workers_two_seconds_later(site: Site, feed: Feed) -> None:
    site.configure(default_chain(partitions=PARTITIONS))
    site.start()
    site.chain.add("worker", 2)
    site.await_running(4)
    names = [f"host{number}" for number in range(12)]
    feed.events([check(name, 0, event_id=f"early-{name}") for name in names])
    site.await_count(len(names), connector="test")
    save(site, "all", "drop", {"connector": "test"})
    saved, sent = time.monotonic(), 0
    while time.monotonic() - saved < IN_FORCE_SECONDS:
        sent += 1
        feed.events([check(f"during{sent}", 0)])
    feed.events([check(name, 0, event_id=f"late-{name}") for name in names])
    eventually(lambda: site.counters()["event_filter"]["dropped"] >= len(names))
    assert not [each for each in logged(site.db) if each["_id"].startswith("late")]
    rules.delete(site.db, FILTER, "all")

    def passes() -> bool:
        feed.events([check("again", 0)])
        return site.count(component="again") > 0

    eventually(passes)


def test_what_rules_did_is_counted_with_the_newest_reason(site: Site, feed: Feed) -> None:
    save(site, "drop", "drop", {"component": "noise"}, description="too loud")
    action = {"type": "template", "field": "output", "template": "{{ owner }}"}
    save(site, "fill", "enrich", {"component": "web"}, actions=[action])
    save(site, "bad", "nope", {"component": "web"})
    site.start()
    feed.events([check("noise", 0), check("noise", 2), check("web", 0, owner="ann"), check("web", 2, event_id="w")])
    site.await_count(2, connector="test")
    eventually(lambda: counts(site, "fill")["matched"] == 2 and counts(site, "drop")["dropped"] == 2)
    assert (counts(site, "drop")["matched"], counts(site, "drop")["failed"]) == (2, 0)
    assert counts(site, "fill")["failed"] == 1
    failure = counts(site, "fill")["failure"]
    assert "undefined value" in failure["reason"]
    assert failure["event_id"] == "w"
    assert site.count(component="web", output="ann") == 1


@GROUPINGS
def test_an_event_of_another_entity_takes_its_place_there(
    site: Site, feed: Feed, alerts: Alerts, grouping: Grouping
) -> None:
    site.configure(grouping(default_chain(partitions=PARTITIONS, beat_interval=3600)))
    save(site, "host", "change_entity", {"alias": {"$exists": True}}, component="{{ alias }}")
    site.start()
    targets = [f"to{number}" for number in range(8)]
    assert len({partition_of(f"component:{name}", PARTITIONS) for name in targets}) > 1
    for state in (2, 1, 0):
        feed.events([check("here", state, alias=name, event_id=f"{name}-{state}") for name in targets])
        site.await_count(len(targets), connector="test", state=state)
    assert site.count(component="here") == 0
    for name in targets:
        eventually(lambda name=name: len(alerts.kinds(name)) == 3)  # type: ignore[misc]
        alarm = site.db["alarms"].find_one({"entity_id": f"component:{name}"})
        assert alarm is not None
        assert [step["e"] for step in steps_of(site.db, alarm) if step["type"].startswith("state")] == [
            f"{name}-{state}" for state in (2, 1, 0)
        ]
    assert site.db["entities"].find_one({"_id": "component:here"}) is None

    def balanced() -> bool:
        found = site.counters()
        each = all(tally["in"] == tally["forwarded"] + tally["dropped"] + tally["dead"] for tally in found.values())
        return each and found["event_filter"]["in"] == found["cleaner_events"]["forwarded"] == found["context"]["in"]

    eventually(balanced)


def test_events_that_move_count_once_and_in_order_though_workers_die(site: Site) -> None:
    site.configure(default_chain(partitions=PARTITIONS, beat_interval=3600))
    short = "{{ component|replace('old-', '') }}"
    save(site, "short", "change_entity", {"component": {"$regex": "^old-"}}, component=short)
    site.start()
    with load_on(site, "old-") as load:
        for _ in range(3):
            load.await_turns(10)
            site.chain.processes["worker"].kill()
            load.await_turns(4)
            site.chain.add("worker")
        load.await_turns(10)
        check_everything(site, load)
    assert not [each for each in logged(site.db) if each["component"].startswith("old-")]
