"""What the fields of an event are made of: paths into a payload, templates, tables of values, constants."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Annotated, Any, Literal

import msgspec

from canopsis.core.event import COMPUTED
from canopsis.core.jsonpath import ABSENT, Path, is_path
from canopsis.core.moments import moment_of
from canopsis.core.structs import prepare, refusal
from canopsis.core.template import Template
from canopsis.errors import InputError, RuleFailure, shorten

MAX_DEPTH = 10
"""Of lists and objects in one another that a field is made of."""

MAX_NAME = 255

_ADDRESS = frozenset({"connector", "connector_name"})
_MADE = COMPUTED | {"late", "outcome"}
"""What we alone say of an event."""

_NAMES = "a field of an event, such as component, state, output or extra.name"
_NUMBER = re.compile(r"\s*[-+]?[0-9]{1,18}(\.[0-9]{1,18})?\s*")
_IN_MILLISECONDS = 1e11
"""Seconds since the epoch are below it until the year 5138, milliseconds above it since 1973."""


class Subject:
    """What an event is made of: the ``whole`` payload, and the ``part`` that the event is about."""

    __slots__ = ("_values", "part", "whole")

    def __init__(self, whole: object, part: object) -> None:
        self.whole = whole
        self.part = part
        self._values: Mapping[str, Any] | None = None

    @property
    def values(self) -> Mapping[str, Any]:
        """What templates see: the fields of the part, and both as ``item`` and ``payload``."""
        if self._values is None:
            own = self.part if isinstance(self.part, dict) else {}
            self._values = own | {"item": self.part, "payload": self.whole}
        return self._values


Get = Callable[[Subject], object]
"""Returns a value, ``ABSENT`` where there is none; raises RuleFailure."""

Write = Callable[[dict[str, Any], Subject], None]
"""Sets a field of an event; raises RuleFailure."""


class Lookup(msgspec.Struct, forbid_unknown_fields=True, rename={"source": "from", "kind": "as"}):
    """The first of ``from`` that is there, by ``map`` another value, else ``default``; ``as`` a time or a number."""

    source: str | Annotated[list[str], msgspec.Meta(min_length=1)]
    map: dict[str, Any] | None = None
    default: Any = msgspec.UNSET
    kind: Literal["time", "number"] | None = None


prepare(Lookup)


def writes_of(fields: Mapping[str, object]) -> list[tuple[str, Write]]:
    """Return what sets each of ``fields``, with its name. Raises InputError naming the field and what is in it."""
    return [(name, _write(_steps(name), getter(made_of, f"fields.{name}"))) for name, made_of in fields.items()]


def _steps(name: str) -> list[str]:
    steps = name.split(".")
    if len(name) > MAX_NAME or not all(steps) or any(step[0] == "$" or "\0" in step for step in steps):
        raise InputError("fields", name, _NAMES)
    if steps[0] in _ADDRESS:
        raise InputError("fields", name, f"{_NAMES}; the address says connector and connector_name")
    if steps[0] in _MADE:
        raise InputError("fields", name, f"{_NAMES}; not {', '.join(sorted(_MADE))}")
    return steps


def _write(steps: list[str], get: Get) -> Write:
    *parents, last = steps

    def write(raw: dict[str, Any], subject: Subject) -> None:
        value = get(subject)
        if value is ABSENT:
            return
        home = raw
        for step in parents:
            inner = home.get(step, {})
            if not isinstance(inner, dict):
                raise RuleFailure(f"{step} is not an object")
            # A copy: it may be a part of the payload, which other fields are made of.
            home[step] = home = inner.copy()
        home[last] = value

    return write


def getter(made_of: object, where: str, depth: int = 0) -> Get:
    """Return what makes a value. Raises InputError, which names ``where``."""
    if depth > MAX_DEPTH:
        raise InputError(where, made_of, f"lists and objects at most {MAX_DEPTH} deep")
    if isinstance(made_of, str):
        return _of_text(made_of, where)
    if isinstance(made_of, list):
        return _listed([getter(each, f"{where}[{place}]", depth + 1) for place, each in enumerate(made_of)])
    if isinstance(made_of, dict):
        if "from" in made_of:
            return _of_lookup(made_of, where)
        return _object({name: getter(each, f"{where}.{name}", depth + 1) for name, each in made_of.items()})
    return lambda _subject: made_of


def _of_text(text: str, where: str) -> Get:
    if is_path(text):
        path = Path(text, where)
        return lambda subject: path.find(subject.whole, subject.part)
    template = Template(text, where)
    return lambda subject: template.render(subject.values)


def _listed(items: list[Get]) -> Get:
    def get(subject: Subject) -> object:
        found = (item(subject) for item in items)
        return [each for each in found if each is not ABSENT and each is not None]

    return get


def _object(members: dict[str, Get]) -> Get:
    def get(subject: Subject) -> object:
        found = {name: member(subject) for name, member in members.items()}
        return {name: value for name, value in found.items() if value is not ABSENT}

    return get


def _of_lookup(made_of: Mapping[str, Any], where: str) -> Get:
    try:
        lookup = msgspec.convert(made_of, Lookup)
    except msgspec.ValidationError as error:
        field, value, allowed = refusal(error, made_of, Lookup)
        raise InputError(f"{where}.{field}", value, allowed) from None
    texts = [lookup.source] if isinstance(lookup.source, str) else lookup.source
    found = _first([_of_text(text, f"{where}.from") for text in texts])

    def get(subject: Subject) -> object:
        try:
            value = found(subject)
            return value if value is ABSENT else _looked_up(lookup, value)
        except RuleFailure:
            if lookup.default is ABSENT:
                raise
            return lookup.default

    if lookup.default is ABSENT:
        return get
    return lambda subject: lookup.default if (value := get(subject)) is ABSENT else value


def _first(ways: list[Get]) -> Get:
    """Return what gets the first value that is there: not null, and no empty text."""

    def get(subject: Subject) -> object:
        failure: RuleFailure | None = None
        for way in ways:
            try:
                value = way(subject)
            except RuleFailure as error:
                failure = failure or error
                continue
            if value is not ABSENT and value is not None and value != "":
                return value
        if failure is not None:
            raise failure
        return ABSENT

    return get


def _looked_up(lookup: Lookup, value: object) -> object:
    if lookup.kind == "time":
        value = _time(value)
    elif lookup.kind == "number":
        value = _number(value)
    if lookup.map is None:
        return value
    key = _key(value)
    if key not in lookup.map:
        raise RuleFailure(f"{shorten(value)} is not in map, which has {shorten(sorted(lookup.map))}, and no default")
    return lookup.map[key]


def _key(value: object) -> str:
    """Return what a value is called in ``map``: a text itself, true and false and numbers as in JSON; 2.0 is 2."""
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if isinstance(value, (bool, int, float)):
        return str(value).lower()
    return value if isinstance(value, str) else ""


def _time(value: object) -> object:
    """Return a time in seconds since the epoch; what is none stays what it is, and the event says so."""
    found = moment_of(value)
    if found is not None:
        return found
    if isinstance(value, str) and _NUMBER.fullmatch(value):
        value = float(value)
    is_late = isinstance(value, (int, float)) and value >= _IN_MILLISECONDS
    return value / 1000 if is_late else value  # type: ignore[operator]


def _number(value: object) -> object:
    if isinstance(value, str) and _NUMBER.fullmatch(value):
        return float(value) if "." in value else int(value)
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return value
    raise RuleFailure(f"{shorten(value)} is not a number")
