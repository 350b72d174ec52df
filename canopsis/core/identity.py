"""Whether an event came before: the same id with the same content is a repeat.

An id is for one event. A source that gives the same one to another (the fingerprint of an alert
that burns, then is out) is not to lose it: that event gets an id of its own, the same one whenever
it comes again.
"""

from __future__ import annotations

from collections.abc import Mapping
from hashlib import blake2b
from typing import Any

import msgspec

from canopsis.core.event import Event, event_type

Content = tuple[object, ...]
"""What counts of an event: not its time, for a source that sends again may stamp anew."""

CONTENT_FIELDS = ("event_type", "entity_id", "state", "state_type", "output", "long_output", "author")
"""The fields of a stored event that ``stored_content`` reads."""

REUSED = "event_id: another event has this one, so this event has an id of its own; give each event its own id"
"""Warning on an event that came under the id of another."""

_MOST_OF_ID = 55
"""Characters of an id that are kept in one derived of it: an id has 64 at most."""

_ENCODER = msgspec.json.Encoder()


def content_of(event: Event) -> Content:
    """Return what counts of ``event``."""
    state, state_type = getattr(event, "state", None), getattr(event, "state_type", None)
    kind = event_type(event)
    return (kind, event.entity_id, state, state_type, event.output, event.long_output, event.author)


def stored_content(document: Mapping[str, Any]) -> Content:
    """Return what counts of an event as ``event.to_document`` made it."""
    get = document.get
    texts = (get("output", ""), get("long_output", ""), get("author", ""))
    return (get("event_type"), get("entity_id"), get("state"), get("state_type"), *texts)


def derived_id(event_id: str, content: Content) -> str:
    """Return the id of an event that came under one that is another's: the same for the same content."""
    digest = blake2b(_ENCODER.encode([event_id, *content]), digest_size=4).hexdigest()
    return f"{event_id[:_MOST_OF_ID]}.{digest}"
