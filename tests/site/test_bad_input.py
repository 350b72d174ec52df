"""Bad input over HTTP and AMQP: refused with the field, or put aside with its reason; nothing else happens."""

from __future__ import annotations

import uuid

import pytest
from bad_input import ALL, MENDED, Bad, event
from local_site import LocalSite, eventually

from canopsis.transport.publisher import ConfirmingPublisher
from canopsis.transport.topology import EVENTS

_OVER_HTTP = [bad for bad in ALL if bad.http]
_OVER_AMQP = [bad for bad in ALL if bad.amqp]


def test_there_are_at_least_thirty_kinds() -> None:
    assert len(_OVER_HTTP) >= 30
    assert len(_OVER_AMQP) >= 30


@pytest.mark.parametrize("bad", _OVER_HTTP, ids=lambda bad: bad.name)
def test_over_http_the_answer_names_the_field(steady: LocalSite, bad: Bad) -> None:
    answer = steady.ask("POST", "events", bad.body)
    assert 400 <= answer.status < 500, f"{answer.status} {answer.content[:500]!r}"
    assert answer.content_type == "application/problem+json"
    problem = answer.json()
    assert problem["field"].startswith(bad.field), problem
    assert problem["field"] in problem["detail"]
    assert problem["status"] == answer.status


@pytest.mark.parametrize("bad", _OVER_AMQP, ids=lambda bad: bad.name)
def test_over_amqp_the_dead_letter_tells_the_reason(steady: LocalSite, bad: Bad) -> None:
    mark = uuid.uuid4().hex
    with steady.database() as db:
        # An equal letter of another test would only be counted.
        db["dead_letters"].delete_many({"headers.test": {"$exists": True}})
    with steady.broker() as connection:
        publisher = ConfirmingPublisher(connection)
        exchange, key = ("", bad.queue) if bad.queue else (EVENTS, f"bad.{mark}")
        publisher.send(exchange, key, bad.body, message_id=mark, headers={"test": mark})
        publisher.flush()
    with steady.database() as db:
        letter = eventually(lambda: db["dead_letters"].find_one({"headers.test": mark}), 30, "a dead letter")
        assert db["dead_letters"].count_documents({"headers.test": mark}) == 1
    assert letter["reason"], letter
    assert letter["field"].startswith(bad.field), letter["reason"]
    assert bytes(letter["body"])[:1000] == bad.body[:1000]


def test_the_good_neighbours_of_a_bad_event_go_on(steady: LocalSite) -> None:
    component = f"neighbour-{uuid.uuid4().hex[:8]}"
    body = b"[" + event(component=component) + b"," + event(component=component, state=9) + b"]"
    with steady.broker() as connection:
        publisher = ConfirmingPublisher(connection)
        publisher.send(EVENTS, "bad.neighbour", body)
        publisher.flush()
    found = eventually(lambda: steady.listed("events", component=component), 30, "the good event is stored")
    assert [each["state"] for each in found] == [0]


def test_over_http_each_event_of_a_list_has_its_own_answer(steady: LocalSite) -> None:
    component = f"partly-{uuid.uuid4().hex[:8]}"
    body = b"[" + event(component=component) + b"," + event(component=component, state=9) + b"]"
    answer = steady.ask("POST", "events", body)
    assert answer.status == 207
    assert [each["status"] for each in answer.json()["data"]] == ["accepted", "refused"]
    found = eventually(lambda: steady.listed("events", component=component), 30, "the good event is stored")
    assert [each["state"] for each in found] == [0]


@pytest.mark.parametrize(("name", "body", "field"), MENDED, ids=[name for name, _, _ in MENDED])
def test_decoration_that_is_wrong_is_told_and_costs_nothing_else(
    steady: LocalSite, name: str, body: bytes, field: str
) -> None:
    answer = steady.ask("POST", "events", body)
    assert answer.status == 202, name
    [told] = answer.json()["data"]
    assert told["warnings"][0].startswith(field)


def test_the_command_shows_what_was_put_aside(steady: LocalSite) -> None:
    with steady.broker() as connection:
        publisher = ConfirmingPublisher(connection)
        publisher.send(EVENTS, "bad.shown", event(state=8))
        publisher.flush()

    def shown() -> bool:
        return "state" in steady.good(
            "canopsis", "dead-letters", "list", "--engine", "cleaner_events", "--field", "state"
        )

    eventually(shown, 30, "canopsis dead-letters list shows it")
