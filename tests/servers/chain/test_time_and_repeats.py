"""Late checks, repeats, ids of others and alarms that change for years, over real servers."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest
from chain_processes import with_options
from conftest import Site
from feeding import Alerts, Event, Feed, check
from logged import log, logged, made
from servers import eventually
from whole_alarm import steps_of

from canopsis.core.normalise import normalise
from canopsis.core.steps import KEPT
from canopsis.engines.alarm import AlarmEngine, AlarmOptions
from canopsis.engines.eventstore import EventStore
from canopsis.runtime.context import StoreContext
from canopsis.runtime.contract import Batch
from canopsis.runtime.health import Health
from canopsis.runtime.safe import SafeStore
from canopsis.store import alarm_steps, leases, write
from canopsis.store.client import Store

NOW = time.time()


def restart_worker(site: Site) -> None:
    """Kill the worker, start another one, wait until it holds the partitions."""
    site.chain.processes["worker"].kill()
    site.chain.processes["worker"].start()
    worker = site.chain.processes["worker"]

    def holds() -> bool:
        mine = [found for found in leases.instances(site.db, 5.0, "worker") if found["pid"] == worker.pid]
        return [len(found["partitions"]) for found in mine] == [site.chain.settings.partitions]

    eventually(holds, 60)


def alarms_of(site: Site, component: str) -> list[dict[str, Any]]:
    return list(site.db["alarms"].find({"component": component}).sort("created"))


def test_b1_late_checks_do_nothing_after_a_restart_either(site: Site, feed: Feed) -> None:
    site.start()
    # One that is well; one whose alarm was written long before its newest check; one whose alarm is over.
    feed.events([check("well", 0, timestamp=NOW), check("ill", 2, timestamp=NOW - 900)])
    feed.events([check("ill", 2, timestamp=NOW), check("over", 2, timestamp=NOW - 900)])
    feed.events([check("over", 0, timestamp=NOW - 800)])
    site.await_count(5, connector="test")
    site.db["alarms"].update_one({"component": "over"}, {"$set": {"open": False, "resolved": NOW - 700}})
    restart_worker(site)
    late = [check("well", 2, timestamp=NOW - 600), check("ill", 0, timestamp=NOW - 600)]
    feed.events([*late, check("over", 2, timestamp=NOW - 850)], size=3)
    site.await_count(8, connector="test")
    assert alarms_of(site, "well") == []
    assert [(alarm["open"], alarm["state"]) for alarm in alarms_of(site, "ill")] == [(True, 2)]
    assert [alarm["open"] for alarm in alarms_of(site, "over")] == [False]
    assert site.count(late=True) == 3
    feed.events([check("well", 2, timestamp=NOW + 0.001), check("ill", 0, timestamp=NOW + 0.001)])
    eventually(lambda: [alarm["state"] for alarm in alarms_of(site, "ill")] == [0])
    eventually(lambda: [alarm["state"] for alarm in alarms_of(site, "well")] == [2])


def test_b2_an_alarm_stored_in_the_future_hears_the_next_check(site: Site, feed: Feed) -> None:
    site.start()
    feed.events([check("ahead", 2)])
    site.await_count(1, connector="test")
    ahead = time.time() + 3 * 3600
    times = dict.fromkeys(("created", "updated", "last_event"), ahead)
    site.db["alarms"].update_one({"component": "ahead"}, {"$set": times | {"steps.0.t": ahead, "steps.1.t": ahead}})
    log(site.db, [made("ahead", ahead, component="ahead", state=2)], time.time())
    restart_worker(site)
    feed.events([check("ahead", 0)])
    eventually(lambda: [alarm["state"] for alarm in alarms_of(site, "ahead")] == [0])
    (alarm,) = alarms_of(site, "ahead")
    assert max(alarm["updated"], alarm["last_event"], alarm["steps"][-1]["t"]) <= time.time()


@pytest.mark.parametrize("restarts", [False, True])
def test_b3_b4_a_request_sent_again_moves_nothing_and_another_check_counts(
    site: Site, feed: Feed, alerts: Alerts, restarts: bool
) -> None:
    site.start()
    request = [check("web", 2, event_id="a", timestamp=NOW), check("web", 0, event_id="b", timestamp=NOW)]
    feed.events([check("web", 2, event_id="x", timestamp=NOW)])
    feed.events(request, size=2)
    comment = {"event_type": "comment", "output": "hm", "author": "ann", "event_id": "c"}
    feed.events([check("web", 0) | comment])
    eventually(lambda: [len(steps_of(site.db, alarm)) for alarm in alarms_of(site, "web")] == [5])
    if restarts:
        restart_worker(site)
    feed.events(request, size=2)
    feed.events([check("web", 1, event_id="b", timestamp=NOW + 1)])
    eventually(lambda: [alarm["state"] for alarm in alarms_of(site, "web")] == [1])
    (alarm,) = alarms_of(site, "web")
    steps = [(step["type"], step["value"]) for step in steps_of(site.db, alarm) if step["type"].startswith("state")]
    assert steps == [("stateinc", 2), ("statedec", 0), ("stateinc", 1)]
    eventually(lambda: site.count(component="web") == 5)
    [own] = logged(site.db, component="web", state=1)
    assert own["_id"].startswith("b.")
    assert "event_id" in own["warnings"][0]
    assert alarm["steps"][-1]["e"] == own["_id"]
    assert alerts.kinds("web").count("opened") == 1


def test_b9_soft_states_are_stored_and_open_nothing_unless_configured(site: Site, feed: Feed) -> None:
    site.start()
    feed.events([check("soft", 2, state_type=0), check("soft", 0)])
    site.await_count(2, connector="test")
    assert alarms_of(site, "soft") == []
    assert site.count(state_type=0) == 1
    site.chain.stop()
    site.configure(with_options(site.chain.settings, "alarm", soft_states=True))
    site.start()
    feed.events([check("soft", 2, state_type=0)])
    eventually(lambda: len(alarms_of(site, "soft")) == 1)


class TestLongLived:
    """One alarm that changes ten thousand times."""

    CHANGES = 10_000

    @pytest.fixture
    def old(self, site: Site) -> Iterator[dict[str, Any]]:
        """The alarm, changed in batches of all sizes, by workers that come and go."""
        store, engine, begin, turn = (
            SafeStore(site.db, threading.Event(), Health()),
            AlarmEngine(AlarmOptions(), 4),
            0,
            0,
        )
        while begin < self.CHANGES:
            size = (1, 7, 160, 1000)[turn % 4]
            self.change(site.db, store, engine, begin, min(size, self.CHANGES - begin))
            begin, turn = begin + size, turn + 1
            engine = engine if turn % 3 else AlarmEngine(AlarmOptions(), 4)
        store.close()
        (found,) = alarms_of(site, "old")
        yield found

    @staticmethod
    def change(db: Store, store: SafeStore, engine: AlarmEngine, begin: int, count: int) -> None:
        raws: list[Event] = [
            check("old", at % 2 + 1, event_id=f"n{at}", timestamp=NOW - 90_000 + at, output="三" * 4096)
            for at in range(begin, begin + count)
        ]
        ctx = StoreContext(db)
        effects = engine.process(Batch([normalise(raw, NOW) for raw in raws]), ctx)
        writes = effects.write | EventStore().process(Batch(effects.forward), ctx).write
        assert store.write(writes, lambda: None) == []

    def test_b5_its_document_is_small_and_every_step_is_there_once(self, site: Site, old: dict[str, Any]) -> None:
        assert len(old["steps"]) <= KEPT + 1
        (size,) = site.db["alarms"].aggregate([{"$project": {"size": {"$bsonSize": "$$ROOT"}}}])
        assert size["size"] < 400_000
        steps = steps_of(site.db, old)
        assert old["steps"][0]["value"] + len(old["steps"]) - 1 == len(steps) == self.CHANGES + 1
        assert [step["e"] for step in steps[1:]] == [f"n{at}" for at in range(self.CHANGES)]
        assert sum(old["steps"][0]["counts"][name] for name in ("stateinc", "statedec", "statusinc")) == len(
            steps
        ) - len(old["steps"][1:])

    def test_b5_an_alarm_that_grew_too_large_before_is_folded_at_its_next_change(self, site: Site) -> None:
        step = {"type": "stateinc", "t": NOW - 90_000, "author": "a", "message": "三" * 4096, "value": 2}
        engine = AlarmEngine(AlarmOptions(), 4)
        first = engine.process(
            Batch([normalise(check("old", 2, event_id="e", timestamp=NOW - 90_000), NOW)]), StoreContext(site.db)
        )
        write.apply(site.db, first.write)
        site.db["alarms"].update_one({}, {"$set": {"steps": [step | {"e": f"o{at}"} for at in range(1200)]}})
        feed_one = normalise(check("old", 1, event_id="next", timestamp=NOW), NOW)
        write.apply(site.db, AlarmEngine(AlarmOptions(), 4).process(Batch([feed_one]), StoreContext(site.db)).write)
        (found,) = alarms_of(site, "old")
        assert (found["state"], found["steps"][0]["type"], found["steps"][0]["value"]) == (1, "statecounter", 1200)
        parts = site.db[alarm_steps.COLLECTION].find()
        assert [len(part["segments"]) for part in parts] == [10, 2]
        assert {step.e for step in alarm_steps.made_by(site.db, found["older"], {"o1199", "o1099"})} == {
            "o1199",
            "o1099",
        }


def test_b4_the_event_log_gives_other_events_ids_of_their_own(site: Site) -> None:
    raws = [check(name, 0, event_id="id", timestamp=NOW) for name in ("web", "db", "web")]
    for _ in range(2):
        effects = EventStore().process(Batch([normalise(raw, NOW) for raw in raws]), StoreContext(site.db))
        write.apply(site.db, effects.write)
    found = {each["component"]: each for each in logged(site.db)}
    assert site.count() == 2
    assert found["web"]["_id"] == "id"
    assert found["db"]["_id"].startswith("id.")
    assert "event_id" in found["db"]["warnings"][0]
