"""Keys of the index of ids."""

from __future__ import annotations

import pytest

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
