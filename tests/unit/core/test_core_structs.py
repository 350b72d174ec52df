"""Structs used by several threads from the first moment."""

from __future__ import annotations

import subprocess
import sys
from typing import Annotated, Any, Literal

import msgspec
import pytest

from canopsis.core.rules.event_filter import FilterRule
from canopsis.core.structs import choices, refusal

_THREADS = """
import sys, threading
sys.setswitchinterval(1e-6)
import msgspec
from {module} import {name}
together = threading.Barrier(16)
def work():
    together.wait()
    for _ in range(100):
        msgspec.convert({value!r}, {name})
threads = [threading.Thread(target=work) for _ in range(16)]
for thread in threads: thread.start()
for thread in threads: thread.join()
"""

_USER = {"_id": "alice", "authkeys": [{"id": "main", "sha256": "00"}]}
_ALARM = {
    "_id": "a1", "rev": 1, "open": True, "entity_id": "component:c", "source_type": "component", "connector": "k",
    "connector_name": "n", "component": "c", "state": 2, "status": 1, "created": 1.0, "updated": 1.0, "last_event": 1.0,
    "ack": {"author": "a", "message": "m", "t": 1.0},
    "steps": [{"type": "stateinc", "t": 1.0, "author": "a", "message": "m", "value": 2, "e": "e1"}],
}  # fmt: skip

_RULE = {"id": "r", "type": "enrich", "pattern": {"a": 1}, "actions": [{"type": "set", "field": "b", "value": 2}]}


class Described(msgspec.Struct):
    """A struct whose field says more of itself."""

    size: Annotated[Literal["small", "large"] | None, msgspec.Meta(description="How large.")] = None


def test_choices_of_a_field_that_is_described() -> None:
    assert choices(Described, "$.size") == ["large", "small"]


def test_choices_are_the_words_that_may_stand_at_a_place() -> None:
    assert choices(FilterRule, "$.on_success") == ["break", "drop", "pass"]
    assert choices(FilterRule, "$.actions[0].type")[:2] == ["set", "append"]
    for elsewhere in ("$", "$.priority", "$.priority[0]", "$.priority.type", "$.nothing", "$.actions[0].field"):
        assert choices(FilterRule, elsewhere) == []


NAMED = msgspec.Meta(pattern="^[a-z]+$", extra={"allowed": "small letters"})


class Word(msgspec.Struct, forbid_unknown_fields=True, tag="word"):
    """A thing with a choice."""

    word: Literal["a", "b"] = "a"
    name: Annotated[str, NAMED] = "x"


class Number(msgspec.Struct, forbid_unknown_fields=True, tag="number"):
    """Another one."""

    number: int


class Whole(msgspec.Struct, forbid_unknown_fields=True):
    """All of them."""

    name: Annotated[str, NAMED]
    things: list[Word | Number] = []
    pair: tuple[int, int] = (0, 0)
    either: Word | list[int] = []
    by_key: dict[str, int] = {}


@pytest.mark.parametrize(
    ("document", "field", "value", "allowed"),
    [
        ("text", "", "text", "expected `object`, got `str`"),
        ({}, "name", None, "small letters"),
        ({"name": "A"}, "name", "A", "small letters"),
        ({"name": "a", "nmae": 1}, "nmae", 1, "the fields name, things, pair, either, by_key"),
        ({"name": "a", "things": [{"type": "word"}, {"type": "wrod"}]}, "things[1].type", "wrod", "word, number"),
        ({"name": "a", "things": [{"type": "word", "word": "c"}]}, "things[0].word", "c", "a, b"),
        ({"name": "a", "things": [{"type": "word", "name": "A"}]}, "things[0].name", "A", "small letters"),
        ({"name": "a", "things": [{"type": "number"}]}, "things[0].number", None, "object missing required field"),
        ({"name": "a", "pair": [1, "2"]}, "pair[1]", "2", "expected `int`, got `str`"),
        ({"name": "a", "either": {"type": "word", "word": "c"}}, "either.word", "c", "a, b"),
        ({"name": "a", "by_key": {"x": "y"}}, "by_key", {"x": "y"}, "expected `int`, got `str`"),
    ],
    ids=str,
)
def test_what_is_wrong_is_named(document: Any, field: str, value: object, allowed: str) -> None:
    with pytest.raises(msgspec.ValidationError) as caught:
        msgspec.convert(document, Whole)
    found = refusal(caught.value, document, Whole)
    assert (found[0], found[1]) == (field, value)
    assert found[2].startswith(allowed)


@pytest.mark.parametrize(
    ("module", "name", "value"),
    [
        ("canopsis.store.users", "User", _USER),
        ("canopsis.store.alarms", "Alarm", _ALARM),
        ("canopsis.core.rules.event_filter", "FilterRule", _RULE),
    ],
)
def test_threads_that_meet_a_struct_at_once_do_no_harm(module: str, name: str, value: dict[str, object]) -> None:
    # Without preparation about one run in three ends with SIGSEGV.
    code = _THREADS.format(module=module, name=name, value=value)
    for _ in range(5):
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
