"""Counters become rates: first values, wraps, resets and values that come again."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from canopsis.sources.rates import FIRST, NOT_NEWER, OUT_OF_RANGE, WENT_BACK, Counters
from canopsis.sources.types_db import DataSource

DERIVE = DataSource("value", "DERIVE", 0, None)
FREE_DERIVE = DataSource("value", "DERIVE")
COUNTER = DataSource("value", "COUNTER")
ABSOLUTE = DataSource("value", "ABSOLUTE", 0, None)


def rates(source: DataSource, *samples: tuple[float, float]) -> list[float | str]:
    """Return what each ``(time, value)`` gives."""
    counters = Counters()
    return [counters.rate("host/a/b", source, value, time) for time, value in samples]


@pytest.mark.parametrize("source", [DERIVE, FREE_DERIVE, COUNTER, ABSOLUTE])
def test_the_first_value_of_a_counter_gives_nothing_and_says_so(source: DataSource) -> None:
    assert rates(source, (100, 5)) == [FIRST]
    assert FIRST == "first value of a counter"


@pytest.mark.parametrize(
    ("source", "samples", "rate"),
    [
        (DERIVE, [(100, 50), (110, 150)], 10.0),
        (DERIVE, [(100, 50), (110, 50)], 0.0),
        (DERIVE, [(100.5, 50), (101, 51)], 2.0),
        (FREE_DERIVE, [(100, 50), (110, 0)], -5.0),
        (COUNTER, [(100, 50), (110, 150)], 10.0),
        (COUNTER, [(100, 2**32 - 10), (110, 90)], 10.0),
        (COUNTER, [(100, 2**64 - 10), (110, 90)], 10.0),
        (COUNTER, [(100, 2**63), (110, 2**63 + 1000)], 100.0),
        (ABSOLUTE, [(100, 50), (110, 30)], 3.0),
        (ABSOLUTE, [(100, 50), (110, 0)], 0.0),
    ],
)
def test_the_second_value_gives_a_rate_a_second(
    source: DataSource, samples: list[tuple[float, float]], rate: float
) -> None:
    assert rates(source, *samples)[-1] == rate


@pytest.mark.parametrize(
    ("source", "samples", "reason"),
    [
        (DERIVE, [(100, 50), (110, 40)], WENT_BACK),
        (COUNTER, [(100, 10**9), (110, 0)], WENT_BACK),
        (COUNTER, [(100, 2**40), (110, 5)], WENT_BACK),
        (DERIVE, [(100, 50), (99, 60)], NOT_NEWER),
        (DERIVE, [(100, 50), (100, 60)], NOT_NEWER),
        (DataSource("v", "DERIVE", 0, 5), [(100, 0), (110, 100)], OUT_OF_RANGE),
        (DataSource("v", "DERIVE", 20, None), [(100, 0), (110, 100)], OUT_OF_RANGE),
        (ABSOLUTE, [(100, 50), (110, -30)], OUT_OF_RANGE),
        (FREE_DERIVE, [(100, 0), (100.0000001, 1e308)], OUT_OF_RANGE),
    ],
)
def test_where_there_is_no_rate_the_reason_is_said(
    source: DataSource, samples: list[tuple[float, float]], reason: str
) -> None:
    assert rates(source, *samples)[-1] == reason


def test_after_a_reset_the_next_value_gives_a_rate_again() -> None:
    assert rates(DERIVE, (100, 500), (110, 0), (120, 30)) == [FIRST, WENT_BACK, 3.0]


def test_the_same_value_again_gives_the_same_again() -> None:
    assert rates(DERIVE, (100, 50), (100, 50), (110, 150), (110, 150), (120, 160)) == [FIRST, FIRST, 10.0, 10.0, 1.0]


def test_a_late_value_does_not_spoil_the_next() -> None:
    assert rates(DERIVE, (100, 50), (95, 40), (110, 150)) == [FIRST, NOT_NEWER, 10.0]


def test_counters_are_told_apart_by_identifier_and_source() -> None:
    counters = Counters()
    other = DataSource("tx", "DERIVE", 0, None)
    assert counters.rate("a", DERIVE, 0, 100) == FIRST
    assert counters.rate("b", DERIVE, 0, 100) == FIRST
    assert counters.rate("a", other, 0, 100) == FIRST
    assert counters.rate("a", DERIVE, 10, 110) == 1.0
    assert counters.rate("a", other, 20, 110) == 2.0


def test_counters_of_which_nothing_is_heard_can_be_forgotten() -> None:
    counters = Counters()
    counters.rate("old", DERIVE, 0, 100)
    counters.rate("new", DERIVE, 0, 200)
    counters.expire(before=150)
    assert {identifier for identifier, _ in counters.samples} == {"new"}


@given(
    st.integers(0, 2**64 - 1),
    st.integers(0, 2**31),
    st.integers(1, 1000),
    st.sampled_from([2**32, 2**64]),
)
def test_a_counter_may_wrap_anywhere(start: int, moved: int, seconds: int, size: int) -> None:
    start %= size
    assume(moved < size // 2)
    # A 64-bit counter that is below 32 bits cannot wrap at 64 in one step.
    assume(size == 2**32 or start >= 2**32)
    result = rates(COUNTER, (100, start), (100 + seconds, (start + moved) % size))[-1]
    assert result == pytest.approx(moved / seconds)


@given(st.lists(st.tuples(st.floats(0, 1e6), st.floats(0, 1e12)), min_size=2, max_size=20))
def test_a_rate_is_never_negative_where_the_type_says_so(samples: list[tuple[float, float]]) -> None:
    for result in rates(DERIVE, *samples):
        assert isinstance(result, str) or result >= 0


numbers: Any = st.integers(-(10**40), 10**40) | st.floats(allow_nan=False, allow_infinity=False)


@given(st.sampled_from([DERIVE, FREE_DERIVE, COUNTER, ABSOLUTE]), st.lists(st.tuples(st.floats(0, 1e10), numbers)))
def test_any_values_give_a_finite_rate_or_a_reason(source: DataSource, samples: list[tuple[float, float]]) -> None:
    for result in rates(source, *samples):
        assert isinstance(result, str) or abs(result) < float("inf")
