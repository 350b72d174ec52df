"""Notification rules over the real web server: secrets come in and do not come out, and stay when a rule is changed."""

from __future__ import annotations

from typing import Any

from web import Web

from canopsis.notifiers.notifier import MASK
from canopsis.store import rules
from canopsis.store.client import Store

PATH = "/api/v1/notification-rules"
SETTINGS = {"url": "https://chat.example.org/T0KEN", "headers": {"Authorization": "S3CRET"}, "timeout": 5}
RULE: dict[str, Any] = {"id": "r", "pattern": {"state": 2}, "on": ["opened"], "notifier": "webhook"}


def test_secrets_of_a_rule_stay_where_they_are(web: Web, site_db: Store) -> None:
    def stored() -> Any:
        found = rules.get(site_db, "notification-rule", "r")
        assert found is not None
        return found["settings"]

    made = web.call("POST", PATH, "admin", RULE | {"settings": SETTINGS})
    assert (made.status, stored()) == (201, SETTINGS)
    shown = made.json["data"][0]["settings"]
    assert shown == {"url": f"https://chat.example.org/{MASK}", "headers": {"Authorization": MASK}, "timeout": 5}
    for answer in (made, web.call("GET", PATH, "reader"), web.call("GET", f"{PATH}/r", "reader")):
        assert "S3CRET" not in str(answer.json)
        assert "T0KEN" not in str(answer.json)
    assert web.call("PATCH", f"{PATH}/r", "admin", {"settings": {"timeout": 7}}).status == 200
    assert stored() == SETTINGS | {"timeout": 7}
    assert web.call("PUT", f"{PATH}/r", "admin", RULE | {"settings": shown}).status == 200
    assert stored() == SETTINGS
    moved = shown | {"url": f"https://elsewhere.example.org/{MASK}"}
    answer = web.call("PUT", f"{PATH}/r", "admin", RULE | {"settings": moved})
    assert (answer.status, answer.json["field"]) == (400, "settings.url")
    assert stored() == SETTINGS
    sent = web.call("POST", f"{PATH}/r/test", "admin", {})
    assert sent.status == 202
    waiting = web.call("GET", f"/api/v1/notifications/{sent.json['data'][0]['notification_id']}", "reader")
    assert (waiting.json["data"][0]["state"], waiting.json["data"][0]["rule"]) == ("waiting", "r")
    assert web.call("GET", "/api/v1/notifications?state=failed", "reader").json["data"] == []
