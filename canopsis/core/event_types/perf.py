"""Measured values alone."""

from __future__ import annotations

from canopsis.core.event import Event
from canopsis.core.event_types.declaration import EventType


class Perf(Event, tag="perf"):
    """Measured values alone."""


DECLARED = (EventType(Perf, "Measured values alone."),)
