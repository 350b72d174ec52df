"""The event filter: rules that drop events, let them through, enrich them, or give them another entity."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any, Literal

import msgspec

from canopsis.core.event import Event, event_type, to_document
from canopsis.core.event_types import SENT_BY_SOURCES
from canopsis.core.rules.actions import Action
from canopsis.core.rules.draft import IDENTITY, EventDraft, Target
from canopsis.core.rules.kernel import Kind, Ready, RuleSet
from canopsis.core.rules.rule import Rule
from canopsis.core.rules.table import Tables
from canopsis.core.structs import prepare
from canopsis.core.template import Template
from canopsis.errors import InputError, RuleFailure, bounded

Next = Literal["pass", "break", "drop"]
"""What becomes of the event after a rule: on to the next rule, through at once, or out."""

MOST_ACTIONS = 50
Actions = Annotated[list[Action], msgspec.Meta(max_length=MOST_ACTIONS)]
_ENRICHING = ("actions",)
_CHANGING = tuple(sorted(IDENTITY))
_GOING_ON = ("on_success", "on_failure")
_OWN = {
    "drop": frozenset[str](),
    "break": frozenset[str](),
    "enrich": frozenset(_ENRICHING + _GOING_ON),
    "change_entity": frozenset(_CHANGING + _GOING_ON),
}


class FilterRule(Rule, kw_only=True):
    """A rule of the event filter; which fields it has depends on ``type``."""

    type: Literal["drop", "break", "enrich", "change_entity"]
    actions: Actions = msgspec.field(default_factory=list)
    connector: str | None = None
    connector_name: str | None = None
    component: str | None = None
    resource: str | None = None
    on_success: Next = "pass"
    on_failure: Next = "pass"

    def check(self) -> None:
        """Raise InputError for what the types do not tell."""
        super().check()
        defaults = {"actions": [], "on_success": "pass", "on_failure": "pass"}
        for name in (*_ENRICHING, *_CHANGING, *_GOING_ON):
            value = getattr(self, name)
            if value != defaults.get(name) and name not in _OWN[self.type]:
                raise InputError(name, value, f"nothing, as type is {self.type}")
        if self.type == "enrich" and not self.actions:
            raise InputError("actions", [], "at least one action, as type is enrich")
        if self.type == "change_entity" and not self.changes():
            raise InputError("type", self.type, f"one of {', '.join(_CHANGING)} beside change_entity")

    def changes(self) -> dict[str, str]:
        """Return the templates of the names that ``change_entity`` sets."""
        return {name: value for name in _CHANGING if (value := getattr(self, name)) is not None}


prepare(FilterRule)

Act = Callable[[Event, float], Event]
"""Returns the event that becomes of an event at a time; raises RuleFailure. ``drop`` and ``break`` change nothing."""


def _ready(rule: FilterRule, tables: Tables) -> Act:
    if rule.type == "enrich":
        steps = [action.ready(f"actions[{place}]", tables) for place, action in enumerate(rule.actions)]

        def enriched(event: Event, now: float) -> Event:
            draft = EventDraft(event)
            for step in steps:
                step(draft)
            return draft.finish(now)

        return enriched
    if rule.type == "change_entity":
        return _changing(rule)
    return lambda event, _now: event


def _changing(rule: FilterRule) -> Act:
    changes = rule.changes().items()
    writes = [(Target(name, name, identity=True), Template(text, name)) for name, text in changes]

    def changed(event: Event, now: float) -> Event:
        draft = EventDraft(event)
        values = draft.values()
        for target, template in writes:
            draft.write(target, template.render(values))
        return draft.finish(now, rule.id)

    return changed


KIND: Kind[FilterRule, Act] = Kind(
    "event-filter", FilterRule, _ready, noun="rule of the event filter", columns=("type",), tried_on="event"
)

Filters = RuleSet[FilterRule, Act]


@dataclass(slots=True)
class Did:
    """What one rule did with an event that it matched, and the event as it left it."""

    rule: str
    type: str
    outcome: Next
    event: Event
    failure: str = ""


@dataclass(slots=True)
class Verdict:
    """What became of an event, and by which rules, in order. ``reason`` is why it is dropped."""

    event: Event
    trail: list[Did]
    dropped: bool = False
    reason: str = ""


def judge(filters: Filters, event: Event, now: float) -> Verdict | None:
    """Have ``event`` meet the rules that it matches, in order; None when it matches none.

    A rule sees the event as the rules before it left it. What moved here from another entity's partition has met them
    already, and what an engine says to itself is nobody's to drop.
    """
    matching = filters.matching(event, now)
    rule = next(matching, None)
    if rule is None or event.moved_by or event_type(event) not in SENT_BY_SOURCES:
        return None
    verdict = Verdict(event, [])
    while rule is not None:
        before = verdict.event
        did = _apply(rule, before, now)
        verdict.trail.append(did)
        verdict.event = did.event
        if did.outcome != "pass":
            verdict.dropped = did.outcome == "drop"
            verdict.reason = (did.failure or rule.rule.description or f"type {did.type}") if verdict.dropped else ""
            return verdict
        if did.event is not before:
            matching = filters.matching(did.event, now, rule.place)
        rule = next(matching, None)
    return verdict


def _apply(ready: Ready[FilterRule, Act], event: Event, now: float) -> Did:
    rule = ready.rule
    if rule.type == "drop" or rule.type == "break":  # noqa: PLR1714 - mypy narrows by this
        return Did(rule.id, rule.type, rule.type, event)
    try:
        return Did(rule.id, rule.type, rule.on_success, ready.act(event, now))
    except RuleFailure as error:
        return Did(rule.id, rule.type, rule.on_failure, event, bounded(str(error)))


def explain(filters: Filters, event: Event, now: float) -> dict[str, Any]:
    """Return what the rules would do with ``event``, as JSON: what becomes of it, and what each rule did."""
    verdict = judge(filters, event, now) or Verdict(event, [])
    trail, before = [], event
    for did in verdict.trail:
        step: dict[str, Any] = {"rule": did.rule, "type": did.type, "outcome": did.outcome}
        if did.failure:
            step["failure"] = did.failure
        if changes := _changes(before, did.event):
            step["changes"] = changes
        trail.append(step)
        before = did.event
    left = verdict.event
    outcome = "dropped" if verdict.dropped else "forwarded" if left.entity_id == event.entity_id else "moved"
    found: dict[str, Any] = {"outcome": outcome, "event": to_document(left), "trail": trail}
    return found | ({"reason": verdict.reason} if verdict.reason else {})


def _changes(before: Event, after: Event) -> dict[str, Any]:
    """Return what differs, by field: ``{"from": …, "to": …}``."""
    if after is before:
        return {}
    old, new = to_document(before), to_document(after)
    names = [name for name in old | new if old.get(name) != new.get(name)]
    return {name: {"from": old.get(name), "to": new.get(name)} for name in names}
