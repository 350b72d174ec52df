"""Keys that sources choose, as they are stored: MongoDB's queries read a dot as a path and ``$`` as an operator.

``app.kubernetes.io/name`` is stored as ``app%2Ekubernetes%2Eio/name`` and read back as it was sent.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

_CODES = {".": "%2E", "%": "%25", "$": "%24"}
_TO_ESCAPE = re.compile(r"[.%]|^\$")
_ESCAPED = re.compile(r"%(2E|25|24)")
_SIGNS = {"2E": ".", "25": "%", "24": "$"}
_EMPTY = "%"
"""Stands for the key that is an empty text."""


def escape(key: str) -> str:
    """Return ``key`` without dots, not beginning with ``$``, and not empty."""
    return _TO_ESCAPE.sub(lambda found: _CODES[found[0]], key) if key else _EMPTY


def unescape(key: str) -> str:
    """Return the key that ``escape`` was given."""
    return _ESCAPED.sub(lambda found: _SIGNS[found[1]], key) if key != _EMPTY else ""


def escaped(value: Any) -> Any:  # noqa: ANN401 - JSON
    """Return ``value`` with every key in it escaped."""
    return _renamed(value, escape)


def unescaped(value: Any) -> Any:  # noqa: ANN401 - JSON
    """Return ``value`` with every key in it as it was sent."""
    return _renamed(value, unescape)


def _renamed(value: Any, rename: Callable[[str], str]) -> Any:  # noqa: ANN401 - JSON
    if type(value) is dict:
        return {rename(key): _renamed(item, rename) for key, item in value.items()}
    if type(value) is list:
        return [_renamed(item, rename) for item in value]
    return value
