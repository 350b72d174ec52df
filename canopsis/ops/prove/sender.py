"""Sending with a memory: every request again and again until it is accepted, each entity's events in their order."""

from __future__ import annotations

import http.client
import json
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from canopsis.errors import SiteError
from canopsis.ops.apiclient import PREFIX, Answer, Api
from canopsis.ops.prove import bulk
from canopsis.ops.prove.bulk import Asked, Caller
from canopsis.ops.prove.plan import Bulk, Event, Request, Script, Turn

CLOCKS_APART = 2.0
"""Seconds that times are set back: hosts whose clocks differ by less see no event from the future."""

_LATE = 60.0
_TICK = 0.001
_PAUSES = (0.05, 1.0)


@dataclass
class Tally:
    """What became of what was sent. ``accepted`` holds the events of each script in their order, once a sending.

    Those of actions on many alarms are among them, without their time, which the API gives them; ``asked`` are these
    actions. ``outage`` is the longest time in seconds that a request waited to be accepted.
    """

    accepted: dict[int, list[Event]] = field(default_factory=lambda: defaultdict(list))
    asked: list[Asked] = field(default_factory=list)
    sent: int = 0
    retries: int = 0
    outage: float = 0.0
    refused: list[str] = field(default_factory=list)


def caller(apis: Sequence[Api]) -> Caller:
    """Return what asks the first of ``apis`` that answers; the next call begins with that one."""
    left = list(apis)

    def call(method: str, path: str, body: bytes | None = None, *, query: Mapping[str, object] | None = None) -> Answer:
        try:
            return left[0].call(method, path, body, query=query)
        except SiteError:
            left.append(left.pop(0))
            raise

    return call


class Sender:
    """Sends the requests of one lane. ``stop`` ends it; so does an outage of more than ``patience`` seconds."""

    def __init__(
        self,
        scripts: Sequence[Script],
        call: Caller,
        stop: threading.Event,
        *,
        patience: float,
        now: Callable[[], float] = time.time,
    ) -> None:
        self.tally = Tally()
        self._scripts = scripts
        self._call = call
        self._stop = stop
        self._patience = patience
        self._now = now
        self._first: dict[int, float] = {}
        self._last: dict[int, float] = {}
        self._stamped: dict[str, Event] = {}
        self._closed: set[int] = set()

    def send_all(self, requests: Sequence[Request], pause: float) -> None:
        """Send ``requests``, one every ``pause`` seconds if the site keeps up. Raises SiteError."""
        for request in requests:
            due = time.monotonic() + pause
            if isinstance(request, Bulk):
                self.act(request)
            else:
                self.send([(place.script, self._scripts[place.script].turns[place.turn]) for place in request])
            self._wait(due - time.monotonic())

    def send(self, turns: Sequence[tuple[int, Turn]]) -> None:
        """Send ``turns``, of a script each, until each is accepted. Raises SiteError."""
        left = [(script, self._stamp(script, turn)) for script, turn in turns]

        def attempt() -> bool:
            left[:] = self._attempt(left)
            return not left

        self._persist(attempt, f"event {left[0][1]['event_id']} first")

    def act(self, wanted: Bulk) -> None:
        """Do an action on many alarms, those that are open, until it is accepted. Raises SiteError."""
        entities = {script: self._scripts[script].entity_id for script in wanted.scripts}
        found: list[Asked] = []

        def attempt() -> bool:
            try:
                if not found:
                    found.append(bulk.chosen(self._call, wanted, entities))
                refused = found[0].ids and bulk.ask(self._call, found[0])
            except SiteError:
                return False
            self.tally.refused += [refused] if refused else []
            return True

        self._persist(attempt, f"task {wanted.task_id}")
        self._note(found[0])

    def _note(self, asked: Asked) -> None:
        if asked.author:
            self.tally.asked.append(asked)
        for script, event in asked.events():
            self.tally.accepted[script].append(event)
            self.tally.sent += 1

    def _persist(self, attempt: Callable[[], bool], what: str) -> None:
        """Call ``attempt`` until it is done. Raises SiteError when it is not for too long."""
        begin = time.monotonic()
        for number in range(1_000_000):
            done, waited = attempt(), time.monotonic() - begin
            if done:
                self.tally.outage = max(self.tally.outage, waited)
                return
            self.tally.retries += 1
            if waited > self._patience:
                raise SiteError(f"nothing was accepted for {waited:.0f} s, {what}")
            self._wait(min(_PAUSES[0] * 2 ** min(number, 9), _PAUSES[1]))

    def close(self, stop: threading.Event) -> None:
        """Bring what was begun back to OK, once; a set ``stop`` ends it. Raises SiteError."""
        self._stop = stop
        begun = sorted(self._last.keys() - self._closed)
        if begun:
            self.send([(script, self._scripts[script].closing) for script in begun])
            self._closed.update(begun)

    def _wait(self, seconds: float) -> None:
        if self._stop.wait(max(0.0, seconds)):
            raise SiteError("the sending was stopped")

    def _stamp(self, script: int, turn: Turn) -> Event:
        """Return the event with its time: of one entity each is later than the one before, unless told otherwise."""
        if turn.how == "again":
            return self._stamped[turn.event["event_id"]]
        if turn.how == "late":
            t = self._first[script] - _LATE - _TICK * len(self._stamped)
        else:
            t = max(self._now() - CLOCKS_APART, self._last.get(script, 0.0) + _TICK)
            self._last[script] = t
            self._first.setdefault(script, t)
        event = {**turn.event, "timestamp": round(t, 3)}
        self._stamped[event["event_id"]] = event
        return event

    def _attempt(self, left: Sequence[tuple[int, Event]]) -> list[tuple[int, Event]]:
        """Send once; return what is still to be sent."""
        events = [event for _, event in left]
        try:
            body = json.dumps(events[0] if len(events) == 1 else events).encode()
            answer = self._call("POST", f"{PREFIX}/events", body)
        except SiteError:
            return list(left)
        taken = _taken(answer, events)
        for script, event in left:
            if event["event_id"] in taken:
                self.tally.accepted[script].append(event)
                self.tally.sent += 1
        if answer.status < http.client.INTERNAL_SERVER_ERROR and answer.status != http.client.TOO_MANY_REQUESTS:
            refused = [each["event_id"] for each in events if each["event_id"] not in taken]
            self.tally.refused += [f"event {each} was refused: {answer.problem()}" for each in refused]
            return []
        if answer.status == http.client.INTERNAL_SERVER_ERROR:
            self.tally.refused.append(f"the API answered {answer.problem()}")
        return [each for each in left if each[1]["event_id"] not in taken]


def _taken(answer: Answer, events: Sequence[Event]) -> set[str]:
    """Return the ids of the events that were accepted: all of them, or those that a 207 names."""
    if answer.status == http.client.ACCEPTED:
        return {event["event_id"] for event in events}
    if answer.status != http.client.MULTI_STATUS:
        return set()
    results: list[dict[str, Any]] = answer.json()["data"]
    return {str(each["event_id"]) for each in results if each.get("status") == "accepted"}
