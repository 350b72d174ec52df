"""Safe writes, the runner's order, what engines may read, over handed-in servers."""

from __future__ import annotations

import gc
import logging
import subprocess
import sys
import threading
import time
from subprocess import PIPE
from typing import Any

import pytest
from runtime_fakes import (
    NOW,
    FakeEngine,
    FakePublisher,
    FakeWrite,
    Servers,
    check,
    delivery,
    forward,
    message,
    registry_of,
)

from canopsis.errors import Fenced, StoreError, TransportError
from canopsis.runtime import process, runner
from canopsis.runtime.bysource import source_of
from canopsis.runtime.context import StoreContext
from canopsis.runtime.contract import Batch, Context, Dead, Effects, encode
from canopsis.runtime.counters import Counters
from canopsis.runtime.health import Health
from canopsis.runtime.intake import Taken
from canopsis.runtime.letters import letters
from canopsis.runtime.outbox import Outbox
from canopsis.runtime.pipeline import Pipeline, Stage
from canopsis.runtime.runner import Runner
from canopsis.runtime.safe import SafeStore
from canopsis.runtime.settings import ChainSettings, EngineSettings, ProcessSettings
from canopsis.runtime.sharing import Instance, Lease
from canopsis.store.fences import Claim
from canopsis.store.operations import Delete, Guarded, Insert, Upsert, Writes
from canopsis.store.settings import StoreSettings
from canopsis.transport.settings import AmqpSettings

DB: Any = object()
WRITES: Writes = {"things": [Insert({"_id": 1}), Insert({"_id": 2})]}
REGISTRY = registry_of(cleaner_events="raw", context="events", alarm="events")
CHAIN = ChainSettings(
    (
        EngineSettings("cleaner_events", "cleaner", ("context",)),
        EngineSettings("context", "worker", ("alarm",)),
        EngineSettings("alarm", "alarm"),
    ),
    partitions=2,
)
WHO = Instance("worker", "host1", 1)
STEPS = Insert({"_id": "steps"}, guarded=True)
ALARM = Guarded("alarm", {})


def nothing() -> None:
    """Nobody minds."""


def safe_store(stop: threading.Event | None = None) -> SafeStore:
    return SafeStore(DB, stop or threading.Event(), Health())


class TestSafeStore:
    def test_writes_are_done_once(self, servers: Servers) -> None:
        assert safe_store().write(WRITES, nothing) == []
        assert servers.write.applied == [WRITES]

    def test_a_lost_database_is_waited_for_with_the_same_writes(self, servers: Servers) -> None:
        servers.fail(FakeWrite(StoreError("away"), StoreError("away again")))
        servers.absent = 2
        alive: list[int] = []
        assert safe_store().write(WRITES, lambda: alive.append(1)) == []
        assert servers.write.applied == [WRITES]
        assert (servers.write.tries, servers.pings) == (3, 4)
        assert len(alive) == 4, "the broker is looked after while waiting"

    def test_a_stop_ends_the_wait(self, servers: Servers) -> None:
        servers.fail(FakeWrite(*[StoreError("away")] * 9))
        stop = threading.Event()
        stop.set()
        assert safe_store(stop).write(WRITES, nothing) is None

    def test_a_lost_broker_ends_the_wait(self, servers: Servers) -> None:
        servers.fail(FakeWrite(StoreError("away")))

        def lost() -> None:
            raise TransportError("lost")

        with pytest.raises(TransportError):
            safe_store().write(WRITES, lost)

    def test_a_fence_comes_out_at_once(self, servers: Servers) -> None:
        servers.fail(FakeWrite(Fenced("missed")))
        with pytest.raises(Fenced):
            safe_store().write({"alarms": [ALARM]}, nothing)
        assert servers.pings == 0

    def test_guarded_writes_come_first_in_their_order_and_the_rest_at_once(self, servers: Servers) -> None:
        together = threading.Barrier(3, timeout=60)
        first: list[Any] = []

        def refuse(operation: Any) -> None:
            first.append(operation.document["_id"] if operation is STEPS else operation.id)
            if operation not in (STEPS, ALARM):
                together.wait()

        servers.write.refuse = refuse
        writes: Writes = {name: [Delete(name[:-1])] for name in ("entities", "metrics", "events")}
        guarded: Writes = {"steps": [STEPS], "alarms": [ALARM]}
        writes = {"entities": writes["entities"]} | guarded | writes
        assert safe_store().write(writes, nothing) == []
        assert first[:2] == ["steps", "alarm"]
        assert sorted(first[2:]) == ["entitie", "event", "metric"]

    def test_a_fence_keeps_the_rest_from_being_written(self, servers: Servers) -> None:
        servers.write.refuse = lambda op: Fenced("missed") if op.id == "alarm" else None
        with pytest.raises(Fenced):
            safe_store().write({"events": [Delete("e")], "alarms": [ALARM]}, nothing)
        assert servers.write.tries == 1

    @pytest.mark.parametrize("lost", ["events", "metrics", "entities"])
    def test_one_lost_collection_is_written_again_with_all(self, servers: Servers, lost: str) -> None:
        failures = {lost: [StoreError("away")]}
        servers.write.refuse = lambda op: failures.get(op.id, []).pop() if failures.get(op.id) else None
        writes: Writes = {name: [Delete(name)] for name in ("entities", "metrics", "events")}
        assert safe_store().write(writes, nothing) == []
        assert {name for applied in servers.write.applied for name in applied} == set(writes)
        assert servers.write.tries == 6

    def test_guarded_writes_that_are_done_are_not_done_again(self, servers: Servers) -> None:
        failures = [StoreError("away"), ValueError("code 121"), ValueError("code 121")]
        servers.write.refuse = lambda op: failures.pop(0) if op.id == "event" and failures else None
        writes: Writes = {"events": [Delete("event")], "alarms": [ALARM]}
        bad = safe_store().write(writes, nothing)
        assert bad is not None
        assert [where for where, _ in bad] == ["events"]
        assert servers.write.applied == [{"alarms": [ALARM]}]

    def test_guarded_writes_of_which_no_answer_came_are_read_again(self, servers: Servers) -> None:
        """Done again they could count twice: the batch comes again, and what is written of it is a repeat."""
        servers.fail(FakeWrite(StoreError("away")))
        with pytest.raises(Fenced, match="read again: away"):
            safe_store().write({"alarms": [ALARM]}, nothing)
        assert servers.pings == 1, "once the database is back"

    def test_a_guarded_document_that_the_database_cannot_hold_takes_no_other_with_it(self, servers: Servers) -> None:
        servers.write.refuse = lambda op: ValueError("code 121") if op is ALARM else None
        claim = Claim("me", ("worker:00",))
        bad = safe_store().write({"steps": [STEPS], "alarms": [ALARM]}, nothing, claim)
        assert bad is not None
        assert [where for where, _ in bad] == ["alarms"]
        assert servers.write.applied == [{"steps": [STEPS]}]
        assert servers.write.claims == [claim] * 3

    def test_the_wait_is_said_and_its_end(self, servers: Servers, caplog: pytest.LogCaptureFixture) -> None:
        caplog.set_level(logging.INFO)
        servers.fail(FakeWrite(StoreError("no route")))
        safe_store().write(WRITES, nothing)
        assert [record.message for record in caplog.records] == ["waiting for the database: no route", "running"]

    def test_one_document_that_bson_cannot_hold_is_taken_out(self, servers: Servers) -> None:
        def refuse(operation: Any) -> Exception | None:
            return OverflowError("8-byte ints") if operation.document.get("n") else None

        servers.write.refuse = refuse
        writes: Writes = {"things": [Insert({"_id": 1}), Insert({"_id": 2, "n": 1 << 70}), Insert({"_id": 3})]}
        bad = safe_store().write(writes, nothing)
        assert bad is not None
        ((where, dead),) = bad
        assert where == "things"
        assert "cannot hold" in dead.reason
        assert b"1180591620717411303424" in dead.body
        assert [one["things"][0].document["_id"] for one in servers.write.applied] == [1, 3]  # type: ignore[union-attr]

    def test_one_document_that_the_server_refuses_is_taken_out(self, servers: Servers) -> None:
        servers.write.refuse = lambda op: ValueError("code 121") if getattr(op, "id", None) == "bad" else None
        writes: Writes = {"things": [Upsert("bad", {"$set": {"a": 1}}), Delete("gone")]}
        bad = safe_store().write(writes, nothing)
        assert bad is not None
        assert [(b'"_id":"bad"' in dead.body, "code 121" in dead.reason) for _, dead in bad] == [(True, True)]

    def test_a_document_that_json_cannot_hold_is_still_told(self, servers: Servers) -> None:
        servers.write.refuse = lambda _op: TypeError("no")
        loop: dict[str, Any] = {"_id": 1}
        loop["self"] = loop
        bad = safe_store().write({"things": [Insert(loop)]}, nothing)
        assert bad is not None
        assert bad[0][1].body

    def test_a_dead_letter_that_is_refused_is_waited_for(self, servers: Servers) -> None:
        refusals = [OSError("no space left")] * 5
        servers.write.refuse = lambda _op: refusals.pop() if refusals else None
        letter: Writes = {"dead_letters": [Insert({"_id": 1, "reason": "r"})]}
        assert safe_store().write(letter, nothing) == []
        assert servers.write.applied == [letter]
        assert servers.pings == 2

    def test_a1_a_dead_letter_that_the_database_cannot_hold_is_kept_without_its_headers(self, servers: Servers) -> None:
        def refuse(operation: Any) -> Exception | None:
            document = getattr(operation, "document", None) or operation.change["$setOnInsert"]
            return ValueError("no such header") if document.get("headers") else None

        servers.write.refuse = refuse
        raw = message(b"body", headers={"a": 1})
        for dead in (Dead.of(raw, "bad", "state"), Dead.of(raw, "a bug")):
            assert safe_store().write(letters([("alarm", dead)], NOW), nothing) == []
            least = servers.write.applied[-1]["dead_letters"][0].document  # type: ignore[union-attr]
            assert (least["body"], least["engine"], least["exchange"]) == (b"body", "alarm", "canopsis.events")
            assert dead.reason in least["reason"]
        assert servers.pings == 0

    def test_losing_the_database_in_the_middle_begins_again(self, servers: Servers) -> None:
        failures = iter([StoreError("away")])

        def refuse(operation: Any) -> Exception | None:
            if operation.document["_id"] == "bad":
                return ValueError("bad")
            return next(failures, None) if servers.write.tries > 1 else None

        servers.write.refuse = refuse
        bad = safe_store().write({"things": [Insert({"_id": 1}), Insert({"_id": "bad"})]}, nothing)
        assert bad is not None
        assert len(bad) == 1
        assert servers.pings == 1


class Work:
    """A runner with one engine, and what it publishes through."""

    def __init__(self, engine: FakeEngine, publisher: FakePublisher | None = None) -> None:
        self.stop = threading.Event()
        self.engine = engine
        self.publisher = publisher or FakePublisher()
        self.outbox = Outbox(self.publisher, REGISTRY, 2)  # type: ignore[arg-type]
        self.counters = Counters(("context",))
        self.runner = Runner(
            ProcessSettings("worker", CHAIN, AmqpSettings(), StoreSettings()),
            REGISTRY,
            pipeline=Pipeline([Stage(engine, "events", (), ("alarm",))]),
            db=DB,
            counters=self.counters,
            health=Health(),
            stop=self.stop,
        )

    def handle(self, *components: str) -> Any:
        body = b"[" + b",".join(encode(check(name)) for name in components) + b"]"
        taken = self.runner.intake.take([delivery("Engine_context.00", body)])
        return self.runner.handle(taken, self.outbox, nothing)


def writing(batch: Batch, ctx: Context) -> Effects:
    effects = forward(batch, ctx)
    effects.write = dict(WRITES)
    return effects


class TestRunner:
    def test_written_before_published(self, servers: Servers) -> None:
        work = Work(FakeEngine("context", writing))
        order: list[str] = []
        servers.write.refuse = lambda _op: order.append("write")  # type: ignore[func-returns-value]
        send = work.publisher.send
        work.publisher.send = lambda *a, **k: (order.append("send"), send(*a, **k))[0]  # type: ignore[assignment,func-returns-value]
        outcome = work.handle("a")
        assert order == ["write", "write", "send"]
        assert outcome.tallies["context"].incoming == 1

    def test_nothing_is_published_when_the_write_is_fenced(self, servers: Servers) -> None:
        servers.fail(FakeWrite(Fenced("missed")))
        work = Work(
            FakeEngine("context", lambda batch, _ctx: Effects(forward=list(batch.events), write={"alarms": [ALARM]}))
        )
        with pytest.raises(Fenced):
            work.handle("a")
        assert work.publisher.sent == []

    def test_a_stop_while_the_database_is_away_leaves_the_batch_to_others(self, servers: Servers) -> None:
        servers.fail(FakeWrite(StoreError("away")))
        work = Work(FakeEngine("context", writing))
        work.stop.set()
        assert work.handle("a") is None
        assert work.publisher.sent == []

    def test_an_engine_that_cannot_read_is_asked_again_with_a_clean_memory(self, servers: Servers) -> None:
        failures = iter([StoreError("away"), StoreError("away")])

        def act(batch: Batch, ctx: Context) -> Effects:
            for failure in failures:
                raise failure
            return forward(batch, ctx)

        work = Work(FakeEngine("context", act))
        assert work.handle("a") is not None
        assert len(work.engine.batches) == 3
        assert work.engine.forgotten == [None, None]
        assert servers.pings == 2

    def test_dead_letters_are_written_with_the_rest(self, servers: Servers) -> None:
        def act(batch: Batch, _ctx: Context) -> Effects:
            return Effects(dead=[Dead(b"x", "bad") for _ in batch.events])

        Work(FakeEngine("context", act)).handle("a")
        (written,) = servers.write.applied
        assert [operation.document["reason"] for operation in written["dead_letters"]] == ["bad"]  # type: ignore[union-attr]

    @pytest.mark.usefixtures("servers")
    def test_what_engines_count_by_source_is_counted_once_acknowledged(self) -> None:
        def act(batch: Batch, ctx: Context) -> Effects:
            effects = forward(batch, ctx)
            for event in batch.events:
                effects.count(source_of(event), "late")
            return effects

        work = Work(FakeEngine("context", act))
        outcome = work.handle("a", "b")
        assert work.counters.sources.documents() == []
        work.runner.done(1, Taken(), outcome)
        assert work.counters.sources.documents() == [{"source": "c/n", "late": 2}]

    def test_a_document_that_cannot_be_written_throws_memory_away(self, servers: Servers) -> None:
        servers.write.refuse = lambda op: ValueError("no") if op.document["_id"] == 2 else None
        work = Work(FakeEngine("context", writing))
        assert work.handle("a") is not None
        assert work.engine.forgotten == [None]
        assert "dead_letters" in servers.write.applied[-1]

    def test_a_lost_broker_comes_out(self, servers: Servers) -> None:
        work = Work(FakeEngine("context"), FakePublisher(TransportError("lost")))
        with pytest.raises(TransportError):
            work.handle("a")
        assert servers.write.tries == 0, "nothing to write, nothing is asked of the database"

    def test_the_fence_of_a_partition_is_taken_once_and_again_after_it_was_lost(self, servers: Servers) -> None:
        work = Work(FakeEngine("context"))
        for _ in range(2):
            work.handle("a")
        work.runner.fenced(Fenced("missed"))
        work.handle("a")
        assert [claim.names for claim in servers.taken] == [("worker:00",)] * 2
        assert len({claim.holder for claim in servers.taken}) == 1

    def test_fenced_forgets_and_waits_longer_each_time(self) -> None:
        work = Work(FakeEngine("context"))
        began = time.monotonic()
        for _ in range(2):
            work.runner.fenced(Fenced("missed"))
        assert work.engine.forgotten == [None, None]
        assert time.monotonic() - began >= 0.3

    @pytest.mark.usefixtures("servers")
    def test_counted_when_done(self) -> None:
        work = Work(FakeEngine("context"))
        came = [delivery("Engine_context.00", b"[" + encode(check("a")) + b"]")]
        taken = work.runner.intake.take(came)
        outcome = work.runner.handle(taken, work.outbox, nothing)
        assert outcome is not None
        assert work.counters.documents()["context"]["in"] == 0
        work.runner.done(1, taken, outcome)
        assert work.counters.documents()["context"]["in"] == 1

    def test_partitions_change_hands_between_batches(self) -> None:
        work, consumer = Work(FakeEngine("context")), FakeConsumer()
        assert work.runner.hold(consumer, frozenset({0, 1})) is True  # type: ignore[arg-type]
        assert work.runner.hold(consumer, frozenset({0, 1})) is False  # type: ignore[arg-type]
        assert work.runner.hold(consumer, frozenset({1})) is True  # type: ignore[arg-type]
        assert consumer.said == ["+Engine_context.00", "+Engine_context.01", "-Engine_context.00"]
        assert work.engine.forgotten == [frozenset({0, 1}), frozenset({0})]
        assert work.runner.partitions == frozenset({1})

    def test_what_is_lost_is_forgotten_before_it_may_come_back(self) -> None:
        work, consumer = Work(FakeEngine("context")), FakeConsumer()
        for wanted in ({0}, set(), {0}):
            work.runner.hold(consumer, frozenset(wanted))  # type: ignore[arg-type]
        assert work.engine.forgotten == [frozenset({0})] * 3

    def test_without_a_broker_it_waits_until_the_stop(self, monkeypatch: pytest.MonkeyPatch) -> None:
        work = Work(FakeEngine("context"))
        monkeypatch.setattr(runner, "connect_for_ever", lambda *_: work.stop.set())
        work.runner.run(Lease(DB, WHO, 2, dict))
        assert work.runner.partitions == frozenset()


class FakeConsumer:
    """Notes what is subscribed to."""

    def __init__(self) -> None:
        self.said: list[str] = []

    def add(self, queue: str, _prefetch: int | None = None) -> None:
        self.said.append(f"+{queue}")

    def remove(self, queue: str) -> None:
        self.said.append(f"-{queue}")


class TestContext:
    def test_new_ids_are_new(self) -> None:
        ctx = StoreContext(DB)
        assert ctx.new_id() != ctx.new_id()
        assert abs(ctx.now - time.time()) < 5

    def test_a_function_of_the_store_is_asked_of_the_database(self) -> None:
        assert StoreContext(DB, NOW).ask(lambda db, *args, **more: (db, args, more), 1, two=2) == (DB, (1,), {"two": 2})


class TestProcess:
    def test_engines_are_made_of_their_options(self) -> None:
        settings = ProcessSettings("worker", CHAIN, AmqpSettings(), StoreSettings())
        engines = process.make_engines(settings, REGISTRY)
        assert {name: takes for name, (_, takes) in engines.items()} == {"context": "events"}

    def test_the_collector_of_garbage_is_spared_and_still_collects(self) -> None:
        before = gc.get_threshold()
        try:
            process._spare_the_collector()
            assert gc.isenabled()
            assert gc.get_threshold()[0] > before[0]
            assert gc.get_freeze_count() > 0
        finally:
            gc.unfreeze()
            gc.set_threshold(*before)

    def test_a_process_that_does_not_finish_is_ended(self) -> None:
        """What holds it up (a server that says nothing) is not waited for; nothing of it was acknowledged."""
        code = """
import logging, signal, threading
from canopsis.runtime import process
logging.basicConfig()
process.DRAIN_SECONDS = 0.1
signal.pthread_sigmask(signal.SIG_BLOCK, process._STOPPING)
threading.Thread(target=process._await_signal, args=(threading.Event(),), daemon=True).start()
print("up", flush=True)
threading.Event().wait()
"""
        with subprocess.Popen([sys.executable, "-c", code], stdout=PIPE, stderr=PIPE, text=True) as running:
            assert running.stdout is not None
            assert running.stdout.readline() == "up\n"
            running.terminate()
            _, said = running.communicate(timeout=60)
        assert running.returncode == 0
        assert "not finished within 0.1 s: what is not acknowledged goes back to the queues" in said

    def test_a_process_stopped_before_the_database_answers_ends(self, monkeypatch: pytest.MonkeyPatch) -> None:
        stop = threading.Event()

        def away(_db: object) -> int:
            stop.set()
            raise StoreError("away")

        monkeypatch.setattr(process.migrations, "version", away)
        settings = ProcessSettings("worker", CHAIN, AmqpSettings(), StoreSettings())
        process.Process(settings, REGISTRY, DB, stop, "host1").run()
        assert stop.is_set()
