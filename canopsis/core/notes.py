"""What of an event was left out or mended, in words: a bounded list of warnings."""

from __future__ import annotations

from canopsis.errors import InvalidEvent, shorten

MOST = 20
"""Warnings of one event; one more says how many there were beyond."""

LONGEST = 200
"""Characters of one warning."""

_MAX_FIELD, _MAX_VALUE = 60, 60


class Notes:
    """Collects the warnings of one event."""

    __slots__ = ("_more", "_texts")

    def __init__(self) -> None:
        self._texts: list[str] = []
        self._more = 0

    def add(self, field: str, value: object, done: str, allowed: str = "") -> None:
        """Note that ``value`` of ``field`` ``done`` (``is left out``), and what would have been taken."""
        self._add(f"{_cut(field, _MAX_FIELD)}: {shorten(value, _MAX_VALUE)} {done}", allowed)

    def refused(self, error: InvalidEvent) -> None:
        """Note that what ``error`` speaks of is left out."""
        self._add(f"{_cut(error.field, _MAX_FIELD)}: {_cut(error.value, _MAX_VALUE)} is left out", error.allowed)

    def texts(self) -> list[str]:
        """Return the warnings."""
        return [*self._texts, f"and {self._more} more"] if self._more else self._texts

    def _add(self, text: str, allowed: str) -> None:
        if len(self._texts) == MOST:
            self._more += 1
        else:
            whole = f"{text}; allowed: {allowed}" if allowed else text
            self._texts.append(_cut(whole, LONGEST).encode("utf-8", "replace").decode())


def _cut(text: str, limit: int) -> str:
    return text if len(text) <= limit else text[: limit - 1] + "…"
