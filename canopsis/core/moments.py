"""Times as tools write them."""

from __future__ import annotations

from datetime import datetime


def moment_of(found: object) -> float | None:
    """Return a time of ISO 8601 in seconds since the epoch; None for none, which Go writes as the year 1."""
    if not isinstance(found, str):
        return None
    try:
        moment = datetime.fromisoformat(found)
    except ValueError:
        return None
    return moment.timestamp() if moment.tzinfo is not None and moment.year > 1 else None
