"""What the database knows, over HTTP: filters, order, pages, points, letters, status."""

from __future__ import annotations

import base64
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import quote

import pytest
from bson import Binary
from logged import log, made
from servers import eventually
from web import Tap, Web

from canopsis.core.event import Event
from canopsis.store import alarms, dead_letters, entities, leases, write
from canopsis.store.client import Store
from canopsis.store.operations import Insert

NOW = datetime.now(UTC).replace(microsecond=0)
START = 1_000_000_000
"""Time of the first event."""
ENTITY = "resource:web1/disk%2Froot"
WINDOW = f"from={NOW.timestamp() - 900:.0f}&to={NOW.timestamp() + 1:.0f}"
PATH = f"/api/v1/metrics/{quote(ENTITY, safe='')}"


def alarm(number: int, **facts: Any) -> dict[str, Any]:
    return {
        "_id": f"a{number}",
        "rev": 1,
        "open": True,
        "entity_id": f"resource:web{number}/disk",
        "source_type": "resource",
        "connector": "nagios",
        "connector_name": "n1",
        "component": f"web{number}",
        "resource": "disk",
        "state": number % 3 + 1,
        "status": 1,
        "output": f"disk {number} is full (95 %)",
        "long_output": "",
        "initial_output": "",
        "created": 1000.0 + number,
        "updated": 1000.0 + number,
        "last_event": 2000.0 - number,
        "resolved": None,
        "ack": None,
        "cancel": None,
        "tags": ["even"] if number % 2 == 0 else [],
        "steps": [{"type": "stateinc", "t": 1.0, "author": "", "message": "", "value": 1, "e": "e1"}],
    } | facts


def _measured(event_id: str, timestamp: float, items: list[dict[str, Any]]) -> Event:
    return made(event_id, timestamp, component="web1", resource="disk/root", event_type="perf", perf_data_array=items)


@pytest.fixture(scope="module", autouse=True)
def stored(site_db: Store) -> None:
    """Ten alarms, events, entities, a metric, dead letters, two instances."""
    mark = {"author": "ann", "message": "", "t": 1.0}
    rows = [alarm(number) for number in range(8)]
    rows += [alarm(8, ack=mark), alarm(9, open=False, resolved=3000.0, state=0, status=0)]
    site_db[alarms.COLLECTION].insert_many(rows)
    for number in reversed(range(12)):
        facts = {"event_type": "check", "state": number % 4} if number % 2 else {"event_type": "log"}
        event = made(f"e{number}", START + number, component=f"web{number % 3}", output="text", **facts)
        log(site_db, [event], NOW.timestamp() - number)
    site_db[entities.COLLECTION].insert_many(
        {
            "_id": f"component:web{number}",
            "type": "component",
            "name": f"web{number}",
            "component": f"web{number}",
            "connectors": ["connector:nagios/n1"],
            "parents": ["connector:nagios/n1"],
            "created": 1000.0 + number,
        }
        for number in range(5)
    )
    values = {"/": 95.0, "C:\\ used.%": 1.0}
    start = NOW.timestamp() - 600
    for number in range(60):
        items = [{"metric": "/", "value": values["/"] + number, "unit": "%"}]
        log(site_db, [_measured(f"p{number}", start + 10 * number, items)], start)
    log(
        site_db, [_measured("last", NOW.timestamp() - 1, [{"metric": "C:\\ used.%", "value": 1.0, "unit": "%"}])], start
    )
    letters = [
        {
            "_id": f"d{number}",
            "reason": f"not JSON: {number}",
            "field": "body",
            "engine": "cleaner_events",
            "received": NOW - timedelta(hours=number),
            "exchange": "canopsis.events",
            "routing_key": "a.b.check.component.c",
            "content_type": "application/json",
            "message_id": f"m{number}",
            "headers": {"source": "test", "x-death": [{"count": 1, "time": NOW}], "timestamp_in_ms": 5},
            "body": Binary(b"\xff\x00" if number else b'{"a": '),
        }
        for number in range(3)
    ]
    write.apply(site_db, {dead_letters.COLLECTION: [Insert(letter) for letter in letters]})
    facts = {"pid": 5, "engines": ["alarm"], "partitions": [0, 1], "counters": {"alarm": {"in": 3}}}
    leases.announce(site_db, "worker", "h1", 1, facts)


def ids(web: Web, path: str) -> list[str]:
    answer = web.get(path)
    assert answer.status == 200, answer.data
    return [each["_id"] for each in answer.json["data"]]


class TestAlarms:
    """``GET /alarms``."""

    def test_open_ones_newest_first(self, web: Web) -> None:
        assert ids(web, "/api/v1/alarms") == [f"a{number}" for number in reversed(range(9))]

    @pytest.mark.parametrize(
        ("query", "found"),
        [
            ("show=resolved", {9}),
            ("show=all", set(range(10))),
            ("state=1", {0, 3, 6}),
            ("state=1,2", {0, 3, 6, 1, 4, 7}),
            ("status=4", set()),
            ("component=web3", {3}),
            ("resource=disk&component=web4", {4}),
            ("connector=nagios&connector_name=n2", set()),
            ("entity_id=resource:web5/disk", {5}),
            ("acked=true", {8}),
            ("acked=false&state=3", {2, 5}),
            ("tag=even&state=1", {0, 6}),
            ("search=disk+3", {3}),
            ("search=FULL+web7", {7}),
            ("search=(95", set(range(9))),
            ("search=disk.is", set()),
            ("from=1004&to=1006", {4, 5}),
        ],
    )
    def test_filters(self, web: Web, query: str, found: set[int]) -> None:
        assert set(ids(web, f"/api/v1/alarms?{query}")) == {f"a{number}" for number in found}

    @pytest.mark.parametrize(
        ("sort", "first"),
        [("created", "a0"), ("-created", "a8"), ("component", "a0")],
    )
    def test_order(self, web: Web, sort: str, first: str) -> None:
        assert ids(web, f"/api/v1/alarms?sort={sort}")[0] == first

    def test_every_sort_that_is_offered_works(self, web: Web) -> None:
        offered = web.get("/api/v1/openapi.json").json["paths"]
        for path in ("alarms", "events", "entities", "dead-letters"):
            parameters = offered[f"/api/v1/{path}"]["get"]["parameters"]
            [names] = [each["schema"]["enum"] for each in parameters if each["name"] == "sort"]
            for name in names:
                # Some orders are those of an entity alone, some of resolved alarms.
                more = {"events": "&entity_id=component:web1", "alarms": "&show=resolved" * ("resolved" in name)}
                assert web.get(f"/api/v1/{path}?sort={name}{more.get(path, '')}").status == 200, (path, name)

    def test_pages_do_not_overlap_and_know_the_total(self, web: Web) -> None:
        seen: list[str] = []
        after = ""
        for _ in range(3):
            answer = web.get(f"/api/v1/alarms?sort=state&limit=4{after}").json
            assert answer["total"] == 9
            seen += [each["_id"] for each in answer["data"]]
            after = f"&after={answer.get('next')}"
        assert "next" not in answer
        assert len(seen) == len(set(seen)) == 9

    def test_no_row_only_the_total(self, web: Web) -> None:
        answer = web.get("/api/v1/alarms?limit=0").json
        assert (answer["total"], answer["data"]) == (9, [])

    def test_a_list_has_no_steps_an_alarm_has(self, web: Web) -> None:
        assert "steps" not in web.get("/api/v1/alarms?limit=1").json["data"][0]
        [found] = web.get("/api/v1/alarms/a1").json["data"]
        assert found["steps"][0]["e"] == "e1"

    @pytest.mark.parametrize("name", ["ack", "cancel", "comment"])
    def test_an_action_is_an_event_on_the_exchange(self, web: Web, tap: Tap, name: str) -> None:
        answer = web.post(f"/api/v1/alarms/a1/{name}", {"message": "looking"})
        assert answer.status == 202, answer.data
        [(key, _)] = [
            (key, body) for key, body in tap.messages() if answer.json["data"][0]["event_id"].encode() in body
        ]
        assert key == f"canopsis.api.{name}.resource.web1.disk"

    @pytest.mark.parametrize(
        ("path", "status"),
        [("a8/ack", 409), ("a1/ackremove", 409), ("a1/uncancel", 409), ("a9/ack", 409), ("none/ack", 404)],
    )
    def test_an_action_that_cannot_be(self, web: Web, tap: Tap, path: str, status: int) -> None:
        assert web.post(f"/api/v1/alarms/{path}").status == status
        assert tap.messages() == []


class TestEvents:
    """``GET /events``."""

    def test_latest_received_first(self, web: Web) -> None:
        assert ids(web, "/api/v1/events?limit=3") == ["e0", "e1", "e2"]

    @pytest.mark.parametrize(
        ("query", "count"),
        [
            ("event_type=log", 6),
            ("event_type=check,log", 12),
            ("entity_id=component:web1", 4),
            ("component=web2&state=1", 1),
            (f"from={START + 3}&to={START + 5}", 2),
            ("search=text", 12),
        ],
    )
    def test_filters(self, web: Web, query: str, count: int) -> None:
        assert len(ids(web, f"/api/v1/events?{query}")) == count

    def test_times_are_written_as_dates(self, web: Web) -> None:
        [found] = web.get("/api/v1/events?limit=1").json["data"]
        assert datetime.fromisoformat(found["received"]) == NOW


def test_entities_are_found(web: Web) -> None:
    assert len(ids(web, "/api/v1/entities?type=component&limit=3")) == 3
    assert ids(web, "/api/v1/entities?name=web2") == ["component:web2"]
    assert ids(web, "/api/v1/entities?search=WEB3") == ["component:web3"]
    assert len(ids(web, "/api/v1/entities?connector=connector:nagios/n1&parent=connector:nagios/n1")) == 5
    assert ids(web, "/api/v1/entities?type=resource") == []


class TestMetrics:
    """``GET /metrics``."""

    def test_which_there_are(self, web: Web) -> None:
        answer = web.get(f"/api/v1/metrics?entity_id={quote(ENTITY)}").json
        assert {(each["entity_id"], each["metric"], each["unit"]) for each in answer["data"]} == {
            (ENTITY, "/", "%"),
            (ENTITY, "C:\\ used.%", "%"),
        }
        assert web.get("/api/v1/metrics?search=used").json["total"] == 1

    @pytest.mark.parametrize("path", ["%2F", "/"])
    def test_points(self, web: Web, path: str) -> None:
        answer = web.get(f"{PATH}/{path}?{WINDOW}")
        assert answer.status == 200, answer.data
        points = answer.json["data"]
        assert len(points) == answer.json["total"] == 60
        assert [value for _, value in points] == [95.0 + number for number in range(60)]
        assert points == sorted(points)

    def test_a_name_with_everything_in_it(self, web: Web) -> None:
        answer = web.get(f"{PATH}/C%3A%5C%20used.%25?{WINDOW}")
        assert [value for _, value in answer.json["data"]] == [1.0]

    @pytest.mark.parametrize(
        ("aggregation", "value"), [("count", 60.0), ("min", 95.0), ("max", 154.0), ("avg", 124.5), ("last", 154.0)]
    )
    def test_an_interval_makes_one_of_many(self, web: Web, aggregation: str, value: float) -> None:
        answer = web.get(f"{PATH}/%2F?{WINDOW}&interval=400d&aggregation={aggregation}")
        assert [each for _, each in answer.json["data"]] == [value]

    def test_too_many_intervals_are_refused(self, web: Web) -> None:
        answer = web.get(f"{PATH}/%2F?from=-30d&interval=1")
        assert (answer.status, answer.json["field"]) == (400, "interval")

    def test_an_unknown_metric(self, web: Web) -> None:
        assert web.get(f"{PATH}/nothing").status == 404


class TestDeadLetters:
    """``/dead-letters``."""

    def test_a_list_without_bodies(self, web: Web) -> None:
        assert ids(web, "/api/v1/dead-letters") == ["d0", "d1", "d2"]
        assert "body" not in web.get("/api/v1/dead-letters").json["data"][0]

    def test_filters(self, web: Web) -> None:
        assert ids(web, "/api/v1/dead-letters?search=2") == ["d2"]
        assert ids(web, "/api/v1/dead-letters?from=-30m") == ["d0"]
        assert ids(web, "/api/v1/dead-letters?engine=alarm") == []

    def test_one_with_its_body(self, web: Web) -> None:
        [text] = web.get("/api/v1/dead-letters/d0").json["data"]
        assert (text["body"], text["body_encoding"]) == ('{"a": ', "utf-8")
        [binary] = web.get("/api/v1/dead-letters/d1").json["data"]
        assert base64.b64decode(binary["body"]) == b"\xff\x00"

    def test_a_replay_brings_the_bytes_back(self, web: Web, tap: Tap) -> None:
        answer = web.call("POST", "/api/v1/dead-letters/d1/replay")
        assert answer.status == 202, answer.data
        assert tap.messages() == [("a.b.check.component.c", b"\xff\x00")]
        [letter] = web.get("/api/v1/dead-letters/d1").json["data"]
        assert letter["replayed_by"] == "some-admin"
        assert ids(web, "/api/v1/dead-letters?replayed=true") == ["d1"]
        assert ids(web, "/api/v1/dead-letters?replayed=false") == ["d0", "d2"]

    def test_an_operator_may_not(self, web: Web) -> None:
        assert web.post("/api/v1/dead-letters/d0/replay").status == 403


class TestStatus:
    """``GET /status``, ``/readyz``."""

    def test_the_site_at_a_glance(self, web: Web, site_db: Store) -> None:
        leases.announce(site_db, "worker", "h1", 1, {"pid": 5, "engines": ["alarm"], "partitions": [0, 1]})
        [found] = web.get("/api/v1/status").json["data"]
        assert found["healthy"] is True
        assert [(each["process"], each["alive"], each["pid"]) for each in found["engines"]] == [("worker", True, 5)]
        assert [each["partition"] for each in found["partitions"]] == [0, 1]
        assert {each["name"]: each["reachable"] for each in found["servers"]} == {
            "mongodb": True,
            "rabbitmq-server": True,
        }
        assert all(each["version"] for each in found["servers"])
        assert found["queues"] == []
        leases.note_chain(site_db, {"worker": {"queues": ["Engine_alarm.00"], "partitions": 0}})
        [found] = web.get("/api/v1/status").json["data"]
        assert {each["name"]: each["exists"] for each in found["queues"]} == {"Engine_alarm.00": False}
        assert [each["where"] for each in found["problems"]] == ["queue Engine_alarm.00"]
        site_db.leases.delete_one({"_id": "chain"})

    def test_ready(self, web: Web, tap: Tap) -> None:
        assert tap.messages() == []
        eventually(lambda: web.get("/api/v1/readyz", None).status == 200)
