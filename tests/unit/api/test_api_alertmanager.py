"""What clients of Alertmanager read: all open alarms, however many pages they are."""

from __future__ import annotations

from typing import Any

from api_fakes import Api, alarm

from canopsis.store import alarms
from canopsis.store.alarms import AlarmQuery
from canopsis.store.query import Page


def test_a_page_of_large_alarms_that_ends_early_is_not_the_last_one(api: Api) -> None:
    following: dict[str, tuple[str, str | None]] = {"": ("a1", "x"), "x": ("a2", "y"), "y": ("a3", None)}

    def listing(query: AlarmQuery) -> Page:
        name, after = following[query.paging.after]
        return Page(3, [whole(name)], next=after)

    api.database.answers[alarms.listing] = listing
    assert [each["fingerprint"] for each in api.get("/api/v2/alerts").json] == ["a1", "a2", "a3"]


def whole(name: str) -> dict[str, Any]:
    return alarm(_id=name, entity_id=f"resource:web1/{name}", resource=name)
