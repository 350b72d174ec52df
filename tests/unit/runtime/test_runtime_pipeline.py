"""Engines of one process in memory: order, fan-out, counting, and one event that makes an engine raise."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from runtime_fakes import NOW, FakeContext, FakeEngine, check, forward, message

from canopsis.core.envelope import Decision, Envelope, KnownEntity, decode_batch
from canopsis.errors import StoreError
from canopsis.runtime.contract import Batch, Context, Dead, Drop, Effects, Outgoing
from canopsis.runtime.pipeline import Outcome, Pipeline, Stage, stages_of
from canopsis.runtime.settings import ChainSettings, EngineSettings
from canopsis.store.operations import Insert
from canopsis.store.rules import RuleCount

CTX = FakeContext(NOW)


def components(batch: Batch) -> list[str]:
    return [event.component for event in batch.events]


def clumsy(*bad: str) -> FakeEngine:
    """Return an engine that raises for some components."""

    def act(batch: Batch, ctx: Context) -> Effects:
        for event in batch.events:
            if event.component in bad:
                raise ValueError(f"cannot do {event.component}")
        return forward(batch, ctx)

    return FakeEngine("clumsy", act)


def run(*stages: Stage, events: list[str], entry: str = "") -> Outcome:
    name = entry or stages[0].name
    return Pipeline(stages).run({name: Batch([check(component) for component in events])}, CTX)


def test_events_go_from_engine_to_engine_in_order() -> None:
    first, second, third = (FakeEngine(name) for name in "abc")
    run(Stage(first, "events", ("b",)), Stage(second, "events", ("c",)), Stage(third, "events"), events=["x", "y"])
    assert [components(engine.batches[0]) for engine in (first, second, third)] == [["x", "y"]] * 3


def test_fan_out_gives_all_to_each_and_joins_again() -> None:
    engines = {name: FakeEngine(name) for name in "abcd"}
    run(
        Stage(engines["a"], "events", ("b", "c"), ("remote",)),
        Stage(engines["b"], "events", ("d",)),
        Stage(engines["c"], "events", ("d",)),
        Stage(engines["d"], "events"),
        events=["x"],
    )
    assert [components(engines[name].batches[0]) for name in "bcd"] == [["x"], ["x"], ["x", "x"]]
    assert all(len(engine.batches) == 1 for engine in engines.values())


@pytest.mark.parametrize(("moves", "here"), [(True, []), (False, ["x"])])
def test_what_is_moved_goes_to_the_own_queues_where_there_are_any(moves: bool, here: list[str]) -> None:
    def act(batch: Batch, _ctx: Context) -> Effects:
        return Effects(move=list(batch.events), rules={("filter", "r"): RuleCount(1)})

    after = FakeEngine("b")
    outcome = run(Stage(FakeEngine("a", act), "events", ("b",), (), moves), Stage(after, "events"), events=["x"])
    assert [components(batch) for batch in after.batches] == ([here] if here else [])
    assert {name: [event.component for event in events] for name, events in outcome.hops.items()} == (
        {"a": ["x"]} if moves else {}
    )
    assert outcome.tallies["a"].incoming == outcome.tallies["a"].forwarded == len(here)
    assert outcome.rules == {("filter", "r"): RuleCount(1)}


def test_events_for_other_processes_are_hops() -> None:
    outcome = run(Stage(FakeEngine("a"), "events", (), ("b", "c")), events=["x", "y"])
    assert {name: [event.component for event in events] for name, events in outcome.hops.items()} == {
        "b": ["x", "y"],
        "c": ["x", "y"],
    }


def test_a_raw_engine_gets_messages_of_its_neighbour() -> None:
    gateway, cleaner = FakeEngine("gateway"), FakeEngine("cleaner", lambda _batch, _ctx: Effects())
    run(Stage(gateway, "events", ("cleaner",)), Stage(cleaner, "raw"), events=["x", "y"])
    (raw,) = cleaner.batches[0].raw
    assert [event.component for event in decode_batch(raw.body)] == ["x", "y"]
    assert raw.routing_key == "Engine_cleaner"


def test_an_engine_without_input_is_not_called() -> None:
    first = FakeEngine("a", lambda batch, _ctx: Effects(drop=[Drop(e.event_id, "r", "") for e in batch.events]))
    second = FakeEngine("b")
    outcome = run(Stage(first, "events", ("b",)), Stage(second, "events"), events=["x"])
    assert second.batches == []
    assert [(name, drop.rule) for name, drop in outcome.drop] == [("a", "r")]


def test_effects_of_all_engines_are_gathered() -> None:
    def act(name: str) -> FakeEngine:
        def effects(batch: Batch, ctx: Context) -> Effects:
            made = forward(batch, ctx)
            made.write = {"things": [Insert({"_id": name})]}
            made.publish = [Outgoing("x", name, b"{}")]
            return made

        return FakeEngine(name, effects)

    outcome = run(Stage(act("a"), "events", ("b",)), Stage(act("b"), "events"), events=["x"])
    assert outcome.write == {"things": [Insert({"_id": "a"}), Insert({"_id": "b"})]}
    assert [message.routing_key for message in outcome.publish] == ["a", "b"]


def test_each_engine_is_counted() -> None:
    def sort(batch: Batch, _ctx: Context) -> Effects:
        first, second, *rest = batch.events
        return Effects(forward=rest, drop=[Drop(first.event_id, "r", "")], dead=[Dead(b"", "bad", key=second.event_id)])

    outcome = run(Stage(FakeEngine("a", sort), "events", ("b",)), Stage(FakeEngine("b"), "events"), events=list("wxyz"))
    a, b = outcome.tallies["a"], outcome.tallies["b"]
    assert (a.incoming, a.forwarded, a.dropped, a.dead) == (4, 2, 1, 1)
    assert (b.incoming, b.forwarded) == (2, 2)
    assert a.seconds >= 0


def test_poison_becomes_a_dead_letter_and_the_rest_goes_on() -> None:
    engine, after = clumsy("bad"), FakeEngine("after")
    outcome = run(Stage(engine, "events", ("after",)), Stage(after, "events"), events=["a", "b", "bad", "c"])
    assert components(after.batches[0]) == ["a", "b", "c"]
    ((name, dead),) = outcome.dead
    assert name == "clumsy"
    assert "ValueError: cannot do bad" in dead.reason
    assert json.loads(dead.body)["component"] == "bad"
    assert dead.key == "id-bad"
    tally = outcome.tallies["clumsy"]
    assert (tally.incoming, tally.forwarded, tally.dead) == (4, 3, 1)


def test_memory_is_thrown_away_before_every_new_try() -> None:
    engine = clumsy("bad")
    run(Stage(engine, "events"), events=["a", "bad"])
    assert len(engine.forgotten) == len(engine.batches) - 1
    assert set(engine.forgotten) == {None}


@given(st.lists(st.sampled_from(["a", "b", "bad", "worse"]), min_size=1, max_size=40))
def test_exactly_the_poison_is_taken_out(names: list[str]) -> None:
    after = FakeEngine("after")
    outcome = run(Stage(clumsy("bad", "worse"), "events", ("after",)), Stage(after, "events"), events=names)
    good = [name for name in names if name in "ab"]
    assert (components(after.batches[0]) if after.batches else []) == good
    assert sorted(json.loads(dead.body)["component"] for _, dead in outcome.dead) == sorted(
        name for name in names if name not in "ab"
    )


def test_finding_one_poison_takes_few_tries() -> None:
    engine = clumsy("bad")
    names = [f"n{number}" for number in range(1000)]
    names[700] = "bad"
    run(Stage(engine, "events"), events=names)
    assert len(engine.batches) < 30


def test_poison_of_two_events_together_is_found_too() -> None:
    def act(batch: Batch, ctx: Context) -> Effects:
        if {"left", "right"} <= set(components(batch)):
            raise KeyError("both")
        return forward(batch, ctx)

    after = FakeEngine("after")
    outcome = run(
        Stage(FakeEngine("x", act), "events", ("after",)),
        Stage(after, "events"),
        events=["a", "left", "b", "right", "c"],
    )
    assert components(after.batches[0]) == ["a", "left", "b", "c"]
    assert len(outcome.dead) == 1


def test_poison_message_of_a_raw_engine_keeps_bytes_and_origin() -> None:
    def act(batch: Batch, ctx: Context) -> Effects:
        if any(raw.body == b"bad" for raw in batch.raw):
            raise UnicodeError("a bug")
        return forward(batch, ctx)

    raws = [message(b"a"), message(b"bad", message_id="m7"), message(b"c")]
    outcome = Pipeline([Stage(FakeEngine("x", act), "raw")]).run({"x": Batch(raw=raws)}, CTX)
    ((_, dead),) = outcome.dead
    assert (dead.body, dead.origin, dead.key) == (b"bad", raws[1], "m7/0")
    assert outcome.tallies["x"].incoming == 3


def test_an_engine_that_loses_events_is_found_out() -> None:
    lossy = FakeEngine("lossy", lambda batch, _ctx: Effects(forward=[e for e in batch.events if e.component != "gone"]))
    outcome = run(Stage(lossy, "events"), events=["a", "gone", "b"])
    ((_, dead),) = outcome.dead
    assert json.loads(dead.body)["component"] == "gone"
    assert "took 2 events and answers for 1" in dead.reason


def test_lost_database_throws_all_memory_away_and_comes_out() -> None:
    def away(_batch: Batch, _ctx: Context) -> Effects:
        raise StoreError("away")

    first, second = FakeEngine("a"), FakeEngine("b", away)
    with pytest.raises(StoreError, match="away"):
        run(Stage(first, "events", ("b",)), Stage(second, "events"), events=["x"])
    assert first.forgotten == second.forgotten == [None]


def test_forget_reaches_every_engine() -> None:
    engines = [FakeEngine("a"), FakeEngine("b")]
    Pipeline([Stage(engine, "events") for engine in engines]).forget(frozenset({3}))
    assert [engine.forgotten for engine in engines] == [[frozenset({3})]] * 2


def test_stages_of_a_process_know_who_is_near_and_who_is_far() -> None:
    chain = ChainSettings(
        (
            EngineSettings("b", "here", ("far",)),
            EngineSettings("a", "here", ("b", "far")),
            EngineSettings("far", "there"),
        )
    )
    engines = {name: (FakeEngine(name), "events") for name in "ab"}
    stages = stages_of(chain, "here", engines, ("a",))  # type: ignore[arg-type]
    assert [(stage.name, stage.local, stage.remote, stage.moves) for stage in stages] == [
        ("a", ("b",), ("far",), True),
        ("b", (), ("far",), False),
    ]


def test_what_an_engine_knows_goes_on_to_the_next_and_to_other_processes() -> None:
    def knows(batch: Batch, ctx: Context) -> Effects:
        effects = forward(batch, ctx)
        effects.envelope.entities["component:x"] = KnownEntity(category="network")
        effects.envelope.note(batch.events[0], Decision("a", "seen"))
        return effects

    second = FakeEngine("b")
    pipeline = Pipeline([Stage(FakeEngine("a", knows), "events", ("b",)), Stage(second, "events", (), ("c",))])
    came = Envelope(trail={"id-x": (Decision("earlier", "seen"),)})
    outcome = pipeline.run({"a": Batch([check("x")], envelope=came)}, CTX)
    for known in (second.batches[0].envelope, outcome.envelope):
        assert known.entity("component:x").category == "network"
        assert [each.engine for each in known.trail["id-x"]] == ["earlier", "a"]


def test_poison_is_found_with_what_is_known_at_hand() -> None:
    def fails(batch: Batch, ctx: Context) -> Effects:
        if any(batch.envelope.entity(event.entity_id).category for event in batch.events):
            raise ZeroDivisionError
        return forward(batch, ctx)

    came = Envelope({"component:y": KnownEntity(category="network")})
    batch = Batch([check(name) for name in "xyz"], envelope=came)
    outcome = Pipeline([Stage(FakeEngine("a", fails), "events", (), ("c",))]).run({"a": batch}, CTX)
    assert [event.component for event in outcome.hops["c"]] == ["x", "z"]
    assert len(outcome.dead) == 1
