"""The engine of the event filter: rules at most a second old, events forwarded, moved or dropped, all of it counted."""

from __future__ import annotations

from typing import Any

import pytest
from engines_fakes import NOW, FakeContext, event

from canopsis.core.entity import partition_of
from canopsis.engines.event_filter import EventFilter
from canopsis.errors import StoreError
from canopsis.runtime.contract import Batch, Drop, Effects
from canopsis.store.live_rules import LOOK_SECONDS
from canopsis.store.rules import RuleCount

FILTER = "event-filter"


def rule(name: str = "r", kind: str = "drop", component: str = "noise", **fields: Any) -> dict[str, Any]:
    return {"id": name, "type": kind, "pattern": {"component": component}} | fields


def test_without_rules_everything_passes() -> None:
    events = [event("a"), event("b")]
    assert EventFilter(4).process(Batch(events), FakeContext()) == Effects(forward=events)


def test_a_drop_names_rule_and_reason_and_is_counted() -> None:
    ctx = FakeContext(rules_of={"event-filter": [rule("quiet", description="too loud")]})
    effects = EventFilter(4).process(Batch([event("noise", event_id="n1"), event("web")]), ctx)
    assert effects.drop == [Drop("n1", "quiet", "too loud")]
    assert [kept.component for kept in effects.forward] == ["web"]
    assert effects.rules == {(FILTER, "quiet"): RuleCount(1, 1, 0, "", "", NOW)}


def test_a_failure_is_counted_with_its_reason_and_loses_nothing() -> None:
    action = {"type": "lookup", "table": "t", "key": "{{ component }}", "fields": {"a": "b"}}
    ctx = FakeContext(rules_of={"event-filter": [rule(kind="enrich", component="web", actions=[action])]})
    ctx.rules_of["table"] = [{"id": "t", "rows": {"db": {"a": 1}}}]
    effects = EventFilter(4).process(Batch([event("web", event_id="w1"), event("web", event_id="w2")]), ctx)
    assert len(effects.forward) == 2
    reason = "table t has no a for 'web'"
    assert effects.rules == {(FILTER, "r"): RuleCount(2, 0, 2, reason, "w2", NOW)}


def test_an_event_of_another_entity_goes_to_its_partition() -> None:
    engine = EventFilter(4)
    here = partition_of("component:web", 4)
    away = next(name for name in "abcdefgh" if partition_of(f"component:{name}", 4) != here)
    near = next(name for name in "abcdefgh" if partition_of(f"component:{name}", 4) == here)
    moving = {"id": "r", "type": "change_entity", "pattern": {"component": "web"}, "component": "{{ to }}"}
    ctx = FakeContext(rules_of={"event-filter": [moving]})
    effects = engine.process(Batch([event("web", to=away), event("web", to=near), event("web", to="web")]), ctx)
    assert [each.component for each in effects.move] == [away]
    assert [each.component for each in effects.forward] == [near, "web"]
    assert effects.rules[FILTER, "r"].matched == 3
    there = engine.process(Batch(effects.move), ctx)
    assert (there.forward, there.rules) == (effects.move, {})


def test_rules_are_asked_for_once_a_second_and_read_when_they_changed() -> None:
    engine, ctx = EventFilter(4), FakeContext()
    for later in (0.0, 0.5, LOOK_SECONDS - 0.1):
        ctx.now = NOW + later
        engine.process(Batch([event("noise")]), ctx)
    assert ctx.reads == [("rules", FILTER, "table")]
    ctx.now, ctx.rules_of = NOW + LOOK_SECONDS, {"event-filter": [rule()]}
    assert len(engine.process(Batch([event("noise")]), ctx).forward) == 1
    ctx.now, ctx.version = NOW + 2 * LOOK_SECONDS, 2
    assert len(engine.process(Batch([event("noise")]), ctx).drop) == 1
    assert len(ctx.reads) == 3


def test_a_clock_that_went_back_asks_again() -> None:
    engine, ctx = EventFilter(4), FakeContext()
    engine.process(Batch([event()]), ctx)
    ctx.now = NOW - 3600
    engine.process(Batch([event()]), ctx)
    assert len(ctx.reads) == 2


def test_while_the_rules_cannot_be_read_nothing_passes() -> None:
    engine, ctx = EventFilter(4), FakeContext(away=True, rules_of={"event-filter": [rule(component="web")]})
    with pytest.raises(StoreError):
        engine.process(Batch([event()]), ctx)
    ctx.away = False
    assert len(engine.process(Batch([event()]), ctx).drop) == 1


def test_a_rule_that_cannot_be_used_is_left_out_and_logged(caplog: pytest.LogCaptureFixture) -> None:
    ctx = FakeContext(rules_of={"event-filter": [rule("bad", kind="nope"), rule("good")]})
    assert [drop.rule for drop in EventFilter(4).process(Batch([event("noise")]), ctx).drop] == ["good"]
    assert "rule bad: type: 'nope' is refused" in caplog.text


def test_rules_survive_a_lost_partition() -> None:
    engine, ctx = EventFilter(4), FakeContext()
    engine.process(Batch([event()]), ctx)
    engine.forget(frozenset({1}))
    engine.forget(None)
    engine.process(Batch([event()]), ctx)
    assert len(ctx.reads) == 1
    assert engine.beat(NOW, ctx) == Effects()
