"""perfdata and eventstore: what is written of events, and what a repeat of it is."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import bson
import pytest
from engines_fakes import NOW, FakeContext, event

from canopsis.core.entity import partition_of
from canopsis.core.envelope import Decision, Envelope
from canopsis.engines import perfdata
from canopsis.engines.eventstore import EventStore
from canopsis.engines.perfdata import HOUR, Perfdata
from canopsis.errors import StoreError
from canopsis.runtime.contract import Batch, Effects
from canopsis.store.operations import Delete, Insert, Upsert

PARTITIONS = 8


def documents(effects: Effects, collection: str) -> list[dict[str, Any]]:
    found = effects.write.get(collection, [])
    assert all(isinstance(operation, Insert) for operation in found)
    return [operation.document for operation in found if isinstance(operation, Insert)]


def measured(component: str = "web", **fields: Any) -> Any:
    items = [{"metric": "time", "value": 3.5, "unit": "s"}, {"metric": "users", "value": 7}]
    return event(component, perf_data_array=items, **fields)


def test_values_are_one_document_an_event() -> None:
    events = [measured(event_id="e9")]
    effects = Perfdata(PARTITIONS).process(Batch(events), FakeContext())
    assert documents(effects, "metrics") == [
        {
            "_id": {"e": "component:web", "t": int(NOW * 1000), "k": "e9"},
            "v": {"time": 3.5, "users": 7.0},
            "at": datetime.fromtimestamp(NOW, UTC),
            "u": {"time": "s"},
        }
    ]
    assert effects.forward == events


def test_the_same_event_gives_the_same_document() -> None:
    first, second = (Perfdata(PARTITIONS).process(Batch([measured()]), FakeContext()) for _ in range(2))
    assert documents(first, "metrics") == documents(second, "metrics")


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


def raw(entity: str, at: float, key: str, **values: float) -> dict[str, Any]:
    return {"_id": {"e": entity, "t": int(at * 1000), "k": key}, "v": values}


def test_beat_compacts_hours_that_are_over() -> None:
    hour = NOW // HOUR * HOUR
    ctx = FakeContext(
        metrics=[raw("component:web", hour - 30, "k1", time=1.0), raw("component:web", hour - 20, "k2", time=2.0)]
    )
    effects = Perfdata(PARTITIONS).beat(NOW, ctx)
    (read,) = ctx.reads
    assert read[1] <= NOW - perfdata.QUIET_SECONDS
    assert read[1] % HOUR == 0
    (hourly,) = effects.write["metrics_hourly"]
    assert isinstance(hourly, Upsert)
    assert hourly.id == {"e": "component:web", "m": "time", "h": int((hour - HOUR) * 1000)}
    assert hourly.change["$set"]["p.3570000"] == 1.0
    assert effects.write["metrics"] == [Delete(document["_id"]) for document in ctx.metrics]
    assert effects.more is False


def test_beat_goes_on_after_the_last_document_until_nothing_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(perfdata, "COMPACTED_AT_ONCE", 2)
    engine = Perfdata(PARTITIONS)
    ctx = FakeContext(
        metrics=[raw("a", NOW - 9000, "1", m=1), raw("a", NOW - 8000, "2", m=2), raw("b", NOW - 9000, "3", m=3)]
    )
    first = engine.beat(NOW, ctx)
    assert first.more is True
    last = ctx.metrics[1]["_id"]
    ctx.metrics = ctx.metrics[2:]
    assert engine.beat(NOW, ctx).more is False
    assert [read[3] for read in ctx.reads] == [None, last]
    ctx.metrics = []
    assert engine.beat(NOW, ctx) == Effects()
    assert ctx.reads[-1][3] is None


def test_beat_without_a_database_raises_and_starts_over() -> None:
    engine, ctx = Perfdata(PARTITIONS), FakeContext(away=True)
    with pytest.raises(StoreError):
        engine.beat(NOW, ctx)
    ctx.away = False
    assert engine.beat(NOW, ctx) == Effects()


def test_every_event_is_stored_under_its_id() -> None:
    events = [event(event_id="a", output="fine"), event(event_type="log", event_id="b", level="info", colour="red")]
    effects = EventStore().process(Batch(events), FakeContext())
    first, second = documents(effects, "events")
    assert (first["_id"], first["event_type"], first["state"], first["output"]) == ("a", "check", 0, "fine")
    assert second["extra"] == {"colour": "red"}
    assert first["received"] == datetime.fromtimestamp(NOW, UTC)
    assert all(bson.encode(document) for document in (first, second))
    assert effects.forward == events


def test_no_events_no_write() -> None:
    engine = EventStore()
    assert engine.process(Batch(), FakeContext()) == Effects()
    engine.forget(None)
    assert engine.beat(NOW, FakeContext()) == Effects()


def test_what_was_decided_about_an_event_is_stored_with_it() -> None:
    told, quiet = event(event_id="told"), event("db", event_id="quiet")
    envelope = Envelope()
    envelope.note(told, Decision("event_filter", "enriched", "by-site"))
    stored = documents(EventStore().process(Batch([told, quiet], envelope=envelope), FakeContext()), "events")
    trails = [document.get("trail") for document in stored]
    assert trails == [[{"engine": "event_filter", "what": "enriched", "rule": "by-site"}], None]
