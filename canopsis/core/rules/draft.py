"""An event that rules change: its fields as they would come from a source, read again as such at the end."""

from __future__ import annotations

from copy import deepcopy
from typing import Any

import msgspec

from canopsis.core.event import Event, event_type
from canopsis.core.normalise import normalise
from canopsis.errors import InputError, InvalidEvent, RuleFailure

INFOS = "infos"
"""Of the entity: ``infos.<name>``; a text, an integer, true or false, or a list of texts."""

IDENTITY = frozenset({"connector", "connector_name", "component", "resource"})
"""What says of which entity an event is, and from where: ``change_entity`` alone sets it."""

_OURS = frozenset(
    {"event_id", "entity_id", "event_type", "source_type", "timestamp", "sent_timestamp", "state_scale", "warnings"}
    | {"extra", "moved_by", "late", INFOS}
)
_MADE = frozenset({"entity_id", "source_type", "warnings", "sent_timestamp", "moved_by", "late"})
"""What is not read from a source, or follows from the rest."""

_FIELDS = "a field such as output, tags, extra.name or infos.name"
_INFOS = "a text, an integer, true, false or a list of texts"
_MAX_PATH = 255


class Target:
    """A field that a rule writes: ``output``, ``labels.team`` (in ``extra``) or ``infos.owner``."""

    __slots__ = ("path", "steps")

    def __init__(self, path: object, where: str, *, identity: bool = False) -> None:
        """Raise InputError, which names ``where``, for a field that rules may not write."""
        steps = path.split(".") if type(path) is str and len(path) <= _MAX_PATH else [""]
        if steps[0] == "extra" and len(steps) > 1:
            steps = steps[1:]
        if not all(steps) or any(step[0] == "$" or "\0" in step for step in steps):
            raise InputError(where, path, _FIELDS)
        if steps[0] in IDENTITY and not identity:
            raise InputError(where, path, f"{_FIELDS}; a rule of type change_entity sets {', '.join(sorted(IDENTITY))}")
        if steps[0] in _OURS and not (steps[0] == INFOS and len(steps) == 2):
            raise InputError(where, path, f"{_FIELDS}; not {', '.join(sorted(_OURS))}")
        self.path = ".".join(steps)
        self.steps = steps


class EventDraft:
    """One event under change. ``original`` stays as it is."""

    __slots__ = ("_extra", "_raw", "original")

    def __init__(self, event: Event) -> None:
        self.original = event
        self._raw: dict[str, Any] = msgspec.to_builtins(event)
        for name in event.__struct_fields__:
            # Left out as a default; a state that is 0 was said all the same.
            if name not in self._raw and type(value := getattr(event, name)) in (int, float):
                self._raw[name] = value
        self._extra: dict[str, Any] = self._raw.setdefault("extra", {})

    def values(self) -> dict[str, Any]:
        """Return what templates see: the fields of ``extra`` beside those of the event."""
        blank = {"event_type": event_type(self.original), "output": "", "tags": [], "resource": ""}
        return {INFOS: {}} | self._extra | blank | self._raw

    def read(self, path: str) -> object:
        """Return the field ``path``. Raises RuleFailure where there is none."""
        values: Any = self.values()
        for step in path.split("."):
            if not isinstance(values, dict) or step not in values:
                raise RuleFailure(f"{path}: there is no such field")
            values = values[step]
        return values

    def write(self, target: Target, value: object) -> None:
        """Set a field. Raises RuleFailure where ``value`` can be no entity info, or leads into what is no object."""
        *parents, last = target.steps
        if parents and parents[0] == INFOS:
            value = _info(target, value)
        home = self._home(target)
        for step in parents:
            inner = home.setdefault(step, {})
            if not isinstance(inner, dict):
                raise RuleFailure(f"{target.path}: {step} is not an object")
            home = inner
        # A copy: what a rule or a table holds is not to be changed by an action behind this one.
        home[last] = deepcopy(value) if isinstance(value, (dict, list)) else value

    def remove(self, target: Target) -> None:
        """Take a field away; where there is none nothing happens."""
        home: Any = self._home(target)
        for step in target.steps[:-1]:
            home = home.get(step)
            if not isinstance(home, dict):
                return
        home.pop(target.steps[-1], None)

    def _home(self, target: Target) -> dict[str, Any]:
        """Return the fields of the event's type, or those beside them."""
        return self._raw if target.steps[0] in self.original.__struct_fields__ else self._extra

    def finish(self, now: float, moved_by: str = "") -> Event:
        """Return the event, checked as one from outside. Raises RuleFailure."""
        old = self.original
        raw = {name: value for name, value in self._raw.items() if name not in _MADE}
        try:
            event = normalise(raw, max(now, old.timestamp))
        except InvalidEvent as error:
            raise RuleFailure(f"the event would be invalid: {error}") from None
        event.warnings = list(dict.fromkeys([*old.warnings, *event.warnings]))
        event.sent_timestamp = old.sent_timestamp
        event.moved_by = moved_by if event.entity_id != old.entity_id else old.moved_by
        return event


def _info(target: Target, value: object) -> object:
    if type(value) in {str, int, bool}:
        return value
    if type(value) is list and all(type(item) is str for item in value):
        return sorted(value)
    raise RuleFailure(f"{target.path}: {value!r:.80} is refused; allowed: {_INFOS}")
