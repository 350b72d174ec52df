"""The context engine: entities are written when new, or when another connector speaks of them."""

from __future__ import annotations

from typing import Any

import pytest
from engines_fakes import NOW, FakeContext, event

from canopsis.core.entity import partition_of
from canopsis.core.envelope import Envelope, KnownEntity
from canopsis.engines import context
from canopsis.engines.context import ContextEngine
from canopsis.errors import StoreError
from canopsis.runtime.contract import Batch, Effects
from canopsis.store.operations import Upsert

PARTITIONS = 8


def disk(**fields: Any) -> Any:
    return event("web", resource="disk", source_type="resource", **fields)


def upserts(effects: Effects) -> dict[str, Any]:
    found = effects.write.get("entities", [])
    assert all(isinstance(operation, Upsert) for operation in found)
    changes = {operation.id: operation.change for operation in found if isinstance(operation, Upsert)}
    assert len(changes) == len(found), "one write an entity"
    return changes


def test_new_entities_are_written_with_their_parents() -> None:
    events = [disk()]
    effects = ContextEngine(PARTITIONS).process(Batch(events), FakeContext())
    changes = upserts(effects)
    assert set(changes) == {"resource:web/disk", "component:web", "connector:nagios/central"}
    assert changes["resource:web/disk"] == {
        "$setOnInsert": {"type": "resource", "name": "disk", "created": NOW, "component": "web"},
        "$addToSet": {
            "connectors": {"$each": ["connector:nagios/central"]},
            "parents": {"$each": ["component:web"]},
        },
    }
    assert "component" not in changes["connector:nagios/central"]["$setOnInsert"]
    assert effects.forward == events


def test_what_is_seen_is_neither_read_nor_written_again() -> None:
    engine, ctx = ContextEngine(PARTITIONS), FakeContext()
    engine.process(Batch([disk()]), ctx)
    again = engine.process(Batch([disk(), disk()]), ctx)
    assert again.write == {}
    assert len(again.forward) == 2
    assert len(ctx.reads) == 1


def test_stored_entities_are_not_written() -> None:
    stored = {
        name: {"_id": name, "connectors": ["connector:nagios/central"], "parents": ["component:web"]}
        for name in ("resource:web/disk", "component:web", "connector:nagios/central")
    }
    assert ContextEngine(PARTITIONS).process(Batch([disk()]), FakeContext(entities=stored)).write == {}


def test_another_connector_is_added_to_its_entities_only() -> None:
    stored = {
        name: {"_id": name, "connectors": ["connector:nagios/central"], "parents": ["component:web"]}
        for name in ("resource:web/disk", "component:web")
    }
    changes = upserts(
        ContextEngine(PARTITIONS).process(Batch([disk(connector="zabbix")]), FakeContext(entities=stored))
    )
    assert set(changes) == {"resource:web/disk", "component:web", "connector:zabbix/central"}


def test_missing_parent_is_added() -> None:
    stored = {
        "resource:web/disk": {"_id": "resource:web/disk", "connectors": ["connector:nagios/central"]},
        "component:web": {"_id": "component:web", "connectors": ["connector:nagios/central"], "parents": []},
        "connector:nagios/central": {"_id": "connector:nagios/central", "connectors": ["connector:nagios/central"]},
    }
    changes = upserts(ContextEngine(PARTITIONS).process(Batch([disk()]), FakeContext(entities=stored)))
    assert set(changes) == {"resource:web/disk"}


def test_several_connectors_of_one_batch_are_one_write() -> None:
    changes = upserts(
        ContextEngine(PARTITIONS).process(Batch([disk(connector=name) for name in ("b", "a")]), FakeContext())
    )
    connectors = changes["component:web"]["$addToSet"]["connectors"]["$each"]
    assert connectors == ["connector:a/central", "connector:b/central"]


def test_lost_database_leaves_nothing_remembered() -> None:
    engine, ctx = ContextEngine(PARTITIONS), FakeContext(away=True)
    with pytest.raises(StoreError):
        engine.process(Batch([disk()]), ctx)
    ctx.away = False
    assert len(upserts(engine.process(Batch([disk()]), ctx))) == 3


def test_forgets_the_entities_of_a_partition_only() -> None:
    engine, ctx = ContextEngine(PARTITIONS), FakeContext()
    events = [event(f"c{number}") for number in range(40)]
    engine.process(Batch(events), ctx)
    gone = frozenset({partition_of("component:c0", PARTITIONS)})
    engine.forget(gone)
    ctx.reads.clear()
    changes = upserts(engine.process(Batch(events), ctx))
    forgotten = {kept.entity_id for kept in events if partition_of(kept.entity_id, PARTITIONS) in gone}
    assert set(changes) - {"connector:nagios/central"} == forgotten
    engine.forget(None)
    assert len(upserts(engine.process(Batch(events), ctx))) == 41


def test_memory_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(context, "MOST_REMEMBERED", 3)
    engine, ctx = ContextEngine(PARTITIONS), FakeContext()
    for number in range(4):
        engine.process(Batch([event(f"c{number}")]), ctx)
    ctx.reads.clear()
    engine.process(Batch([event("c0")]), ctx)
    assert len(ctx.reads) == 1
    assert engine.beat(NOW, ctx) == Effects()


def test_what_is_known_of_an_entity_goes_on_with_its_events() -> None:
    one = event("web")
    stored = {one.entity_id: {"_id": one.entity_id, "infos": {"app%2Ename": "shop"}, "enabled": False, "impact": 7}}
    engine, ctx = ContextEngine(PARTITIONS), FakeContext(entities=stored)
    known = KnownEntity({"app.name": "shop"}, enabled=False, impact=7)
    for _ in range(2):
        assert engine.process(Batch([one, event("db")]), ctx).envelope.entities == {one.entity_id: known}
    assert len(ctx.reads) == 1
    ctx.entities = {}
    engine.forget(frozenset(range(PARTITIONS)))
    assert engine.process(Batch([one]), ctx).envelope.entities == {}


def test_infos_that_rules_noted_are_stored_once_and_go_on() -> None:
    one = event("web")
    stored = {one.entity_id: {"_id": one.entity_id, "infos": {"site": "Lyon"}}}
    engine, ctx = ContextEngine(PARTITIONS), FakeContext(entities=stored)
    batch = Batch([one], envelope=Envelope({one.entity_id: KnownEntity({"app.name": "shop"})}))
    first = engine.process(batch, ctx)
    assert upserts(first)[one.entity_id]["$set"] == {"infos": {"site": "Lyon", "app%2Ename": "shop"}}
    assert "$addToSet" in upserts(first)[one.entity_id]
    assert first.envelope.entities == {one.entity_id: KnownEntity({"site": "Lyon", "app.name": "shop"})}
    assert engine.process(batch, ctx).write == {}
