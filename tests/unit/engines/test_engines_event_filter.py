"""The event filter: first rule that matches decides, rules are at most ten seconds old."""

from __future__ import annotations

from typing import Any

import pytest
from engines_fakes import NOW, FakeContext, event

from canopsis.engines.event_filter import REFRESH_SECONDS, EventFilter, rules_of
from canopsis.errors import StoreError
from canopsis.runtime.contract import Batch, Drop, Effects


def rule(name: str, kind: str, pattern: Any, **fields: Any) -> dict[str, Any]:
    return {"_id": name, "type": kind, "pattern": pattern, "enabled": True, "priority": 1} | fields


def test_without_rules_everything_passes() -> None:
    events = [event("a"), event("b")]
    assert EventFilter().process(Batch(events), FakeContext()) == Effects(forward=events)


def test_drop_names_rule_and_event() -> None:
    ctx = FakeContext(rules=[rule("quiet", "drop", {"component": "noise"}, description="too loud")])
    effects = EventFilter().process(Batch([event("noise", event_id="n1"), event("web")]), ctx)
    assert effects.drop == [Drop("n1", "quiet", "too loud")]
    assert [kept.component for kept in effects.forward] == ["web"]


def test_first_match_decides() -> None:
    keep, drop = rule("keep", "pass", {"component": "web"}), rule("drop", "drop", {"state": {"$gte": 0}})
    events = [event("web"), event("db")]
    first = EventFilter().process(Batch(events), FakeContext(rules=[keep, drop]))
    assert [kept.component for kept in first.forward] == ["web"]
    second = EventFilter().process(Batch(events), FakeContext(rules=[drop, keep]))
    assert second.forward == []


def test_rules_are_read_again_only_when_they_are_old() -> None:
    engine, ctx = EventFilter(), FakeContext()
    for later in (0.0, 1.0, REFRESH_SECONDS - 0.1):
        ctx.now = NOW + later
        engine.process(Batch([event()]), ctx)
    assert ctx.reads == [("filter_rules",)]
    ctx.now = NOW + REFRESH_SECONDS
    engine.process(Batch([event()]), ctx)
    assert len(ctx.reads) == 2


def test_clock_that_went_back_reads_again() -> None:
    engine, ctx = EventFilter(), FakeContext()
    engine.process(Batch([event()]), ctx)
    ctx.now = NOW - 3600
    engine.process(Batch([event()]), ctx)
    assert len(ctx.reads) == 2


def test_without_rules_to_use_the_error_comes_out_and_is_tried_again() -> None:
    engine, ctx = EventFilter(), FakeContext(away=True, rules=[rule("all", "drop", {"component": "web"})])
    with pytest.raises(StoreError):
        engine.process(Batch([event()]), ctx)
    ctx.away = False
    assert len(engine.process(Batch([event()]), ctx).drop) == 1


def test_unusable_rule_is_left_out_and_logged(caplog: pytest.LogCaptureFixture) -> None:
    rules = rules_of([rule("bad", "drop", {"component": {"$regex": "("}}), rule("good", "drop", {"component": "x"})])
    assert [usable.id for usable in rules] == ["good"]
    assert "bad" in caplog.text


def test_rules_survive_a_lost_partition() -> None:
    engine, ctx = EventFilter(), FakeContext()
    engine.process(Batch([event()]), ctx)
    engine.forget(frozenset({1}))
    engine.forget(None)
    engine.process(Batch([event()]), ctx)
    assert len(ctx.reads) == 1
    assert engine.beat(NOW, ctx) == Effects()
