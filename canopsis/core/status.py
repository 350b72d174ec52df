"""The status of an alarm: what its state means together with what operators did."""

from __future__ import annotations

STATES = ("ok", "warning", "critical", "unknown")
"""What the states 0 to 3 are called."""

OFF = 0
ONGOING = 1
STEALTHY = 2
"""Reserved: an alarm that was gone at once."""
FLAPPING = 3
"""Reserved: an alarm that comes and goes."""
CANCELLED = 4
NO_EVENTS = 5
"""Reserved: nothing was heard of the entity for too long."""

NAMES = {OFF: "off", ONGOING: "ongoing", STEALTHY: "stealthy", FLAPPING: "flapping", CANCELLED: "cancelled"} | {
    NO_EVENTS: "no events"
}
"""What each status is called."""


def status_of(state: int, cancelled: bool) -> int:
    """Return the status of an alarm in ``state`` (0..3)."""
    if cancelled:
        return CANCELLED
    return ONGOING if state else OFF
