"""Rules over the real web server: made, changed by who saw the newest, tried, deleted; a worker would see each."""

from __future__ import annotations

from typing import Any

from logged import log, made
from web import Web

from canopsis.core.rules.event_filter import KIND
from canopsis.store import rules
from canopsis.store.client import Store

PATH = "/api/v1/event-filters"
RULE: dict[str, Any] = {"id": "r", "type": "drop", "pattern": {"$or": [{"component": "web1"}, {"x.y": {"$gte": 2}}]}}


def version(db: Store) -> int:
    found = rules.changed(db, (KIND.name,), {})
    assert found is not None
    return found.versions[KIND.name]


def test_the_life_of_a_rule(web: Web, site_db: Store) -> None:
    posted = web.call("POST", PATH, "admin", RULE)
    assert (posted.status, posted.json["data"][0]["rev"], posted.json["data"][0]["pattern"]) == (
        201,
        1,
        RULE["pattern"],
    )
    assert web.call("POST", PATH, "admin", RULE).status == 409
    shown = web.call("GET", f"{PATH}/r", "reader")
    tag = shown.headers["ETag"]
    before = version(site_db)
    changed = web.call("PATCH", f"{PATH}/r", "admin", {"description": "why"}, headers={"If-Match": tag})
    assert (changed.status, changed.json["data"][0]["description"], changed.json["data"][0]["rev"]) == (200, "why", 2)
    assert version(site_db) == before + 1
    assert web.call("PUT", f"{PATH}/r", "admin", RULE, headers={"If-Match": tag}).status == 412
    assert web.call("DELETE", f"{PATH}/r", "operator").status == 403
    assert [each["id"] for each in web.call("GET", PATH, "reader").json["data"]] == ["r"]
    assert web.call("DELETE", f"{PATH}/r", "admin").status == 200
    assert web.call("GET", f"{PATH}/r", "reader").status == 404
    assert version(site_db) == before + 2


def test_a_trial_on_an_event_that_is_stored(web: Web, site_db: Store) -> None:
    log(site_db, [made("tried", 1.7e9, component="web1", state=2)], 1.7e9)
    told = web.call("POST", f"{PATH}/try", "operator", {"rules": [RULE], "event_ids": ["tried"]})
    assert (told.status, told.json["data"][0]["outcome"], told.json["data"][0]["trail"][0]["rule"]) == (
        200,
        "dropped",
        "r",
    )
    assert web.call("GET", PATH, "reader").json["data"] == []
