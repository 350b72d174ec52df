"""The match language of filters: ``{field: value}`` and operators, as MongoDB writes them.

``{"component": "srv1", "state": {"$gte": 2}, "$or": [{"output": {"$regex": "disk"}}, …]}``. Works
on events and on documents; ``a.b`` reads inside; what an event type does not know is looked for in
``extra``. A list matches when one of its values does. A field that is not there is ``null``.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from operator import attrgetter
from typing import Any

import msgspec

from canopsis.core import regex
from canopsis.errors import InvalidPattern

Matcher = Callable[[Any], bool]
"""Takes an event or a document."""

Reader = Callable[[object], object]
"""Takes an event or a document and returns a field of it, or ``ABSENT``."""

_Test = Callable[[object], bool]

MAX_DEPTH = 20

ABSENT: object = msgspec.UNSET


def compile(pattern: object) -> Matcher:
    """Return a function that tells whether an event or a document matches. Raises InvalidPattern."""
    return _pattern(pattern, "pattern", 1)


def _pattern(pattern: object, path: str, depth: int) -> Matcher:
    if type(pattern) is not dict or depth > MAX_DEPTH:
        raise InvalidPattern(path, pattern, f"an object of fields and operators, nested at most {MAX_DEPTH} deep")
    return _all_of([_clause(key, value, path, depth) for key, value in pattern.items()])


def _clause(key: object, value: object, path: str, depth: int) -> Matcher:
    if type(key) is not str or not key or "\0" in key:
        raise InvalidPattern(path, key, "names of fields, $and, $or, $nor, $not")
    here = f"{path}.{key}"
    if key == "$not":
        return _negated(_pattern(value, here, depth + 1))
    if key[0] == "$":
        return _combined(key, value, here, depth)
    read = reader(key)
    test = _condition(value, here, depth)
    return lambda subject: test(read(subject))


def _combined(key: str, value: object, path: str, depth: int) -> Matcher:
    combine = _COMBINE.get(key)
    if combine is None:
        raise InvalidPattern(path, key, ", ".join([*_COMBINE, "$not"]) + " around patterns")
    if type(value) is not list or not value:
        raise InvalidPattern(path, value, "a list of at least one pattern")
    return combine([_pattern(item, f"{path}[{index}]", depth + 1) for index, item in enumerate(value)])


def _all_of(tests: Sequence[_Test]) -> _Test:
    if len(tests) == 1:
        return tests[0]

    def tested(subject: object) -> bool:
        for test in tests:  # noqa: SIM110 - a generator takes twice as long
            if not test(subject):
                return False
        return True

    return tested


def _any_of(tests: Sequence[_Test]) -> _Test:
    return lambda subject: any(test(subject) for test in tests)


def _none_of(tests: Sequence[_Test]) -> _Test:
    return lambda subject: not any(test(subject) for test in tests)


def _negated(test: _Test) -> _Test:
    return lambda subject: not test(subject)


_COMBINE: dict[str, Callable[[Sequence[_Test]], _Test]] = {"$and": _all_of, "$or": _any_of, "$nor": _none_of}


def reader(path: str) -> Reader:
    """Return what reads the field ``path`` of a subject; ``ABSENT`` where there is none.

    A dot leads into an object, unless it is part of a key: ``labels.app.kubernetes.io/name``.
    """
    first, *rest = path.split(".")
    if not rest:
        return _top(first)
    steps = [(name, ".".join([name, *rest[index:]])) for index, name in enumerate([first, *rest])]

    def read(subject: object) -> object:
        value = subject
        for name, whole in steps:
            found = _inside(value, whole)
            if found is not ABSENT:
                return found
            value = _inside(value, name)
        return ABSENT

    return read


def _top(name: str) -> Reader:
    """Return what reads the field ``name``: each event is asked for it, so what a type has is looked up once."""
    readers: dict[type, Reader] = {}

    def read(subject: object) -> object:
        kind = type(subject)
        found = readers.get(kind)
        if found is None:
            found = readers[kind] = _reader_of(kind, name)
        return found(subject)

    return read


def _reader_of(kind: type, name: str) -> Reader:
    if issubclass(kind, msgspec.Struct):
        if name == kind.__struct_config__.tag_field:
            tag = kind.__struct_config__.tag
            return lambda _subject: tag
        if name in kind.__struct_fields__:
            return attrgetter(name)
    return lambda subject: _field(subject, name)


def _field(subject: object, name: str) -> object:
    if isinstance(subject, Mapping):
        found, extra = subject.get(name, ABSENT), subject.get("extra")
    elif isinstance(subject, msgspec.Struct):
        found = getattr(subject, name) if name in subject.__struct_fields__ else ABSENT
        extra = getattr(subject, "extra", None)
    else:
        return ABSENT
    if found is ABSENT and isinstance(extra, Mapping):
        return extra.get(name, ABSENT)
    return found


def _inside(value: object, name: str) -> object:
    """Return the field ``name`` of ``value``, or of each thing in it when it is a list."""
    if isinstance(value, list):
        found = [inner for inner in (_inside(item, name) for item in value) if inner is not ABSENT]
        return found or ABSENT
    return _field(value, name)


def _condition(value: object, path: str, depth: int) -> _Test:
    """Return the test of one field: a plain value, or an object of operators."""
    if type(value) is not dict:
        return _equals(value, path)
    if depth > MAX_DEPTH:
        raise InvalidPattern(path, value, f"operators nested at most {MAX_DEPTH} deep")
    if not value or any(type(key) is not str or key not in _ALLOWED for key in value):
        raise InvalidPattern(path, value, f"a value, or an object of {', '.join(sorted(_ALLOWED))}")
    if "$options" in value and "$regex" not in value:
        raise InvalidPattern(f"{path}.$options", value["$options"], "$options beside $regex only")
    tests = [_operator(key, operand, value, path, depth) for key, operand in value.items() if key != "$options"]
    return _all_of(tests)


def _operator(key: str, operand: object, whole: Mapping[str, object], path: str, depth: int) -> _Test:
    here = f"{path}.{key}"
    if key == "$not":
        if type(operand) is not dict:
            raise InvalidPattern(here, operand, "an object of operators")
        return _negated(_condition(operand, here, depth + 1))
    if key == "$regex":
        return _regex(operand, whole.get("$options", ""), here)
    return _OPERATORS[key](operand, here)


def _scalar(value: object, path: str) -> object:
    if value is None or type(value) in {str, int, bool} or (type(value) is float and not math.isnan(value)):
        return value
    raise InvalidPattern(path, value, "a text, a number, true, false or null")


def _same(found: object, value: object) -> bool:
    """Tell whether two values are equal; true is not 1, and null is also what is not there."""
    if value is None:
        return found is None or found is ABSENT
    return bool(found == value) and (type(found) is bool) == (type(value) is bool)


def _equals(operand: object, path: str) -> _Test:
    value = _scalar(operand, path)
    if type(value) is str:
        return lambda found: found == value or (isinstance(found, list) and value in found)
    return _each(lambda found: _same(found, value))


def _each(test: _Test) -> _Test:
    """Return a test that a list passes when one of its values does."""

    def tested(found: object) -> bool:
        if isinstance(found, list):
            return any(test(item) for item in found)
        return test(found)

    return tested


def _one_of(operand: object, path: str) -> _Test:
    if type(operand) is not list:
        raise InvalidPattern(path, operand, "a list of values")
    values = [_scalar(item, f"{path}[{index}]") for index, item in enumerate(operand)]
    return _each(lambda found: any(_same(found, value) for value in values))


def _differs(operand: object, path: str) -> _Test:
    return _negated(_equals(operand, path))


def _not_one_of(operand: object, path: str) -> _Test:
    return _negated(_one_of(operand, path))


def _exists(operand: object, path: str) -> _Test:
    if type(operand) is not bool:
        raise InvalidPattern(path, operand, "true or false")
    return lambda found: (found is not ABSENT and found is not None) == operand


def _compared(compare: Callable[[Any, Any], bool]) -> Callable[[object, str], _Test]:
    """Return an operator that compares numbers with numbers and texts with texts, nothing else."""

    def operator(operand: object, path: str) -> _Test:
        value = _scalar(operand, path)
        if value is None or type(value) is bool:
            raise InvalidPattern(path, value, "a number or a text")
        kinds = (str,) if type(value) is str else (int, float)
        return _each(lambda found: type(found) in kinds and compare(found, value))

    return operator


def _regex(operand: object, options: object, path: str) -> _Test:
    found_in = regex.compile(operand, path, options).found_in
    return _each(lambda found: type(found) is str and found_in(found))


def _all_there(operand: object, path: str) -> _Test:
    if type(operand) is not list or not operand:
        raise InvalidPattern(path, operand, "a list of at least one value")
    return _all_of([_equals(item, f"{path}[{index}]") for index, item in enumerate(operand)])


_OPERATORS: dict[str, Callable[[object, str], _Test]] = {
    "$eq": _equals,
    "$ne": _differs,
    "$in": _one_of,
    "$nin": _not_one_of,
    "$all": _all_there,
    "$exists": _exists,
    "$gt": _compared(lambda found, value: found > value),
    "$gte": _compared(lambda found, value: found >= value),
    "$lt": _compared(lambda found, value: found < value),
    "$lte": _compared(lambda found, value: found <= value),
}
_ALLOWED = _OPERATORS.keys() | {"$regex", "$options", "$not"}
