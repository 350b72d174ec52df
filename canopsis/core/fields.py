"""Checks of single fields of an event: each takes what came and returns what is kept.

What tells which entity is meant, and its state, raises InvalidEvent when it is wrong. All else is
mended as far as it goes, and noted.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import lru_cache
from typing import Any

import msgspec

from canopsis.core.extra import MAX_FLOAT, whole_noted
from canopsis.core.notes import Notes
from canopsis.core.status import STATES
from canopsis.core.text import MAX_NAME, NAMES, is_name, name_of
from canopsis.errors import InvalidEvent, shorten

FieldCheck = Callable[[Any, Notes], Any]

MAX_OUTPUT = 4096
MAX_LONG_OUTPUT = 65536
"""Characters; what is longer is cut and ends with ``…``."""

MAX_TAGS = 256

MAX_DURATION = 366 * 86_400
"""Seconds."""

EARLIEST = 946684800
"""2000-01-01, UTC."""

AHEAD = 60.0
"""Seconds that the clock of a source may be ahead without a word."""

EVENT_ID = re.compile(r"[A-Za-z0-9_.:-]{1,64}")
EVENT_IDS = "1 to 64 letters, digits or any of _ . : -"
_SECONDS = re.compile(r"[0-9]{1,12}(?:\.[0-9]{1,9})?")
_TIMES = "seconds since the epoch (UTC), from 2000-01-01 to now"
_STATES = "0 (OK), 1 (warning), 2 (critical) or 3 (unknown)"
_WORDS = {word: state for state, word in enumerate(STATES)}
_SCALES = {
    "nagios": (0, 1, 2, 3),
    "severity": (0, 1, 1, 2),
}
"""Names of scales: the state of each number 0 to 3."""

SCALES = f"{' or '.join(_SCALES)}, or what 0 to 3 are, such as ok,warning,critical,unknown"


class _Missing:
    def __repr__(self) -> str:
        return "nothing"


MISSING = _Missing()
"""Stands in an error for a field that is not there."""


def name_check(field: str) -> FieldCheck:
    """Return the check of the name ``field``: trimmed, composed; a whole number becomes its text."""

    def check(value: object, notes: Notes) -> str:
        return value if is_name(value) else _name(field, value, notes)

    return check


def _name(field: str, value: object, notes: Notes) -> str:
    text = _as_text(field, value, notes) if type(value) is int else value
    kept = name_of(text) if type(text) is str else ""
    if not kept:
        raise InvalidEvent(field, value, NAMES)
    whole_noted(field, str(text), notes)
    return kept


def _resource(value: object, notes: Notes) -> str | None:
    return None if value == "" else _RESOURCE(value, notes)


_RESOURCE = name_check("resource")
resource: FieldCheck = _resource
"""The check of a resource; an empty one is none."""


def text_check(field: str, limit: int) -> FieldCheck:
    """Return the check of the text ``field``: NUL is replaced, what is longer than ``limit`` is cut.

    Anything else becomes a text: a number its digits, a list its JSON.
    """

    def check(value: object, notes: Notes) -> str:
        if type(value) is str and len(value) <= limit and value.isascii() and "\0" not in value:
            return value
        text = _as_text(field, value, notes)
        if len(text) > limit:
            text = text[: limit - 1] + "…"
        return whole_noted(field, text, notes).replace("\0", "\ufffd")

    return check


def _as_text(field: str, value: object, notes: Notes) -> str:
    if type(value) is str:
        return value
    notes.add(field, value, "is taken as a text")
    try:
        return shorten(value) if type(value) in {int, float} else msgspec.json.encode(value).decode()
    except (msgspec.MsgspecError, TypeError, ValueError, OverflowError, RecursionError):
        return shorten(value)


def label_check(field: str) -> FieldCheck:
    """Return the check of ``field``, a name that may be empty: one that cannot be a name is mended."""

    def check(value: object, notes: Notes) -> str:
        return value if is_name(value) else "" if value == "" else _label(field, value, notes)

    return check


def _label(field: str, value: object, notes: Notes) -> str:
    """Return ``value`` as a name, mended, or an empty text."""
    text = whole_noted(field, _as_text(field, value, notes), notes)
    kept = name_of(text)
    if kept or not text.strip():
        return kept
    seen = "".join(letter if letter.isprintable() else " " for letter in text[:MAX_NAME])
    kept = name_of(seen if len(text) <= MAX_NAME else seen[:-1] + "…")
    notes.add(field, text, "is mended" if kept else "is left out", NAMES)
    return kept


def event_id(value: object, notes: Notes) -> str:
    """Return the client's own id of an event; an empty one is none, and so is one of another form."""
    if type(value) is str and (value == "" or EVENT_ID.fullmatch(value)):
        return value
    if type(value) is int and 0 <= value < 1 << 63:
        return _as_text("event_id", value, notes)
    notes.add("event_id", value, "is replaced by a new one", EVENT_IDS)
    return ""


def alarm_id(value: object, _notes: Notes) -> str:
    """Return the id of an alarm; an empty one is none. A wrong one is refused: it would act on another alarm."""
    if type(value) is str and (value == "" or EVENT_ID.fullmatch(value)):
        return value
    raise InvalidEvent("alarm_id", value, f"the id of an alarm: {EVENT_IDS}")


def computed_check(field: str) -> FieldCheck:
    """Return the check of ``field``, which we alone set: what came is left out."""

    def check(value: object, notes: Notes) -> str:
        notes.add(field, value, "is left out")
        return ""

    return check


def duration(value: object, _notes: Notes) -> float:
    """Return a duration in seconds."""
    seconds = value
    if type(value) is str and _SECONDS.fullmatch(value.strip()):
        seconds = float(value)
    if (type(seconds) is int or type(seconds) is float) and 0 < seconds <= MAX_DURATION:
        return float(seconds)
    raise InvalidEvent("duration", value, f"seconds, more than 0 and at most {MAX_DURATION} (a year)")


def source_type(value: object, notes: Notes) -> str | None:
    """Return ``component`` or ``resource``; for anything else None: it follows from the resource."""
    if type(value) is str and value in {"component", "resource"}:
        return value
    notes.add("source_type", value, "is left out", "component or resource")
    return None


def state(value: object, _notes: Notes) -> int:
    """Return a state 0..3, given as a number or as a digit."""
    found = _digit(value, 3)
    if found is None:
        raise InvalidEvent("state", value, _STATES)
    return found


def rescaled(state: int, scale: object) -> int:
    """Return the state that the number ``state`` is on ``scale``. Raises InvalidEvent."""
    states = _scale(scale) if type(scale) is str and len(scale) <= MAX_NAME else None
    if states is None:
        raise InvalidEvent("state_scale", scale, SCALES)
    return states[state]


@lru_cache(maxsize=256)
def _scale(text: str) -> tuple[int, ...] | None:
    if text in _SCALES:
        return _SCALES[text]
    words = [_WORDS.get(word.strip().lower()) for word in text.split(",")]
    found = tuple(word for word in words if word is not None)
    return found if len(words) == len(found) == len(_WORDS) else None


def is_scale(text: str) -> bool:
    """Tell whether ``text`` is a scale of states."""
    return _scale(text) is not None


def state_type(value: object, notes: Notes) -> int:
    """Return a state type, 0 (soft) or 1 (hard); for anything else 1."""
    found = _STATE_TYPES.get(value.lower()) if type(value) is str else _digit(value, 1)
    if found is None:
        notes.add("state_type", value, "is taken as 1 (hard)", "0 (soft) or 1 (hard)")
        return 1
    return found


_STATE_TYPES = {"0": 0, "soft": 0, "1": 1, "hard": 1, "": 1}


def _digit(value: object, most: int) -> int | None:
    if type(value) is str and len(value) == 1 and value in "0123":
        value = int(value)
    if (type(value) is int or type(value) is float) and 0 <= value <= most and value == int(value):
        return int(value)
    return None


def timestamp(value: object, now: float, notes: Notes) -> tuple[float, float | None]:
    """Return the time of an event in seconds, and what was sent instead where that was no time of an event.

    None, 0 and an empty text are ``now``, and so is what is ahead of it, or before 2000, or no time at all.
    """
    if value is None or value == "":
        return now, None
    seconds = value
    if type(value) is str and len(value) <= MAX_NAME and _SECONDS.fullmatch(value.strip()):
        seconds = float(value)
    if (type(seconds) is int or type(seconds) is float) and -MAX_FLOAT <= seconds <= MAX_FLOAT:
        if EARLIEST <= seconds <= now:
            return float(seconds), None
        return now, _sent(float(seconds), now, notes)
    notes.add("timestamp", value, "is no time: the time of receipt is taken", _TIMES)
    return now, None


def _sent(seconds: float, now: float, notes: Notes) -> float | None:
    """Return a time that was sent and cannot be kept, or None when it says nothing; note why."""
    if seconds == 0 or now < seconds <= now + AHEAD:
        return None
    why = "is ahead of the clock here"
    if EARLIEST <= seconds / 1000 <= now + 1000 * AHEAD:
        why = "looks like milliseconds"
    elif seconds < EARLIEST:
        why = "is before 2000"
    allowed = f"seconds since the epoch (UTC); a clock may be {AHEAD:.0f} s ahead"
    notes.add("timestamp", seconds, f"{why}: the time of receipt is taken", allowed)
    return seconds


def tags(value: object, notes: Notes) -> list[str]:
    """Return tags, each once, in order; a text is one tag."""
    given = [value] if type(value) is str else value
    if type(given) is not list:
        notes.add("tags", value, "is left out", f"a list of at most {MAX_TAGS} texts")
        return []
    if len(given) > MAX_TAGS:
        notes.add("tags", f"{len(given)} tags", f"are too many: the first {MAX_TAGS} are kept")
    kept = [_tag(tag, index, notes) for index, tag in enumerate(given[:MAX_TAGS])]
    return [tag for tag in dict.fromkeys(kept) if tag]


def _tag(value: object, index: int, notes: Notes) -> str:
    return value if is_name(value) else _label(f"tags[{index}]", value, notes)
