"""An event is known by its id and by what counts of it."""

from __future__ import annotations

import msgspec
import pytest
from core_samples import TYPES, act, check

from canopsis.core.event import Event, to_document
from canopsis.core.event_types.check import Check
from canopsis.core.fields import event_id
from canopsis.core.identity import CONTENT_FIELDS, content_of, derived_id, stored_content
from canopsis.core.notes import Notes

EVENTS = [check(2, 0, "e1", "x", long_output="y"), check(0, 0, "e1"), *(act(kind, 0, "e1") for kind in TYPES[1:])]


@pytest.mark.parametrize("event", EVENTS)
def test_b4_what_counts_of_a_stored_event_is_what_counted_when_it_came(event: Event) -> None:
    document = to_document(event)
    assert stored_content(document) == content_of(event)
    assert stored_content({name: document[name] for name in CONTENT_FIELDS if name in document}) == content_of(event)


@pytest.mark.parametrize(
    "changes",
    [
        {"state": 1},
        {"state_type": 0},
        {"output": "z"},
        {"long_output": "z"},
        {"author": "z"},
        {"entity_id": "component:z"},
    ],
)
def test_b4_another_content_is_another_event(changes: dict[str, object]) -> None:
    one = check(2, 0, "e1", "x")
    other = msgspec.structs.replace(one, **changes)
    assert content_of(other) != content_of(one)
    assert derived_id("e1", content_of(other)) != derived_id("e1", content_of(one))


def test_b3_the_time_does_not_count_for_who_sends_again_may_stamp_anew() -> None:
    assert content_of(check(2, 0, "e1")) == content_of(check(2, 60, "e1"))


def test_b4_an_id_that_is_derived_can_be_an_id() -> None:
    content = content_of(check(2, 0, "e1"))
    for name in ("e1", "x" * 64):
        own = derived_id(name, content)
        assert event_id(own, Notes()) == own
        assert own != name
        assert own == derived_id(name, content)
    assert derived_id("x" * 64, content) != derived_id("x" * 63 + "y", content)


def test_b4_types_are_told_apart() -> None:
    assert len({content_of(each) for each in EVENTS}) == len(EVENTS)
    assert isinstance(EVENTS[0], Check)
