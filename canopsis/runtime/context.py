"""What engines read, answered by the database."""

from __future__ import annotations

import time
import uuid
from collections.abc import Collection, Mapping, Sequence

from canopsis.core.alarm import Alarm, Step
from canopsis.core.identity import Content
from canopsis.store import alarm_steps, alarms, entities, events, metrics, rules
from canopsis.store.client import Store
from canopsis.store.operations import Document

MOST_DUE = 10_000
"""Alarms resolved by one beat."""


class StoreContext:
    """The ``Context`` of one batch. Every method raises StoreError when the database does not answer."""

    def __init__(self, db: Store, now: float | None = None) -> None:
        self._db = db
        self.now = time.time() if now is None else now

    def new_id(self) -> str:
        """Return a random id."""
        return uuid.uuid4().hex

    def open_alarms(self, entity_ids: Sequence[str]) -> dict[str, Alarm]:
        """See ``Context``."""
        return alarms.open_alarms(self._db, entity_ids) if entity_ids else {}

    def latest_alarms(self, entity_ids: Sequence[str]) -> list[Alarm]:
        """See ``Context``."""
        return alarms.latest(self._db, entity_ids)

    def alarms_of_ids(self, alarm_ids: Sequence[str]) -> list[Alarm]:
        """See ``Context``."""
        return alarms.by_ids(self._db, alarm_ids) if alarm_ids else []

    def older_steps(self, newest: str, event_ids: Collection[str]) -> list[Step]:
        """See ``Context``."""
        return alarm_steps.made_by(self._db, newest, event_ids)

    def stored_events(self, event_ids: Collection[str]) -> dict[str, Content]:
        """See ``Context``."""
        return events.contents(self._db, event_ids) if event_ids else {}

    def newest_checks(self, entity_ids: Collection[str]) -> dict[str, float]:
        """See ``Context``."""
        return events.newest_checks(self._db, entity_ids, self.now) if entity_ids else {}

    def due_alarms(self, resolve_before: float, cancelled_before: float) -> list[Alarm]:
        """See ``Context``."""
        return alarms.due_alarms(self._db, resolve_before, cancelled_before, MOST_DUE)

    def known_entities(self, entity_ids: Sequence[str]) -> dict[str, Document]:
        """See ``Context``."""
        return entities.known(self._db, entity_ids) if entity_ids else {}

    def rules(self, kinds: Collection[str], known: Mapping[str, int]) -> rules.Rules | None:
        """See ``Context``."""
        return rules.changed(self._db, kinds, known)

    def compactable_metrics(self, before: float, limit: int, after: Document | None = None) -> list[Document]:
        """See ``Context``."""
        return metrics.compactable(self._db, before, limit, after)
