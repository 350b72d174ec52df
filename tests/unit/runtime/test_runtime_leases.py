"""Leases and beats, over handed-in servers: what instances tell each other, and what is left when they end."""

from __future__ import annotations

import threading
import time
from typing import Any

import pytest
from runtime_fakes import FakeEngine, FakePublishing, Servers

from canopsis.core.normalise import decode, normalise
from canopsis.errors import StoreError, TransportError
from canopsis.runtime import sharing
from canopsis.runtime.beat import RETRY_SECONDS, RULES_SECONDS, Beating, Beats
from canopsis.runtime.contract import Context, Dead, Effects, Outgoing
from canopsis.runtime.counters import Counters, Tally
from canopsis.runtime.sharing import Instance, Lease
from canopsis.store import rules
from canopsis.store.operations import Insert, Writes
from canopsis.store.rules import RuleCount

DB: Any = object()
WRITES: Writes = {"things": [Insert({"_id": 1}), Insert({"_id": 2})]}
WHO = Instance("worker", "host1", 1)


class FakeLeases:
    """``canopsis.store.leases`` in memory."""

    def __init__(self) -> None:
        self.living: list[str] = []
        self.said: list[Any] = []
        self.begun = 0
        self.free = True
        self.away = False

    def announce(self, _db: object, process: str, host: str, number: int, facts: Any) -> None:
        if self.away:
            raise StoreError("away")
        self.said.append(facts)
        self.living.append(f"instance:{process}:{host}:{number}")

    def begin(self, _db: object, *_who: Any) -> None:
        if self.away:
            raise StoreError("away")
        self.begun += 1

    def fail(self, _db: object, *who: Any) -> None:
        self.said.append(("fail", *who))

    def instances(self, _db: object, _age: float, _process: str) -> list[dict[str, str]]:
        return [{"_id": name} for name in sorted(set(self.living))]

    def withdraw(self, _db: object, *who: Any) -> None:
        if self.away:
            raise StoreError("away")
        self.said.append(("withdraw", *who))

    def forget_dead(self, _db: object, _age: float) -> int:
        return 0

    def take_beat(self, _db: object, engine: str, holder: str, seconds: float) -> bool:
        self.said.append((engine, holder, seconds))
        return self.free

    def release_beat(self, _db: object, engine: str, holder: str) -> None:
        if self.away:
            raise StoreError("away")
        self.said.append(("release", engine, holder))


@pytest.fixture
def leases(monkeypatch: pytest.MonkeyPatch) -> FakeLeases:
    fake = FakeLeases()
    for name in ("announce", "instances", "withdraw", "forget_dead", "take_beat", "release_beat", "begin", "fail"):
        monkeypatch.setattr(sharing.leases, name, getattr(fake, name))
    return fake


class TestLease:
    def test_alone_it_wants_every_partition(self, leases: FakeLeases) -> None:
        lease = Lease(DB, WHO, 8, lambda: {"pid": 1})
        lease.announce()
        assert lease.wanted == frozenset(range(8))
        assert leases.said == [{"pid": 1}]

    def test_together_they_share(self, leases: FakeLeases) -> None:
        both = [Lease(DB, Instance("worker", "host1", number), 8, dict) for number in (1, 2)]
        for _ in range(2):
            for lease in both:
                lease.announce()
        assert both[0].wanted | both[1].wanted == frozenset(range(8))
        assert len(both[0].wanted) == len(both[1].wanted) == 4
        assert len(leases.said) == 4

    def test_a_process_without_partitions_wants_none(self, leases: FakeLeases) -> None:
        lease = Lease(DB, WHO, 0, dict)
        lease.announce()
        assert lease.wanted == frozenset()
        assert leases.living == [WHO.id]

    def test_the_thread_announces_and_the_end_withdraws(
        self, leases: FakeLeases, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(sharing, "ANNOUNCE_SECONDS", 3600.0)
        announced = threading.Event()

        def facts() -> dict[str, Any]:
            announced.set()
            return {}

        lease = Lease(DB, WHO, 2, facts)
        lease.start()
        assert announced.wait(20)
        announced.clear()
        lease.hurry()
        assert announced.wait(20), "hurry does not wait for the next turn"
        lease.end()
        assert leases.said[-1] == ("withdraw", "worker", "host1", 1)
        assert leases.said.count(leases.said[-1]) == 1

    def test_an_announcement_later_than_the_end_is_withdrawn(
        self, leases: FakeLeases, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(sharing, "ANNOUNCE_SECONDS", 0.05)
        begun, answer = threading.Event(), threading.Event()

        def facts() -> dict[str, Any]:
            begun.set()
            assert answer.wait(20)
            return {"late": True}

        lease = Lease(DB, WHO, 2, facts)
        lease.start()
        assert begun.wait(20)
        lease.end()
        answer.set()
        lease._thread.join(20)
        gone = ("withdraw", "worker", "host1", 1)
        assert leases.said == [gone, {"late": True}, gone]

    def test_without_a_database_what_is_held_stays_held(self, leases: FakeLeases) -> None:
        lease = Lease(DB, WHO, 2, dict)
        lease.announce()
        leases.away = True
        with pytest.raises(StoreError):
            lease.announce()
        assert lease.wanted == frozenset({0, 1})
        lease.end()


def beats(publishing: FakePublishing, *engines: FakeEngine, interval: float = 60.0) -> Beats:
    counters = Counters(tuple(engine.name for engine in engines))
    counters.add({engines[0].name: Tally(10, 10)})
    beating = [Beating(engine, interval, lambda: ["q1", "q2"]) for engine in engines]
    return Beats(DB, publishing, WHO, counters, beating)  # type: ignore[arg-type]


def _refuse(_messages: object) -> None:
    raise TransportError("away")


@pytest.mark.usefixtures("servers", "leases")
class TestBeats:
    def test_each_engine_tells_its_metrics_and_is_beaten(self, servers: Servers, leases: FakeLeases) -> None:
        publishing, engine = FakePublishing(), FakeEngine("alarm")
        publishing.depths = {"q1": 3, "q2": 4}
        beats(publishing, engine).turn(time.monotonic() + 100)
        (message,) = publishing.published
        (event,) = decode(message.body)
        assert (message.exchange, event["resource"], event["component"]) == ("canopsis.events", "Engine_alarm", "host1")
        values = {item["metric"]: item["value"] for item in event["perf_data_array"]}
        assert (values["cps_queue_depth"], values["cps_in"]) == (7, 10)
        assert engine.beaten == 1
        assert set(leases.said) == {("alarm", WHO.id, 120.0)}
        assert servers.write.tries == 2, "what the beat wants, and what of it could not be written"

    def test_what_was_counted_of_a_source_is_told_once_and_again_when_it_changes(self) -> None:
        publishing, engine = FakePublishing(), FakeEngine("alarm")
        made, now = beats(publishing, engine), time.monotonic() + 100
        made._counters.sources.add({("nagios/n1", "late"): 2, ("nagios/n1", "repeated"): 1})

        def told() -> list[tuple[str, dict[str, float]]]:
            events = [event for message in publishing.published for event in decode(message.body)]
            publishing.published.clear()
            assert all(normalise(event, time.time()).warnings == [] for event in events)
            return [
                (event["resource"], {item["metric"]: item["value"] for item in event["perf_data_array"]})
                for event in events
                if event["resource"].startswith("source ")
            ]

        made.turn(now)
        assert told() == [("source nagios/n1", {"cps_late": 2.0, "cps_repeated": 1.0})]
        made.turn(now + 60)
        assert told() == []
        made._counters.sources.add({("nagios/n1", "late"): 1})
        made.turn(now + 120)
        assert told() == [("source nagios/n1", {"cps_late": 3.0, "cps_repeated": 1.0})]

    def test_what_rules_did_is_written_and_kept_while_it_cannot_be(self, monkeypatch: pytest.MonkeyPatch) -> None:
        made, now, written = beats(FakePublishing(), FakeEngine("alarm")), time.monotonic(), []

        def count(_db: object, counts: Any) -> None:
            if not written:
                written.append("refused")
                raise StoreError("away")
            written.append({name: each.matched for name, each in counts.items()})

        monkeypatch.setattr(rules, "count", count)
        made._counters.rules.add({("event-filter", "a"): RuleCount(2)})
        made.turn(now)
        made._counters.rules.add({("event-filter", "a"): RuleCount(3)})
        for later in (RULES_SECONDS, 2 * RULES_SECONDS):
            made.turn(now + later)
        assert written == ["refused", {("event-filter", "a"): 5}, {}]

    def test_counts_of_a_source_are_told_again_when_the_broker_did_not_take_them(self) -> None:
        made, now = beats(FakePublishing(), FakeEngine("alarm")), time.monotonic() + 100
        made._counters.sources.add({("nagios/n1", "late"): 2})
        away = FakePublishing()
        away.publish = _refuse  # type: ignore[method-assign, assignment]
        made._publishing = away  # type: ignore[assignment]
        made.turn(now)
        publishing = FakePublishing()
        made._publishing = publishing  # type: ignore[assignment]
        made.turn(now + 60)
        assert [decode(message.body)[0]["resource"] for message in publishing.published][-1:] == ["source nagios/n1"]

    def test_nothing_before_it_is_due(self) -> None:
        publishing, engine = FakePublishing(), FakeEngine("alarm")
        made = beats(publishing, engine)
        now = time.monotonic() + 100
        made.turn(now)
        made.turn(now + 59)
        assert engine.beaten == 1
        made.turn(now + 60)
        assert engine.beaten == 2

    def test_one_instance_at_a_time_is_beaten_but_each_tells_its_metrics(
        self, servers: Servers, leases: FakeLeases
    ) -> None:
        leases.free = False
        publishing, engine = FakePublishing(), FakeEngine("alarm")
        beats(publishing, engine).turn(time.monotonic() + 100)
        assert len(publishing.published) == 1
        assert engine.beaten == 0
        assert servers.write.tries == 0

    def test_effects_of_a_beat_are_carried_out(self, servers: Servers) -> None:
        sent = Outgoing("canopsis.events", "k", b"{}")
        engine = FakeEngine("alarm", beats=[Effects(write=dict(WRITES), publish=[sent], dead=[Dead(b"x", "r")])])
        publishing = FakePublishing()
        beats(publishing, engine).turn(time.monotonic() + 100)
        written = servers.write.applied[0]
        assert list(written) == ["dead_letters", "things"], "the letter first: it may be of what is deleted"
        assert publishing.published[-1] == sent

    def test_a_beat_with_more_to_do_is_asked_again_at_once(self) -> None:
        engine = FakeEngine("alarm", beats=[Effects(more=True), Effects(more=True), Effects()])
        beats(FakePublishing(), engine).turn(time.monotonic() + 100)
        assert engine.beaten == 3

    def test_a_bug_in_a_beat_does_not_end_the_others(self, caplog: pytest.LogCaptureFixture) -> None:
        second = threading.Event()

        class Broken(FakeEngine):
            def beat(self, now: float, ctx: Context) -> Effects:
                if self.beaten:
                    second.set()
                super().beat(now, ctx)
                raise ZeroDivisionError("a bug")

        made = beats(FakePublishing(), Broken("alarm"), interval=0.05)
        made.start()
        assert second.wait(20)
        made.end()
        assert "the beat of alarm failed" in caplog.text

    def test_a_beat_that_fails_stops_no_other_and_is_told_until_it_works(
        self, caplog: pytest.LogCaptureFixture
    ) -> None:
        class Broken(FakeEngine):
            def beat(self, now: float, ctx: Context) -> Effects:
                super().beat(now, ctx)
                if self.beaten < 3:
                    raise StoreError("the document is too large")
                return Effects()

        broken, other = Broken("alarm"), FakeEngine("context")
        made, now = beats(FakePublishing(), broken, other), time.monotonic() + 100
        for turn in range(2):
            made.turn(now + 60 * turn)
            assert made.failures() == {"alarm": "the document is too large"}
        assert (broken.beaten, other.beaten) == (2, 2)
        made.turn(now + 120)
        assert made.failures() == {}
        told = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
        assert told == ["the beat of alarm fails: the document is too large", "the beat of alarm works again"]

    def test_what_the_broker_did_not_take_is_sent_again_before_the_next_beat(self) -> None:
        sent = Outgoing("canopsis.events", "k", b"{}")
        engine = FakeEngine("alarm", beats=[Effects(write=dict(WRITES), publish=[sent])])
        made, now = beats(FakePublishing(), engine), time.monotonic() + 100
        away, back = FakePublishing(), FakePublishing()
        away.publish = _refuse  # type: ignore[method-assign, assignment]
        made._publishing = away  # type: ignore[assignment]
        made.turn(now)
        made.turn(now + RETRY_SECONDS)
        made._publishing = back  # type: ignore[assignment]
        made.turn(now + RETRY_SECONDS + 1)
        assert back.published == [], "not yet"
        made.turn(now + 2 * RETRY_SECONDS)
        assert (back.published, engine.beaten, made.failures()) == ([sent], 1, {})

    @pytest.mark.parametrize(("renewals", "done"), [(1, (0, 0)), (2, (1, 0)), (3, (1, 1))])
    def test_a_beat_that_lost_its_lease_writes_and_sends_no_more(
        self, servers: Servers, monkeypatch: pytest.MonkeyPatch, renewals: int, done: tuple[int, int]
    ) -> None:
        answers = iter([True] * renewals)
        monkeypatch.setattr(sharing.leases, "take_beat", lambda *_who: next(answers, False))
        sent = Outgoing("canopsis.events", "k", b"{}")
        effects = Effects(write=dict(WRITES), publish=[sent], more=True)
        engine, publishing = FakeEngine("alarm", beats=[effects, effects]), FakePublishing()
        made, now = beats(publishing, engine), time.monotonic() + 100
        made.turn(now)
        made.turn(now + 2 * RETRY_SECONDS)
        written = sum(1 for each in servers.write.applied if each)
        assert (written, publishing.published.count(sent)) == done

    def test_an_engine_without_a_beat_tells_its_metrics_and_takes_no_lease(self, leases: FakeLeases) -> None:
        publishing, engine = FakePublishing(), FakeEngine("alarm")
        made = beats(publishing, engine)
        made._beatings[0].beats = False
        made.turn(time.monotonic() + 100)
        assert (len(publishing.published), engine.beaten, leases.said) == (1, 0, [])

    def test_a_lease_taken_later_than_the_end_is_given_back(
        self, leases: FakeLeases, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        made = beats(FakePublishing(), FakeEngine("alarm"))
        begun, answer = threading.Event(), threading.Event()

        def turn(_now: float) -> None:
            begun.set()
            assert answer.wait(20)
            leases.said.append("taken")

        monkeypatch.setattr(made, "turn", turn)
        made.start()
        assert begun.wait(20)
        with monkeypatch.context() as impatient:
            impatient.setattr(made._thread, "join", lambda _seconds: None)
            made.end()
        answer.set()
        made._thread.join(20)
        gone = ("release", "alarm", WHO.id)
        assert leases.said == [gone, "taken", gone]

    def test_the_end_gives_leases_back_and_closes(self, leases: FakeLeases) -> None:
        publishing = FakePublishing()
        beats(publishing, FakeEngine("alarm")).end()
        assert leases.said == [("release", "alarm", WHO.id)]
        assert publishing.closed
        leases.away = True
        beats(publishing, FakeEngine("alarm")).end()
