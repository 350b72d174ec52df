"""The event filter: events meet its rules, which drop them, enrich them or give them another entity."""

from __future__ import annotations

from canopsis.core.entity import partition_of
from canopsis.core.envelope import Decision, Envelope, KnownEntity
from canopsis.core.event import Event
from canopsis.core.rules.draft import INFOS
from canopsis.core.rules.event_filter import KIND, Verdict, judge
from canopsis.runtime.contract import Batch, Context, Drop, Effects, Engine
from canopsis.runtime.manifest import Manifest, Place
from canopsis.store.live_rules import LiveRules
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
            _tell(verdict, event, effects.envelope)
        else:
            effects.forward.append(left)
            _tell(verdict, event, effects.envelope)
        _count(verdict, effects, now)

    def _partition(self, event: Event) -> int:
        return partition_of(event.entity_id, self._partitions)


def _tell(verdict: Verdict, event: Event, envelope: Envelope) -> None:
    """Note which rules did something, and what they say of the entity; not what its source says of itself."""
    left = verdict.event
    for did in verdict.trail:
        envelope.note(left, Decision(KIND.name, did.type, did.rule, did.failure))
    said, before = (each.extra.get(INFOS) for each in (left, event))
    if isinstance(said, dict) and said != before:
        known = before if isinstance(before, dict) else {}
        new = {name: value for name, value in said.items() if name not in known or known[name] != value}
        envelope.entities[left.entity_id] = KnownEntity(envelope.entity(left.entity_id).infos | new)


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
