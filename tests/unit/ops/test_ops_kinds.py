"""Kinds of values: what is read, what is refused, how values are shown."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from canopsis.ops import kinds
from canopsis.ops.kinds import Kind

GOOD: list[tuple[Kind, str, object]] = [
    (kinds.text(), "", ""),
    (kinds.text(), "a = b # c", "a = b # c"),
    (kinds.word(), "x", "x"),
    (kinds.token(), "aB3-_.~", "aB3-_.~"),
    (kinds.boolean(), "true", True),
    (kinds.boolean(), "Yes", True),
    (kinds.boolean(), "1", True),
    (kinds.boolean(), "OFF", False),
    (kinds.boolean(), "0", False),
    (kinds.integer(1, 8), "1", 1),
    (kinds.integer(1, 8), "8", 8),
    (kinds.integer(-8, 8), "-8", -8),
    (kinds.duration(0, 1e9), "90", 90.0),
    (kinds.duration(0, 1e9), "0.5", 0.5),
    (kinds.duration(0, 1e9), "90s", 90.0),
    (kinds.duration(0, 1e9), "2m", 120.0),
    (kinds.duration(0, 1e9), "1.5 h", 5400.0),
    (kinds.duration(0, 1e9), "30d", 2_592_000.0),
    (kinds.names(), "", ()),
    (kinds.names(), "a", ("a",)),
    (kinds.names(), "a, b-c,d.e_f", ("a", "b-c", "d.e_f")),
    (kinds.name(), "worker-2", "worker-2"),
    (kinds.choice("quorum", "classic"), "classic", "classic"),
    (kinds.choices("local", "authkey"), "authkey", ("authkey",)),
    (kinds.choices("local", "authkey"), "authkey,local", ("authkey", "local")),
    (kinds.hosts(), "127.0.0.1:8083", (("127.0.0.1", 8083),)),
    (kinds.hosts(), "a.example:1, b:65535", (("a.example", 1), ("b", 65535))),
    (kinds.hosts(), "[::1]:8083", (("::1", 8083),)),
    (kinds.origins(), "", ()),
    (kinds.origins(), "https://a.example", ("https://a.example",)),
    (kinds.origins(), "http://a:8080, https://[::1]:8443", ("http://a:8080", "https://[::1]:8443")),
    (kinds.urls(), "http://127.0.0.1:8082", ("http://127.0.0.1:8082",)),
    (kinds.urls(), "https://web.example/canopsis/", ("https://web.example/canopsis",)),
    (kinds.urls(), "http://[::1]:80", ("http://[::1]:80",)),
    (kinds.urls(), "http://a:1, https://b/", ("http://a:1", "https://b")),
]

BAD: list[tuple[Kind, str]] = [
    (kinds.word(), ""),
    (kinds.token(), ""),
    (kinds.token(), "two words"),
    (kinds.token(), "clé"),
    *((kinds.origins(), origin) for origin in ("*", "null", "a.example", "https://a.example/", "https://A.example")),
    *((kinds.origins(), origin) for origin in ("https://a:443", "http://a:80", "https://a:0", "https://a:65536")),
    (kinds.boolean(), ""),
    (kinds.boolean(), "maybe"),
    (kinds.boolean(), "2"),
    (kinds.integer(1, 8), "0"),
    (kinds.integer(1, 8), "9"),
    (kinds.integer(1, 8), "1.0"),
    (kinds.integer(1, 8), "٣"),
    (kinds.integer(1, 8), "0x1"),
    (kinds.integer(1, 8), "1_0"),
    (kinds.integer(1, 8), ""),
    (kinds.integer(1, 8), "9" * 30),
    (kinds.duration(1, 60), "0"),
    (kinds.duration(1, 60), "2m"),
    (kinds.duration(1, 60), "-5"),
    (kinds.duration(1, 60), "5 weeks"),
    (kinds.duration(1, 60), "inf"),
    (kinds.duration(1, 60), "nan"),
    (kinds.duration(1, 60), ""),
    (kinds.names(), "a,,b"),
    (kinds.names(), "a,a"),
    (kinds.names(), "a b"),
    (kinds.names(), "-a"),
    (kinds.name(), ""),
    (kinds.name(), "../etc"),
    (kinds.choices("local"), ""),
    (kinds.choices("local"), "ldap"),
    (kinds.choices("local"), "local,local"),
    (kinds.hosts(), ""),
    (kinds.hosts(), "localhost"),
    (kinds.hosts(), ":8083"),
    (kinds.hosts(), "a:0"),
    (kinds.hosts(), "a:65536"),
    (kinds.hosts(), "a:port"),
    (kinds.hosts(), "::1:8083"),
    (kinds.hosts(), "[a]:1"),
    (kinds.hosts(), "user@a:1"),
    (kinds.hosts(), "a:1,"),
    (kinds.urls(), "127.0.0.1:8082"),
    (kinds.urls(), "ftp://a"),
    (kinds.urls(), "http://"),
    (kinds.urls(), "http://a:0"),
    (kinds.urls(), "http://a:99999"),
    (kinds.urls(), "http://a/?q=1"),
    (kinds.urls(), "http://a/#top"),
]


@pytest.mark.parametrize(("kind", "text", "value"), GOOD)
def test_good_values(kind: Kind, text: str, value: object) -> None:
    assert kind.read(text) == value
    assert type(kind.read(text)) is type(value)


@pytest.mark.parametrize(("kind", "text"), BAD)
def test_bad_values(kind: Kind, text: str) -> None:
    with pytest.raises(ValueError):
        kind.read(text)


KINDS = [kind for kind, _, _ in GOOD] + [kind for kind, _ in BAD]
ALL = {kind.allowed: kind for kind in KINDS}


@given(st.text())
def test_no_text_raises_anything_else(text: str) -> None:
    for kind in ALL.values():
        try:
            kind.read(text)
        except ValueError:
            continue


@pytest.mark.parametrize("kind", ALL.values(), ids=list(ALL))
def test_every_kind_says_what_it_allows(kind: Kind) -> None:
    assert kind.name
    assert kind.allowed


@given(st.integers(min_value=0, max_value=10**8))
def test_a_time_is_shown_as_it_is_read(value: int) -> None:
    assert kinds.duration(0, 1e9).read(kinds.seconds(value)) == value


@pytest.mark.parametrize(
    ("value", "text"),
    [(0, "0s"), (0.5, "0.5s"), (59, "59s"), (60, "1m"), (90, "90s"), (7200, "2h"), (86400 * 30, "30d")],
)
def test_seconds(value: float, text: str) -> None:
    assert kinds.seconds(value) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (True, "true"),
        (False, "false"),
        (3, "3"),
        (2.0, "2"),
        ("x", "x"),
        (("a", "b"), "a,b"),
        ((), ""),
        ((("a", 1), ("::1", 2)), "a:1,[::1]:2"),
    ],
)
def test_show(value: object, text: str) -> None:
    assert kinds.show(value) == text


@given(st.lists(st.tuples(st.sampled_from(["a", "10.0.0.1", "::1", "x-y.example"]), st.integers(1, 65535)), min_size=1))
def test_hosts_are_shown_as_they_are_read(hosts: list[tuple[str, int]]) -> None:
    assert kinds.hosts().read(kinds.show(tuple(hosts))) == tuple(hosts)


def test_bounds_are_inclusive() -> None:
    kind = kinds.duration(1, 2)
    assert (kind.read("1"), kind.read("2")) == (1, 2)
    assert not math.isnan(kind.read("1.5"))
