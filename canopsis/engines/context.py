"""What events speak of becomes entities: components, resources, connectors and how they hang together."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import msgspec
from msgspec import structs

from canopsis.core.entity import EntityFacts, entities_of, partition_of
from canopsis.core.envelope import KnownEntity
from canopsis.core.event import Event
from canopsis.runtime.contract import Batch, Context, Effects, Engine
from canopsis.runtime.manifest import Manifest, Place
from canopsis.store import entities
from canopsis.store.keys import escaped, unescaped
from canopsis.store.operations import Document, Upsert

MOST_REMEMBERED = 500_000
"""Entities in memory; beyond that all are forgotten and read again."""

Seen = tuple[str, str, str]
"""Entity id, connector, connector_name."""

_NEW = KnownEntity()


class ContextEngine(Engine):
    """Writes an entity when it is new, or when another connector speaks of it."""

    def __init__(self, partitions: int) -> None:
        self._partitions = partitions
        self._seen: set[Seen] = set()
        self._special: dict[str, KnownEntity] = {}
        """Entities of which there is more to know than what every new one has."""

    def process(self, batch: Batch, ctx: Context) -> Effects:
        """Forward every event, with what is known of its entity.

        Raises StoreError, and remembers nothing of the batch then.
        """
        effects = Effects(forward=list(batch.events))
        new: dict[Seen, Event] = {}
        seen = self._seen
        for event in batch.events:
            key = (event.entity_id, event.connector, event.connector_name)
            if key not in seen:
                new[key] = event
        upserts: dict[str, Upsert] = {}
        if new:
            facts = _merged(fact for event in new.values() for fact in entities_of(event))
            known = ctx.ask(entities.known, list(facts))
            upserts = {name: _upsert(said, ctx.now) for name, said in facts.items() if _adds(said, known.get(name))}
            self._remember(new, known)
        self._tell(batch, effects, upserts)
        if upserts:
            effects.write[entities.COLLECTION] = [*upserts.values()]
        return effects

    def forget(self, partitions: frozenset[int] | None) -> None:
        """Forget the entities of ``partitions``."""
        if partitions is None:
            self._seen.clear()
            self._special.clear()
        else:
            self._seen = {key for key in self._seen if partition_of(key[0], self._partitions) not in partitions}
            gone = [name for name in self._special if partition_of(name, self._partitions) in partitions]
            for name in gone:
                del self._special[name]

    def _remember(self, new: Iterable[Seen], known: Mapping[str, Document]) -> None:
        if len(self._seen) >= MOST_REMEMBERED:
            self.forget(None)
        self._seen.update(new)
        for name in {seen[0] for seen in new}:
            entity = msgspec.convert(known.get(name, {}), KnownEntity)
            if entity != _NEW:
                self._special[name] = structs.replace(entity, infos=unescaped(entity.infos))

    def _tell(self, batch: Batch, effects: Effects, upserts: dict[str, Upsert]) -> None:
        """Say what is known of the entities of ``batch``; write infos that rules noted and that are not stored."""
        special, told = self._special, effects.envelope.entities
        for name, said in batch.envelope.entities.items():
            known = special.get(name, _NEW)
            infos = known.infos | said.infos
            if infos != known.infos:
                special[name] = structs.replace(known, infos=infos)
                upserts[name] = _with_infos(name, upserts.get(name), infos)
        if special:
            told.update({e.entity_id: special[e.entity_id] for e in batch.events if e.entity_id in special})


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


def _with_infos(entity_id: str, upsert: Upsert | None, infos: Mapping[str, Any]) -> Upsert:
    return Upsert(entity_id, {**(upsert.change if upsert else {}), "$set": {"infos": escaped(dict(infos))}})


def _upsert(facts: list[EntityFacts], now: float) -> Upsert:
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
