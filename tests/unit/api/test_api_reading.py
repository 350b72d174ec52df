"""Events, entities, metrics, dead letters, status, health."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote

import pytest
from api_fakes import NOW, Api
from bson import Binary, Int64, ObjectId
from hypothesis import given
from hypothesis import strategies as st

from canopsis.api import readiness
from canopsis.api.resources.metrics import split_path
from canopsis.api.responses import encode
from canopsis.core.health import Process
from canopsis.errors import InputError
from canopsis.store import dead_letters
from canopsis.store.dead_letters import DeadLetterQuery
from canopsis.store.entities import EntityQuery
from canopsis.store.events import EventQuery
from canopsis.store.metrics import MetricQuery, Series
from canopsis.store.query import Page, Paging


def asked(api: Api, path: str) -> Any:
    assert api.get(path).status_code == 200
    return api.database.query


@pytest.mark.parametrize(
    ("query", "facts"),
    [
        ("event_type=check,log", {"event_type": ["check", "log"]}),
        ("entity_id=component:web1", {"entity_id": "component:web1"}),
        ("connector=a&component=b&resource=c", {"connector": "a", "component": "b", "resource": "c"}),
        ("state=0", {"state": [0]}),
        ("search=full", {"search": "full"}),
        ("from=5&to=6", {"since": 5.0, "until": 6.0}),
        ("sort=-timestamp&limit=2&after=3.0/a", {"paging": Paging(0, 2, "-timestamp", after="3.0/a")}),
    ],
)
def test_filters_of_events(api: Api, query: str, facts: dict[str, Any]) -> None:
    assert asked(api, f"/api/v1/events?{query}") == EventQuery(**{"paging": Paging(0, 50)} | facts)


@pytest.mark.parametrize(
    ("query", "facts"),
    [
        ("type=resource", {"type": "resource"}),
        ("name=disk&component=web1", {"name": "disk", "component": "web1"}),
        ("connector=connector:a/b&parent=component:web1", {"connector": "connector:a/b", "parent": "component:web1"}),
        ("search=web", {"search": "web"}),
        ("sort=-created", {"paging": Paging(0, 50, "-created")}),
    ],
)
def test_filters_of_entities(api: Api, query: str, facts: dict[str, Any]) -> None:
    assert asked(api, f"/api/v1/entities?{query}") == EntityQuery(**{"paging": Paging(0, 50, "_id")} | facts)


@pytest.mark.parametrize(
    ("query", "facts"),
    [
        ("engine=alarm&field=state", {"engine": "alarm", "field": "state"}),
        ("replayed=false", {"replayed": False}),
        ("discarded=false", {"discarded": False}),
        ("search=json", {"search": "json"}),
        ("from=0&to=86400", {"since": 0.0, "until": 86400.0}),
    ],
)
def test_filters_of_dead_letters(api: Api, query: str, facts: dict[str, Any]) -> None:
    expected = DeadLetterQuery(**{"paging": Paging(0, 50, "-received")} | facts)
    assert asked(api, f"/api/v1/dead-letters?{query}") == expected


@pytest.mark.parametrize("path", ["events", "entities", "metrics", "dead-letters", "alarms", "status", "me"])
def test_every_list_names_an_unknown_parameter(api: Api, path: str) -> None:
    answer = api.get(f"/api/v1/{path}?colour=red")
    assert (answer.status_code, answer.json["field"], answer.json["value"]) == (400, "colour", "'red'")


class TestMetrics:
    """``/metrics``."""

    def test_which_there_are(self, api: Api) -> None:
        api.database.page = Page(1, [{"_id": {"e": "component:a", "m": "load"}, "u": None}])
        answer = api.get("/api/v1/metrics?entity_id=component:a&search=lo&limit=3").json
        assert answer["data"] == [{"entity_id": "component:a", "metric": "load", "unit": None}]
        assert api.database.query == MetricQuery(entity_id="component:a", search="lo", paging=Paging(0, 3, "_id"))

    def test_points_are_pairs(self, api: Api) -> None:
        api.database.points = Series("component:a", "load", None, [(1.0, 0.5), (2.0, 1.5)])
        answer = api.get("/api/v1/metrics/component:a/load").json
        assert answer == {"total": 2, "success": True, "data": [[1.0, 0.5], [2.0, 1.5]]}

    @pytest.mark.parametrize(
        ("query", "window"),
        [
            ("", (NOW - 3600, NOW, None, "avg")),
            ("from=-2h&to=-1h", (NOW - 7200, NOW - 3600, None, "avg")),
            ("to=7200", (3600.0, 7200.0, None, "avg")),
            ("to=60", (0.0, 60.0, None, "avg")),
            ("interval=5m&aggregation=max", (NOW - 3600, NOW, 300.0, "max")),
        ],
    )
    def test_the_window(self, api: Api, query: str, window: tuple[object, ...]) -> None:
        api.database.points = Series("component:a", "load", None, [])
        assert asked(api, f"/api/v1/metrics/component:a/load?{query}") == "component:a"
        [_, _, _, *bounds] = api.database.asked[-1]
        facts = api.database.facts
        assert (*bounds, facts["interval"], facts["aggregate"]) == window

    @pytest.mark.parametrize(
        ("query", "field"),
        [
            ("from=20&to=10", "to"),
            ("from=tomorrow", "from"),
            ("interval=0", "interval"),
            ("aggregation=median", "aggregation"),
        ],
    )
    def test_a_wrong_window_is_named(self, api: Api, query: str, field: str) -> None:
        answer = api.get(f"/api/v1/metrics/component:a/load?{query}")
        assert (answer.status_code, answer.json["field"]) == (400, field)

    def test_an_unknown_metric_is_a_404_that_names_it(self, api: Api) -> None:
        answer = api.get("/api/v1/metrics/component:a/load")
        assert answer.status_code == 404
        assert (answer.json["value"], answer.json["entity_id"]) == ("load", "component:a")

    @pytest.mark.parametrize(
        ("path", "entity", "metric"),
        [
            ("component:a/load", "component:a", "load"),
            ("component%3Aa/load", "component:a", "load"),
            ("resource:a/disk/used", "resource:a/disk", "used"),
            ("resource%3Aa%2Fdisk/used", "resource:a/disk", "used"),
            ("resource:a%2Fdisk/used", "resource:a/disk", "used"),
            ("connector:nagios/n1/rate", "connector:nagios/n1", "rate"),
            ("resource:a/disk//", "resource:a/disk", "/"),
            ("resource:a/disk/%2F", "resource:a/disk", "/"),
            ("resource:a/disk//var/log", "resource:a/disk", "/var/log"),
            ("resource:a/disk/C%3A%5C%20used", "resource:a/disk", "C:\\ used"),
            ("component:a/two words", "component:a", "two words"),
            ("resource:a/disk%252Froot/used", "resource:a/disk%2Froot", "used"),
            ("resource%3Aa%2Fdisk%252Froot/used", "resource:a/disk%2Froot", "used"),
            ("component:a/cpu/user", "component:a", "cpu/user"),
            ("component:é/ü", "component:é", "ü"),
            ("component:a/100%25", "component:a", "100%"),
        ],
    )
    def test_any_id_and_name_may_stand_in_a_path(self, api: Api, path: str, entity: str, metric: str) -> None:
        api.database.points = Series(entity, metric, None, [])
        asked(api, f"/api/v1/metrics/{path}")
        assert api.database.asked[-1][1:3] == (entity, metric)

    def test_a_server_that_hides_the_raw_path_still_works(self, api: Api) -> None:
        api.database.points = Series("", "", None, [])
        path = "/api/v1/metrics/resource:a/disk/100%25"
        assert api.get(path, environ_overrides={"RAW_URI": ""}).status_code == 200
        assert api.database.asked[-1][1:3] == ("resource:a/disk", "100%")

    @pytest.mark.parametrize(
        ("path", "field"),
        [
            ("web1/load", "entity_id"),
            ("host:a/load", "entity_id"),
            ("component:a", "metric"),
            ("resource:a/disk", "metric"),
            ("component:a/", "metric"),
            ("component:%FF/load", "path"),
        ],
    )
    def test_a_wrong_path_is_named(self, api: Api, path: str, field: str) -> None:
        answer = api.get(f"/api/v1/metrics/{path}")
        assert (answer.status_code, answer.json["field"]) == (400, field)


NAMES = st.text(min_size=1, max_size=12).map(lambda text: text.replace("%", "%25").replace("/", "%2F"))


@given(
    kind=st.sampled_from(["component", "resource", "connector"]),
    one=NAMES,
    two=NAMES,
    metric=st.text(min_size=1, max_size=12),
)
def test_an_encoded_path_gives_back_id_and_metric(kind: str, one: str, two: str, metric: str) -> None:
    entity = f"{kind}:{one}" if kind == "component" else f"{kind}:{one}/{two}"
    assert split_path(f"{quote(entity, safe='')}/{quote(metric, safe='')}") == (entity, metric)


@given(st.text(max_size=40))
def test_no_path_raises_anything_but_its_own_error(path: str) -> None:
    try:
        entity, metric = split_path(path)
    except InputError as refused:
        assert refused.field in ("entity_id", "metric", "path")
    else:
        assert entity
        assert metric


LETTER: dict[str, Any] = {
    "_id": "d1",
    "reason": "not JSON",
    "received": datetime(2026, 1, 1, tzinfo=UTC),
    "field": "body",
    "engine": "cleaner_events",
    "exchange": "canopsis.events",
    "routing_key": "a.b.c",
    "content_type": "application/json",
    "headers": {"source": "x", "x-death": [{"count": 1}], "timestamp_in_ms": 5, "n": 3, "deep": {"a": 1}},
    "body": Binary(b'{"a": '),
}


class TestDeadLetters:
    """``/dead-letters``."""

    def test_a_readable_body_is_shown_as_text(self, api: Api) -> None:
        api.database.documents["d1"] = LETTER
        [letter] = api.get("/api/v1/dead-letters/d1").json["data"]
        assert (letter["body"], letter["body_encoding"]) == ('{"a": ', "utf-8")

    def test_another_body_is_shown_in_base64(self, api: Api) -> None:
        api.database.documents["d1"] = LETTER | {"body": b"\xff\x00"}
        [letter] = api.get("/api/v1/dead-letters/d1").json["data"]
        assert (letter["body"], letter["body_encoding"]) == ("/wA=", "base64")

    def test_a_replay_publishes_the_bytes_where_they_came_in(self, api: Api) -> None:
        api.database.documents["d1"] = LETTER
        answer = api.post("/api/v1/dead-letters/d1/replay")
        assert answer.status_code == 202
        [message] = api.broker.published
        assert (message.exchange, message.routing_key, message.body) == ("canopsis.events", "a.b.c", b'{"a": ')
        assert message.content_type == "application/json"
        assert message.headers == {"source": "x", "n": 3}
        assert api.database.calls_of(dead_letters.mark_replayed) == [[LETTER, "some-admin", False]]

    @pytest.mark.parametrize(
        ("letter", "exchange", "key"),
        [
            ({"exchange": "", "routing_key": "Engine_alarm.03"}, "canopsis.events", "Engine_alarm.03"),
            ({"exchange": "amq.topic", "routing_key": "collectd"}, "amq.topic", "collectd"),
            ({"exchange": "somewhere.else", "routing_key": "x"}, "canopsis.events", "x"),
            ({"exchange": "canopsis.dead", "routing_key": "x", "headers": {}}, "canopsis.events", "x"),
            (
                {
                    "exchange": "canopsis.dead",
                    "routing_key": "collectd",
                    "headers": {"x-death": [{"exchange": "amq.topic"}]},
                },
                "amq.topic",
                "collectd",
            ),
            ({"exchange": "canopsis.dead", "headers": {"x-death": [5]}}, "canopsis.events", "a.b.c"),
            ({"exchange": "canopsis.dead", "headers": {"x-death": "forged"}}, "canopsis.events", "a.b.c"),
        ],
    )
    def test_a5_a_letter_goes_to_a_door_that_the_web_server_may_open(
        self, api: Api, letter: dict[str, Any], exchange: str, key: str
    ) -> None:
        api.database.documents["d1"] = LETTER | letter
        assert api.post("/api/v1/dead-letters/d1/replay").status_code == 202
        assert (api.broker.published[0].exchange, api.broker.published[0].routing_key) == (exchange, key)

    def test_a5_what_a_message_cannot_carry_is_left_out(self, api: Api) -> None:
        strange = "\ufffd" * 255
        headers = {"\\xff" * 255: 1, "good": "é", "large": "x" * 70_000, "late": 1, "CC": "x", "none": None}
        api.database.documents["d1"] = LETTER | {
            "content_type": strange,
            "message_id": strange,
            "routing_key": strange,
            "headers": headers,
        }
        assert api.post("/api/v1/dead-letters/d1/replay").status_code == 202
        [message] = api.broker.published
        assert (message.content_type, message.message_id, message.routing_key) == (
            "application/octet-stream",
            "d1.0",
            "",
        )
        assert message.headers == {"good": "é"}

    def test_a5_an_alert_is_no_event(self, api: Api) -> None:
        api.database.documents["d1"] = LETTER | {"exchange": "canopsis.alerts"}
        assert api.post("/api/v1/dead-letters/d1/replay").status_code == 409

    def test_a5_a_mended_body_takes_the_place_of_the_bytes(self, api: Api) -> None:
        api.database.documents["d1"] = LETTER | {"cut_from_bytes": 20_000_000}
        answer = api.post("/api/v1/dead-letters/d1/replay", {"body": '{"a": "é"}'})
        assert answer.status_code == 202
        assert api.broker.published[0].body == '{"a": "é"}'.encode()
        [[_, user, mended]] = api.database.calls_of(dead_letters.mark_replayed)
        assert (user, mended) == ("some-admin", True)

    def test_a5_a_letter_can_be_discarded(self, api: Api) -> None:
        api.database.documents["d1"] = LETTER
        assert api.post("/api/v1/dead-letters/d1/discard", {"comment": "a test"}).json["data"] == [
            {"_id": "d1", "status": "discarded"}
        ]
        api.post("/api/v1/dead-letters/d1/discard")
        assert api.database.calls_of(dead_letters.mark_discarded) == [
            ["d1", "some-admin", "a test"],
            ["d1", "some-admin", ""],
        ]
        assert api.broker.published == []

    def test_a_letter_of_unknown_origin_goes_to_the_events(self, api: Api) -> None:
        api.database.documents["d1"] = {"_id": "d1", "body": b"x"}
        api.post("/api/v1/dead-letters/d1/replay")
        assert api.broker.published[0].exchange == "canopsis.events"

    def test_a_replay_that_the_broker_does_not_take_is_not_noted(self, api: Api) -> None:
        api.database.documents["d1"] = LETTER
        api.broker.away = "gone"
        assert api.post("/api/v1/dead-letters/d1/replay").status_code == 503
        assert api.database.calls_of(dead_letters.mark_replayed) == []

    def test_the_message_id_goes_along(self, api: Api) -> None:
        api.database.documents["d1"] = LETTER | {"message_id": "m-1"}
        api.post("/api/v1/dead-letters/d1/replay")
        assert api.broker.published[0].message_id == "m-1"

    def test_a4_a_letter_that_is_replayed_after_a_doubtful_answer_is_the_same_message(self, api: Api) -> None:
        api.database.documents["d1"] = LETTER | {"message_id": ""}
        for replays in (None, None, 1):
            api.database.documents["d1"] |= {"replays": replays} if replays else {}
            api.post("/api/v1/dead-letters/d1/replay")
        assert [message.message_id for message in api.broker.published] == ["d1.0", "d1.0", "d1.1"]

    def test_a_letter_that_was_cut_cannot_be_replayed(self, api: Api) -> None:
        api.database.documents["d1"] = LETTER | {"cut_from_bytes": 20_000_000}
        assert api.post("/api/v1/dead-letters/d1/replay").status_code == 409
        assert api.broker.published == []

    @pytest.mark.parametrize(
        "path", ["/api/v1/dead-letters/no", "/api/v1/dead-letters/no/replay", "/api/v1/dead-letters/no/discard"]
    )
    def test_an_unknown_letter_is_a_404(self, api: Api, path: str) -> None:
        answer = api.call("GET" if path.endswith("no") else "POST", path)
        assert (answer.status_code, answer.json["field"]) == (404, "letter_id")


LIVING: dict[str, Any] = {
    "_id": "instance:worker:h1:1",
    "process": "worker",
    "host": "h1",
    "partitions": [3, 1],
    "age": 2.0,
    "seen": datetime(2026, 1, 1, tzinfo=UTC),
}


CHAIN = (Process("cleaner", ("Engine_cleaner_events",)), Process("worker", ("Engine_alarm.00",), 1))


class TestHealth:
    """``/healthz``, ``/readyz`` and ``/status``."""

    def test_a_process_is_alive_whatever_is_away(self, api: Api) -> None:
        api.broker.away = api.database.away = "gone"
        assert api.get("/api/v1/healthz", None).status_code == 200

    def test_ready_when_both_answer(self, api: Api) -> None:
        assert api.get("/api/v1/readyz", None).json["data"] == [{"status": "ready"}]

    @pytest.mark.parametrize("away", [("broker",), ("database",), ("database", "broker")])
    def test_not_ready_names_what_is_away_and_not_why(self, api: Api, away: tuple[str, ...]) -> None:
        names = {"broker": "rabbitmq-server", "database": "mongodb"}
        for each in away:
            getattr(api, each).away = "secret reason"
        answer = api.get("/api/v1/readyz", None)
        assert answer.status_code == 503
        assert answer.json["servers"] == [names[each] for each in away]
        assert "Retry-After" in answer.headers
        assert "secret reason" not in answer.text

    def test_the_servers_are_asked_once_a_second(self, api: Api) -> None:
        clock = [0.0]
        ready = readiness.Readiness(api.app.extensions["canopsis"].backend, clock=lambda: clock[0])
        assert not any(server.error for server in ready.servers())
        api.broker.away = "gone"
        assert not any(server.error for server in ready.servers())
        clock[0] = 1.5
        assert [server.name for server in ready.servers() if server.error] == ["rabbitmq-server"]

    def test_status_shows_engines_partitions_queues_and_servers(self) -> None:
        api = Api(chain=CHAIN)
        api.broker.waiting = {"Engine_cleaner_events": 7}
        silent = LIVING | {"_id": "instance:worker:h2:1", "age": 500.0, "partitions": [2]}
        late = {"sources": [{"source": "c/1", "late": 1}, {"source": "c/2", "late": 5}]}
        api.database.living = [LIVING | late, silent | {"sources": [{"source": "c/1", "late": 1, "refused": 9}]}]
        [found] = api.get("/api/v1/status", "reader").json["data"]
        assert found["healthy"] is False
        assert [engine["alive"] for engine in found["engines"]] == [True, False]
        assert found["partitions"] == [
            {"process": "worker", "partition": 1, "holder": "instance:worker:h1:1"},
            {"process": "worker", "partition": 3, "holder": "instance:worker:h1:1"},
        ]
        assert found["sources"] == [{"source": "c/1", "late": 2, "refused": 9}, {"source": "c/2", "late": 5}]
        assert found["queues"] == [
            {"name": "Engine_cleaner_events", "messages": 7, "consumers": 1, "exists": True},
            {"name": "Engine_alarm.00", "messages": None, "consumers": None, "exists": False},
        ]
        assert [(server["name"], server["version"], server["reachable"]) for server in found["servers"]] == [
            ("mongodb", "6.0.5", True),
            ("rabbitmq-server", "3.10.8", True),
        ]

    def test_status_answers_while_the_servers_are_away(self, api: Api) -> None:
        assert api.get("/api/v1/me", "reader").status_code == 200
        api.broker.away = api.database.away = "gone"
        [found] = api.get("/api/v1/status", "reader").json["data"]
        assert found["healthy"] is False
        assert [server["error"] for server in found["servers"]] == ["gone", "gone"]
        assert found["engines"] == []

    def test_no_engine_is_not_healthy(self, api: Api) -> None:
        assert api.get("/api/v1/status").json["data"][0]["healthy"] is False


def test_what_bson_has_and_json_has_not_is_written() -> None:
    moment = datetime(2026, 1, 1, tzinfo=UTC)
    found = encode([Int64(5), Binary(b"ab"), b"ab", ObjectId("0" * 24), moment, float("nan")])
    assert found == b'[5,"YWI=","YWI=","000000000000000000000000","2026-01-01T00:00:00Z",null]'
