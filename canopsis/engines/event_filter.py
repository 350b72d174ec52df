"""Rules over events: each event meets the rules in order, the first that matches decides."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from canopsis.core.event import Event
from canopsis.core.pattern import compile as compile_pattern
from canopsis.errors import InvalidPattern
from canopsis.runtime.contract import Batch, Context, Drop, Effects
from canopsis.store.operations import Document

NAME = "event_filter"

REFRESH_SECONDS = 10.0
"""How old the rules in use may be."""

_LOG = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Rule:
    """One rule, ready for use; ``drops`` is False for a rule of type ``pass``."""

    id: str
    drops: bool
    matches: Callable[[Event], bool]
    reason: str


class EventFilter:
    """Drops what a ``drop`` rule matches before any ``pass`` rule does."""

    name = NAME

    def __init__(self) -> None:
        self._rules: Sequence[Rule] = ()
        self._read_at: float | None = None

    def process(self, batch: Batch, ctx: Context) -> Effects:
        """Forward or drop each event. Raises StoreError while there are no rules yet."""
        if self._read_at is None or not 0 <= ctx.now - self._read_at < REFRESH_SECONDS:
            self._rules = rules_of(ctx.filter_rules())
            self._read_at = ctx.now
        if not self._rules:
            return Effects(forward=list(batch.events))
        effects = Effects()
        for event in batch.events:
            rule = next((rule for rule in self._rules if rule.matches(event)), None)
            if rule is not None and rule.drops:
                effects.drop.append(Drop(event.event_id, rule.id, rule.reason))
            else:
                effects.forward.append(event)
        return effects

    def beat(self, now: float, ctx: Context) -> Effects:  # noqa: ARG002 - the contract's
        """Do nothing: every instance reads the rules for itself."""
        return Effects()

    def forget(self, partitions: frozenset[int] | None) -> None:
        """Rules are not of a partition."""


def rules_of(documents: Sequence[Document]) -> list[Rule]:
    """Return the rules of ``documents``, in their order; one that cannot be used is left out and logged."""
    rules = []
    for document in documents:
        try:
            matches = compile_pattern(document.get("pattern") or {})
        except InvalidPattern as error:
            _LOG.warning("event filter rule %s is left out: %s", document["_id"], error)
            continue
        rules.append(
            Rule(str(document["_id"]), document.get("type") == "drop", matches, str(document.get("description", "")))
        )
    return rules
