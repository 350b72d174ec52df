"""What a pattern demands at least: by it the index finds the rules that an event may match, and tests no other.

A *key* is ``(field, is it a boolean, value)``: as in patterns, true is not 1.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import msgspec

from canopsis.core.regex import Regex, can_be_united
from canopsis.core.regex import compile as compile_regex

Key = tuple[str, bool, object]
Pattern = Mapping[str, Any]
"""A pattern that ``pattern.compile`` takes."""

_SURE = ("$eq", "$in", "$all")


@dataclass(frozen=True, slots=True)
class Clause:
    """A part of a pattern that each match fulfils. ``text`` is the same for equal ones."""

    pattern: Pattern
    text: bytes


def crowds(patterns: list[Pattern]) -> Counter[Key]:
    """Return how many of ``patterns`` name each key."""
    return Counter(key for pattern in patterns for key in {key for keys in _alternatives(pattern) for key in keys})


def keys_of(pattern: Pattern, crowd: Counter[Key]) -> frozenset[Key] | None:
    """Return keys of which each match has one, the set that fewest share; None where no value is demanded."""
    found = list(_alternatives(pattern, crowd))
    return min(found, key=lambda keys: _weight(keys, crowd)) if found else None


def _weight(keys: frozenset[Key], crowd: Counter[Key]) -> tuple[int, int]:
    return max((crowd[key] for key in keys), default=0), len(keys)


def _alternatives(pattern: Pattern, crowd: Counter[Key] | None = None) -> Iterator[frozenset[Key]]:
    """Yield sets of keys; a match has one of each set."""
    for field, value in pattern.items():
        if field == "$and":
            for part in value:
                yield from _alternatives(part, crowd)
        elif field == "$or":
            yield from _united([list(_alternatives(part, crowd)) for part in value], crowd)
        elif field[0] != "$":
            yield from _of_condition(field, value)


def _united(parts: list[list[frozenset[Key]]], crowd: Counter[Key] | None) -> Iterator[frozenset[Key]]:
    """Yield keys of which a match of any of ``parts`` has one: where there is a choice, those that fewest share."""
    if not all(parts):
        return
    if crowd is None:
        # To be counted: whatever one of them might be found by.
        yield frozenset(key for part in parts for keys in part for key in keys)
        return
    yield frozenset().union(*(min(part, key=lambda keys: _weight(keys, crowd)) for part in parts))


def _of_condition(field: str, condition: object) -> Iterator[frozenset[Key]]:
    if type(condition) is not dict:
        if condition is not None:
            yield frozenset((_key(field, condition),))
        return
    if condition.get("$eq") is not None:
        yield frozenset((_key(field, condition["$eq"]),))
    if None not in condition.get("$in", (None,)):
        yield frozenset(_key(field, value) for value in condition["$in"])
    for value in condition.get("$all", ()):
        if value is not None:
            yield frozenset((_key(field, value),))


def _key(field: str, value: object) -> Key:
    return field, type(value) is bool, value


def regex_of(pattern: Pattern) -> tuple[str, Regex] | None:
    """Return a field and the regular expression that each match has in it; None where none is demanded."""
    for field, value in _fields(pattern):
        if type(value) is dict and "$regex" in value:
            regex = compile_regex(value["$regex"], field, value.get("$options", ""))
            if can_be_united(regex):
                return field, regex
    return None


def _fields(pattern: Pattern) -> Iterator[tuple[str, object]]:
    for field, value in pattern.items():
        if field == "$and":
            for part in value:
                yield from _fields(part)
        elif field[0] != "$":
            yield field, value


def clauses(pattern: Pattern) -> list[Clause]:
    """Return the parts that each match fulfils, one a field or operator of the pattern."""
    parts: list[Pattern] = [{field: value} for field, value in pattern.items()]
    return [Clause(part, msgspec.json.encode(part)) for part in parts]
