"""All that happened to an alarm, read from the database: its own steps, and the older ones beside it."""

from __future__ import annotations

from canopsis.store import alarm_steps
from canopsis.store.client import Store
from canopsis.store.operations import Document


def steps_of(db: Store, alarm: Document) -> list[Document]:
    """Return the steps of ``alarm``, oldest first, without the one that counts those beside it."""
    steps, older = list(alarm["steps"]), alarm["older"]
    while older:
        segment = alarm_steps.get(db, older)
        assert segment, f"alarm {alarm['_id']} has lost its segment {older}"
        steps, older = segment["steps"] + steps, segment["older"]
    return [step for step in steps if step["type"] != "statecounter"]
