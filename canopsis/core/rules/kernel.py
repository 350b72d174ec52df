"""The kernel of all rules: made ready once, found by the index, tested in order, in force while their time is.

A kind of rule is a ``Kind``: its struct and what makes one ready to act. Everything else is here and in the store.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from canopsis.core import pattern as patterns
from canopsis.core.pattern import Matcher
from canopsis.core.rules.index import Index
from canopsis.core.rules.rule import DeclaredKind, Rule, parse
from canopsis.core.rules.table import Tables
from canopsis.errors import InputError, InvalidRule

R = TypeVar("R", bound=Rule)
A = TypeVar("A")


@dataclass(frozen=True, slots=True)
class Kind(DeclaredKind[R], Generic[R, A]):
    """A kind of rule. ``ready`` returns what a match does, given the tables; it raises InputError.

    ``prove`` raises InputError where a rule does not do what it says of itself: asked before the rule is saved, and
    not when it is read, so that one that worked stays in force.
    """

    ready: Callable[[R, Tables], A]
    prove: Callable[[R, A], None] | None = field(default=None, kw_only=True)

    def demand_good(self, rule: R, *, proven: bool = True) -> None:
        """Raise InvalidRule for what cannot be made ready; if ``proven``, for what does not prove itself too."""
        act = ready(self, rule, {})
        if proven and self.prove is not None:
            try:
                self.prove(rule, act)
            except InputError as error:
                raise InvalidRule.of(rule.id, error) from None


@dataclass(frozen=True, slots=True)
class Ready(Generic[R, A]):
    """A rule made ready: ``act`` is what its kind does on a match; ``starts`` and ``stops`` are in seconds."""

    rule: R
    act: A
    matches: Matcher
    place: int
    starts: float
    stops: float

    def is_active(self, now: float) -> bool:
        """Tell whether the rule is in force at ``now``. Recurrence belongs here."""
        return self.starts <= now < self.stops


@dataclass(frozen=True, slots=True)
class RuleSet(Generic[R, A]):
    """The rules of one kind that are enabled, ready, in order. ``refused`` are those that cannot be used."""

    rules: tuple[Ready[R, A], ...] = ()
    refused: tuple[InvalidRule, ...] = ()
    _index: Index = field(default_factory=lambda: Index(()))

    def matching(self, subject: object, now: float, after: int = -1) -> Iterator[Ready[R, A]]:
        """Yield the rules in force at ``now`` that ``subject`` matches, in order, behind the place ``after``."""
        for place in self._index.places(subject):
            rule = self.rules[place]
            if place > after and rule.is_active(now) and rule.matches(subject):
                yield rule


def make(kind: Kind[R, A], documents: Sequence[object], tables: Tables) -> RuleSet[R, A]:
    """Return the rules of ``documents``: those enabled, ready; one that cannot be used is among ``refused``."""
    good: list[tuple[R, A]] = []
    refused: list[InvalidRule] = []
    for place, document in enumerate(documents):
        try:
            rule = parse(kind.struct, document, f"[{place}]")
            if rule.enabled:
                good.append((rule, ready(kind, rule, tables)))
        except InvalidRule as error:
            refused.append(error)
    good.sort(key=lambda pair: (pair[0].priority, pair[0].id))
    rules = tuple(_made(rule, act, place) for place, (rule, act) in enumerate(good))
    return RuleSet(rules, tuple(refused), Index([rule.pattern for rule, _ in good]))


def ready(kind: Kind[R, A], rule: R, tables: Tables) -> A:
    """Return what a match of ``rule`` does. Raises InvalidRule."""
    try:
        return kind.ready(rule, tables)
    except InputError as error:
        raise InvalidRule.of(rule.id, error) from None


def _made(rule: R, act: A, place: int) -> Ready[R, A]:
    starts = rule.start.timestamp() if rule.start else float("-inf")
    stops = rule.stop.timestamp() if rule.stop else float("inf")
    return Ready(rule, act, patterns.compile(rule.pattern), place, starts, stops)
