"""perfdata and eventstore: what is written of events, and what a repeat of it is."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from engines_fakes import NOW, FakeContext, event

from canopsis.core.entity import partition_of
from canopsis.core.envelope import Decision, Envelope
from canopsis.core.event import Event, to_document
from canopsis.core.identity import REUSED
from canopsis.engines import perfdata
from canopsis.engines.alarm import AlarmEngine, AlarmOptions
from canopsis.engines.eventstore import EventStore
from canopsis.engines.perfdata import HOUR, Perfdata
from canopsis.errors import StoreError
from canopsis.runtime.contract import Batch, Effects
from canopsis.store import segments
from canopsis.store.event_log import Progress
from canopsis.store.operations import Delete, Insert, Merge, Upsert
from canopsis.store.segments import Group

PARTITIONS = 8


def documents(effects: Effects, collection: str) -> list[dict[str, Any]]:
    found = effects.write.get(collection, [])
    assert all(isinstance(operation, Insert) for operation in found)
    return [operation.document for operation in found if isinstance(operation, Insert)]


def measured(component: str = "web", **fields: Any) -> Any:
    items = [{"metric": "time", "value": 3.5, "unit": "s"}, {"metric": "users", "value": 7}]
    return event(component, perf_data_array=items, **fields)


def test_events_without_values_add_nothing() -> None:
    effects = Perfdata(PARTITIONS).process(Batch([event(), event("db")]), FakeContext())
    assert effects.write == {}
    assert len(effects.forward) == 2


def test_metrics_are_made_known_once() -> None:
    engine = Perfdata(PARTITIONS)
    first = engine.process(Batch([measured(), measured()]), FakeContext())
    assert [document["_id"] for document in documents(first, "metric_names")] == [
        {"e": "component:web", "m": "time"},
        {"e": "component:web", "m": "users"},
    ]
    assert documents(first, "metric_names")[0]["u"] == "s"
    again = engine.process(Batch([measured(), measured("db")]), FakeContext())
    assert {document["_id"]["e"] for document in documents(again, "metric_names")} == {"component:db"}


def test_forgotten_series_are_made_known_again() -> None:
    engine = Perfdata(PARTITIONS)
    events = [measured(f"c{number}") for number in range(20)]
    engine.process(Batch(events), FakeContext())
    engine.forget(frozenset({2}))
    again = documents(engine.process(Batch(events), FakeContext()), "metric_names")
    gone = {one.entity_id for one in events if partition_of(one.entity_id, PARTITIONS) == 2}
    assert {document["_id"]["e"] for document in again} == gone
    engine.forget(None)
    assert len(documents(engine.process(Batch(events), FakeContext()), "metric_names")) == 40


def test_memory_of_series_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(perfdata, "MOST_REMEMBERED", 2)
    engine = Perfdata(PARTITIONS)
    for name in ("a", "b", "a"):
        effects = engine.process(Batch([measured(name)]), FakeContext())
    assert len(documents(effects, "metric_names")) == 2


HOUR_ID = segments.position(NOW // HOUR * HOUR)


def logged(*events: Event, received: float = NOW) -> list[dict[str, Any]]:
    """Return the segments of events, as they are stored."""
    return segments.pack(events, {}, received)


def values_in(effects: Effects) -> dict[tuple[str, str], dict[str, float]]:
    """Return what is written into hourly documents: metric and hour to points."""
    found: dict[tuple[str, str], dict[str, float]] = {}
    for operation in effects.write.get("metrics_hourly", []):
        assert isinstance(operation, Upsert)
        points = {name: value for name, value in operation.change["$set"].items() if name != "at"}
        found.setdefault((operation.id["e"], operation.id["m"]), {}).update(points)
    return found


def progress_in(effects: Effects) -> dict[str, Any]:
    (note,) = effects.write["event_log_progress"]
    assert isinstance(note, Upsert)
    return {note.id: Progress(**note.change["$set"])}


class TestCompaction:
    def test_hours_that_are_over_become_hourly_documents(self) -> None:
        hour = NOW // HOUR * HOUR
        events = [measured(timestamp=hour - 30, event_id="1"), measured(timestamp=hour - 20, event_id="2")]
        over, open_hour = logged(*events, received=hour - 10), logged(measured(event_id="3"), received=hour + 1)
        ctx = FakeContext(now=hour + 700, log_segments=over + open_hour)
        effects = Perfdata(PARTITIONS).beat(ctx.now, ctx)
        assert values_in(effects)["component:web", "time"] == {"p.3570000": 3.5, "p.3580000": 3.5}
        assert progress_in(effects) == {"hourly": Progress(over[0]["_id"])}
        ctx.progress = progress_in(effects)
        assert Perfdata(PARTITIONS).beat(ctx.now, ctx) == Effects()

    def test_an_hour_that_is_just_over_is_left_alone(self) -> None:
        hour = NOW // HOUR * HOUR
        ctx = FakeContext(now=hour + 500, log_segments=logged(measured(), received=hour - 10))
        assert Perfdata(PARTITIONS).beat(ctx.now, ctx) == Effects()

    def test_a_part_that_was_not_written_is_read_again(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(perfdata, "VALUES_AT_ONCE", 2)
        old = [measured(f"c{at}", timestamp=NOW - 7200, event_id=f"{at}") for at in range(3)]
        ctx = FakeContext(log_segments=logged(*old, received=NOW - 7200))
        engine = Perfdata(PARTITIONS)
        written: dict[Any, Any] = {}
        first = engine.beat(NOW, ctx)
        engine.beat(NOW, ctx)  # what the first one returned was never written
        third = engine.beat(NOW, ctx)
        assert values_in(third) == values_in(first), "the log is read again from where it is known to be done"
        while third.more and third.write:
            written |= values_in(third)
            ctx.progress |= progress_in(third)
            third = engine.beat(NOW, ctx)
        assert {entity for entity, _ in written} == {"component:c0", "component:c1", "component:c2"}
        assert ctx.progress["hourly"] == Progress(ctx.log_segments[0]["_id"])

    def test_what_is_read_at_once_is_bounded(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(perfdata, "BYTES_AT_ONCE", 1)
        old = [logged(measured(event_id=f"{at}"), received=NOW - 8000 + at)[0] for at in range(3)]
        ctx, engine = FakeContext(log_segments=old), Perfdata(PARTITIONS)
        for segment in old:
            ctx.progress |= progress_in(engine.beat(NOW, ctx))
            assert ctx.progress["hourly"].segment == segment["_id"]

    def test_without_a_database_it_raises(self) -> None:
        with pytest.raises(StoreError):
            Perfdata(PARTITIONS).beat(NOW, FakeContext(away=True))


def stored(effects: Effects) -> list[Group]:
    return [group for document in documents(effects, "event_log") for group in segments.groups(document)]


class TestEventStore:
    def test_every_event_is_stored(self) -> None:
        events = [event(event_id="a", output="fine"), event(event_type="log", event_id="b", level="info", colour="red")]
        effects = EventStore().process(Batch(events), FakeContext())
        assert [(group.received, group.events) for group in stored(effects)] == [(NOW, events)]
        assert effects.forward == events

    def test_no_events_no_write(self) -> None:
        assert EventStore().process(Batch(), FakeContext()) == Effects()

    def test_what_is_stored_already_is_not_stored_again(self) -> None:
        before, new = event(event_id="a"), event("db", event_id="b")
        effects = EventStore().process(Batch([before, new, new]), FakeContext(log=[before]))
        assert [each.event_id for group in stored(effects) for each in group.events] == ["b"]
        assert len(effects.forward) == 3
        assert EventStore().process(Batch([before]), FakeContext(log=[before])).write == {}

    def test_another_event_of_a_known_id_is_stored_under_its_own_once(self) -> None:
        before, other = event(event_id="a", state=0), event(event_id="a", state=2)
        ctx = FakeContext(log=[before])
        (kept,) = stored(EventStore().process(Batch([other, other]), ctx))[0].events
        assert kept.event_id.startswith("a.")
        assert REUSED in kept.warnings
        ctx.log.append(kept)
        assert EventStore().process(Batch([other]), ctx).write == {}
        (both,) = stored(EventStore().process(Batch([before, other]), FakeContext()))
        assert [each.event_id for each in both.events] == ["a", kept.event_id]

    def test_what_was_decided_about_an_event_is_stored_with_it(self) -> None:
        told, quiet = event(event_id="told"), event("db", event_id="quiet")
        envelope = Envelope()
        decision = Decision("event_filter", "enriched", "by-site")
        envelope.note(told, decision)
        (group,) = stored(EventStore().process(Batch([told, quiet], envelope=envelope), FakeContext()))
        assert group.trail == {"told": [decision]}

    def test_what_an_earlier_engine_asked_for_is_not_asked_for_again(self) -> None:
        before, other, new = (
            event(event_id="a", state=1),
            event(event_id="a", state=2),
            event("db", event_id="b", state=2),
        )
        ctx = FakeContext(log=[before])
        batch = Batch([before, other, new])
        told = AlarmEngine(AlarmOptions(), PARTITIONS).process(batch, ctx)
        away = FakeContext(away=True)
        (group,) = stored(EventStore().process(Batch(told.forward, envelope=told.envelope), away))
        assert [each.event_id for each in group.events] == [told.forward[1].event_id, "b"]


class TestUpkeep:
    def test_small_segments_of_an_hour_become_one(self) -> None:
        hour = (NOW // HOUR - 2) * HOUR
        small = [logged(measured(event_id=f"{at}"), received=hour + at)[0] for at in range(3)]
        other_hour = logged(measured(event_id="9"), received=hour + HOUR)
        ctx = FakeContext(log_segments=[*small, *other_hour])
        effects = EventStore().beat(NOW, ctx)
        (merge,) = effects.write["event_log"]
        assert isinstance(merge, Merge)
        assert merge.ids == tuple(each["_id"] for each in small)
        assert [each.received for each in segments.groups(merge.document)] == [hour, hour + 1, hour + 2]
        assert segments.values(merge.document, "component:web", "time") == [(int(NOW * 1000), 3.5)] * 3
        assert progress_in(effects) == {"merged": Progress(other_hour[0]["_id"])}

    def test_values_that_are_in_hourly_documents_are_left_out(self) -> None:
        small = [logged(measured(event_id=f"{at}"), received=NOW - 8000 + at)[0] for at in range(2)]
        ctx = FakeContext(log_segments=small, progress={"hourly": Progress(small[1]["_id"])})
        (merge,) = EventStore().beat(NOW, ctx).write["event_log"]
        assert isinstance(merge, Merge)
        assert merge.document["v"] == b""

    def test_segments_stay_as_large_as_one_may_be(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(segments, "MOST_EVENTS", 5)
        small = [
            logged(*(measured(event_id=f"{at}-{n}") for n in range(2)), received=NOW - 8000 + at)[0] for at in range(5)
        ]
        merges = EventStore().beat(NOW, FakeContext(log_segments=small)).write["event_log"]
        assert [len(merge.ids) for merge in merges if isinstance(merge, Merge)] == [2, 2]

    def test_what_an_earlier_release_stored_moves_into_the_log(self) -> None:
        raw = {"_id": {"e": "component:web", "t": int(NOW * 1000), "k": "a"}, "v": {"time": 3.5}}
        old = [
            to_document(measured(event_id=name)) | {"received": datetime.fromtimestamp(NOW - at, UTC)}
            for at, name in enumerate(("a", "b", "known"))
        ]
        odd = {"_id": "odd", "event_type": "no such type", "received": datetime.fromtimestamp(NOW, UTC)}
        ctx = FakeContext(former={"metrics": [raw], "events": [*old, odd]}, log=[measured(event_id="known")])
        effects = EventStore().beat(NOW, ctx)
        assert effects.more
        assert [each.event_id for group in stored(effects) for each in group.events] == ["b", "a"]
        assert effects.write["events"] == [Delete(name) for name in ("a", "b", "known", "odd")]
        assert effects.write["metrics"] == [Delete(raw["_id"])]
        assert values_in(effects) == {("component:web", "time"): {f"p.{int(NOW * 1000) % 3_600_000}": 3.5}}
        assert "cannot be read" in effects.dead[0].reason
