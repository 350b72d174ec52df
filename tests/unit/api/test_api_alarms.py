"""Listing alarms, and the actions: each publishes an event or says why not."""

from __future__ import annotations

from typing import Any

import pytest
from api_fakes import NOW, Api, alarm

from canopsis.api.resources import alarms as resource
from canopsis.store.alarms import AlarmQuery
from canopsis.store.query import Page, Paging

MARK = {"author": "ann", "message": "mine", "t": 1.0}


def asked(api: Api, query: str) -> AlarmQuery:
    assert api.get(f"/api/v1/alarms?{query}").status_code == 200
    found = api.database.query
    assert isinstance(found, AlarmQuery)
    return found


def test_by_default_the_open_ones_latest_first(api: Api) -> None:
    assert asked(api, "") == AlarmQuery(paging=Paging(0, 50))


@pytest.mark.parametrize(
    ("query", "facts"),
    [
        ("show=all", {"show": "all"}),
        ("show=resolved", {"show": "resolved"}),
        ("state=2,3", {"state": [2, 3]}),
        ("status=4", {"status": [4]}),
        ("connector=nagios&connector_name=n1", {"connector": "nagios", "connector_name": "n1"}),
        ("component=web1&resource=disk%20/", {"component": "web1", "resource": "disk /"}),
        ("entity_id=resource:web1/disk", {"entity_id": "resource:web1/disk"}),
        ("acked=false", {"acked": False}),
        ("snoozed=true", {"snoozed": True}),
        ("tag=db", {"tag": "db"}),
        ("search=disk+full", {"search": "disk full"}),
        ("from=100&to=200", {"since": 100.0, "until": 200.0}),
        ("from=-1h", {"since": NOW - 3600}),
    ],
)
def test_each_filter_reaches_the_query(api: Api, query: str, facts: dict[str, Any]) -> None:
    assert asked(api, query) == AlarmQuery(**{"paging": Paging(0, 50)} | facts)


def test_sort_and_page_reach_the_query(api: Api) -> None:
    assert asked(api, "sort=state&limit=5&after=x").paging == Paging(0, 5, "state", after="x")


def test_the_total_counts_more_than_the_page(api: Api) -> None:
    api.database.page = Page(70, [alarm()])
    answer = api.get("/api/v1/alarms?limit=1").json
    assert (answer["total"], answer["success"], len(answer["data"])) == (70, True, 1)


def test_a_total_that_may_be_more_says_so(api: Api) -> None:
    api.database.page = Page(1000, [alarm()], exact=False)
    assert api.get("/api/v1/alarms").json["exact"] is False
    api.database.page = Page(1000, [alarm()])
    assert "exact" not in api.get("/api/v1/alarms").json


@pytest.mark.parametrize(
    "query", ["stat=1", "state=critical", "limit=5000", "sort=nothing", "show=closed", "acked=perhaps"]
)
def test_a_wrong_parameter_is_named_with_what_is_allowed(api: Api, query: str) -> None:
    answer = api.get(f"/api/v1/alarms?{query}")
    assert answer.status_code == 400
    assert answer.json["field"] == query.partition("=")[0]
    assert answer.json["allowed"]


def test_one_alarm_comes_with_its_steps(api: Api) -> None:
    api.database.documents["a1"] = alarm(steps=STEPS)
    answer = api.get("/api/v1/alarms/a1").json
    assert answer["total"] == 1
    assert answer["data"][0]["steps"] == STEPS


def test_an_alarm_that_a_client_has_is_not_sent_again(api: Api) -> None:
    api.database.documents["a1"] = alarm()
    tag = api.get("/api/v1/alarms/a1").headers["ETag"]
    assert api.get("/api/v1/alarms/a1", headers={"If-None-Match": tag}).status_code == 304
    api.database.documents["a1"] = alarm(state=1)
    assert api.get("/api/v1/alarms/a1", headers={"If-None-Match": tag}).status_code == 200


def test_an_unknown_alarm_is_a_404_that_names_it(api: Api) -> None:
    answer = api.get("/api/v1/alarms/zz")
    assert answer.status_code == 404
    assert (answer.json["field"], answer.json["value"]) == ("alarm_id", "zz")


ACTIONS = {
    "ack": {},
    "ackremove": {"ack": MARK},
    "cancel": {},
    "uncancel": {"cancel": MARK},
    "comment": {},
    "snooze": {},
    "unsnooze": {"snooze": MARK | {"until": 9.0}},
    "declareticket": {},
}


OWN = {
    "snooze": {"duration": 300.0},
    "declareticket": {"ticket": "", "ticket_system": "", "ticket_url": ""},
}
"""What an action has beside, when nothing is given."""


@pytest.mark.parametrize("name", ACTIONS)
def test_an_action_publishes_its_event(api: Api, name: str) -> None:
    api.database.documents["a1"] = alarm(**ACTIONS[name])
    answer = api.post(f"/api/v1/alarms/a1/{name}", {"message": "because"}, "operator")
    assert answer.status_code == 202
    assert answer.json["data"] == [{"alarm_id": "a1", "event_id": "id0", "status": "accepted"}]
    [message] = api.broker.published
    assert message.routing_key == f"canopsis.api.{name}.resource.web1.disk"
    assert api.broker.events == [
        {
            "connector": "canopsis",
            "connector_name": "api",
            "event_type": name,
            "source_type": "resource",
            "component": "web1",
            "resource": "disk",
            "timestamp": NOW,
            "author": "some-operator",
            "output": "because",
            "event_id": "id0",
            "alarm_id": "a1",
            **OWN.get(name, {}),
        }
    ]


def test_an_action_on_a_component_has_no_resource(api: Api) -> None:
    api.database.documents["a1"] = alarm(source_type="component", resource=None)
    api.post("/api/v1/alarms/a1/ack", role="operator")
    assert api.broker.published[0].routing_key == "canopsis.api.ack.component.web1"
    assert "resource" not in api.broker.events[0]


def test_an_action_takes_the_fields_of_its_event(api: Api) -> None:
    api.database.documents["a1"] = alarm()
    assert api.post("/api/v1/alarms/a1/snooze", {"duration": 60}, "operator").status_code == 202
    assert api.post("/api/v1/alarms/a1/changestate", {"state": 3}, "operator").status_code == 202
    assert [(each.get("duration"), each.get("state")) for each in api.broker.events] == [(60.0, None), (None, 3)]


@pytest.mark.parametrize(
    ("path", "body", "field"),
    [
        ("snooze", {"duration": "long"}, "duration"),
        ("snooze", {"duration": 0}, "duration"),
        ("changestate", {"state": 4}, "state"),
        ("changestate", {}, "state"),
        ("assocticket", {"ticket": 5}, "ticket"),
    ],
)
def test_a_wrong_field_of_an_action_is_named(api: Api, path: str, body: object, field: str) -> None:
    api.database.documents["a1"] = alarm()
    answer = api.post(f"/api/v1/alarms/a1/{path}", body, "operator")
    assert (answer.status_code, answer.json["field"]) == (400, field)


def test_nobody_acts_as_another(api: Api) -> None:
    api.database.documents["a1"] = alarm()
    assert api.post("/api/v1/alarms/a1/ack", {"author": "ann"}, "operator").json["field"] == "author"


def test_an_ack_needs_no_body(api: Api) -> None:
    api.database.documents["a1"] = alarm()
    assert api.call("POST", "/api/v1/alarms/a1/ack", "operator").status_code == 202
    assert api.broker.events[0]["output"] == ""


def test_a_comment_needs_its_text(api: Api) -> None:
    api.database.documents["a1"] = alarm()
    assert api.call("POST", "/api/v1/alarms/a1/comment", "operator").json["field"] == "body"
    assert api.post("/api/v1/alarms/a1/comment", {}, "operator").json["field"] == "message"


@pytest.mark.parametrize(
    ("name", "facts", "why"),
    [
        ("ack", {"ack": MARK}, "ann acknowledged it already"),
        ("ackremove", {}, "it is not acknowledged"),
        ("cancel", {"cancel": MARK}, "ann cancelled it already"),
        ("uncancel", {}, "it is not cancelled"),
        *((name, {"open": False} | facts, "it is resolved") for name, facts in ACTIONS.items()),
    ],
)
def test_an_action_that_makes_no_sense_is_a_409(api: Api, name: str, facts: dict[str, Any], why: str) -> None:
    api.database.documents["a1"] = alarm(**facts)
    answer = api.post(f"/api/v1/alarms/a1/{name}", {"message": "because"}, "operator")
    assert answer.status_code == 409
    assert why in answer.json["detail"]
    assert api.broker.published == []


@pytest.mark.parametrize("name", ACTIONS)
def test_an_action_on_an_unknown_alarm_is_a_404(api: Api, name: str) -> None:
    assert api.post(f"/api/v1/alarms/zz/{name}", {"message": "m"}, "operator").status_code == 404


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"message": 5}, "message"),
        ({"message": "nul\0"}, "message"),
        ({"message": "x" * 4097}, "message"),
        ({"message": None}, "message"),
        ({"event_id": "a b"}, "event_id"),
        ({"mesage": "typo"}, "mesage"),
        ([], "body"),
        ("text", "body"),
    ],
)
def test_a_wrong_body_of_an_action_is_named(api: Api, body: object, field: str) -> None:
    api.database.documents["a1"] = alarm()
    answer = api.post("/api/v1/alarms/a1/ack", body, "operator")
    assert (answer.status_code, answer.json["field"]) == (400, field)
    assert api.broker.published == []


def test_a_broken_body_of_an_action_is_named(api: Api) -> None:
    answer = api.call("POST", "/api/v1/alarms/a1/ack", "operator", data=b"{", content_type="application/json")
    assert (answer.status_code, answer.json["field"]) == (400, "body")


def test_a4_an_action_that_is_not_confirmed_can_be_sent_again_under_its_id(api: Api) -> None:
    api.database.documents["a1"] = alarm()
    api.broker.away = "gone"
    answer = api.post("/api/v1/alarms/a1/comment", {"message": "once"}, "operator")
    assert (answer.status_code, answer.json["data"][0]["event_id"]) == (503, "id0")
    api.broker.away = ""
    again = api.post("/api/v1/alarms/a1/comment", {"message": "once", "event_id": "id0"}, "operator")
    assert again.json["data"] == [{"alarm_id": "a1", "event_id": "id0", "status": "accepted"}]
    assert [each["event_id"] for each in api.broker.events] == ["id0"]


STEPS = [
    {"type": "comment", "t": float(at), "author": "ann", "message": str(at), "value": 1, "e": f"e{at}"}
    for at in range(6)
]
COUNTER = {"type": "statecounter", "t": 3.0, "author": "canopsis", "message": "", "value": 4, "e": "", "counts": {}}


def test_b5_steps_are_read_part_by_part_newest_first(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resource, "MOST_STEPS", 3)
    api.database.documents["a1"] = alarm(_id="a1", steps=[COUNTER, *STEPS[4:]], older="s2")
    api.database.segments["s2"] = {"_id": "s2", "alarm_id": "a1", "older": "s1", "steps": STEPS[2:4]}
    api.database.segments["s1"] = {"_id": "s1", "alarm_id": "a1", "older": "", "steps": STEPS[:2]}
    found, older = [], ""
    while older is not None:
        answer = api.get("/api/v1/alarms/a1/steps" + (f"?older={older}" if older else "")).json
        assert (answer["total"], answer["success"]) == (6, True)
        found += answer["data"]
        older = answer["older"]
    assert found == STEPS[::-1]


def test_b5_an_alarm_of_before_has_all_its_steps_in_one_part(api: Api) -> None:
    api.database.documents["a1"] = alarm(_id="a1", steps=STEPS)
    answer = api.get("/api/v1/alarms/a1/steps").json
    assert (answer["total"], answer["older"], answer["data"]) == (6, None, STEPS[::-1])


@pytest.mark.parametrize("older", ["nothing", "s9"])
def test_b5_a_part_of_another_alarm_is_none_of_this_one(api: Api, older: str) -> None:
    api.database.documents["a1"] = alarm(_id="a1", steps=STEPS)
    api.database.segments["s9"] = {"_id": "s9", "alarm_id": "other", "older": "", "steps": STEPS}
    answer = api.get(f"/api/v1/alarms/a1/steps?older={older}")
    assert answer.status_code == 404
    assert (answer.json["field"], answer.json["value"]) == ("older", older)
