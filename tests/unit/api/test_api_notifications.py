"""Notification rules and notifications over the API: secrets stay hidden, and a test goes by the outbox."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest
from api_fakes import NOW, Api
from api_fakes import alarm as alarm_document

from canopsis.api.resources import notification_rules
from canopsis.core.alarm import Alarm
from canopsis.notifiers.notifier import MASK, notifiers
from canopsis.store import alarms, notifications, rules
from canopsis.store.operations import Document, Insert
from canopsis.store.rules import Rules

PATH = "/api/v1/notification-rules"
TIME = datetime(2026, 5, 1, tzinfo=UTC)
FACTS = {"rev": 1, "author": "a", "created": TIME, "updated": TIME, "counts": {"matched": 0, "dropped": 0, "failed": 0}}
SETTINGS = {"url": "https://chat.example.org/hooks/T0KEN", "headers": {"Authorization": "S3CRET"}}
HIDDEN = {"url": f"https://chat.example.org/{MASK}", "headers": {"Authorization": MASK}}


def rule(name: str = "r", **fields: Any) -> Document:
    base = {"id": name, "pattern": {"component": "web1"}, "on": ["opened", "resolve"], "notifier": "webhook"}
    return base | {"settings": SETTINGS} | fields


def stored_alarm(**facts: Any) -> Alarm:
    return msgspec.convert(alarm_document(**facts), Alarm)


@pytest.fixture
def stored(api: Api) -> list[Document]:
    """The rules that the database has."""
    found: list[Document] = []
    api.database.answers |= {
        notification_rules.RULES.thing.get: lambda name: next(
            (notification_rules._shown(each | FACTS) for each in found if each["id"] == name), None
        ),
        rules.changed: lambda _kinds, _known: Rules({}, {"notification-rule": found}),
        alarms.by_ids: lambda ids: [stored_alarm()] if "a1" in ids else [],
        notifications.add: lambda _write: None,
    }
    return found


def test_a_rule_is_shown_without_its_secrets(api: Api, stored: list[Document]) -> None:
    stored += [rule(), rule("old", notifier="gone", settings={"url": "S3CRET"})]
    assert api.get(f"{PATH}/r", "reader").json["data"][0]["settings"] == HIDDEN
    assert api.get(f"{PATH}/old", "reader").json["data"][0]["settings"] == {"url": MASK}


def test_what_cannot_be_used_is_refused_without_its_secrets(api: Api) -> None:
    answer = api.post(PATH, rule(settings=SETTINGS | {"headers": {"Host": "S3CRET"}}))
    assert (answer.status_code, answer.json["field"]) == (400, "settings.headers.Host")
    assert "S3CRET" not in answer.text
    assert api.post(PATH, rule(notifier="pigeon")).json["allowed"] == ", ".join(sorted(notifiers().things))


def test_a_rule_that_the_database_cannot_hold_is_refused(api: Api) -> None:
    answer = api.post(PATH, rule(pattern={"extra.n": 1 << 64}))
    assert (answer.status_code, answer.json["field"]) == (400, "pattern.extra.n")
    assert api.database.calls_of(notification_rules.RULES.put) == []


def test_a_trial_tells_who_would_be_told_what(api: Api, stored: list[Document]) -> None:
    stored += [rule("stored"), rule("other", pattern={"component": "db"}), rule("replaced", on=["ack"])]
    new = [rule("replaced", body="{{ output }}"), rule("bad", body="{{ nothing }}")]
    told = api.post(f"{PATH}/try", {"alarm_ids": ["a1"], "rules": new}, "operator").json["data"]
    assert [(each["rule"], each["on"]) for each in told] == [
        (name, ["opened", "resolve"]) for name in ("bad", "replaced", "stored")
    ]
    assert "undefined value" in told[0]["failure"]
    assert told[2]["subject"] == "[resolved] web1/disk: opened, resolve"
    assert "component: web1" in told[2]["body"]
    alone = api.post(f"{PATH}/try", {"alarm_ids": ["a1"], "rules": new[:1], "alone": True}, "operator")
    assert [each["rule"] for each in alone.json["data"]] == ["replaced"]
    answer = api.post(f"{PATH}/try", {"alarm_ids": ["a1", "a2"]}, "operator")
    assert (answer.status_code, answer.json["field"], answer.json["value"]) == (400, "alarm_ids", "'a2'")
    assert api.post(f"{PATH}/try", {"alarm_ids": ["a1"]}, "reader").status_code == 403
    assert api.database.calls_of(notifications.add) == []


def test_a_test_message_goes_by_the_outbox(api: Api, stored: list[Document]) -> None:
    stored.append(rule())
    answer = api.post(f"{PATH}/r/test")
    ((write,),) = api.database.calls_of(notifications.add)
    assert isinstance(write, Insert)
    assert (answer.status_code, answer.json["data"]) == (202, [{"notification_id": write.document["_id"]}])
    assert (write.document["rule"], write.document["happened"], write.document["wake_at"]) == ("r", ["test"], NOW)
    assert api.post(f"{PATH}/none/test").status_code == 404
    assert api.post(f"{PATH}/r/test", role="operator").status_code == 403


def test_the_kinds_of_notifiers_tell_their_settings(api: Api) -> None:
    found = {each["kind"]: each["settings"] for each in api.get("/api/v1/notifiers", "reader").json["data"]}
    assert set(found) == set(notifiers().things)
    assert "url" in found["webhook"]["$defs"]["WebhookSettings"]["properties"]


def test_a_notification_that_failed_is_tried_again(api: Api) -> None:
    names = {"alarm_id": "a1", "entity_id": "component:web", "event_id": "e1", "happened": ["opened"]}
    found = {
        "_id": "n1",
        "rule": "r",
        **names,
        "state": "failed",
        "attempts": 3,
        "created": TIME,
        "alert": {"state": 2},
    }
    api.database.answers |= {
        notifications.get: lambda name: found if name == "n1" else None,
        notifications.retry: lambda *_retry: found["state"] == "failed",
    }
    path = "/api/v1/notifications/n1"
    assert api.get(path, "reader").json["data"][0]["alert"] == {"state": 2}
    assert api.post(f"{path}/retry").status_code == 202
    assert api.database.calls_of(notifications.retry) == [["n1", "some-admin", NOW]]
    found["state"] = "sent"
    answer = api.post(f"{path}/retry")
    assert (answer.status_code, answer.json["detail"]) == (
        409,
        "the notification n1 is not one that failed: it is sent",
    )
    assert api.post("/api/v1/notifications/n2/retry").status_code == 404
