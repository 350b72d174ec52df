"""Events sent in requests that are answered one by one; every event gets its own result."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from canopsis.errors import SiteError
from canopsis.ops import sending
from canopsis.ops.apiclient import Answer
from canopsis.ops.sending import Result, Sender, chunks


class FakeApi:
    """Answers as the API does: a result for each event, or the list of those it refuses when it takes none."""

    def __init__(self, answer: Callable[[list[dict[str, Any]]], Answer]) -> None:
        self.answer = answer
        self.requests: list[list[dict[str, Any]]] = []

    def call(self, method: str, path: str, body: bytes | None = None, **_: object) -> Answer:
        assert (method, path) == ("POST", "/api/v1/events")
        assert body is not None
        events = json.loads(body)
        self.requests.append(events)
        return self.answer(events)


def taken(_events: Sequence[object]) -> Answer:
    return Answer(202, "Accepted", b"{}")


def refusing(is_bad: Callable[[Mapping[str, Any]], bool]) -> Callable[[list[dict[str, Any]]], Answer]:
    def answer(events: list[dict[str, Any]]) -> Answer:
        bad = [index for index, event in enumerate(events) if is_bad(event)]
        if not bad:
            return taken(events)
        errors = [
            {"index": index, "status": "refused", "detail": f"state: bad {index}", "field": "state"} for index in bad
        ]
        if len(bad) == len(events):
            return Answer(400, "Bad Request", json.dumps({"detail": "refused", "errors": errors}).encode())
        good = [
            {"index": index, "status": "accepted", "event_id": event["event_id"]} for index, event in enumerate(events)
        ]
        data = [next((error for error in errors if error["index"] == one["index"]), one) for one in good]
        return Answer(207, "Multi-Status", json.dumps({"data": data}).encode())

    return answer


def sender(answer: Callable[[list[dict[str, Any]]], Answer], patience: float = 0.0) -> tuple[Sender, FakeApi]:
    api = FakeApi(answer)
    return Sender(api, patience), api  # type: ignore[arg-type] # what a Sender uses of an Api


def test_all_accepted() -> None:
    send, api = sender(taken)
    results = send.send([{"component": "a"}, {"component": "b", "event_id": "mine"}])
    assert len(api.requests) == 1
    assert results[1] == Result("mine")
    assert results[0].event_id == api.requests[0][0]["event_id"] != ""
    assert not any(result.error for result in results)


def test_nothing_to_send() -> None:
    send, api = sender(taken)
    assert send.send([]) == []
    assert api.requests == []


def test_refused_ones_are_told_and_the_others_get_through() -> None:
    send, api = sender(refusing(lambda event: event["state"] == 7))
    results = send.send([{"state": 1}, {"state": 7}, {"state": 2}, {"state": 7}])
    assert [bool(result.error) for result in results] == [False, True, False, True]
    assert results[3].error == "state: bad 3"
    assert results[3].field == "state"
    assert [[event["state"] for event in request] for request in api.requests] == [[1, 7, 2, 7]]


def test_b6_what_was_left_out_of_an_event_is_told() -> None:
    data = [{"index": 0, "status": "accepted", "event_id": "made", "warnings": ["perf_data: 'x' is left out"]}]
    send, _ = sender(lambda _events: Answer(202, "Accepted", json.dumps({"data": data}).encode()))
    assert send.send([{}]) == [Result("made", warnings=("perf_data: 'x' is left out",))]


def test_b13_a_byte_that_is_not_utf_8_is_sent_as_what_it_was_read_as() -> None:
    send, api = sender(taken)
    send.send([{"output": "caf\udce9"}])
    assert api.requests[0][0]["output"] == "caf\udce9"


@settings(deadline=None)
@given(st.lists(st.integers(0, 9), max_size=30))
def test_each_event_has_its_own_result(states: list[int]) -> None:
    send, api = sender(refusing(lambda event: event["state"] > 3))
    results = send.send([{"state": state} for state in states])
    assert [bool(result.error) for result in results] == [state > 3 for state in states]
    assert len(api.requests) == bool(states)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"not JSON",
        b"[]",
        b'{"detail": "body: not JSON"}',
        b'{"errors": [{"index": 99, "detail": "x"}]}',
        b'{"errors": 5}',
    ],
)
def test_a_refusal_that_names_no_event_counts_for_all(content: bytes) -> None:
    send, api = sender(lambda _events: Answer(400, "Bad Request", content))
    results = send.send([{}, {}])
    assert all(result.error.startswith("400 Bad Request") for result in results)
    assert len(api.requests) == 1


def test_a_request_that_is_too_large_is_halved() -> None:
    def answer(events: list[dict[str, Any]]) -> Answer:
        return Answer(413, "Too Large", b"") if len(events) > 2 else refusing(lambda e: e["n"] == 3)(events)

    send, api = sender(answer)
    results = send.send([{"n": n} for n in range(5)])
    assert [bool(result.error) for result in results] == [False, False, False, True, False]
    assert max(len(request) for request in api.requests[1:]) <= 3


def test_one_event_that_is_too_large_is_refused() -> None:
    send, _ = sender(
        lambda _events: Answer(413, "Request Entity Too Large", b'{"detail": "a body has at most 5 bytes"}')
    )
    (result,) = send.send([{}])
    assert result.error == "413 Request Entity Too Large: a body has at most 5 bytes"


class TestAway:
    """A broker that is away: 503."""

    @staticmethod
    def away(times: int, retry_after: float = 0.0) -> Callable[[list[dict[str, Any]]], Answer]:
        left = [times]

        def answer(events: list[dict[str, Any]]) -> Answer:
            left[0] -= 1
            return (
                Answer(503, "Unavailable", b'{"detail": "no broker"}', retry_after=retry_after)
                if left[0] >= 0
                else taken(events)
            )

        return answer

    def test_without_patience_it_is_told_at_once(self) -> None:
        send, api = sender(self.away(1))
        with pytest.raises(
            SiteError, match=r"event e1 may count or not: 503 Unavailable: no broker; .*see: canopsis status"
        ):
            send.send([{"event_id": "e1"}])
        assert len(api.requests) == 1

    def test_with_patience_the_same_events_are_sent_again(self, monkeypatch: pytest.MonkeyPatch) -> None:
        waited: list[float] = []
        monkeypatch.setattr(threading.Event, "wait", lambda _self, timeout: waited.append(timeout))
        send, api = sender(self.away(3, retry_after=4.0), patience=60)
        assert send.send([{"n": 1}])[0].error == ""
        assert waited == [4.0, 4.0, 4.0]
        assert len({json.dumps(request) for request in api.requests}) == 1

    def test_patience_ends(self, monkeypatch: pytest.MonkeyPatch) -> None:
        clock = iter(range(0, 1000, 5))
        monkeypatch.setattr(sending.time, "monotonic", lambda: float(next(clock)))
        monkeypatch.setattr(threading.Event, "wait", lambda _self, _timeout: None)
        send, api = sender(self.away(1000), patience=20)
        with pytest.raises(SiteError, match=r"event \w{32} and 1 more may count or not"):
            send.send([{}, {}])
        assert 2 <= len(api.requests) <= 5


@given(st.lists(st.integers()), st.integers(1, 7))
def test_chunks(items: list[int], size: int) -> None:
    found = list(chunks(items, size))
    assert [item for chunk in found for item in chunk] == items
    assert all(len(chunk) == size for chunk in found[:-1])
    assert all(found)
