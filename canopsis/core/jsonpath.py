"""Paths into JSON: ``$.alerts[0].labels['k8s.io/name']``. The part of JSONPath (RFC 9535) that finds one place, and
``[*]``, all of a list.

``$`` is the whole, ``@`` the part that is looked at now.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Any

import msgspec

from canopsis.errors import InputError

ABSENT: object = msgspec.UNSET
"""What is found where a path leads nowhere."""

MAX_PATH = 1000

PATHS = "a path such as $.alerts[0].labels.host, $['a.b'], @.name or $.tags[*].name"

Step = str | int | None
"""The name of a member, the place in a list (below 0: from its end), or None for all of a list."""

_STEP = re.compile(r"""\.([^.\[\]'"\s]+)|\[(?:(-?\d{1,9})|'([^']*)'|"([^"]*)"|(\*))\]""")
_ROOTS = ("$", "@")


def is_path(text: str) -> bool:
    """Tell whether ``text`` is meant as a path."""
    return text[:1] in _ROOTS and text[1:2] in ("", ".", "[")


class Path:
    """A path. ``steps`` lead from the whole, or where it is ``relative`` from the part."""

    __slots__ = ("relative", "steps", "text")

    def __init__(self, text: object, where: str) -> None:
        """Raise InputError, which names ``where``, for what is no path."""
        if not isinstance(text, str) or not is_path(text) or len(text) > MAX_PATH:
            raise InputError(where, text, PATHS)
        self.text = text
        self.relative = text[0] == "@"
        self.steps = _steps(text, where)

    def find(self, whole: object, part: object) -> object:
        """Return what the path leads to, or ``ABSENT``."""
        return _follow(part if self.relative else whole, self.steps)

    def replaced(self, whole: object, change: Callable[[object], object]) -> object:
        """Return ``whole`` with what the path leads to changed; ``whole`` itself where it leads nowhere."""
        return _replaced(whole, self.steps, change)


def _steps(text: str, where: str) -> tuple[Step, ...]:
    found: list[Step] = []
    at = 1
    while at < len(text):
        step = _STEP.match(text, at)
        if step is None:
            raise InputError(where, text, PATHS)
        name, index, single, double, every = step.groups()
        found.append(
            None if every else int(index) if index else next(n for n in (name, single, double) if n is not None)
        )
        at = step.end()
    return tuple(found)


def _follow(value: Any, steps: Sequence[Step]) -> object:  # noqa: ANN401 - JSON is anything
    for place, step in enumerate(steps):
        if step is None and isinstance(value, list):
            each = (_follow(item, steps[place + 1 :]) for item in value)
            return [found for found in each if found is not ABSENT]
        if not _leads(value, step):
            return ABSENT
        value = value[step]
    return value


def _leads(value: Any, step: Step) -> bool:  # noqa: ANN401 - JSON is anything
    if isinstance(value, list):
        return isinstance(step, int) and -len(value) <= step < len(value)
    return isinstance(value, dict) and step in value


def _replaced(value: Any, steps: Sequence[Step], change: Callable[[object], object]) -> object:  # noqa: ANN401 - JSON
    if not steps:
        return change(value)
    step, *rest = steps
    if step is None and isinstance(value, list):
        return [_replaced(item, rest, change) for item in value]
    if not _leads(value, step):
        return value
    made = value.copy()
    made[step] = _replaced(value[step], rest, change)
    return made
