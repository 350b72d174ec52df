"""What an event speaks of: entities, their ids, and the partition of each."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal
from zlib import crc32

if TYPE_CHECKING:
    from canopsis.core.event import Event

EntityType = Literal["connector", "component", "resource"]


@dataclass(frozen=True, slots=True)
class EntityFacts:
    """What one event says of one entity. ``connector`` is the entity id of the connector that speaks of it.

    ``component`` is the name of the component of a component or resource; ``parents`` are entity ids.
    """

    id: str
    type: EntityType
    name: str
    component: str | None
    connector: str
    parents: tuple[str, ...] = ()


def id_of(component: str, resource: str | None = None) -> str:
    """Return the entity id of a component, or of a resource of it."""
    if resource is None:
        return "component:" + _quote(component)
    return f"resource:{_quote(component)}/{_quote(resource)}"


def connector_id(connector: str, connector_name: str) -> str:
    """Return the entity id of a connector."""
    return f"connector:{_quote(connector)}/{_quote(connector_name)}"


def _quote(name: str) -> str:
    if "/" in name or "%" in name:
        return name.replace("%", "%25").replace("/", "%2F")
    return name


def entity_id(event: Event) -> str:
    """Return the id of the entity that ``event`` is about."""
    return id_of(event.component, event.resource if event.source_type == "resource" else None)


def partition_of(entity_id: str, partitions: int) -> int:
    """Return the partition of an entity, 0 to ``partitions - 1``."""
    return crc32(entity_id.encode()) % partitions


def entities_of(event: Event) -> list[EntityFacts]:
    """Return what ``event`` says of its entity, of the component of a resource, and of its connector."""
    speaker = connector_id(event.connector, event.connector_name)
    component = id_of(event.component)
    facts = [
        EntityFacts(component, "component", event.component, event.component, speaker),
        EntityFacts(speaker, "connector", event.connector_name, None, speaker),
    ]
    if event.source_type == "resource" and event.resource is not None:
        about = id_of(event.component, event.resource)
        facts.insert(0, EntityFacts(about, "resource", event.resource, event.component, speaker, (component,)))
    return facts
