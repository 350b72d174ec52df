"""Whatever is sent, sent again, delivered again, killed and restarted: an event counts once, in its place.

The alarm engine and the event log work over a database that takes their writes in the order of the
runner and may be cut off after each of them. What must come out is computed beside, by a model that
reads every event once, in the order in which it was sent.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import msgspec
import pytest
from engines_fakes import ANSWERS, NOW
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from canopsis.core import steps as core_steps
from canopsis.core.alarm import Alarm, Step
from canopsis.core.change import alarm_id
from canopsis.core.event import Event
from canopsis.core.event_types.check import Check
from canopsis.core.identity import Content, content_of, derived_id, stored_content
from canopsis.core.normalise import normalise
from canopsis.engines.alarm import AlarmEngine, AlarmOptions
from canopsis.engines.eventstore import EventStore
from canopsis.runtime.contract import Batch, Effects
from canopsis.store import alarm_steps, segments
from canopsis.store.operations import Guarded, Insert, Operation

HOURS = 3 * 3600.0

Told = tuple[str, int, str]
"""Type, value and event id of a step."""


class Database:
    """What is stored, and the context that reads it."""

    def __init__(self) -> None:
        self.now = NOW
        self.alarms: dict[str, dict[str, Any]] = {}
        self.segments: dict[str, dict[str, Any]] = {}
        self.events: dict[str, Event] = {}
        self.ids = 0

    def write(self, collection: str, operation: Operation) -> None:
        """Take one write as MongoDB does, with its guards."""
        if collection == "event_log":
            assert isinstance(operation, Insert)
            self.events |= {
                each.event_id: each for group in segments.groups(operation.document) for each in group.events
            }
            return
        if collection == "alarm_steps":
            assert isinstance(operation, Insert)
            for place, found in enumerate(json.loads(json.dumps(operation.document["segments"]))):
                self.segments[alarm_steps.segment_id(operation.document["_id"], place)] = found
            return
        there = self.alarms
        if isinstance(operation, Guarded):
            self._update(there[operation.id], operation)
            return
        assert isinstance(operation, Insert)
        document = operation.document
        if document["open"] and document["_id"] not in there:
            others = [each for each in there.values() if each["entity_id"] == document["entity_id"]]
            assert not any(each["open"] for each in others), "one open alarm an entity"
        plain = json.loads(json.dumps(document, default=str))
        there.setdefault(plain["_id"], plain)

    def steps(self, alarm: dict[str, Any]) -> list[dict[str, Any]]:
        """Return all steps of an alarm but counters, older ones too."""
        found = [step for step in alarm["steps"] if step["type"] != "statecounter"]
        older = alarm.get("older", "")
        while older:
            segment = self.segments[older]
            assert segment["alarm_id"] == alarm["_id"]
            found, older = segment["steps"] + found, segment["older"]
        return found

    @staticmethod
    def _update(document: dict[str, Any], operation: Guarded) -> None:
        document.update(json.loads(json.dumps(operation.change.get("$set", {}))))
        document["rev"] += 1

    def new_id(self) -> str:
        self.ids += 1
        return f"n{self.ids}"

    def ask(self, read: Callable[..., Any], *args: Any) -> Any:
        return getattr(self, ANSWERS[read])(*args)

    def open_alarms(self, entity_ids: Sequence[str]) -> dict[str, Alarm]:
        found = [each for each in self.alarms.values() if each["open"] and each["entity_id"] in entity_ids]
        return {each["entity_id"]: msgspec.convert(each, Alarm) for each in found}

    def alarms_of_ids(self, alarm_ids: Sequence[str]) -> list[Alarm]:
        return [msgspec.convert(self.alarms[each], Alarm) for each in alarm_ids if each in self.alarms]

    def latest_alarms(self, entity_ids: Sequence[str]) -> list[Alarm]:
        found = sorted(self.alarms.values(), key=lambda each: -each["created"])
        return [msgspec.convert(each, Alarm) for each in found if each["entity_id"] in entity_ids]

    def older_steps(self, newest: str, event_ids: Collection[str]) -> list[Step]:
        found: list[dict[str, Any]] = []
        while newest:
            own = [step for step in self.segments[newest]["steps"] if step["e"] in event_ids]
            found, newest = own + found, self.segments[newest]["older"] if own else ""
        return msgspec.convert(found, list[Step])

    def stored_events(self, named: Collection[tuple[str, float]]) -> dict[str, Content]:
        return {each: content_of(self.events[each]) for each, _ in named if each in self.events}

    def newest_checks(self, since: Mapping[str, float], _now: float) -> dict[str, float]:
        checks = [each for each in self.events.values() if isinstance(each, Check) and each.entity_id in since]
        found = sorted((each.timestamp, each.entity_id) for each in checks if each.timestamp <= self.now)
        return {entity: timestamp for timestamp, entity in found}


@dataclass
class Expected:
    """An alarm as the model has it."""

    id: str
    state: int
    output: str
    cancelled: bool = False
    acked: tuple[str, str] | None = None
    open: bool = True
    steps: list[Told] = field(default_factory=list)

    @property
    def status(self) -> int:
        if self.cancelled:
            return 4
        return 1 if self.state else 0


class Model:
    """Reads each event once, in order."""

    def __init__(self) -> None:
        self.seen: dict[str, Content] = {}
        self.checks: dict[str, list[float]] = {}
        self.alarms: dict[str, list[Expected]] = {}
        self.late: set[str] = set()

    def read(self, event: Event, now: float) -> None:
        """Take an event in."""
        document = json.loads(msgspec.json.encode(event)) | {"event_type": event.__struct_config__.tag}
        state = (getattr(event, "state", None), getattr(event, "state_type", None))
        content = stored_content(document | {"state": state[0], "state_type": state[1]})
        is_first = event.event_id not in self.seen or self.seen[event.event_id] == content
        name = event.event_id if is_first else derived_id(event.event_id, content)
        if name not in self.seen:
            self.seen[name] = content
            self._act(event, name, now)

    def current(self, entity: str) -> Expected | None:
        """Return the open alarm of an entity."""
        alarms = self.alarms.get(entity, [])
        return alarms[-1] if alarms and alarms[-1].open else None

    def _act(self, event: Event, name: str, now: float) -> None:
        alarm, kind = self.current(event.entity_id), str(event.__struct_config__.tag)
        if kind == "check":
            self._check(event, name, alarm, now)
        elif alarm is not None:
            getattr(self, f"_{kind}")(event, name, alarm)

    def _check(self, event: Any, name: str, alarm: Expected | None, now: float) -> None:
        others = self.checks.setdefault(event.entity_id, [])
        is_late = any(event.timestamp < other <= now for other in others)
        others.append(event.timestamp)
        if is_late:
            self.late.add(name)
        if is_late or event.state_type == 0:
            return
        if alarm is None and event.state:
            opened = Expected(alarm_id(event.entity_id, name), event.state, event.output)
            opened.steps += [("stateinc", event.state, name), ("statusinc", 1, name)]
            self.alarms.setdefault(event.entity_id, []).append(opened)
        elif alarm is not None:
            before, status = alarm.state, alarm.status
            alarm.state, alarm.output = event.state, event.output
            self._moved("state", before, alarm.state, name, alarm)
            self._moved("status", status, alarm.status, name, alarm)

    @staticmethod
    def _moved(what: str, before: int, after: int, name: str, alarm: Expected) -> None:
        if before != after:
            alarm.steps.append((f"{what}{'inc' if after > before else 'dec'}", after, name))

    def _ack(self, event: Event, name: str, alarm: Expected) -> None:
        mark = (event.author, event.output)
        if alarm.acked != mark:
            alarm.acked = mark
            alarm.steps.append(("ack", alarm.state, name))

    def _ackremove(self, _event: Event, name: str, alarm: Expected) -> None:
        if alarm.acked is not None:
            alarm.acked = None
            alarm.steps.append(("ackremove", alarm.state, name))

    def _comment(self, _event: Event, name: str, alarm: Expected) -> None:
        alarm.steps.append(("comment", alarm.state, name))

    def _cancel(self, _event: Event, name: str, alarm: Expected) -> None:
        self._set_cancelled(True, "cancel", name, alarm)

    def _uncancel(self, _event: Event, name: str, alarm: Expected) -> None:
        self._set_cancelled(False, "uncancel", name, alarm)

    def _set_cancelled(self, cancelled: bool, kind: str, name: str, alarm: Expected) -> None:
        if alarm.cancelled != cancelled:
            status, alarm.cancelled = alarm.status, cancelled
            alarm.steps.append((kind, alarm.state, name))
            self._moved("status", status, alarm.status, name, alarm)

    @staticmethod
    def _resolve(_event: Event, name: str, alarm: Expected) -> None:
        if alarm.cancelled or alarm.state == 0:
            alarm.open = False
            alarm.steps.append(("resolve", alarm.state, name))


ENTITIES = st.sampled_from(["web", "web", "web", "db"])
ACTIONS = st.sampled_from(["ack", "ackremove", "cancel", "uncancel", "comment", "comment"])


class Worker(RuleBasedStateMachine):
    """A queue, one worker at a time and its database. Clocks move when the queue is empty."""

    def __init__(self) -> None:
        super().__init__()
        self.database, self.model = Database(), Model()
        self.queue: list[Event] = []
        self.sent: list[list[dict[str, Any]]] = []
        self.told: set[tuple[str, Told]] = set()
        self.latest = NOW
        self.number = 0
        self.crashed = 0
        """Events of the batch that was cut off: they come again together."""

    @initialize()
    def begin(self) -> None:
        self.restart()

    @rule()
    def restart(self) -> None:
        """Another worker takes over."""
        self.engine = AlarmEngine(AlarmOptions(resolve_delay=0.0, cancel_resolve_delay=0.0), 8)

    @rule(
        entity=ENTITIES,
        state=st.sampled_from([0, 2, 2, 1]),
        output=st.sampled_from(["", "x"]),
        late=st.sampled_from([0.0, 0.0, 0.0, 5.0, 40.0]),
        soft=st.sampled_from([False, False, False, True]),
    )
    def a_source_checks(self, entity: str, state: int, output: str, late: float, soft: bool) -> None:
        self._send([self._check(entity, state, output, late) | ({"state_type": 0} if soft else {})])

    @rule(entity=ENTITIES, states=st.lists(st.sampled_from([0, 1, 2]), min_size=2, max_size=8))
    def a_source_sends_a_list(self, entity: str, states: list[int]) -> None:
        self._send([self._check(entity, state, "", 0.0) for state in states])

    @rule(entity=ENTITIES, kind=ACTIONS, late=st.sampled_from([0.0, 0.0, 7.0]))
    def an_operator_acts(self, entity: str, kind: str, late: float) -> None:
        self._send([self._action(entity, kind, late)])

    @precondition(lambda self: self.sent)
    @rule(data=st.data(), stamped_anew=st.booleans())
    def a_request_is_sent_again(self, data: st.DataObject, stamped_anew: bool) -> None:
        """By a client that got no answer. Its clock may stamp anew what says nothing of time's order."""
        request = data.draw(st.sampled_from(self.sent[-6:]))
        stamped_anew = stamped_anew and all(raw["event_type"] != "check" for raw in request)
        self._send([raw | ({"timestamp": self.database.now} if stamped_anew else {}) for raw in request], again=True)

    @precondition(lambda self: self.sent)
    @rule(data=st.data(), entity=ENTITIES, state=st.sampled_from([0, 1, 2]))
    def a_known_id_is_given_to_another_check(self, data: st.DataObject, entity: str, state: int) -> None:
        request = data.draw(st.sampled_from(self.sent[-6:]))
        self._send([self._check(entity, state, "another", 0.0) | {"event_id": request[0]["event_id"]}])

    @precondition(lambda self: self.database.now == self.latest)
    @rule(entity=ENTITIES)
    def the_delay_is_over(self, entity: str) -> None:
        self._send([self._action(entity, "resolve", 0.0)])

    @precondition(lambda self: not self.queue)
    @rule(seconds=st.sampled_from([1.0, 10.0, 100.0]))
    def time_goes_on(self, seconds: float) -> None:
        self.database.now += seconds
        self.latest = max(self.latest, self.database.now)

    @precondition(lambda self: not self.queue and self.database.now == self.latest)
    @rule()
    def the_clock_is_ahead(self) -> None:
        self.database.now += HOURS
        self.latest = self.database.now

    @precondition(lambda self: not self.queue and self.database.now >= NOW + HOURS)
    @rule()
    def the_clock_is_put_right(self) -> None:
        self.database.now -= HOURS

    @precondition(lambda self: self.queue)
    @rule(count=st.integers(1, 12), data=st.data())
    def a_batch_is_cut_off(self, count: int, data: st.DataObject) -> None:
        """The worker dies somewhere between two writes; the events stay in the queue."""
        count = max(count, self.crashed)
        writes = list(self._writes(self._process(count)))
        self._write(writes[: data.draw(st.integers(0, len(writes)))])
        self.restart()
        self.crashed = count

    @precondition(lambda self: self.queue)
    @rule(count=st.integers(1, 12))
    def a_batch_is_done(self, count: int) -> None:
        self._finish(max(count, self.crashed))

    @precondition(lambda self: self.queue)
    @rule()
    def the_queue_is_emptied(self) -> None:
        self._finish(len(self.queue))

    def _finish(self, count: int) -> None:
        effects = self._process(count)
        self._write(self._writes(effects))
        for message in effects.publish:
            alert = json.loads(message.body)
            assert alert["kind"] in {"opened", "changed", "resolved"}
            told = [(step["type"], step["value"], step["e"]) for step in alert["steps"]]
            self.told |= {(alert["alarm_id"], each) for each in told}
        del self.queue[:count]
        self.crashed = 0

    def _process(self, count: int) -> Effects:
        batch = Batch(list(self.queue[:count]))
        effects = self.engine.process(batch, self.database)
        assert len(effects.forward) == len(batch.events)
        effects.write |= EventStore().process(Batch(effects.forward), self.database).write
        return effects

    def _writes(self, effects: Effects) -> Iterator[tuple[str, Operation]]:
        """Yield single writes in the order of the runner: alarms wait for their steps, all else for alarms."""
        order = sorted(effects.write, key=["alarm_steps", "alarms", "event_log"].index)
        for collection in order:
            for operation in sorted(effects.write[collection], key=lambda each: isinstance(each, Insert)):
                yield collection, operation

    def _write(self, writes: Any) -> None:
        for collection, operation in writes:
            self.database.write(collection, operation)

    def _check(self, entity: str, state: int, output: str, late: float) -> dict[str, Any]:
        return self._raw(entity, "check", late) | {"state": state, "output": output}

    def _action(self, entity: str, kind: str, late: float) -> dict[str, Any]:
        return self._raw(entity, kind, late) | {"author": "ann", "output": "mine"}

    def _raw(self, entity: str, kind: str, late: float) -> dict[str, Any]:
        self.number += 1
        raw: dict[str, Any] = {"connector": "c", "connector_name": "n", "component": entity, "event_type": kind}
        return raw | {"timestamp": self.database.now - late, "event_id": f"e{self.number}"}

    def _send(self, request: list[dict[str, Any]], again: bool = False) -> None:
        for raw in request:
            event = normalise(raw, self.database.now)
            self.queue.append(event)
            self.model.read(event, self.database.now)
        if not again:
            self.sent.append(request)

    @invariant()
    def every_event_counted_once_in_its_place(self) -> None:
        if self.queue:
            return
        expected = {alarm.id: alarm for alarms in self.model.alarms.values() for alarm in alarms}
        assert set(self.database.alarms) == set(expected)
        for name, alarm in expected.items():
            stored = self.database.alarms[name]
            steps = [(step["type"], step["value"], step["e"]) for step in self.database.steps(stored)]
            assert steps == alarm.steps
            assert (stored["state"], stored["status"], stored["output"]) == (alarm.state, alarm.status, alarm.output)
            assert (stored["open"], bool(stored["ack"])) == (alarm.open, alarm.acked is not None)
            assert {(name, step) for step in alarm.steps} <= self.told, "told at least once"

    @invariant()
    def the_event_log_has_every_event_once_and_knows_the_late_ones(self) -> None:
        if not self.queue:
            assert set(self.database.events) == set(self.model.seen), set(self.database.events) ^ set(self.model.seen)

    @invariant()
    def an_alarm_is_small_and_its_counter_right(self) -> None:
        for alarm in self.database.alarms.values():
            own = [step for step in alarm["steps"] if step["type"] != "statecounter"]
            assert len(own) <= core_steps.KEPT
            older = len(self.database.steps(alarm)) - len(own)
            counters = [step for step in alarm["steps"] if step["type"] == "statecounter"]
            assert [step["value"] for step in counters] == ([older] if older else [])
            assert alarm["steps"][: len(counters)] == counters

    @invariant()
    def no_step_is_ahead_of_the_latest_clock(self) -> None:
        for alarm in self.database.alarms.values():
            times = [step["t"] for step in self.database.steps(alarm)]
            assert max(times) <= self.latest
            if self.latest < NOW + HOURS:
                assert all(one <= other for one, other in pairwise(times))


def run_machine(monkeypatch: pytest.MonkeyPatch, machine: type[Worker], examples: int = 300) -> None:
    monkeypatch.setattr(core_steps, "KEPT", 4)
    monkeypatch.setattr(core_steps, "MOST", 7)
    steps = settings(max_examples=examples, stateful_step_count=40, deadline=None, database=None)
    run_state_machine_as_test(machine, settings=steps)


def test_b1_b2_b3_b4_b5_every_event_counts_once_in_its_place(monkeypatch: pytest.MonkeyPatch) -> None:
    run_machine(monkeypatch, Worker)
