"""``canopsis act``: actions on one alarm or many."""

from __future__ import annotations

import io
import json
import sys
from typing import Any

import pytest
from cli_fakes import Asked, FakeApi

from canopsis.cli import act
from canopsis.ops.apiclient import Answer

TASK = {"task_id": "t1", "total": 2, "pending": 0, "applied": 2, "failed": 0, "failures": []}


@pytest.fixture
def done(api: FakeApi) -> FakeApi:
    """An API where everything is done at once."""
    api.answer([TASK])
    return api


def posted(api: FakeApi) -> dict[str, Any]:
    (asked,) = [asked for asked in api.asked if asked.method == "POST"]
    assert asked.path == "/api/v1/alarms/actions"
    found: dict[str, Any] = asked.json
    return found


def test_alarms_by_their_ids(done: FakeApi, capsys: pytest.CaptureFixture[str]) -> None:
    assert act.main(["ack", "a1", "a2", "--message", "on it"]) == 0
    assert posted(done) == {"action": "ack", "parameters": {"message": "on it"}, "alarm_ids": ["a1", "a2"]}
    assert capsys.readouterr().out == "ack: 2 alarms, 2 changed, 0 not\n"


def test_fields_of_an_action_have_their_types(done: FakeApi) -> None:
    act.main(["snooze", "a1", "--duration", "3600"])
    assert posted(done)["parameters"] == {"duration": 3600}
    done.asked.clear()
    act.main(["changestate", "a1", "--state", "critical"])
    assert posted(done)["parameters"] == {"state": 2}
    done.asked.clear()
    act.main(["assocticket", "a1", "--ticket", "4711"])
    assert posted(done)["parameters"] == {"ticket": "4711"}


def test_alarms_by_what_they_are(done: FakeApi) -> None:
    assert act.main(["ack", "--component", "web1", "--in-state", "critical", "--not-acked", "--yes"]) == 0
    assert posted(done)["filter"] == {"component": "web1", "state": "2", "acked": "false"}


@pytest.mark.parametrize(
    ("argv", "text"),
    [
        (["ack"], "ids of alarms, or one of"),
        (["ack", "a1", "--component", "web1"], "not both"),
        (["snooze", "a1", "--duration", "long"], "--duration"),
        (["changestate", "a1", "--state", "bad"], "--state"),
    ],
)
def test_what_cannot_be_meant_is_refused(
    done: FakeApi, capsys: pytest.CaptureFixture[str], argv: list[str], text: str
) -> None:
    assert act.main(argv) == 2
    assert text in capsys.readouterr().err
    assert done.asked == []


def test_it_asks_before_it_changes_many(api: FakeApi, monkeypatch: pytest.MonkeyPatch) -> None:
    api.answer([TASK], total=70)
    stdin = io.StringIO("y\n")
    monkeypatch.setattr(stdin, "isatty", lambda: True)
    monkeypatch.setattr(sys, "stdin", stdin)
    assert act.main(["ack", "--component", "web1"]) == 0
    assert [asked.method for asked in api.asked] == ["GET", "POST"]
    assert act.main(["ack", "--component", "web1"]) == 1, "no answer is no"


def test_where_nobody_can_be_asked_it_wants_yes(
    api: FakeApi, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    api.answer([TASK], total=70)
    monkeypatch.setattr(sys, "stdin", io.StringIO())
    assert act.main(["ack", "--component", "web1"]) == 1
    assert "ack: 70 alarms; give --yes" in capsys.readouterr().err


def test_it_waits_for_what_comes_of_it_and_says_why_not(api: FakeApi, capsys: pytest.CaptureFixture[str]) -> None:
    states = [
        TASK | {"pending": 2, "applied": 0},
        TASK | {"pending": 1, "applied": 1},
        TASK | {"applied": 1, "failed": 1, "failures": [{"alarm_id": "a2", "event_id": "t1.1", "reason": "gone"}]},
    ]

    def respond(_asked: Asked) -> Answer:
        return Answer(200, "OK", json.dumps({"data": [states.pop(0)], "total": 1}).encode())

    api.respond = respond
    assert act.main(["ack", "a1", "a2"]) == 1
    out, err = capsys.readouterr()
    assert out == "ack: 2 alarms, 1 changed, 1 not\n"
    assert "a2: gone" in err


def test_who_does_not_wait_gets_the_task(api: FakeApi, capsys: pytest.CaptureFixture[str]) -> None:
    api.answer([TASK | {"pending": 2, "applied": 0}])
    assert act.main(["ack", "a1", "a2", "--wait", "0"]) == 1
    assert "2 not handled yet (task t1)" in capsys.readouterr().out
    assert act.main(["ack", "a1", "a2", "--wait", "0", "--json"]) == 1
    assert json.loads(capsys.readouterr().out)["task_id"] == "t1"
