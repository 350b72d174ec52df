"""Sending with a memory: every request again and again until it is accepted, each entity's events in their order."""

from __future__ import annotations

import http.client
import json
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from canopsis.errors import SiteError
from canopsis.ops.apiclient import PREFIX, Answer, Api
from canopsis.ops.prove.plan import Event, Place, Script, Turn

CLOCKS_APART = 2.0
"""Seconds that times are set back: hosts whose clocks differ by less see no event from the future."""

_LATE = 60.0
_TICK = 0.001
_PAUSES = (0.05, 1.0)

Post = Callable[[bytes], Answer]
"""Sends a body to the site. Raises SiteError when nobody answers."""


@dataclass
class Tally:
    """What became of what was sent. ``accepted`` holds the events of each script in their order, once a sending.

    ``outage`` is the longest time in seconds that a request waited to be accepted.
    """

    accepted: dict[int, list[Event]] = field(default_factory=lambda: defaultdict(list))
    sent: int = 0
    retries: int = 0
    outage: float = 0.0
    refused: list[str] = field(default_factory=list)


def poster(apis: Sequence[Api]) -> Post:
    """Return what sends to the first of ``apis`` that answers; the next call begins with that one."""
    left = list(apis)

    def post(body: bytes) -> Answer:
        try:
            return left[0].call("POST", f"{PREFIX}/events", body)
        except SiteError:
            left.append(left.pop(0))
            raise

    return post


class Sender:
    """Sends the requests of one lane. ``stop`` ends it; so does an outage of more than ``patience`` seconds."""

    def __init__(
        self,
        scripts: Sequence[Script],
        post: Post,
        stop: threading.Event,
        *,
        patience: float,
        now: Callable[[], float] = time.time,
    ) -> None:
        self.tally = Tally()
        self._scripts = scripts
        self._post = post
        self._stop = stop
        self._patience = patience
        self._now = now
        self._first: dict[int, float] = {}
        self._last: dict[int, float] = {}
        self._stamped: dict[str, Event] = {}
        self._closed: set[int] = set()

    def send_all(self, requests: Iterable[Sequence[Place]], pause: float) -> None:
        """Send ``requests``, one every ``pause`` seconds if the site keeps up. Raises SiteError."""
        for places in requests:
            due = time.monotonic() + pause
            self.send([(place.script, self._scripts[place.script].turns[place.turn]) for place in places])
            self._wait(due - time.monotonic())

    def send(self, turns: Sequence[tuple[int, Turn]]) -> None:
        """Send ``turns``, of a script each, until each is accepted. Raises SiteError."""
        left = [(script, self._stamp(script, turn)) for script, turn in turns]
        begin = time.monotonic()
        for attempt in range(1_000_000):
            left = self._attempt(left)
            waited = time.monotonic() - begin
            if not left:
                self.tally.outage = max(self.tally.outage, waited)
                return
            self.tally.retries += 1
            if waited > self._patience:
                raise SiteError(f"nothing was accepted for {waited:.0f} s, event {left[0][1]['event_id']} first")
            self._wait(min(_PAUSES[0] * 2 ** min(attempt, 9), _PAUSES[1]))

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
            answer = self._post(json.dumps(events[0] if len(events) == 1 else events).encode())
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
