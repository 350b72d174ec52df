"""Keys that sources choose: stored without dots and dollars, read back as they were sent."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from canopsis.store.keys import escape, escaped, unescape, unescaped

KEYS = st.text(alphabet=".%$245Ea", max_size=8) | st.text(max_size=8)
JSON = st.recursive(
    st.none() | st.integers() | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=3),
    max_leaves=8,
)


@pytest.mark.parametrize(
    ("key", "stored"),
    [
        ("app.kubernetes.io/name", "app%2Ekubernetes%2Eio/name"),
        ("$where", "%24where"),
        ("a$", "a$"),
        ("100%", "100%25"),
        ("a%2Eb", "a%252Eb"),
        ("", "%"),
        ("plain", "plain"),
    ],
)
def test_b7_how_a_key_is_stored(key: str, stored: str) -> None:
    assert escape(key) == stored
    assert unescape(stored) == key


@given(KEYS)
def test_b7_every_key_comes_back(key: str) -> None:
    stored = escape(key)
    assert stored
    assert "." not in stored
    assert stored[0] != "$"
    assert unescape(stored) == key


@given(JSON)
def test_b7_everything_in_a_value_comes_back(value: Any) -> None:
    assert unescaped(escaped(value)) == value
