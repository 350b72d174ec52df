"""An alarm is seen with all its steps, however many the site keeps beside it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import pytest

from canopsis.errors import SiteError
from canopsis.ops.apiclient import Answer
from canopsis.ops.prove import observe
from canopsis.ops.prove.alarm import Count, Mark, Snooze, Ticket

STEPS = [
    {"type": "comment", "value": 1, "author": "a", "message": "", "t": float(at), "e": f"e{at}"} for at in range(5)
]
ALARM: dict[str, Any] = {"_id": "a 1", "open": True, "state": 1, "status": 1, "output": "", "initial_output": ""} | {
    "created": 0.0,
    "updated": 0.0,
    "ack": None,
    "cancel": {"author": "a", "message": "m", "t": 2.0},
    "snooze": {"author": "a", "message": "m", "t": 2.0, "until": 5.0},
    "state_lock": None,
    "last_comment": None,
    "ticket": {"author": "a", "message": "m", "t": 2.0, "number": "T-1"},
    "tickets": [{"author": "a", "message": "m", "t": 2.0, "number": "T-1"}],
    "events_count": 4,
}


class Site:
    """Answers as the API does; two steps a part."""

    def __init__(self, steps: list[dict[str, Any]], status: int = 200) -> None:
        self.steps, self.status, self.calls = steps, status, 0

    def data(self, _method: str, _path: str) -> list[Mapping[str, Any]]:
        return [ALARM | {"steps": self.steps}]

    def call(self, _method: str, path: str, *, query: Mapping[str, object]) -> Answer:
        if path == "/api/v1/alarms":
            return Answer(200, "", b'{"data": [{"_id": "a 1"}]}')
        assert path == "/api/v1/alarms/a%201/steps"
        self.calls += 1
        last = int(str(query.get("older", len(STEPS))))
        first = max(0, last - 2)
        body = {"data": STEPS[first:last][::-1], "older": str(first) if first else None}
        return Answer(self.status, "", json.dumps(body).encode())


def test_b5_older_steps_are_read_too() -> None:
    site = Site([STEPS[3] | {"type": "statecounter"}, STEPS[4]])
    (alarm,) = observe.alarms(site, "component:web")  # type: ignore[arg-type]
    assert [step.e for step in alarm.steps] == ["e0", "e1", "e2", "e3", "e4"]
    assert site.calls == 3


def test_b5_an_alarm_that_shows_all_its_steps_is_not_asked_for_more() -> None:
    site = Site(STEPS)
    (alarm,) = observe.alarms(site, "component:web")  # type: ignore[arg-type]
    assert (len(alarm.steps), site.calls) == (5, 0)


def test_an_alarm_is_seen_with_what_operators_did() -> None:
    (alarm,) = observe.alarms(Site(STEPS), "component:web")  # type: ignore[arg-type]
    said = ("a", "m", 2.0)
    assert (alarm.ack, alarm.cancel, alarm.snooze) == (None, Mark(*said), Snooze(*said, 5.0))
    assert (alarm.ticket, alarm.tickets) == (Ticket(*said, "T-1"), (Ticket(*said, "T-1"),))
    assert (alarm.id, alarm.count) == ("a 1", Count(4, 4))


def test_b5_steps_that_cannot_be_read_are_an_error() -> None:
    with pytest.raises(SiteError, match="steps"):
        observe.alarms(Site([STEPS[0] | {"type": "statecounter"}], status=503), "component:web")  # type: ignore[arg-type]
