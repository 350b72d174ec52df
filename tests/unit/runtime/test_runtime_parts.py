"""Counters, letters, sharing, intake, outbox, health and self metrics: the small parts of a process."""

from __future__ import annotations

import logging
import threading
from decimal import Decimal
from typing import Any, get_args

import bson
import pytest
from hypothesis import given
from hypothesis import strategies as st
from runtime_fakes import NOW, FakePublisher, as_stored, check, delivery, message, registry_of

from canopsis import lines
from canopsis.core.entity import partition_of
from canopsis.core.envelope import Decision, Envelope, decode_batch
from canopsis.core.normalise import decode, normalise
from canopsis.errors import InputError
from canopsis.runtime import bysource, intake, letters
from canopsis.runtime.contract import Batch, Dead, Outgoing, encode
from canopsis.runtime.counters import Counters, Tally
from canopsis.runtime.health import Health
from canopsis.runtime.intake import BATCH_EVENTS, BATCH_MESSAGES, Intake, Pace
from canopsis.runtime.outbox import Outbox, by_partition
from canopsis.runtime.pipeline import Outcome
from canopsis.runtime.selfmetrics import METRICS, Metric, Reading, measured, perf_event
from canopsis.runtime.settings import ChainSettings, EngineSettings
from canopsis.runtime.sharing import Instance, share

REGISTRY = registry_of(cleaner_events="raw", context="events", alarm="events")
CHAIN = ChainSettings(
    (
        EngineSettings("cleaner_events", "cleaner", ("context",)),
        EngineSettings("context", "worker", ("alarm",)),
        EngineSettings("alarm", "worker"),
    ),
    partitions=4,
)


class TestCounters:
    def test_batches_add_up_by_engine(self) -> None:
        counters = Counters(("a", "b"))
        counters.add({"a": Tally(3, 1, 1, 1, 0.5)})
        counters.add({"a": Tally(2, 2, 0, 0, 0.25), "b": Tally(1, 0, 0, 1)})
        assert counters.documents() == {
            "a": {"in": 5, "forwarded": 3, "dropped": 1, "dead": 1, "seconds": 0.75},
            "b": {"in": 1, "forwarded": 0, "dropped": 0, "dead": 1, "seconds": 0.0},
        }

    def test_latency_is_the_longest_since_it_was_last_read(self) -> None:
        counters = Counters(("a",))
        for latency in (0.1, 0.7, 0.2):
            counters.add({"a": Tally(latency=latency)})
        assert counters.read("a").latency == 0.7
        assert counters.read("a").latency == 0.0

    def test_a_reader_keeps_what_it_read(self) -> None:
        counters = Counters(("a",))
        before = counters.read("a")
        counters.add({"a": Tally(9)})
        assert before.incoming == 0

    def test_readers_never_see_half_a_batch(self) -> None:
        counters, stop = Counters(("a",)), threading.Event()

        def write() -> None:
            while not stop.is_set():
                counters.add({"a": Tally(3, 1, 1, 1)})

        thread = threading.Thread(target=write)
        thread.start()
        try:
            for _ in range(2000):
                tally = counters.read("a")
                assert tally.incoming == tally.forwarded + tally.dropped + tally.dead
        finally:
            stop.set()
            thread.join()


class TestSourceCounts:
    def test_batches_add_up_by_source_and_kind(self) -> None:
        counts = bysource.SourceCounts()
        counts.add({("a/1", "late"): 2, ("b/1", "refused"): 1})
        counts.add({("a/1", "late"): 1, ("a/1", "warnings"): 5})
        assert counts.documents() == [{"source": "a/1", "late": 3, "warnings": 5}, {"source": "b/1", "refused": 1}]

    def test_sources_beyond_the_limit_are_counted_together(self) -> None:
        counts = bysource.SourceCounts()
        for number in range(bysource.MOST_SOURCES + 7):
            counts.add({(f"c/{number}", "refused"): 1})
        found = counts.untold()
        assert len(found) == bysource.MOST_SOURCES + 1
        assert found[bysource.OTHER] == {"refused": 7}
        assert len(counts.documents()) == bysource.SHOWN
        assert counts.documents()[0] == {"source": bysource.OTHER, "refused": 7}

    @pytest.mark.parametrize(
        ("raw", "name"),
        [
            ({"connector": "c", "connector_name": "n"}, "c/n"),
            ({"connector": "c"}, bysource.UNKNOWN),
            ({"connector": ["c"], "connector_name": "n"}, bysource.UNKNOWN),
            ({"connector": "é" * 200, "connector_name": "n"}, "é" * 58 + "…"),
        ],
    )
    def test_a_source_has_a_name_of_few_bytes(self, raw: dict[str, Any], name: str) -> None:
        assert bysource.source_of_raw(raw) == name

    def test_events_and_refused_ones_are_counted_under_one_name(self) -> None:
        event = check("a")
        raw = {"connector": event.connector, "connector_name": event.connector_name}
        assert bysource.source_of(event) == bysource.source_of_raw(raw)


class TestLetters:
    def one(self, dead: Dead, engine: str = "cleaner_events") -> dict[str, Any]:
        (operation,) = letters.letters([(engine, dead)], NOW)["dead_letters"]
        document = as_stored(operation)
        assert bson.encode(document)
        return document

    def test_a_letter_keeps_bytes_reason_and_origin(self) -> None:
        raw = message(b"\xff", message_id="m", content_type="text/x", headers={"h": 1}, received=NOW - 9)
        document = self.one(Dead.of(raw, "not JSON", "body"))
        assert document["body"] == b"\xff"
        assert (document["reason"], document["field"], document["engine"]) == ("not JSON", "body", "cleaner_events")
        assert (document["exchange"], document["routing_key"]) == ("canopsis.events", "a.key")
        assert (document["content_type"], document["message_id"], document["headers"]) == ("text/x", "m", {"h": 1})
        assert document["received"].timestamp() == NOW - 9

    def test_without_a_stamp_it_was_received_now(self) -> None:
        assert self.one(Dead.of(message(b"x"), "r"))["received"].timestamp() == NOW

    def test_the_same_message_makes_the_same_letter(self) -> None:
        raw = message(b"x", message_id="m")
        assert self.one(Dead.of(raw, "r"))["_id"] == self.one(Dead.of(raw, "r"))["_id"]

    @pytest.mark.parametrize(
        ("raw", "index", "engine"),
        [
            (message(b"x", message_id="other"), 0, "cleaner_events"),
            (message(b"y", message_id="m"), 0, "cleaner_events"),
            (message(b"x", message_id="m"), 1, "cleaner_events"),
            (message(b"x", message_id="m"), 0, "alarm"),
        ],
    )
    def test_another_message_makes_another_letter(self, raw: Any, index: int, engine: str) -> None:
        first = self.one(Dead.of(message(b"x", message_id="m"), "r"))
        assert self.one(Dead.of(raw, "r", index=index), engine)["_id"] != first["_id"]

    def test_without_anything_stable_each_letter_is_its_own(self) -> None:
        assert self.one(Dead(b"x", "r"))["_id"] != self.one(Dead(b"x", "r"))["_id"]

    def test_same_letters_of_one_batch_are_one_write(self) -> None:
        dead = Dead(b"x", "r", key="k")
        assert len(letters.letters([("a", dead), ("a", dead)], NOW)["dead_letters"]) == 1
        assert letters.letters([], NOW) == {}

    def test_headers_that_bson_cannot_hold_are_kept_as_text(self) -> None:
        document = self.one(Dead.of(message(b"x", headers={"d": Decimal("1.5"), "n\0": 1, "big": 1 << 70}), "r"))
        assert document["headers"]["d"] == "Decimal('1.5')"
        assert document["headers"]["n\\0"] == 1
        assert document["headers"]["big"] == str(1 << 70)

    def test_a_huge_body_is_cut_and_says_so(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(letters, "KEPT_BYTES", 3)
        document = self.one(Dead(b"12345", "r" * 9000))
        assert (document["body"], document["cut_from_bytes"], len(document["reason"])) == (b"123", 5, 4096)


NAMES = st.lists(st.text(min_size=1, max_size=8), min_size=1, max_size=6, unique=True)


class TestSharing:
    @given(NAMES, st.integers(1, 40))
    def test_every_partition_has_one_holder_and_shares_are_even(self, names: list[str], partitions: int) -> None:
        shares = [share(partitions, names, name) for name in names]
        assert sorted(number for held in shares for number in held) == list(range(partitions))
        assert max(map(len, shares)) <= -(-partitions // len(names))

    @given(NAMES, st.integers(1, 40), st.randoms())
    def test_the_order_of_names_does_not_matter(self, names: list[str], partitions: int, random: Any) -> None:
        before = share(partitions, names, names[0])
        shuffled = list(names)
        random.shuffle(shuffled)
        assert share(partitions, shuffled, names[0]) == before

    def test_few_partitions_move_when_one_comes(self) -> None:
        names = [f"instance:worker:host{number}:1" for number in range(4)]
        before = {number: name for name in names[:3] for number in share(64, names[:3], name)}
        after = {number: name for name in names for number in share(64, names, name)}
        moved = sum(before[number] != after[number] for number in before)
        assert 16 <= moved <= 40

    def test_one_instance_has_all(self) -> None:
        assert share(8, ["me"], "me") == frozenset(range(8))

    def test_an_instance_is_named_by_process_host_and_number(self) -> None:
        assert Instance("worker", "h", 2).id == "instance:worker:h:2"


class TestIntake:
    def test_pace_learns_how_many_messages_make_a_batch(self) -> None:
        pace = Pace()
        assert pace.messages() == BATCH_MESSAGES
        for _ in range(20):
            pace.learn(10, 10 * 500)
        assert pace.messages() == BATCH_EVENTS // 500
        for _ in range(20):
            pace.learn(10, 10)
        assert pace.messages() == BATCH_MESSAGES
        pace.learn(0, 0)
        assert pace.messages() == BATCH_MESSAGES

    def test_huge_messages_are_taken_one_by_one(self) -> None:
        pace = Pace()
        for _ in range(30):
            pace.learn(1, 100_000)
        assert pace.messages() == 1

    def test_queues_of_a_process(self) -> None:
        cleaner, worker = Intake(CHAIN, "cleaner", REGISTRY), Intake(CHAIN, "worker", REGISTRY)
        assert (cleaner.shared_partitions, worker.shared_partitions) == (0, 4)
        assert cleaner.queues("cleaner_events", ()) == ["Engine_cleaner_events"]
        assert worker.queues("context", {3, 1}) == ["Engine_context.01", "Engine_context.03"]
        assert worker.queues("alarm", {1}) == []

    def test_messages_between_engines_are_decoded(self) -> None:
        body = b"[" + encode(check("a")) + b"," + encode(check("b")) + b"]"
        taken = Intake(CHAIN, "worker", REGISTRY).take([delivery("Engine_context.02", body)])
        assert [event.component for event in taken.batches["context"].events] == ["a", "b"]
        assert taken.batches["context"].raw == ()

    def test_what_is_known_of_an_event_reaches_the_next_process(self) -> None:
        known, publisher = Envelope(), FakePublisher()
        known.note(check("a"), Decision("event_filter", "enriched"))
        outcome = Outcome(hops={"context": [check("a"), check("b")]}, envelope=known)
        Outbox(publisher, REGISTRY, 1).publish(outcome)  # type: ignore[arg-type]
        taken = Intake(CHAIN, "worker", REGISTRY).take([delivery("Engine_context.00", publisher.sent[0][2])])
        assert taken.batches["context"] == Batch([check("a"), check("b")], envelope=known)

    def test_messages_from_outside_stay_as_they_are(self) -> None:
        came = [delivery("Engine_cleaner_events", b"anything"), delivery("Engine_cleaner_events", b"else", 2)]
        taken = Intake(CHAIN, "cleaner", REGISTRY).take(came)
        assert list(taken.batches["cleaner_events"].raw) == came

    def test_a_body_that_is_no_batch_is_refused_and_counted(self) -> None:
        taken = Intake(CHAIN, "worker", REGISTRY).take([delivery("Engine_context.00", b"nonsense")])
        outcome = Outcome()
        taken.count_in(outcome)
        assert [(engine, dead.body) for engine, dead in outcome.dead] == [("context", b"nonsense")]
        assert (outcome.tallies["context"].incoming, outcome.tallies["context"].dead) == (1, 1)

    def test_latency_is_that_of_the_oldest_message(self) -> None:
        taken = intake.Taken(oldest={"context": NOW - 2.5})
        outcome = Outcome(tallies={"context": Tally(10)})
        taken.time_in(outcome, NOW)
        assert outcome.tallies["context"].latency == 2.5
        assert taken.incoming(outcome) == 10

    def test_a_clock_that_went_back_makes_no_negative_latency(self) -> None:
        taken, outcome = intake.Taken(oldest={"context": NOW + 5}), Outcome()
        taken.time_in(outcome, NOW)
        assert outcome.tallies["context"].latency == 0.0


class TestOutbox:
    def test_events_go_to_the_queue_of_their_partition_in_order(self) -> None:
        publisher = FakePublisher()
        events = [check(f"c{number % 5}", event_id=str(number)) for number in range(20)]
        assert Outbox(publisher, REGISTRY, 4).publish(Outcome(hops={"context": events})) == []  # type: ignore[arg-type]
        seen = []
        for exchange, key, body, mandatory in publisher.sent:
            assert (exchange, mandatory) == ("", True)
            for event in decode_batch(body):
                assert key == f"Engine_context.0{partition_of(event.entity_id, 4)}"
                seen.append(event)
        for name in {event.entity_id for event in events}:
            ids = [event.event_id for event in seen if event.entity_id == name]
            assert ids == [event.event_id for event in events if event.entity_id == name]
        assert len(seen) == 20
        assert publisher.flushes == 1

    def test_a_raw_engine_of_another_process_has_one_queue(self) -> None:
        publisher = FakePublisher()
        Outbox(publisher, REGISTRY, 4).publish(Outcome(hops={"cleaner_events": [check("a")]}))  # type: ignore[arg-type]
        ((exchange, key, body, _),) = publisher.sent
        assert (exchange, key) == ("", "Engine_cleaner_events")
        assert decode(body)[0]["component"] == "a"

    def test_alerts_need_no_subscriber_and_events_need_the_chain(self) -> None:
        publisher = FakePublisher()
        sent = [Outgoing("canopsis.alerts", "k", b"{}"), Outgoing("canopsis.events", "k", b"{}")]
        Outbox(publisher, REGISTRY, 4).publish(Outcome(publish=sent))  # type: ignore[arg-type]
        assert [mandatory for *_, mandatory in publisher.sent] == [False, True]

    def test_nothing_to_say_waits_for_nothing(self) -> None:
        publisher = FakePublisher()
        Outbox(publisher, REGISTRY, 4).publish(Outcome())  # type: ignore[arg-type]
        assert publisher.flushes == 0

    def test_what_cannot_travel_is_a_dead_letter(self) -> None:
        publisher = FakePublisher(InputError("routing_key", "long", "255 bytes"))
        sent = [Outgoing("canopsis.alerts", "long", b"{}"), Outgoing("canopsis.alerts", "short", b"{}")]
        ((who, dead),) = Outbox(publisher, REGISTRY, 4).publish(Outcome(publish=sent))  # type: ignore[arg-type]
        assert (who, dead.field, dead.origin.routing_key) == ("publisher", "routing_key", "long")
        assert [key for _, key, _, _ in publisher.sent] == ["short"]

    def test_partitions_without_events_get_no_message(self) -> None:
        parts = by_partition([check("a")], Envelope(), 8)
        assert sorted(map(len, parts)) == [0] * 7 + [1]


class TestHealth:
    def test_a_state_is_logged_once_when_it_changes(self, caplog: pytest.LogCaptureFixture) -> None:
        caplog.set_level(logging.INFO)
        health = Health()
        for state in ("running", "running", "waiting for the broker: a", "waiting for the broker: b", "running"):
            health.say(state)
        assert [record.message for record in caplog.records] == ["running", "waiting for the broker: a", "running"]
        assert health.state == "running"

    def test_long_reasons_are_cut(self) -> None:
        health = Health()
        health.say("waiting: " + "x" * 5000)
        assert len(health.state) == 300


class TestSelfMetrics:
    def test_every_metric_is_told(self) -> None:
        assert set(get_args(Metric)) == set(METRICS)
        values = measured(Reading(10.0, Tally()), Reading(20.0, Tally(50, 30, 15, 5, 2.5, 0.3)), 7)
        assert set(values) == set(METRICS)
        assert values["cps_evt_per_sec"] == 5.0
        assert values["cps_sec_per_evt"] == 0.05
        assert values["cps_queue_depth"] == 7.0
        assert (values["cps_in"], values["cps_forwarded"], values["cps_dropped"], values["cps_dead"]) == (50, 30, 15, 5)
        assert values["cps_latency"] == 0.3

    def test_rates_are_those_since_the_last_beat(self) -> None:
        values = measured(Reading(0.0, Tally(100, seconds=1.0)), Reading(2.0, Tally(110, seconds=1.5)), 0)
        assert (values["cps_evt_per_sec"], values["cps_sec_per_evt"]) == (5.0, 0.05)

    def test_an_idle_engine_has_figures_too(self) -> None:
        values = measured(Reading(5.0, Tally()), Reading(5.0, Tally()), 0)
        assert values["cps_evt_per_sec"] == values["cps_sec_per_evt"] == 0.0

    @pytest.mark.parametrize(("instance", "resource"), [(1, "Engine_alarm"), (2, "Engine_alarm-2")])
    def test_the_event_is_one_that_the_chain_takes(self, instance: int, resource: str) -> None:
        values = measured(Reading(0.0, Tally()), Reading(1.0, Tally(1)), 0)
        event = perf_event("alarm", "host1", instance, NOW, values)
        taken = normalise(decode(encode(event))[0], NOW)
        assert taken.entity_id == f"resource:host1/{resource}"
        assert {item.metric for item in taken.perf_data_array} == set(METRICS)


def test_d8_a_line_of_the_log_has_an_end() -> None:
    record = logging.makeLogRecord({"msg": "begin" + "x" * 1_000_000 + "the reason"})
    line = lines.Bounded("%(message)s").format(record)
    assert len(line) == lines.LONGEST
    assert line.startswith("begin")
    assert line.endswith("the reason")
    assert "(1000015 characters)" in line
