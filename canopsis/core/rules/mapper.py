"""Mappers: how the JSON of a tool becomes events. Each has tests of its own, which it must pass before it is saved."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Annotated, Any

import msgspec

from canopsis.core import pattern as patterns
from canopsis.core.body import loads
from canopsis.core.event import Event, to_document
from canopsis.core.jsonpath import ABSENT, Path
from canopsis.core.normalise import normalise
from canopsis.core.rules.kernel import Kind, RuleSet
from canopsis.core.rules.mapping import Subject, Write, writes_of
from canopsis.core.rules.rule import Rule
from canopsis.core.rules.table import Tables
from canopsis.core.structs import prepare
from canopsis.errors import InputError, InvalidEvent, RuleFailure, bounded, shorten

MOST_TESTS = 100
MOST_NAMED = 20
"""Mappers that an error names."""

TESTED_AT = 4_102_444_800.0
"""When tests take place, in seconds since the epoch: 2100, so that no time of a payload is ahead of it."""

TESTED = {"connector": "generic", "connector_name": "test"}
"""Whose events they are in tests."""

Raw = dict[str, Any]

_NO_TESTS = "at least one test: a payload, and the events that it becomes or the field that is refused"


class MapperTest(msgspec.Struct, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """A payload, and what becomes of it: ``events``, each with the fields that count, and ``refused``.

    ``refused`` is the field that the first refusal names; empty: nothing is refused.
    """

    payload: Any
    name: str = ""
    events: list[dict[str, Any]] = []
    refused: str = ""


class Mapper(Rule, kw_only=True):
    """Makes events of the payloads that ``pattern`` matches.

    ``sources`` are the names of the addresses that it is for; without any it is for all. ``decode`` are paths of texts
    that hold JSON. ``each`` is the path of a list: each of its items becomes an event; without it the payload does.
    ``fields`` are of the event, by name.
    """

    sources: list[str] = msgspec.field(default_factory=list)
    decode: list[str] = msgspec.field(default_factory=list)
    each: str = ""
    fields: Annotated[dict[str, Any], msgspec.Meta(min_length=1, max_length=200)]
    tests: Annotated[list[MapperTest], msgspec.Meta(max_length=MOST_TESTS)] = msgspec.field(default_factory=list)

    def is_for(self, source: str) -> bool:
        """Tell whether it is for what is sent to the address that ends with ``source``; empty: to any."""
        return not source or not self.sources or source in self.sources


prepare(Mapper)

Act = Callable[[object], Iterator[Raw | InvalidEvent]]
"""Returns what becomes of a payload: events as a source would send them, or why there is none."""


@dataclass(frozen=True, slots=True)
class Mapped:
    """What became of one item of a payload, and by which mapper (none: no one matches)."""

    mapper: str
    found: Raw | InvalidEvent


def _ready(rule: Mapper, _tables: Tables) -> Act:
    decode = [Path(text, f"decode[{place}]") for place, text in enumerate(rule.decode)]
    each = Path(rule.each, "each") if rule.each else None
    writes = writes_of(rule.fields)

    def act(payload: object) -> Iterator[Raw | InvalidEvent]:
        for path in decode:
            payload = path.replaced(payload, _decoded)
        items = [payload] if each is None else each.find(payload, payload)
        if isinstance(items, list):
            yield from (_event_of(Subject(payload, item), writes) for item in items)
        else:
            yield InvalidEvent(rule.each, None if items is ABSENT else items, "a list, as each of the mapper says")

    return act


def _decoded(value: object) -> object:
    """Return what a text holds as JSON; what is none stays what it is."""
    try:
        return loads(value.encode("utf-8", "surrogateescape")) if isinstance(value, str) else value
    except (InvalidEvent, UnicodeEncodeError):
        return value


def _event_of(subject: Subject, writes: list[tuple[str, Write]]) -> Raw | InvalidEvent:
    raw: Raw = {}
    for name, write in writes:
        try:
            write(raw, subject)
        except RuleFailure as error:
            return InvalidEvent(name, None, "what its mapper can make of the payload", f"{name}: {error}")
    return raw


def _prove(mapper: Mapper, act: Act) -> None:
    """Raise InputError where a test of ``mapper`` fails, or there is none."""
    if not mapper.tests:
        raise InputError("tests", [], _NO_TESTS)
    matches = patterns.compile(mapper.pattern)
    for place, test in enumerate(mapper.tests):
        trial = _Trial(f"tests[{place}]", f"the test {test.name!r}" if test.name else "the test")
        events, refused = _outcome(test.payload, matches, act)
        trial.demand("refused", refused.field if refused else "", test.refused, str(refused or ""))
        trial.demand("events", len(events), len(test.events))
        for number, (event, wanted) in enumerate(zip(events, test.events, strict=True)):
            for name, value in wanted.items():
                found = patterns.reader(name)(event)
                found = None if found is ABSENT else msgspec.to_builtins(found)
                trial.demand(f"events[{number}].{name}", found, value)


@dataclass(frozen=True, slots=True)
class _Trial:
    """A test that is run: where it stands, and what it is called in an error."""

    where: str
    name: str

    def demand(self, field: str, found: object, wanted: object, why: str = "") -> None:
        """Raise InputError where another value is ``found`` than the test wants."""
        if found == wanted and isinstance(found, bool) == isinstance(wanted, bool):
            return
        path = f"{self.where}.{field}"
        told = f"{path}: {self.name} wants {shorten(wanted)} and found {shorten(found)}"
        raise InputError(path, found, f"{shorten(wanted)}, as {self.name} wants", f"{told} ({why})" if why else told)


def _outcome(payload: object, matches: patterns.Matcher, act: Act) -> tuple[list[Event], InvalidEvent | None]:
    """Return the events of a payload, and the first refusal."""
    events: list[Event] = []
    refused: list[InvalidEvent] = []
    for where, document in _documents(payload):
        outcomes = act(document) if matches(document) else iter([InvalidEvent(where, document, "what pattern matches")])
        for found in outcomes:
            try:
                if isinstance(found, InvalidEvent):
                    raise found
                events.append(normalise(found | TESTED, TESTED_AT))
            except InvalidEvent as error:
                refused.append(error)
    return events, refused[0] if refused else None


KIND: Kind[Mapper, Act] = Kind("mapper", Mapper, _ready, prove=_prove, columns=("sources", "tests"), tried_on="payload")

Mappers = RuleSet[Mapper, Act]


def mapped(mappers: Mappers, payload: object, source: str, now: float) -> Iterator[Mapped]:
    """Yield what becomes of a payload that came to the address of ``source``: of each item of a list, in order.

    The first mapper that matches takes it.
    """
    for where, document in _documents(payload):
        try:
            ready = next((each for each in mappers.matching(document, now) if each.rule.is_for(source)), None)
            if ready is None:
                yield Mapped("", InvalidEvent(where, document, _matching(mappers, source)))
            else:
                yield from (Mapped(ready.rule.id, found) for found in ready.act(document))
        except RecursionError:
            yield Mapped("", InvalidEvent(where, document, "lists and objects that are not so deep in one another"))


def _documents(payload: object) -> list[tuple[str, object]]:
    """Return the payloads that one is, each with its name in errors."""
    if isinstance(payload, list):
        return [(f"[{place}]", each) for place, each in enumerate(payload)]
    return [("payload", payload)]


def _matching(mappers: Mappers, source: str) -> str:
    names = [ready.rule.id for ready in mappers.rules if ready.rule.is_for(source)]
    if not names:
        return f"nothing: there is no mapper for {shorten(source)}; PUT one to /api/v1/mappers/ID"
    more = f" and {len(names) - MOST_NAMED} more" if len(names) > MOST_NAMED else ""
    return f"what one of the mappers for {shorten(source)} matches: {', '.join(names[:MOST_NAMED])}{more}"


def explain(mappers: Mappers, payload: object, source: str, now: float) -> Iterator[dict[str, Any]]:
    """Yield what would become of a payload, as JSON: an event or the reason why there is none, and by which mapper."""
    for each in mapped(mappers, payload, source, now):
        raw = {} if isinstance(each.found, InvalidEvent) else each.found
        told: dict[str, Any] = {}
        try:
            if isinstance(each.found, InvalidEvent):
                raise each.found
            event = normalise(raw | TESTED | ({"connector_name": source} if source else {}), now)
            told |= {"outcome": "accepted", "event": to_document(event), "reason": "; ".join(event.warnings)}
        except InvalidEvent as error:
            told |= {"outcome": "refused", "event": {}, "reason": str(error)}
        changes = {name: {"from": None, "to": _shown(value)} for name, value in raw.items() if value is not None}
        step = {"rule": each.mapper, "type": "mapper", "outcome": told["outcome"], "changes": changes}
        yield told | {"trail": [step] if each.mapper else []}


def _shown(value: object) -> object:
    """Return a value as it is shown: a deep or long one as a short text."""
    return value if isinstance(value, (int, float)) else bounded(value) if isinstance(value, str) else shorten(value)
