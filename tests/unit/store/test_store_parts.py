"""Conditions, aggregation, compaction, requests: the parts of the store that need no database."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given as forall
from hypothesis import strategies as st
from pymongo.errors import (
    AutoReconnect,
    BulkWriteError,
    NetworkTimeout,
    OperationFailure,
    ServerSelectionTimeoutError,
)

from canopsis.errors import InputError, StoreError
from canopsis.store import alarms, metrics, write
from canopsis.store.alarms import AlarmQuery
from canopsis.store.client import connect, is_away, refusal_of, store_errors
from canopsis.store.operations import Insert, Upsert, no_writes
from canopsis.store.query import MAX_LIMIT, MAX_SKIP, Listing, Paging, check_paging, given, search, sort_order, window
from canopsis.store.settings import Retention, StoreSettings

LISTING = Listing("things", {"id": "_id", "created": "created", "state": "state"}, "id", ("id", "created"))


def test_given_leaves_out_what_is_not_given() -> None:
    assert given(a=None, b=0, c="", d=False) == {"b": 0, "c": "", "d": False}


def test_given_takes_any_of_several() -> None:
    assert given(state=[2, 1], kind={"x"}) == {"state": {"$in": [1, 2]}, "kind": {"$in": ["x"]}}


@pytest.mark.parametrize(
    ("since", "until", "expected"),
    [(None, None, None), (1, None, {"$gte": 1}), (None, 2, {"$lt": 2}), (1, 2, {"$gte": 1, "$lt": 2})],
)
def test_window(since: int | None, until: int | None, expected: dict[str, int] | None) -> None:
    assert window(since, until) == expected


@forall(st.text(max_size=30))
def test_search_finds_the_text_itself(text: str) -> None:
    for part in search(text, ("a", "b")).get("$and", []):
        assert [list(choice) for choice in part["$or"]] == [["a"], ["b"]]
    words = [part["$or"][0]["a"]["$regex"] for part in search(text, ("a",)).get("$and", [])]
    assert len(words) == len(text.split())
    for word, pattern in zip(text.split(), words, strict=True):
        assert re.fullmatch(pattern, word)


def test_search_of_nothing_is_no_condition() -> None:
    assert search("  ", ("a",)) == {}


@pytest.mark.parametrize(
    ("sort", "order"),
    [("created", [("created", 1)]), ("-state", [("state", -1), ("_id", -1)]), ("-id", [("_id", -1)])],
)
def test_sort_order(sort: str, order: list[tuple[str, int]]) -> None:
    assert sort_order(sort, LISTING) == order


@pytest.mark.parametrize("sort", ["", "-", "password", "--created", "$where", "created.x"])
def test_sorting_only_by_known_names(sort: str) -> None:
    with pytest.raises(InputError, match=r"sort: .* allowed: created, id, state"):
        sort_order(sort, LISTING)


@pytest.mark.parametrize(
    ("paging", "field"),
    [
        (Paging(limit=-1), "limit"),
        (Paging(limit=MAX_LIMIT + 1), "limit"),
        (Paging(skip=-1), "skip"),
        (Paging(skip=MAX_SKIP + 1), "skip"),
    ],
)
def test_paging_out_of_range(paging: Paging, field: str) -> None:
    with pytest.raises(InputError) as caught:
        check_paging(paging)
    assert caught.value.field == field


@pytest.mark.parametrize("paging", [Paging(), Paging(limit=0), Paging(skip=MAX_SKIP, limit=MAX_LIMIT)])
def test_paging_within_range(paging: Paging) -> None:
    check_paging(paging)


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        (AlarmQuery(), {"open": True}),
        (AlarmQuery(show="all"), {}),
        (AlarmQuery(show="resolved", state=[1, 2]), {"open": False, "state": {"$in": [1, 2]}}),
        (AlarmQuery(acked=True), {"open": True, "ack": {"$ne": None}}),
        (AlarmQuery(acked=False), {"open": True, "ack": None}),
        (AlarmQuery(tag="db", component="h"), {"open": True, "tags": "db", "component": "h"}),
        (AlarmQuery(since=1.0, until=2.0), {"open": True, "created": {"$gte": 1.0, "$lt": 2.0}}),
    ],
)
def test_alarm_conditions(query: AlarmQuery, expected: dict[str, Any]) -> None:
    assert alarms.condition(query) == expected


def test_alarm_search_is_escaped() -> None:
    (word,) = alarms.condition(AlarmQuery(search="a.b("))["$and"]
    assert word["$or"][0] == {"connector": {"$regex": r"a\.b\(", "$options": "i"}}


POINTS = [(0.0, 1.0), (5.0, 3.0), (10.0, 5.0), (25.0, 7.0)]


@pytest.mark.parametrize(
    ("aggregate", "expected"),
    [
        ("avg", [(0.0, 2.0), (10.0, 5.0), (20.0, 7.0)]),
        ("min", [(0.0, 1.0), (10.0, 5.0), (20.0, 7.0)]),
        ("max", [(0.0, 3.0), (10.0, 5.0), (20.0, 7.0)]),
        ("sum", [(0.0, 4.0), (10.0, 5.0), (20.0, 7.0)]),
        ("count", [(0.0, 2.0), (10.0, 1.0), (20.0, 1.0)]),
        ("last", [(0.0, 3.0), (10.0, 5.0), (20.0, 7.0)]),
    ],
)
def test_aggregation(aggregate: str, expected: list[tuple[float, float]]) -> None:
    assert metrics.aggregated(POINTS, 10.0, aggregate) == expected


@forall(st.lists(st.tuples(st.floats(0, 1e9), st.floats(-1e6, 1e6))), st.integers(1, 10**6))
def test_aggregation_keeps_all_points(points: list[tuple[float, float]], interval: int) -> None:
    ordered = sorted(points)
    counts = metrics.aggregated(ordered, interval, "count")
    assert sum(count for _, count in counts) == len(points)
    assert [moment for moment, _ in counts] == sorted({moment for moment, _ in counts})
    assert all(moment % interval == 0 for moment, _ in counts)


def test_an_hour_of_a_series_is_one_document() -> None:
    hour = 1_700_000_000 // 3600 * 3_600_000
    points = [(hour + 1000, 1.0), (hour + 2000, 2.0), (hour + metrics.HOUR_MS, 3.0)]
    writes = metrics.hourly("e", {"a": points, "b": points[:1]})
    hourly = {(op.id["m"], op.id["h"]): op.change["$set"] for op in writes if isinstance(op, Upsert)}
    at = datetime.fromtimestamp(hour / 1000, UTC)
    assert hourly["a", hour] == {"p.1000": 1.0, "p.2000": 2.0, "at": at}
    assert hourly["a", hour + metrics.HOUR_MS]["p.0"] == 3.0
    assert len(hourly) == 3


@pytest.mark.parametrize(
    ("arguments", "field"),
    [
        ((5.0, 5.0, None, "avg"), "until"),
        ((0.0, 5.0, 1.0, "median"), "aggregate"),
        ((0.0, 5.0, 0.0, "avg"), "interval"),
        ((0.0, 5.0, -1.0, "avg"), "interval"),
        ((0.0, 1e9, 1.0, "avg"), "interval"),
    ],
)
def test_windows_that_are_refused(arguments: tuple[float, float, float | None, str], field: str) -> None:
    with pytest.raises(InputError) as caught:
        metrics._check(*arguments)
    assert caught.value.field == field


def failed(*errors: dict[str, Any], concerns: list[dict[str, Any]] | None = None) -> BulkWriteError:
    return BulkWriteError({"writeErrors": list(errors), "writeConcernErrors": concerns or []})


ID_TAKEN = {"code": 11000, "keyPattern": {"_id": 1}, "index": 0}
OPEN_TAKEN = {"code": 11000, "keyPattern": {"entity_id": 1}, "index": 1, "keyValue": {"entity_id": "component:h"}}


def test_the_same_id_again_is_no_error() -> None:
    assert write._check_duplicates("events", failed(ID_TAKEN, ID_TAKEN)) == 2


def test_another_unique_index_is_a_bug() -> None:
    with pytest.raises(BulkWriteError):
        write._check_duplicates("users", failed(OPEN_TAKEN))


def test_a_document_that_is_refused_is_a_bug() -> None:
    with pytest.raises(BulkWriteError):
        write._check_duplicates("events", failed(ID_TAKEN, {"code": 2, "errmsg": "bad"}))


@pytest.mark.parametrize("code", [91, 117, 189, 211, 365, 10107, 11600, 11601, 11602, 13435, 14031])
def test_a_server_that_goes_is_a_store_error(code: int) -> None:
    assert is_away(code)
    with pytest.raises(StoreError):
        write._check_duplicates("events", failed({"code": code, "errmsg": "going"}))


@pytest.mark.parametrize("code", [None, 2, 9, 14, 40, 11000])
def test_a_bug_is_not_a_server_that_goes(code: int | None) -> None:
    assert not is_away(code)


def test_not_on_a_majority_is_a_store_error() -> None:
    with pytest.raises(StoreError, match="majority"):
        write._check_duplicates("events", failed(concerns=[{"errmsg": "waiting timed out"}]))


@pytest.mark.parametrize("error", [AutoReconnect("x"), NetworkTimeout("x"), ServerSelectionTimeoutError("x")])
def test_errors_of_the_network(error: Exception) -> None:
    with pytest.raises(StoreError, match="reading alarms"), store_errors("reading alarms"):
        raise error


def test_a_server_that_has_not_its_keys_yet_is_waited_for() -> None:
    """A mongod with passwords, a moment after its start, to a client that knew the time of the set before."""
    with pytest.raises(StoreError, match="cannot now"), store_errors("reading alarms"):
        raise OperationFailure("No keys found for HMAC that is valid for time: { ts: Timestamp(1, 81) }", 211)


def test_a_server_that_says_itself_try_again() -> None:
    details = {"code": 999_999, "errorLabels": ["RetryableWriteError"]}
    with pytest.raises(StoreError, match="cannot now"), store_errors("reading alarms"):
        raise OperationFailure("new in some release", 999_999, details)


def test_a_delete_on_a_server_that_goes_is_a_store_error() -> None:
    class Going:
        def __getitem__(self, _name: str) -> Going:
            return self

        def bulk_write(self, *_requests: object, **_options: object) -> object:
            raise failed({"code": 11602, "errmsg": "going"})

    with pytest.raises(StoreError, match="going"):
        write._delete(Going(), "alarms", [], write.Written())  # type: ignore[arg-type]


def test_errors_that_pass() -> None:
    with pytest.raises(OperationFailure), store_errors("reading"):
        raise OperationFailure("unknown operator", 2)
    with pytest.raises(StoreError), store_errors("reading"):
        raise OperationFailure("shutting down", 91)
    with pytest.raises(KeyError), store_errors("reading"):
        raise KeyError("bug")


@pytest.mark.parametrize(
    "document",
    [
        {"_id": 1, "x": 2**70},
        {"_id": 1, "x": object()},
        {"_id": 1, 3: "x"},
        {"_id": 1, "a\0b": 1},
        {"_id": 1, "x": "\ud800"},
        {"_id": 1, "x": "y" * write.MAX_DOCUMENT},
        {"_id": 1, "x": {1, 2}},
    ],
)
def test_documents_that_cannot_be_stored(document: dict[str, Any]) -> None:
    with pytest.raises(InputError, match="document"):
        write.check_encodable(document)


def test_endless_document_cannot_be_stored() -> None:
    document: dict[str, Any] = {"_id": 1}
    document["x"] = document
    with pytest.raises(InputError):
        write.check_encodable(document)


def test_documents_that_can_be_stored() -> None:
    write.check_encodable(
        {"_id": {"e": "x"}, "v": {"a.b": 1.0, "c d": 2}, "at": datetime.now(UTC), "b": b"\xff", "n": None}
    )


def test_password_is_not_shown() -> None:
    assert "hunter2" not in repr(StoreSettings(password="hunter2"))


def test_client_has_every_time_out_and_writes_to_the_majority() -> None:
    settings = StoreSettings(hosts=(("a", 1), ("b", 2)), user="engines", password="x", timeout=7.0)
    client = connect(settings)
    options = client.options
    assert client.write_concern.document == {"w": "majority", "j": True}
    assert client.read_concern.level == "majority"
    assert options.timeout == 7.0
    assert options.server_selection_timeout == 5.0
    assert options.pool_options.connect_timeout == 3.0
    assert options.retry_writes
    assert options.retry_reads
    assert options.replica_set_name == "canopsis"
    client.close()


def test_client_over_tls_needs_its_files() -> None:
    with pytest.raises(StoreError, match=r"cannot use /no-such-ca.pem for TLS"):
        connect(StoreSettings(tls=True, ca_file="/no-such-ca.pem"))


def test_retention_is_in_seconds() -> None:
    assert Retention().events == 30 * 24 * 3600


def test_no_writes_are_each_their_own() -> None:
    first = no_writes()
    first["alarms"] = [Insert({"_id": 1})]
    assert no_writes() == {}


def test_d8_the_reason_of_a_refused_write_is_short() -> None:
    failures = [{"index": n, "code": 121, "errmsg": "Document failed validation", "op": "x" * 9999} for n in range(3)]
    assert refusal_of(BulkWriteError({"writeErrors": failures})) == (
        "Document failed validation (code 121); 3 writes are refused"
    )
    assert refusal_of(BulkWriteError({"writeConcernErrors": failures[:1]})) == "Document failed validation (code 121)"
    assert refusal_of(BulkWriteError({})) == "None (code None)"
    text = refusal_of(OperationFailure("begin" + "x" * 9999 + "end", 1))
    assert text.startswith("OperationFailure: begin")
    assert "end" in text
    assert len(text) <= 500


def test_d8_an_error_of_the_database_is_short() -> None:
    for error in (NetworkTimeout("x" * 9999), OperationFailure("x" * 9999, 91)):
        with pytest.raises(StoreError) as found, store_errors("reading"):
            raise error
        assert len(str(found.value)) < 600
