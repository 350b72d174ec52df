"""Keys of the indexes of ids and of entities."""

from __future__ import annotations

import pytest

from canopsis.core.normalise import normalise
from canopsis.store import segments

HOUR = 1_700_000_000 // 3600


def made_at(milliseconds: int, tail: int = 0) -> str:
    """Return an id that tells its time, a UUID of version 7."""
    return f"{milliseconds:012x}7{tail:03x}8{tail:015x}"


def test_ids_that_tell_their_time_have_keys_in_that_order() -> None:
    begin = HOUR * 3_600_000
    moments = [begin, begin + 1, begin + 1_800_000, begin + 3_599_999, begin + 3_600_000]
    keys = [segments.id_key(moment // 3_600_000, made_at(moment)) for moment in moments]
    assert keys == sorted(set(keys))
    assert [segments.hour_in(key) for key in keys] == [HOUR] * 4 + [HOUR + 1]


def test_ids_of_one_millisecond_have_keys_of_their_own() -> None:
    assert len({segments.id_key(HOUR, made_at(HOUR * 3_600_000, tail)) for tail in range(100)}) == 100


@pytest.mark.parametrize("event_id", ["", "e1", "é" * 64, "f" * 12 + "7" + "f" * 3 + "8" + "f" * 15])
def test_a_key_is_of_its_hour_whatever_the_id_is(event_id: str) -> None:
    assert segments.hour_in(segments.id_key(HOUR, event_id)) == HOUR


def stored_keys(minute: int) -> list[int]:
    """Return the keys of entities of a segment with events of many hosts, of this minute of the hour."""
    moment = HOUR * 3600 + 60.0 * minute
    raw = {"connector": "c", "connector_name": "n", "state": 0, "timestamp": moment}
    events = [normalise(raw | {"component": f"host{at}", "event_id": f"e{at}"}, moment) for at in range(50)]
    return list(segments.pack(events, {}, moment)[0]["entities"])


@pytest.mark.parametrize("minute", [0, 4, 5, 59])
def test_an_entity_is_found_by_its_keys_of_the_hour_once_merged_too(minute: int) -> None:
    keys = set(segments.entity_keys(HOUR, "component:host7"))
    assert {segments.hour_in(key) for key in keys} == {HOUR}
    fresh = {"entities": stored_keys(minute), "z": segments.compress(b"[]"), "v": b""}
    parts = [fresh | {"_id": 1, "n": 1, "t0": 0, "t1": 0, "at": 0, "ids": [], "types": [], "states": []}] * 2
    for found in (fresh["entities"], segments.merged(parts)["entities"]):
        assert (len(set(found)), len(keys.intersection(found))) == (50, 1)


def test_what_comes_five_minutes_later_has_larger_keys_whatever_the_entity_is() -> None:
    assert max(stored_keys(4)) < min(stored_keys(5))
    assert max(stored_keys(54)) < min(stored_keys(55))
