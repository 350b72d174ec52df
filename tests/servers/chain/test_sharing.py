"""Leases, beats, reads and compaction over real servers: what instances agree on."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator

import pytest
from conftest import Site
from feeding import Feed, check
from servers import eventually
from whole_alarm import steps_of

from canopsis.core.normalise import normalise
from canopsis.engines.alarm import AlarmEngine, AlarmOptions
from canopsis.runtime import sharing
from canopsis.runtime.beat import Beating, Beats, Publishing
from canopsis.runtime.context import StoreContext
from canopsis.runtime.contract import Batch, Context, Effects
from canopsis.runtime.counters import Counters
from canopsis.runtime.sharing import Instance, Lease
from canopsis.store import alarms, leases, write

NOW = time.time()


def lease(site: Site, number: int, host: str = "host1") -> Lease:
    return Lease(site.db, Instance("worker", host, number), 8, lambda: {"pid": number, "partitions": []})


class TestLeases:
    def test_instances_share_by_what_they_see(self, site: Site) -> None:
        both = lease(site, 1), lease(site, 2)
        for _ in range(2):
            for one in both:
                one.announce()
        assert both[0].wanted | both[1].wanted == frozenset(range(8))
        assert both[0].wanted & both[1].wanted == frozenset()

    def test_instances_of_other_processes_do_not_count(self, site: Site) -> None:
        other = Lease(site.db, Instance("cleaner", "host1", 1), 8, dict)
        other.announce()
        mine = lease(site, 1)
        mine.announce()
        assert mine.wanted == frozenset(range(8))

    def test_the_same_number_on_another_host_is_another_instance(self, site: Site) -> None:
        both = lease(site, 1, "host1"), lease(site, 1, "host2")
        for _ in range(2):
            for one in both:
                one.announce()
        assert len(both[0].wanted) == len(both[1].wanted) == 4

    def test_a_dead_instance_is_taken_over_when_its_time_is_over(
        self, site: Site, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        lease(site, 2).announce()
        mine = lease(site, 1)
        mine.announce()
        assert len(mine.wanted) == 4
        monkeypatch.setattr(sharing, "LIFE_SECONDS", 1.0)
        eventually(lambda: mine.announce() is None and len(mine.wanted) == 8)

    def test_an_instance_that_withdraws_is_taken_over_at_once(self, site: Site) -> None:
        going, staying = lease(site, 2), lease(site, 1)
        for one in (going, staying):
            one.announce()
        going.end()
        staying.announce()
        assert staying.wanted == frozenset(range(8))
        assert [found["pid"] for found in leases.all_instances(site.db)] == [1]

    def test_a_restarted_instance_gets_what_it_had(self, site: Site) -> None:
        for number in (1, 2):
            lease(site, number).announce()
        before, again = lease(site, 1), lease(site, 1)
        before.announce()
        again.announce()
        assert again.wanted == before.wanted

    def test_facts_are_there_for_whoever_asks(self, site: Site) -> None:
        lease(site, 1).announce()
        (found,) = leases.instances(site.db, 5.0, "worker")
        assert (found["process"], found["host"], found["n"], found["pid"]) == ("worker", "host1", 1, 1)
        assert 0 <= found["age"] < 5


class Counting(AlarmEngine):
    """An engine that counts its beats, and publishes an event at each."""

    name = "alarm"

    def __init__(self, options: AlarmOptions, partitions: int) -> None:
        super().__init__(options, partitions)
        self.beaten = 0

    def beat(self, now: float, ctx: Context) -> Effects:
        self.beaten += 1
        return super().beat(now, ctx)


@pytest.fixture
def two(site: Site) -> Iterator[list[tuple[Counting, Beats]]]:
    """Two instances with the same engine."""
    made = []
    for number in (1, 2):
        engine = Counting(AlarmOptions(resolve_delay=0.0), 4)
        who = Instance("worker", "host1", number)
        publishing = Publishing(site.broker.settings(), f"beat {number}")
        made.append((engine, Beats(site.db, publishing, who, Counters(("alarm",)), [Beating(engine, 0.2)])))
    yield made
    for _, beats in made:
        beats.end()


class TestBeats:
    def test_one_instance_at_a_time(self, two: list[tuple[Counting, Beats]]) -> None:
        for turn in range(5):
            for _, beats in two:
                beats.turn(time.monotonic() + turn)
        assert [engine.beaten for engine, _ in two] == [5, 0]

    def test_another_takes_over_when_the_first_ends(self, two: list[tuple[Counting, Beats]]) -> None:
        (first, first_beats), (second, second_beats) = two
        first_beats.turn(time.monotonic() + 1)
        first_beats.end()
        second_beats.turn(time.monotonic() + 1)
        assert (first.beaten, second.beaten) == (1, 1)

    def test_each_instance_tells_its_own_metrics(self, site: Site, two: list[tuple[Counting, Beats]]) -> None:
        for _, beats in two:
            beats.turn(time.monotonic() + 1)
        site.start()
        for resource in ("Engine_alarm", "Engine_alarm-2"):
            eventually(lambda name=resource: site.count(resource=name, component="host1") == 1)

    def test_a_lost_broker_does_not_end_the_beats(self, site: Site, two: list[tuple[Counting, Beats]]) -> None:
        engine, beats = two[0]
        beats.start()
        eventually(lambda: engine.beaten >= 1)
        site.broker.stop()
        before = engine.beaten
        site.broker.start()
        eventually(lambda: engine.beaten > before + 1)


class TestReads:
    def test_engines_read_what_was_written(self, site: Site) -> None:
        engine, ctx = AlarmEngine(AlarmOptions(), 4), StoreContext(site.db)
        events = [normalise(check(name, 2, event_id=f"id-{name}"), NOW) for name in ("a", "b")]
        write.apply(site.db, engine.process(Batch(events), ctx).write)
        found = ctx.ask(alarms.open_alarms, ["component:a", "component:b", "component:c"])
        assert {entity: (alarm.state, alarm.rev) for entity, alarm in found.items()} == {
            "component:a": (2, 1),
            "component:b": (2, 1),
        }
        assert found["component:a"].written_by == ["id-a"]
        assert [alarm.entity_id for alarm in ctx.ask(alarms.latest, ["component:a", "component:c"])] == ["component:a"]

    def test_a_new_engine_goes_on_where_the_old_one_stopped(self, site: Site) -> None:
        for turn, state in enumerate((2, 1, 3, 0)):
            event = normalise(check("web", state, event_id=f"e{turn}", timestamp=NOW - 60 + turn), NOW)
            effects = AlarmEngine(AlarmOptions(), 4).process(Batch([event]), StoreContext(site.db))
            write.apply(site.db, effects.write)
        document = site.db["alarms"].find_one({"entity_id": "component:web"})
        assert document is not None
        assert (document["state"], document["rev"]) == (0, 4)
        assert [step["e"] for step in steps_of(site.db, document)] == ["e0", "e0", "e1", "e2", "e3", "e3"]

    def test_alarms_that_are_due(self, site: Site) -> None:
        events = [
            normalise(check(name, state, event_id=f"{name}{state}", timestamp=NOW - 100 + state), NOW)
            for name, state in (("still", 2), ("over", 2), ("over", 0))
        ]
        events[2].timestamp = NOW - 90
        write.apply(site.db, AlarmEngine(AlarmOptions(), 4).process(Batch(events), StoreContext(site.db)).write)
        due = alarms.due(site.db, NOW)
        assert [alarm.component for alarm in due] == ["over"]
        effects = AlarmEngine(AlarmOptions(resolve_delay=60), 4).beat(NOW, StoreContext(site.db))
        assert [json.loads(message.body)["component"] for message in effects.publish] == ["over"]


def test_of_two_instances_of_a_raw_process_one_works_and_the_other_takes_over(site: Site, feed: Feed) -> None:
    site.chain.add("worker")
    first = site.chain.add("cleaner")
    second = site.chain.add("cleaner", 2)
    site.await_running(3)

    def taken() -> list[int]:
        found = {
            one["pid"]: one["counters"]["cleaner_events"]["in"] for one in leases.instances(site.db, 5.0, "cleaner")
        }
        return [found.get(each.pid, 0) for each in (first, second)]

    feed.events([check(f"c{number % 50}", 0, event_id=f"n{number}") for number in range(1000)])
    site.await_count(1000, connector="test")
    eventually(lambda: sorted(taken())[1] >= 1000)
    assert sorted(taken())[0] == 0
    one, other = (first, second) if taken()[0] else (second, first)
    one.kill()
    feed.events([check(f"c{number % 50}", 0, event_id=f"m{number}") for number in range(1000)])
    site.await_count(2000, connector="test")
    assert other.is_running()
