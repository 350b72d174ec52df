"""Query parameters: what is read, and that a wrong one is named."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from werkzeug.datastructures import MultiDict

from canopsis.api import arguments
from canopsis.core import parameters
from canopsis.core.parameters import Parameter
from canopsis.errors import InputError
from canopsis.store.query import Listing, Query

NOW = 1_750_000_000.0


class Wanted(Query, frozen=True):
    """A query with a parameter of each kind."""

    LIST = Listing("things", {"created": "created", "state": "state"}, "-created")

    name: Annotated[str | None, parameters.text("A name.", limit=10)] = None
    acked: Annotated[bool | None, parameters.flag("Yes or no.")] = None
    which: Annotated[str, parameters.choice("One.", ("open", "all"))] = "open"
    state: Annotated[Sequence[int] | None, parameters.several("Some.", (0, 1, 2, 3))] = None
    type: Annotated[Sequence[str] | None, parameters.several("Some.", ("check", "log"))] = None
    since: Annotated[float | None, parameters.moment("When.")] = msgspec.field(name="from", default=None)
    interval: Annotated[float | None, parameters.seconds("How long.", 1, 86400)] = None


def read(*pairs: tuple[str, str]) -> dict[str, Any]:
    """Return the values by the names of the parameters."""
    found = arguments.read(Wanted, MultiDict(list(pairs)), NOW)
    values = {each.name: getattr(found, field, None) for field, each in arguments.parameters_of(Wanted).items()}
    return values | {"sort": found.paging.sort, "limit": found.paging.limit, "start": found.paging.skip}


def test_what_is_not_given_has_its_default() -> None:
    found = read()
    assert found["which"] == "open"
    assert found["sort"] == "-created"
    assert (found["limit"], found["start"]) == (50, 0)
    assert found["name"] is None
    assert found["state"] is None


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [
        ("name", "disk / é", "disk / é"),
        ("acked", "true", True),
        ("acked", "0", False),
        ("which", "all", "all"),
        ("state", "0", [0]),
        ("state", "1, 3", [1, 3]),
        ("type", "log,check", ["log", "check"]),
        ("from", "1749999000", 1_749_999_000.0),
        ("from", "1749999000.5", 1_749_999_000.5),
        ("from", "-15m", NOW - 900),
        ("from", "-7d", NOW - 7 * 86400),
        ("from", "1970-01-02T00:00:00Z", 86400.0),
        ("from", "1970-01-02T01:00:00+01:00", 86400.0),
        ("interval", "60", 60.0),
        ("interval", "5m", 300.0),
        ("sort", "state", "state"),
        ("sort", "-state", "-state"),
        ("limit", "0", 0),
        ("limit", "1000", 1000),
        ("start", "100000", 100_000),
    ],
)
def test_a_good_value_is_read(name: str, text: str, value: object) -> None:
    assert read((name, text))[name] == value


def test_several_values_may_come_in_several_parameters() -> None:
    assert read(("state", "1,2"), ("state", "3"))["state"] == [1, 2, 3]


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("name", ""),
        ("name", "longer than ten"),
        ("name", "nul\0"),
        ("name", "line\n"),
        ("name", "bad \ufffd"),
        ("acked", "maybe"),
        ("acked", ""),
        ("which", "closed"),
        ("state", "4"),
        ("state", "1,"),
        ("state", ""),
        ("type", "check,nothing"),
        ("from", "yesterday"),
        ("from", "nan"),
        ("from", "1e9"),
        ("from", "-5"),
        ("from", "-1y"),
        ("from", "-999999999d"),
        ("from", "0000-01-01T00:00:00Z"),
        ("from", "2026-02-28"),
        ("from", "2026-02-28T12:00:00"),
        ("from", "999999999999"),
        ("from", "9999999999999"),
        ("from", "9999-12-31T23:59:59-23:00"),
        ("interval", "0"),
        ("interval", "2d"),
        ("interval", "-1"),
        ("sort", "nothing"),
        ("sort", "--state"),
        ("limit", "-1"),
        ("limit", "1001"),
        ("limit", "1.5"),
        ("limit", "\u0661"),
        ("limit", "9" * 40),
        ("start", "100001"),
    ],
)
def test_a_wrong_value_is_refused_by_name(name: str, text: str) -> None:
    with pytest.raises(InputError) as refused:
        read((name, text))
    assert refused.value.field == name
    assert refused.value.allowed


def test_an_unknown_parameter_is_refused_and_the_known_ones_are_named() -> None:
    with pytest.raises(InputError) as refused:
        read(("stat", "1"))
    assert refused.value.field == "stat"
    assert "state" in refused.value.allowed
    assert "limit" in refused.value.allowed


def test_where_there_are_no_parameters_the_error_says_so() -> None:
    with pytest.raises(InputError, match="none"):
        arguments.read(None, MultiDict([("limit", "1")]), NOW)


def test_a_parameter_given_twice_is_refused() -> None:
    with pytest.raises(InputError) as refused:
        read(("limit", "1"), ("limit", "2"))
    assert (refused.value.field, refused.value.allowed) == ("limit", "one value")


def test_the_key_may_stand_in_any_query() -> None:
    assert read(("authkey", "secret"))["limit"] == 50


@given(st.sampled_from(list(arguments.parameters_of(Wanted).values())), st.text(max_size=40))
def test_no_text_raises_anything_but_its_own_error(parameter: Parameter, text: str) -> None:
    try:
        read((parameter.name, text))
    except InputError as refused:
        assert refused.field == parameter.name


@given(st.floats(min_value=0, max_value=2.5e11, allow_nan=False), st.sampled_from("smhd"), st.integers(0, 10_000))
def test_before_now_is_that_much_before_now(now: float, unit: str, number: int) -> None:
    span = number * {"s": 1, "m": 60, "h": 3600, "d": 86400}[unit]
    if span <= now:
        assert parameters.read_moment(f"-{number}{unit}", now) == pytest.approx(now - span)
    else:
        with pytest.raises(ValueError):
            parameters.read_moment(f"-{number}{unit}", now)


def test_d7_a_plus_that_became_a_blank_is_told() -> None:
    with pytest.raises(InputError, match="a \\+ is written %2B in an address"):
        read(("from", "2026-02-28T12:00:00 01:00"))
    for text in ("2026-02-28 12:00", "a b"):
        with pytest.raises(InputError) as refused:
            read(("from", text))
        assert "%2B" not in refused.value.allowed
