"""Letters are made of whatever came, and equal ones are counted."""

from __future__ import annotations

import bson
import pytest
from hypothesis import given
from hypothesis import strategies as st
from runtime_fakes import NOW, as_stored

from canopsis.runtime import letters
from canopsis.runtime.contract import Dead, Message

anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.binary() | st.decimals() | st.datetimes(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=8,
)
raw_messages = st.builds(
    Message,
    body=st.binary(max_size=60) | st.just(b"[" * 5000) | st.just(b'{"component": "a", "x": 1e999}'),
    exchange=st.text(max_size=9),
    routing_key=st.text(st.characters(), max_size=9),
    content_type=st.text(max_size=9),
    message_id=st.text(max_size=9),
    headers=st.dictionaries(st.text(max_size=9), anything, max_size=4),
    received=st.none() | st.floats(),
    stamp=st.none() | st.integers(),
)


class TestTotalLetters:
    @given(raw=raw_messages, reason=st.text(st.characters(codec=None)), at=st.text(max_size=9), now=st.floats())
    def test_a1_whatever_came_a_letter_can_be_made_of_it(self, raw: Message, reason: str, at: str, now: float) -> None:
        (operation,) = letters.letters([("cleaner_events", Dead.of(raw, reason, at))], now)["dead_letters"]
        document = as_stored(operation)
        assert bson.decode(bson.encode(document))["body"] == raw.body
        for least in (
            letters.reduced(operation, "why", now),
            letters.minimal("e", raw.body, reason, now, (raw.exchange, raw.routing_key)),
        ):
            assert bson.decode(bson.encode(least.document))["body"] == raw.body

    @given(raw=raw_messages, reason=st.text(), now=st.floats(NOW, NOW + 9))
    def test_e3_the_same_letter_again_is_counted(self, raw: Message, reason: str, now: float) -> None:
        dead = Dead.of(raw, reason, "state")
        (one,) = letters.letters([("a", dead)], NOW)["dead_letters"]
        (two,) = letters.letters([("a", dead), ("a", dead)], now)["dead_letters"]
        assert as_stored(one)["_id"] == as_stored(two)["_id"]
        assert (as_stored(one)["count"], as_stored(two)["count"]) == (1, 2)

    @pytest.mark.parametrize(
        ("one", "other", "equal"),
        [
            (b"PUTVAL h1/cpu-0/cpu interval=10 1700000000:x", b"PUTVAL h1/cpu-0/cpu interval=10 1700000010.5:x", True),
            (b"PUTVAL h1/cpu-0/cpu interval=10 1700000000:x", b"PUTVAL h2/cpu-0/cpu interval=10 1700000000:x", False),
            (b"PUTVAL h1/cpu-0/cpu interval=10 1700000000:x", b"PUTVAL h1/cpu-1/cpu interval=10 1700000000:x", False),
            (b'{"component": "a", "state": 7, "output": "3 of 5"}', b'{"component": "a", "state": 9}', True),
            (b'{"component": "a1", "state": 7}', b'{"component": "a2", "state": 7}', False),
            (b'{"component": "a", "resource": "x"}', b'{"component": "a", "resource": "y"}', False),
            (b'{"half": 1', b'{"half": 2', True),
        ],
    )
    def test_e3_numbers_do_not_make_another_source(self, one: bytes, other: bytes, equal: bool) -> None:
        ids = {
            as_stored(
                letters.letters([("e", Dead(body, f"state: {len(body)} is refused", "state"))], NOW)["dead_letters"][0]
            )["_id"]
            for body in (one, other)
        }
        assert (len(ids) == 1) is equal

    def test_e3_another_reason_engine_or_field_is_another_letter(self) -> None:
        made = [
            ("a", Dead(b"x", "r", "f")),
            ("b", Dead(b"x", "r", "f")),
            ("a", Dead(b"x", "s", "f")),
            ("a", Dead(b"x", "r", "g")),
        ]
        assert len(letters.letters(made, NOW)["dead_letters"]) == 4

    def test_e3_what_we_failed_on_is_kept_each_by_itself(self) -> None:
        made = [("alarm", Dead(b'{"component": "a"}', "a bug", key=key)) for key in ("1", "2")]
        assert len(letters.letters(made, NOW)["dead_letters"]) == 2
