"""Events over HTTP: each has its own answer; what is left out, and each refusal, is named."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import quote_plus

import msgspec
import pytest
from api_fakes import NOW, Api, event
from hypothesis import given
from hypothesis import strategies as st
from werkzeug.test import TestResponse

from canopsis.api import intake
from canopsis.core.normalise import decode, normalise

EVENTS = "/api/v1/events"


def send_bytes(api: Api, data: bytes, kind: str = "application/json", path: str = EVENTS) -> TestResponse:
    return api.call("POST", path, "operator", data=data, content_type=kind)


def test_one_event_is_accepted_and_published_with_its_routing_key(api: Api) -> None:
    answer = api.post(EVENTS, event(), "operator")
    assert answer.status_code == 202
    assert answer.json == {
        "total": 1,
        "success": True,
        "data": [{"index": 0, "event_id": "id0", "status": "accepted"}],
    }
    [message] = api.broker.published
    assert message.exchange == "canopsis.events"
    assert message.routing_key == "shell.test.check.resource.web1.disk"
    assert message.content_type == "application/json"


def test_an_event_goes_on_as_it_came_with_its_id_and_time(api: Api) -> None:
    sent = event(customer="ACME", perf_data="a=1")
    api.post(EVENTS, sent, "operator")
    assert api.broker.events == [sent | {"event_id": "id0", "timestamp": NOW}]


def test_what_the_sender_gives_stays(api: Api) -> None:
    api.post(EVENTS, event(event_id="mine-1", timestamp=NOW - 5), "operator")
    [published] = api.broker.events
    assert published["event_id"] == "mine-1"
    assert published["timestamp"] == NOW - 5


def test_a_list_has_a_result_for_each_in_order(api: Api) -> None:
    answer = api.post(EVENTS, [event(event_id="a"), event(), event(event_id="c")], "operator")
    assert answer.status_code == 202
    assert [(each["index"], each["event_id"]) for each in answer.json["data"]] == [(0, "a"), (1, "id0"), (2, "c")]
    assert answer.json["total"] == 3


def test_a_list_is_one_message_under_what_its_events_have_in_common(api: Api) -> None:
    api.post(EVENTS, [event(), event(component="web2"), event(component="web3", state=0)], "operator")
    [message] = api.broker.published
    assert message.routing_key == "shell.test.check.resource._.disk"
    assert len(api.broker.events) == 3


def test_a_long_list_is_cut_into_messages_of_about_a_mebibyte(api: Api) -> None:
    events = [event(event_id=str(number), output="x" * 4000) for number in range(600)]
    assert api.post(EVENTS, events, "operator").status_code == 202
    assert len(api.broker.published) == 3
    assert all(len(message.body) <= (1 << 20) + 2 for message in api.broker.published)
    assert [each["event_id"] for each in api.broker.events] == [str(number) for number in range(600)]


def test_b6_a_list_of_events_is_answered_one_by_one(api: Api) -> None:
    sent = [event(event_id="a"), event(state=7), event(component=None), event(event_id="d", timestamp=0)]
    answer = api.post(EVENTS, sent, "operator")
    assert answer.status_code == 207
    assert [each["event_id"] for each in api.broker.events] == ["a", "d"]
    found = answer.json
    assert (found["success"], found["total"], found["accepted"], found["refused"]) == (False, 4, 2, 2)
    assert [(each["index"], each["status"], each.get("field")) for each in found["data"]] == [
        (0, "accepted", None),
        (1, "refused", "state"),
        (2, "refused", "component"),
        (3, "accepted", None),
    ]
    assert all(each["allowed"] and each["detail"] for each in found["data"] if each["status"] == "refused")


@pytest.mark.parametrize("sent", [[event(state=7), event(component=None)], [event(state=7)]])
def test_b6_when_all_are_refused_it_is_a_400(api: Api, sent: list[Any]) -> None:
    answer = api.post(EVENTS, sent, "operator")
    assert answer.status_code == 400
    assert (answer.json["index"], answer.json["field"], answer.json["refused"]) == (0, "state", len(sent))
    assert len(answer.json["errors"]) == len(sent)
    assert api.broker.published == []


@pytest.mark.parametrize("path", [EVENTS, "/event"])
def test_b6_all_or_nothing_for_who_asks_for_it(api: Api, path: str) -> None:
    answer = api.post(f"{path}?atomic=true", [event(), event(state=7), event(component=None), event()], "operator")
    assert answer.status_code == 400
    assert api.broker.published == []
    problem = answer.json
    assert (problem["index"], problem["field"], problem["value"]) == (1, "state", "7")
    assert problem["refused"] == 2
    assert [(each["index"], each["field"], each["status"]) for each in problem["errors"]] == [
        (1, "state", "refused"),
        (2, "component", "refused"),
    ]
    assert all(each["allowed"] for each in problem["errors"])
    assert api.post(f"{path}?atomic=true", [event(), event()], "operator").status_code == 202


def test_b6_what_is_left_out_is_told_for_each_event(api: Api) -> None:
    sent = [event(event_id="a"), event(event_id="b", perf_data="a=1 b=x", timestamp=[1])]
    answer = api.post(EVENTS, sent, "operator")
    assert answer.status_code == 202
    good, mended = answer.json["data"]
    assert "warnings" not in good
    assert [text.partition(":")[0] for text in mended["warnings"]] == ["perf_data", "timestamp"]
    assert api.broker.events[1] == sent[1], "it goes on as it came: the engines mend it the same way"


def test_b6_an_id_of_another_form_is_replaced_and_told_and_kept(api: Api) -> None:
    answer = api.post(EVENTS, event(event_id="a b"), "operator")
    [told] = answer.json["data"]
    assert told["event_id"] == "id0"
    assert told["warnings"][0].startswith("event_id: 'a b' is replaced by a new one")
    [published] = api.broker.events
    assert (published["event_id"], published["sent_event_id"]) == ("id0", "a b")


@pytest.mark.parametrize("value", [0, 0.0, ""])
def test_b6_a_time_that_is_not_known_is_the_time_of_receipt(api: Api, value: object) -> None:
    answer = api.post(EVENTS, event(timestamp=value), "operator")
    assert "warnings" not in answer.json["data"][0]
    assert normalise(api.broker.events[0], NOW + 5).timestamp in {NOW, NOW + 5}


def test_b8_a_time_a_day_ahead_is_taken_and_told(api: Api) -> None:
    answer = api.post(EVENTS, event(timestamp=NOW + 90_000), "operator")
    assert answer.status_code == 202
    [text] = answer.json["data"][0]["warnings"]
    assert "is ahead of the clock here: the time of receipt is taken" in text
    assert api.broker.events[0]["timestamp"] == NOW + 90_000


def test_b12_the_scale_of_states_of_a_request(api: Api) -> None:
    sent = [event(event_id="a", state=3), event(event_id="b", state=3, state_scale="nagios")]
    assert api.post(f"{EVENTS}?state_scale=severity", sent, "operator").status_code == 202
    assert [normalise(each, NOW).state for each in api.broker.events] == [2, 3]  # type: ignore[attr-defined]
    answer = api.post(f"{EVENTS}?state_scale=mine", sent, "operator")
    assert (answer.status_code, answer.json["field"]) == (400, "state_scale")
    assert "nagios" in answer.json["allowed"]
    assert api.post(f"/event?state_scale={'x' * 2000}", sent, "operator").status_code == 400


def test_b13_a_byte_that_is_not_utf_8_is_replaced_and_told(api: Api) -> None:
    data = json.dumps(event(output="caf#", event_id="a")).encode().replace(b"#", b"\xe9")
    for path, body, kind in (
        (EVENTS, data, "application/json"),
        (EVENTS, b"[" + data + b"]", "application/json"),
        ("/event", b'{"event":' + data + b"}", "application/json"),
        ("/event", b"event=" + quote_plus(data).encode(), "application/x-www-form-urlencoded"),
    ):
        answer = send_bytes(api, body, kind, path)
        assert answer.status_code == 202
        assert "output: 'caf\\udce9' is not UTF-8 everywhere" in answer.json["data"][0]["warnings"][0]
        mended = normalise(decode(api.broker.published[-1].body)[0], NOW)
        assert (mended.output, len(mended.warnings)) == ("caf\ufffd", 1)


def test_d7_a_byte_order_mark_is_taken(api: Api) -> None:
    data = b"\xef\xbb\xbf" + json.dumps(event()).encode()
    assert send_bytes(api, data).status_code == 202
    assert send_bytes(api, data, path="/event").status_code == 202
    form = b"event=" + quote_plus(data).encode()
    assert send_bytes(api, form, "application/x-www-form-urlencoded", "/event").status_code == 202
    assert len(api.broker.events) == 3


def test_b6_all_the_refusals_of_a_long_list_are_known(api: Api) -> None:
    answer = api.post(EVENTS, [event(), *[event(state=7)] * 1500], "operator")
    assert answer.status_code == 207
    assert [each["status"] for each in answer.json["data"]] == ["accepted", *["refused"] * 1500]
    assert sum("detail" in each for each in answer.json["data"]) == 1000


def test_an_answer_lists_a_thousand_refusals_and_counts_all(api: Api) -> None:
    answer = api.post(EVENTS, [{}] * 1500, "operator")
    assert answer.status_code == 400
    assert answer.json["refused"] == 1500
    assert len(answer.json["errors"]) == 1000


def test_b6_the_id_of_another_event_is_an_answer_for_that_event_only(api: Api) -> None:
    sent = [event(event_id="a"), event(event_id="b"), event(event_id="a", state=0)]
    answer = api.post(EVENTS, sent, "operator")
    assert answer.status_code == 207
    assert [each["status"] for each in answer.json["data"]] == ["accepted", "accepted", "refused"]
    assert answer.json["data"][2]["field"] == "event_id"
    assert api.broker.events == [each | {"timestamp": NOW} for each in sent[:2]]


def test_b6_the_same_event_twice_counts_once(api: Api) -> None:
    answer = api.post(EVENTS, [event(event_id="a")] * 2, "operator")
    assert answer.status_code == 202
    assert [each["event_id"] for each in answer.json["data"]] == ["a", "a"]
    assert len(api.broker.events) == 1


def test_nobody_resolves_an_alarm_from_outside(api: Api) -> None:
    answer = api.post(EVENTS, event(event_type="resolve"), "operator")
    assert answer.status_code == 400
    assert answer.json["field"] == "event_type"


def test_too_many_events_are_refused(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(intake, "MAX_EVENTS", 3)
    assert api.post(EVENTS, [event()] * 4, "operator").json["allowed"].startswith("at most 3 events")
    assert api.post(EVENTS, [event()] * 3, "operator").status_code == 202


def test_a4_a_broker_that_does_not_confirm_is_a_503_that_claims_nothing(api: Api) -> None:
    api.broker.away = "no confirm"
    answer = api.post(EVENTS, [event(), event(event_id="own"), event(state=7)], "operator")
    assert answer.status_code == 503
    assert int(answer.headers["Retry-After"]) > 0
    assert answer.json["server"] == "rabbitmq-server"
    assert "is not known" in answer.json["detail"]
    told = [(each["index"], each.get("event_id"), each["status"]) for each in answer.json["data"]]
    assert told == [(0, "id0", "unknown"), (1, "own", "unknown"), (2, None, "refused")]


@pytest.mark.parametrize(
    "data", [b"{", b"nothing", b"\xff\xfe", b'{"a":NaN}', b'{"event":5}', b'"text"', b"5", b"[[{}]]", b"[]", b"null"]
)
def test_what_is_not_events_is_refused(api: Api, data: bytes) -> None:
    answer = send_bytes(api, data)
    assert answer.status_code == 400
    assert answer.json["field"]
    assert api.broker.published == []


def test_an_empty_body_is_refused(api: Api) -> None:
    answer = send_bytes(api, b"")
    assert (answer.status_code, answer.json["field"]) == (400, "body")


@pytest.mark.parametrize("kind", ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data", "", "json"])
def test_another_content_type_is_refused_and_the_right_one_named(api: Api, kind: str) -> None:
    answer = send_bytes(api, json.dumps(event()).encode(), kind)
    assert answer.status_code == 415
    assert answer.json["field"] == "Content-Type"
    assert answer.json["allowed"] == "application/json"


@pytest.mark.parametrize(
    "kind", ["application/json; charset=utf-8", "application/json;charset=UTF-8", "Application/JSON"]
)
def test_a_content_type_may_name_utf_8(api: Api, kind: str) -> None:
    assert send_bytes(api, json.dumps(event()).encode(), kind).status_code == 202


def test_another_charset_is_refused(api: Api) -> None:
    answer = send_bytes(api, b"{}", "application/json; charset=latin-1")
    assert (answer.status_code, answer.json["field"]) == (415, "charset")


def test_a_compressed_body_is_refused(api: Api) -> None:
    headers = {"Content-Encoding": "gzip"}
    answer = api.call("POST", EVENTS, "operator", data=b"x", content_type="application/json", headers=headers)
    assert (answer.status_code, answer.json["field"]) == (415, "Content-Encoding")


def test_a_body_over_16_mib_is_refused(api: Api) -> None:
    answer = send_bytes(api, b"[" + b" " * (16 << 20) + b"]")
    assert answer.status_code == 413
    assert answer.json["field"] == "body"
    assert str(16 << 20) in answer.json["allowed"]


def test_a_body_of_16_mib_is_taken(api: Api) -> None:
    data = json.dumps(event()).encode()
    assert send_bytes(api, data + b" " * ((16 << 20) - len(data))).status_code == 202


def test_an_unknown_parameter_of_a_write_is_refused(api: Api) -> None:
    answer = api.post(EVENTS + "?dry=1", event(), "operator")
    assert (answer.status_code, answer.json["field"]) == (400, "dry")
    assert api.broker.published == []


class TestFormOf2015:
    """``POST /event``."""

    def test_the_field_of_a_form(self, api: Api) -> None:
        text = json.dumps(event(output="50 % + é & more"))
        answer = send_bytes(
            api, f"other=1&event={quote_plus(text)}".encode(), "application/x-www-form-urlencoded", "/event"
        )
        assert answer.status_code == 202
        assert api.broker.events[0]["output"] == "50 % + é & more"

    @pytest.mark.parametrize(
        "wrap", [lambda one: one, lambda one: {"event": one}, lambda one: [one], lambda one: {"event": [one]}]
    )
    def test_json_bare_or_under_event(self, api: Api, wrap: Any) -> None:
        assert api.post("/event", wrap(event()), "operator").status_code == 202
        assert api.broker.events[0]["component"] == "web1"

    def test_a_form_without_the_field(self, api: Api) -> None:
        answer = send_bytes(api, b"evnt={}", "application/x-www-form-urlencoded", "/event")
        assert (answer.status_code, answer.json["field"]) == (400, "event")

    @pytest.mark.parametrize("data", [b"event=%FF", b"event=", b"event=%7B", b"event"])
    def test_a_form_with_a_broken_field(self, api: Api, data: bytes) -> None:
        assert send_bytes(api, data, "application/x-www-form-urlencoded", "/event").status_code == 400

    def test_the_key_in_the_query_as_then(self, api: Api) -> None:
        data = f"event={quote_plus(json.dumps(event()))}"
        answer = api.call(
            "POST",
            "/event?authkey=key%20of%20operator",
            None,
            data=data,
            content_type="application/x-www-form-urlencoded",
        )
        assert answer.status_code == 202


API = Api()


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(max_size=5),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
        max_leaves=8,
    )
)
def test_no_json_is_answered_with_5xx(value: object) -> None:
    api = API
    answer = send_bytes(api, msgspec.json.encode(value))
    assert answer.status_code == 400
    assert answer.json["field"]
