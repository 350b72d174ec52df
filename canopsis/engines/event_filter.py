"""The event filter: events meet its rules, which drop them, enrich them or give them another entity."""

from __future__ import annotations

from canopsis.core.entity import partition_of
from canopsis.core.event import Event
from canopsis.core.rules.event_filter import KIND, Verdict, judge
from canopsis.runtime.contract import Batch, Context, Drop, Effects, Engine
from canopsis.runtime.manifest import Manifest, Place
from canopsis.runtime.rules import LiveRules
from canopsis.store.rules import RuleCount


class EventFilter(Engine):
    """Has each event meet the rules in force; see ``core.rules.event_filter``."""

    def __init__(self, partitions: int) -> None:
        self._partitions = partitions
        self._rules = LiveRules(KIND)

    def process(self, batch: Batch, ctx: Context) -> Effects:
        """Forward, move or drop each event. Raises StoreError when the rules cannot be read."""
        filters = self._rules.current(ctx)
        if not filters.rules:
            return Effects(forward=list(batch.events))
        effects = Effects()
        for event in batch.events:
            verdict = judge(filters, event, ctx.now)
            if verdict is None:
                effects.forward.append(event)
            else:
                self._carry_out(verdict, event, effects, ctx.now)
        return effects

    def _carry_out(self, verdict: Verdict, event: Event, effects: Effects, now: float) -> None:
        left = verdict.event
        if verdict.dropped:
            effects.drop.append(Drop(event.event_id, verdict.trail[-1].rule, verdict.reason))
        elif left.entity_id != event.entity_id and self._partition(left) != self._partition(event):
            # Not ours to go on with: another worker may hold the alarm of its new entity.
            effects.move.append(left)
        else:
            effects.forward.append(left)
        _count(verdict, effects, now)

    def _partition(self, event: Event) -> int:
        return partition_of(event.entity_id, self._partitions)


def _count(verdict: Verdict, effects: Effects, now: float) -> None:
    for did in verdict.trail:
        count = RuleCount(1, int(did.outcome == "drop"), int(bool(did.failure)), did.failure, did.event.event_id, now)
        effects.rules.setdefault((KIND.name, did.rule), RuleCount()).add(count)


MANIFEST = Manifest(
    "event_filter",
    lambda _options, partitions: EventFilter(partitions),
    place=Place(after=("cleaner_events",)),
    moves=True,
)
