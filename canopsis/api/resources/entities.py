"""Entities: what events speak of."""

from __future__ import annotations

from canopsis.api.endpoints import Resource
from canopsis.store import entities
from canopsis.store.entities import Entity, EntityQuery

resource = Resource("entities", service="entities")

resource.listing("/entities", "List entities, by id.", entities.listing, EntityQuery, answer=Entity)
