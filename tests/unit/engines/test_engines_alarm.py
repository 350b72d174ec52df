"""The alarm engine: memory, one guarded write an alarm a batch, alerts, and what a repeat does."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest
from engines_fakes import NOW, FakeContext, event
from hypothesis import given
from hypothesis import strategies as st
from msgspec import structs

from canopsis.core.alarm import Alarm, Step
from canopsis.core.change import alarm_id
from canopsis.core.entity import partition_of
from canopsis.core.event import Event
from canopsis.core.event_types.resolve import Resolve
from canopsis.core.normalise import decode, normalise
from canopsis.core.steps import KEPT, Segment, parts
from canopsis.engines import alarm as alarm_module
from canopsis.engines.alarm import AlarmEngine, AlarmOptions
from canopsis.errors import StoreError
from canopsis.runtime.contract import Batch, Effects, Outgoing
from canopsis.store.alarm_steps import segment_id
from canopsis.store.operations import Guarded, Insert, Merge, Operation

PARTITIONS = 8


def engine(**options: Any) -> AlarmEngine:
    return AlarmEngine(AlarmOptions(**options), PARTITIONS)


def check(state: int, at: float, name: str = "", component: str = "web", **fields: Any) -> Event:
    return event(component, state=state, timestamp=NOW - 1000 + at, event_id=name or f"{component}-{at:g}", **fields)


def ack(name: str, **fields: Any) -> Event:
    return event("web", event_type="ack", event_id=name, author="me", output="on it", **fields)


def writes(effects: Effects) -> list[Operation]:
    return effects.write.get("alarms", [])


def segments(effects: Effects) -> list[Segment]:
    inserts = [each.document for each in effects.write.get("alarm_steps", []) if isinstance(each, Insert)]
    return [
        msgspec.convert({"_id": segment_id(document["_id"], place), **found}, Segment)
        for document in inserts
        for place, found in enumerate(document["segments"])
    ]


def told(effects: Effects) -> list[dict[str, Any]]:
    assert all(message.exchange == "canopsis.alerts" for message in effects.publish)
    return [json.loads(message.body) for message in effects.publish]


class Database:
    """Takes the writes of the engine as MongoDB would, with its guards."""

    def __init__(self) -> None:
        self.documents: dict[str, dict[str, Any]] = {}
        self.segments: dict[str, Segment] = {}

    def apply(self, effects: Effects) -> None:
        self.segments |= {segment.id: segment for segment in segments(effects)}
        ids = [op.document["_id"] if isinstance(op, Insert | Merge) else op.id for op in writes(effects)]
        assert len(set(ids)) == len(ids), "one write an alarm a batch"
        for operation in sorted(writes(effects), key=lambda op: isinstance(op, Insert)):
            if isinstance(operation, Insert):
                self._insert(operation.document)
            else:
                assert isinstance(operation, Guarded)
                self._update(operation)

    def context(self) -> FakeContext:
        found = [msgspec.convert(document, Alarm) for document in self.documents.values() if document["open"]]
        ctx = FakeContext(alarms={alarm.entity_id: alarm for alarm in found}, segments=self.segments)
        ctx.ids = len(self.segments) * 1000
        return ctx

    def whole(self) -> dict[str, dict[str, Any]]:
        """Return all alarms with all their steps, however they are kept."""
        return {name: self._whole(document) for name, document in self.documents.items()}

    def _whole(self, document: dict[str, Any]) -> dict[str, Any]:
        steps, older = parts(msgspec.convert(document["steps"], list[Step]))[1], document["older"]
        while older:
            steps, older = self.segments[older].steps + steps, self.segments[older].older
        return document | {"steps": steps, "older": ""}

    def _insert(self, document: dict[str, Any]) -> None:
        if document["_id"] in self.documents:
            return
        others = [found for found in self.documents.values() if found["entity_id"] == document["entity_id"]]
        assert not (document["open"] and any(found["open"] for found in others)), "one open alarm an entity"
        self.documents[document["_id"]] = json.loads(json.dumps(document))

    def _update(self, operation: Guarded) -> None:
        document = self.documents[operation.id]
        document.update(operation.change.get("$set", {}))
        document["rev"] += 1


def test_quiet_check_writes_nothing_and_is_read_once() -> None:
    alarms, ctx = engine(), FakeContext()
    for at in range(3):
        effects = alarms.process(Batch([check(0, at)]), ctx)
        assert (effects.write, effects.publish, len(effects.forward)) == ({}, [], 1)
    assert ctx.reads == [("open_alarms", "component:web")]


def test_first_problem_is_inserted_and_told() -> None:
    effects = engine().process(Batch([check(2, 0, output="down")]), FakeContext())
    (insert,) = writes(effects)
    assert isinstance(insert, Insert)
    document = insert.document
    assert (document["state"], document["open"], document["rev"]) == (2, True, 1)
    assert [step["type"] for step in document["steps"]] == ["stateinc", "statusinc"]
    assert [alert["kind"] for alert in told(effects)] == ["opened"]
    assert effects.publish[0].routing_key == "nagios.central.check.component.web"


def test_repeat_of_an_open_alarm_writes_and_tells_nothing() -> None:
    alarms, ctx = engine(), FakeContext()
    alarms.process(Batch([check(2, 0)]), ctx)
    effects = alarms.process(Batch([check(2, 1), check(2, 2)]), ctx)
    assert (effects.write, effects.publish) == ({}, [])


def test_several_changes_of_a_batch_are_one_guarded_write() -> None:
    database, alarms = Database(), engine()
    database.apply(alarms.process(Batch([check(2, 0)]), database.context()))
    effects = alarms.process(Batch([check(1, 1), check(3, 2), check(0, 3)]), FakeContext())
    (update,) = writes(effects)
    assert isinstance(update, Guarded)
    counter, *fresh = update.change["$set"]["steps"]
    assert (counter["value"], len(fresh), update.change["$set"]["state"]) == (2, 4, 0)
    assert [alert["state"] for alert in told(effects)] == [1, 3, 0]
    database.apply(effects)
    later = alarms.process(Batch([check(2, 4)]), FakeContext())
    (second,) = writes(later)
    assert isinstance(second, Guarded)


def test_opened_and_changed_in_one_batch_is_one_insert() -> None:
    effects = engine().process(Batch([check(2, 0), check(1, 1)]), FakeContext())
    (insert,) = writes(effects)
    assert isinstance(insert, Insert)
    assert (insert.document["state"], insert.document["rev"]) == (1, 1)
    assert len(insert.document["steps"]) == 3


def test_replayed_event_is_told_again_and_not_written() -> None:
    alarms, ctx = engine(), FakeContext()
    first = alarms.process(Batch([check(2, 0)]), ctx)
    again = alarms.process(Batch([check(2, 0)]), ctx)
    assert again.write == {}
    assert told(again) == told(first)


def test_last_event_of_silent_repeats_goes_along_with_the_next_write() -> None:
    alarms, ctx = engine(), FakeContext()
    alarms.process(Batch([check(2, 0), check(2, 7)]), ctx)
    ack = event("web", event_type="ack", event_id="a", timestamp=NOW - 1000 + 8, author="me", output="on it")
    (update,) = writes(alarms.process(Batch([ack]), ctx))
    assert isinstance(update, Guarded)
    assert update.change["$set"]["last_event"] == NOW - 1000 + 7
    assert update.change["$set"]["ack"]["author"] == "me"


def test_resolved_and_opened_again_in_one_batch_are_two_alarms() -> None:
    database, alarms = Database(), engine(resolve_delay=10)
    database.apply(alarms.process(Batch([check(2, 0), check(0, 1)]), database.context()))
    resolve = event("web", event_type="resolve", timestamp=NOW - 1000 + 20, event_id="r")
    effects = alarms.process(Batch([resolve, check(2, 21)]), FakeContext())
    assert {type(operation) for operation in writes(effects)} == {Guarded, Insert}
    database.apply(effects)
    assert sorted(document["open"] for document in database.documents.values()) == [False, True]
    assert [alert["kind"] for alert in told(effects)] == ["resolved", "opened"]


def test_a_resolve_that_comes_again_is_told_again() -> None:
    database, alarms = Database(), engine(resolve_delay=10)
    database.apply(alarms.process(Batch([check(2, 0), check(0, 1)]), database.context()))
    resolve = event("web", event_type="resolve", timestamp=NOW - 1000 + 20, event_id="r")
    first = alarms.process(Batch([resolve]), FakeContext())
    database.apply(first)
    ctx = database.context()
    ctx.resolved = [msgspec.convert(document, Alarm) for document in database.documents.values()]
    again = engine(resolve_delay=10).process(Batch([resolve]), ctx)
    assert again.write == {}
    assert told(again) == told(first)
    other = event("web", event_type="resolve", timestamp=NOW - 1000 + 21, event_id="other")
    assert engine(resolve_delay=10).process(Batch([other]), ctx).publish == []


def test_perf_and_log_events_are_not_looked_at() -> None:
    ctx = FakeContext()
    events = [event("web", event_type=kind) for kind in ("perf", "log")]
    assert engine().process(Batch(events), ctx) == Effects(forward=events)
    assert ctx.reads == []


def test_one_read_for_all_unknown_entities_of_a_batch() -> None:
    ctx = FakeContext()
    engine().process(Batch([check(0, 0, component=name) for name in "cab"]), ctx)
    assert ctx.reads == [("open_alarms", "component:a", "component:b", "component:c")]


def test_lost_database_leaves_nothing_remembered() -> None:
    alarms, ctx = engine(), FakeContext(away=True)
    with pytest.raises(StoreError):
        alarms.process(Batch([check(2, 0)]), ctx)
    ctx.away = False
    assert len(writes(alarms.process(Batch([check(2, 0)]), ctx))) == 1


def test_forgets_a_partition_only() -> None:
    alarms, ctx = engine(), FakeContext()
    components = [f"c{number}" for number in range(30)]
    events = [check(0, 0, component=name) for name in components]
    alarms.process(Batch(events), ctx)
    alarms.forget(frozenset({3}))
    ctx.reads.clear()
    alarms.process(Batch(events), ctx)
    gone = sorted(f"component:{name}" for name in components if partition_of(f"component:{name}", PARTITIONS) == 3)
    assert ctx.reads == [("open_alarms", *gone)]
    alarms.forget(None)
    alarms.process(Batch(events), ctx)
    assert len(ctx.reads[-1]) == 31


def test_memory_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(alarm_module, "MOST_REMEMBERED", 2)
    alarms, ctx = engine(), FakeContext()
    for name in ("a", "b"):
        alarms.process(Batch([check(0, 0, component=name)]), ctx)
    alarms.process(Batch([check(0, 0, component="a"), check(0, 0, component="c")]), ctx)
    assert ctx.reads[-1] == ("open_alarms", "component:a", "component:c")


def test_beat_publishes_a_resolve_event_for_each_alarm_that_is_due() -> None:
    database = Database()
    disk = check(2, 0, resource="disk", source_type="resource")
    cured = check(0, 1, resource="disk", source_type="resource")
    database.apply(engine().process(Batch([check(2, 0), disk, check(0, 1), cured]), database.context()))
    ctx = FakeContext(due=list(database.context().alarms.values()))
    effects = engine(resolve_delay=30, cancel_resolve_delay=90).beat(NOW, ctx)
    assert ctx.reads == [("due_alarms", NOW), ("mistimed_alarms",)]
    assert effects.more is False
    events = [normalise(decode(message.body)[0], NOW) for message in effects.publish]
    assert all(isinstance(resolve, Resolve) for resolve in events)
    assert {resolve.entity_id for resolve in events} == {"component:web", "resource:web/disk"}
    assert {message.routing_key for message in effects.publish} == {
        "nagios.central.resolve.component.web",
        "nagios.central.resolve.resource.web.disk",
    }
    assert all(isinstance(message, Outgoing) and message.exchange == "canopsis.events" for message in effects.publish)


def test_a_beat_times_alarms_anew_once_after_a_start() -> None:
    """Delays are others now, or an engine of the release before has changed an alarm and not timed it."""
    database = Database()
    events = [check(state, state == 0, component=name) for name in ("web", "db", "disk") for state in (2, 0)]
    database.apply(engine(resolve_delay=5000).process(Batch(events), database.context()))
    known = database.context().alarms
    right = structs.replace(known["component:web"], wake_at=known["component:web"].updated + 9000)
    untimed = structs.replace(known["component:db"], wake_at=None)
    ctx = FakeContext(alarms={each.entity_id: each for each in (right, untimed, known["component:disk"])})
    worker = engine(resolve_delay=9000)
    woken = [normalise(decode(message.body)[0], NOW) for message in worker.beat(NOW, ctx).publish]
    assert {each.component for each in woken} == {"db", "disk"}
    assert worker.beat(NOW, ctx).publish == []
    effects = worker.process(Batch([each for each in woken if each.component == "disk"]), ctx)
    (update,) = writes(effects)
    assert isinstance(update, Guarded)
    assert update.change["$set"]["wake_at"] == right.wake_at
    assert effects.publish == [], "nothing that anybody wants to hear of"


def test_delays_are_options() -> None:
    database, alarms = Database(), engine(resolve_delay=5)
    database.apply(alarms.process(Batch([check(2, 0), check(0, 1)]), database.context()))
    early = event("web", event_type="resolve", timestamp=NOW - 1000 + 5, event_id="early")
    late = event("web", event_type="resolve", timestamp=NOW - 1000 + 7, event_id="late")
    assert alarms.process(Batch([early]), FakeContext()).write == {}
    assert len(writes(alarms.process(Batch([late]), FakeContext()))) == 1


KINDS = st.sampled_from(["check0", "check1", "check2", "ack", "ackremove", "cancel", "uncancel", "comment", "resolve"])


def story(kinds: list[tuple[str, str]]) -> list[Event]:
    """Return events of two entities, a minute apart."""
    events = []
    for at, (component, kind) in enumerate(kinds):
        fields: dict[str, Any] = {"timestamp": NOW - 90_000 + 60 * at, "event_id": f"s{at}", "output": f"o{at % 3}"}
        if kind.startswith("check"):
            fields |= {"state": int(kind[-1])}
        else:
            fields |= {"event_type": kind, "author": "me"}
        events.append(event(component, **fields))
    return events


STORIES = st.lists(st.tuples(st.sampled_from(["web", "db"]), KINDS), max_size=25).map(story)


def run(events: list[Event], cuts: set[int]) -> tuple[dict[str, dict[str, Any]], list[dict[str, Any]]]:
    """Process ``events`` in batches that end at ``cuts``; return what is stored and told."""
    database, alarms, alerts = Database(), engine(), []
    begin = 0
    for end in [*sorted(cut for cut in cuts if cut < len(events)), len(events)]:
        effects = alarms.process(Batch(events[begin:end]), database.context())
        database.apply(effects)
        alerts += told(effects)
        begin = end
    return database.whole(), alerts


MOVING = {"rev", "last_event", "events_count", "written_by"}
"""Batches of other sizes write more or fewer times, and move these along at other times."""


def without_rev(documents: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
    return {
        name: {key: value for key, value in document.items() if key not in MOVING}
        for name, document in documents.items()
    }


@given(STORIES, st.sets(st.integers(1, 24)))
def test_batches_change_nothing(events: list[Event], cuts: set[int]) -> None:
    one_by_one, alerts = run(events, set(range(25)))
    batched, same_alerts = run(events, cuts)
    assert without_rev(batched) == without_rev(one_by_one)
    assert same_alerts == alerts


@given(STORIES, st.integers(1, 25))
def test_redelivery_after_a_crash_changes_nothing(events: list[Event], crash: int) -> None:
    """A crash after the write and before the acknowledge: what was done is delivered again to a new engine."""
    database, alarms = Database(), engine()
    database.apply(alarms.process(Batch(events[:crash]), database.context()))
    restarted = engine()
    database.apply(restarted.process(Batch(events), database.context()))
    straight, _ = run(events, {crash})
    assert without_rev(database.whole()) == without_rev(straight)


def by_kind(effects: Effects) -> dict[str, int]:
    """Return what was counted, of all sources."""
    assert {source for source, _ in effects.counts} <= {"nagios/central"}
    return {kind: number for (_, kind), number in effects.counts.items()}


def test_b1_a_late_check_of_the_same_batch_opens_nothing() -> None:
    effects = engine().process(Batch([check(0, 600), check(2, 0)]), FakeContext())
    assert (effects.write, effects.publish, by_kind(effects)) == ({}, [], {"late": 1})
    assert [getattr(each, "late", None) for each in effects.forward] == [False, True]


def test_b1_after_a_restart_the_newest_check_is_looked_up_once_an_entity() -> None:
    ctx = FakeContext(log=[check(0, 600, "seen")])
    alarms = engine()
    assert by_kind(alarms.process(Batch([check(2, 0, "late")]), ctx)) == {"late": 1}
    assert ctx.reads[-1] == ("newest_checks", "component:web")
    ctx.reads.clear()
    assert by_kind(alarms.process(Batch([check(2, 1, "late-too")]), ctx)) == {"late": 1}
    assert [name for name, *_ in ctx.reads] == ["stored_events", "alarms_of_ids"]
    assert len(writes(alarms.process(Batch([check(2, 601, "on-time")]), ctx))) == 1


def test_b1_a_late_check_that_changes_nothing_is_marked_too() -> None:
    alarms, ctx = engine(), FakeContext()
    effects = alarms.process(Batch([check(0, 600), check(0, 0)]), ctx)
    assert by_kind(effects) == {"late": 1}
    assert ctx.reads == [("open_alarms", "component:web")]


def test_b1_a_late_ok_does_not_close_an_alarm_that_another_worker_left() -> None:
    database = Database()
    database.apply(engine().process(Batch([check(2, 0, "e1"), check(2, 600, "e2")]), database.context()))
    (document,) = database.documents.values()
    document["last_event"] = NOW - 1000
    ctx = database.context()
    ctx.log = [check(2, 0, "e1"), check(2, 600, "e2")]
    effects = engine().process(Batch([check(0, 300, "late")]), ctx)
    assert (effects.write, by_kind(effects)) == ({}, {"late": 1})


def _ahead(state: int) -> Event:
    """Return a check that came when the clock was three hours ahead."""
    return msgspec.structs.replace(check(state, 0, "ahead"), timestamp=NOW + 3 * 3600)


def test_b2_a_clock_that_was_ahead_does_not_deafen() -> None:
    database, alarms = Database(), engine()
    ahead, stamped = database.context(), _ahead(2)
    ahead.now = NOW + 3 * 3600
    database.apply(alarms.process(Batch([stamped]), ahead))
    for worker in (alarms, engine()):
        ctx = database.context()
        ctx.log = [stamped]
        effects = worker.process(Batch([check(0, 999, "right")]), ctx)
        (alert,) = told(effects)
        assert (alert["state"], alert["updated"], alert["steps"][0]["t"]) == (0, NOW - 1, NOW - 1)
        assert by_kind(effects) == {}


def test_b2_a_quiet_check_forgets_the_time_that_was_ahead() -> None:
    alarms, ahead = engine(), FakeContext(now=NOW + 3 * 3600)
    alarms.process(Batch([_ahead(0)]), ahead)
    ctx = FakeContext(log=[check(0, 900, "before")])
    assert by_kind(alarms.process(Batch([check(0, 800, "right")]), ctx)) == {}
    assert by_kind(alarms.process(Batch([check(2, 850, "late")]), ctx)) == {"late": 1}


def test_b3_a_request_that_is_sent_again_moves_nothing() -> None:
    database, alarms = Database(), engine()
    comment = event("web", event_type="comment", event_id="c", timestamp=NOW - 997, author="me", output="hm")
    request = [check(2, 1, "a"), check(0, 2, "b")]
    sent = [check(2, 0, "x"), *request, comment]
    for batch in ([sent[0]], request, [comment]):
        database.apply(alarms.process(Batch(batch), database.context()))
    ctx = database.context()
    ctx.log = sent
    for worker in (alarms, engine()):
        effects = worker.process(Batch(request), ctx)
        assert (effects.write, by_kind(effects)) == ({}, {"repeated": 2})
        assert [alert["event_id"] for alert in told(effects)] == ["b"]
    (document,) = database.documents.values()
    assert document["state"] == 0


def test_b3_a_repeat_is_one_whatever_time_it_is_stamped_with() -> None:
    database = Database()
    database.apply(engine().process(Batch([check(2, 0, "x"), check(0, 1, "b")]), database.context()))
    ctx = database.context()
    ctx.log = [check(2, 0, "x"), check(0, 1, "b")]
    effects = engine().process(Batch([check(2, 500, "x")]), ctx)
    assert (effects.write, by_kind(effects)) == ({}, {"repeated": 1})


def test_b3_what_the_event_log_holds_no_more_is_known_by_its_alarm() -> None:
    database = Database()
    first = engine(resolve_delay=0)
    resolve = event("web", event_type="resolve", timestamp=NOW - 990, event_id="r")
    database.apply(first.process(Batch([check(2, 0, "x"), check(0, 1, "b"), resolve]), database.context()))
    ctx = database.context()
    ctx.resolved = [msgspec.convert(document, Alarm) for document in database.documents.values()]
    effects = engine().process(Batch([check(2, 0, "x")]), ctx)
    assert (effects.write, by_kind(effects)) == ({}, {"repeated": 1})
    alarms = engine()
    alarms.process(Batch([check(2, 0, "x")]), ctx)
    assert len(writes(alarms.process(Batch([check(2, 2, "y")]), ctx))) == 1, "and the next problem opens"


def test_b4_another_check_under_a_known_id_counts_under_its_own() -> None:
    database, alarms = Database(), engine()
    burns, is_out = check(2, 0, "fingerprint"), check(0, 60, "fingerprint")
    database.apply(alarms.process(Batch([burns]), database.context()))
    ctx = FakeContext(log=[burns])
    effects = alarms.process(Batch([is_out]), ctx)
    (own,) = effects.forward
    assert own.event_id.startswith("fingerprint.")
    assert own.warnings
    assert "event_id" in own.warnings[0]
    assert (is_out.event_id, by_kind(effects)) == ("fingerprint", {"repeated": 1})
    (alert,) = told(effects)
    assert (alert["state"], alert["event_id"], alert["steps"][0]["e"]) == (0, own.event_id, own.event_id)
    database.apply(effects)
    ctx = database.context()
    ctx.log = [burns, own]
    again = engine().process(Batch([is_out]), ctx)
    assert (again.write, [each.event_id for each in again.forward]) == ({}, [own.event_id])


def test_b4_both_in_one_batch() -> None:
    effects = engine().process(Batch([check(2, 0, "id"), check(0, 1, "id"), check(2, 0, "id")]), FakeContext())
    first, second, third = [each.event_id for each in effects.forward]
    assert first == third == "id"
    assert second != "id"
    assert [alert["state"] for alert in told(effects)][:2] == [2, 0]
    (insert,) = writes(effects)
    assert isinstance(insert, Insert)
    assert (insert.document["state"], insert.document["written_by"]) == (0, ["id", second])


def test_b5_a_thousand_changes_of_one_batch_are_one_small_document_and_its_segments() -> None:
    events = [check(at % 2 + 1, at / 10, f"e{at}") for at in range(1000)]
    effects = engine().process(Batch(events), FakeContext())
    assert list(effects.write) == ["alarm_steps", "alarms"], "what an alarm points to is written first"
    (insert,) = writes(effects)
    assert isinstance(insert, Insert)
    assert len(insert.document["steps"]) == KEPT + 1
    steps = sum(len(segment.steps) for segment in segments(effects))
    assert insert.document["steps"][0]["value"] == steps
    assert steps + len(insert.document["steps"]) - 1 == 1001


def test_b5_a_folded_alarm_is_written_whole_under_its_guard() -> None:
    database, alarms = Database(), engine()
    database.apply(alarms.process(Batch([check(2, 0)]), database.context()))
    for begin in range(1, 201, 50):
        batch = [check(at % 2 + 1, at, f"e{at}") for at in range(begin, begin + 50)]
        database.apply(alarms.process(Batch(batch), database.context()))
    (document,) = database.documents.values()
    assert len(document["steps"]) == KEPT + 1
    assert document["older"]
    assert msgspec.convert(document, Alarm).steps == alarms._memory["component:web"].alarm.steps


def test_b5_alerts_of_steps_that_went_to_a_segment_are_told_again() -> None:
    database = Database()
    events = [check(at % 2 + 1, at / 10, f"e{at}") for at in range(400)]
    effects = engine().process(Batch(events), database.context())
    database.apply(effects)
    ctx = database.context()
    ctx.segments = {segment.id: segment for segment in segments(effects)}
    again = engine().process(Batch(events), ctx)
    assert again.write == {}
    assert [alert["steps"] for alert in told(again)] == [alert["steps"] for alert in told(effects)]
    assert {alert["kind"] for alert in told(again)} == {"opened", "changed"}


def test_b9_soft_states_are_an_option() -> None:
    soft = check(2, 0, state_type=0)
    assert engine().process(Batch([soft]), FakeContext()).write == {}
    assert len(writes(engine(soft_states=True).process(Batch([soft]), FakeContext()))) == 1


def test_quiet_entities_of_a_batch_that_moves_are_not_looked_up() -> None:
    ctx = FakeContext()
    engine().process(Batch([check(0, 0, component="quiet"), check(2, 0, component="loud")]), ctx)
    assert ctx.reads[1:] == [
        ("stored_events", "loud-0"),
        ("alarms_of_ids", alarm_id("component:loud", "loud-0")),
        ("newest_checks", "component:loud"),
    ]


def test_an_event_without_an_id_is_always_new() -> None:
    effects = engine().process(Batch([check(2, 0, "x"), *(_nameless(state) for state in (1, 2))]), FakeContext())
    assert [alert["state"] for alert in told(effects)] == [2, 1, 2]


def _nameless(state: int) -> Event:
    return msgspec.structs.replace(check(state, state, "y"), event_id="")


def test_what_came_of_an_action_goes_on_with_its_event() -> None:
    events = [ack("early"), check(2, 1, "e1"), ack("a1"), ack("a2", alarm_id="another")]
    alarms, database = engine(), Database()
    passed = alarms.process(Batch(events), database.context()).forward
    assert [getattr(event, "outcome", None) for event in passed] == [
        "the entity has no open alarm",
        None,
        "applied",
        "alarm another is not open any more",
    ]
