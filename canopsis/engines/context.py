"""What events speak of becomes entities: components, resources, connectors and how they hang together."""

from __future__ import annotations

from collections.abc import Iterable

from canopsis.core.entity import EntityFacts, entities_of, partition_of
from canopsis.core.event import Event
from canopsis.runtime.contract import Batch, Context, Effects, Engine
from canopsis.runtime.manifest import Manifest, Place
from canopsis.store.entities import COLLECTION
from canopsis.store.operations import Document, Operation, Upsert

MOST_REMEMBERED = 500_000
"""Entities in memory; beyond that all are forgotten and read again."""

Seen = tuple[str, str, str]
"""Entity id, connector, connector_name."""


class ContextEngine(Engine):
    """Writes an entity when it is new, or when another connector speaks of it."""

    def __init__(self, partitions: int) -> None:
        self._partitions = partitions
        self._seen: set[Seen] = set()

    def process(self, batch: Batch, ctx: Context) -> Effects:
        """Forward every event. Raises StoreError, and remembers nothing of the batch then."""
        effects = Effects(forward=list(batch.events))
        new: dict[Seen, Event] = {}
        seen = self._seen
        for event in batch.events:
            key = (event.entity_id, event.connector, event.connector_name)
            if key not in seen:
                new[key] = event
        if new:
            facts = _merged(fact for event in new.values() for fact in entities_of(event))
            known = ctx.known_entities(list(facts))
            upserts = [_upsert(said, ctx.now) for name, said in facts.items() if _adds(said, known.get(name))]
            if upserts:
                effects.write = {COLLECTION: upserts}
            self._remember(new)
        return effects

    def forget(self, partitions: frozenset[int] | None) -> None:
        """Forget the entities of ``partitions``."""
        if partitions is None:
            self._seen.clear()
        else:
            self._seen = {key for key in self._seen if partition_of(key[0], self._partitions) not in partitions}

    def _remember(self, new: Iterable[Seen]) -> None:
        if len(self._seen) >= MOST_REMEMBERED:
            self._seen.clear()
        self._seen.update(new)


def _merged(facts: Iterable[EntityFacts]) -> dict[str, list[EntityFacts]]:
    """Return the facts by entity id: a batch has one write an entity, whoever speaks of it."""
    merged: dict[str, list[EntityFacts]] = {}
    for fact in facts:
        merged.setdefault(fact.id, []).append(fact)
    return merged


def _adds(facts: list[EntityFacts], known: Document | None) -> bool:
    """Tell whether ``facts`` say anything of an entity that is not stored."""
    if known is None:
        return True
    connectors, parents = known.get("connectors", ()), known.get("parents", ())
    return any(fact.connector not in connectors or not set(fact.parents) <= set(parents) for fact in facts)


def _upsert(facts: list[EntityFacts], now: float) -> Operation:
    first = facts[0]
    new: Document = {"type": first.type, "name": first.name, "created": now}
    if first.component is not None:
        new["component"] = first.component
    added = {
        "connectors": {"$each": sorted({fact.connector for fact in facts})},
        "parents": {"$each": sorted({parent for fact in facts for parent in fact.parents})},
    }
    return Upsert(first.id, {"$setOnInsert": new, "$addToSet": added})


MANIFEST = Manifest(
    "context", lambda _options, partitions: ContextEngine(partitions), place=Place(after=("event_filter",))
)
