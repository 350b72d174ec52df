"""Regular expressions of users. RE2 matches them: the time grows with the text and no faster, whatever is written."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeAlias

import re2

from canopsis.errors import InvalidPattern

MAX_REGEX = 1000
"""Characters of a regular expression."""

FLAGS = "ims"

_ALLOWED = f"a regular expression (RE2) of at most {MAX_REGEX} characters"
_QUOTE = "\\Q"
"""Quotes what follows, to the end when there is no ``\\E``: nothing may stand behind such an expression."""


_Compiled: TypeAlias = Any
"""What re2 makes; it has no types."""


def _options() -> _Compiled:
    options = re2.Options()
    options.log_errors = False
    return options


_OPTIONS = _options()


class Regex:
    """A compiled regular expression; ``text`` has its flags in it, ``names`` are its groups'."""

    __slots__ = ("_search", "names", "text")

    def __init__(self, text: str, compiled: _Compiled) -> None:
        self.text = text
        self.names = tuple(compiled.groupindex)
        self._search = compiled.search

    def found_in(self, value: str) -> bool:
        """Tell whether the expression is found anywhere in ``value``."""
        return self._search(value) is not None

    def groups(self, value: str) -> dict[str, str] | None:
        """Return the named groups of the first place where it is found; those that took no part are not there."""
        found = self._search(value)
        return None if found is None else {name: text for name, text in found.groupdict().items() if text is not None}


def compile(text: object, path: str, options: object = "") -> Regex:
    """Return the regular expression ``text`` with ``options``, letters of ``i``, ``m`` and ``s``.

    Raises InvalidPattern, which names ``path``.
    """
    if type(text) is not str or len(text) > MAX_REGEX:
        raise InvalidPattern(path, text, _ALLOWED)
    if type(options) is not str or not set(options) <= set(FLAGS):
        raise InvalidPattern(f"{path}.$options", options, "letters of i, m, s")
    flagged = f"(?{''.join(sorted(set(options)))}){text}" if options else text
    try:
        return Regex(flagged, re2.compile(flagged, _OPTIONS))
    except (re2.error, UnicodeError) as error:
        why = error.args[0].decode("utf-8", "replace") if isinstance(error, re2.error) else str(error)
        raise InvalidPattern(path, text, f"{_ALLOWED} ({why})") from None


def can_be_united(regex: Regex) -> bool:
    """Tell whether the expression may be one of a union."""
    return _QUOTE not in regex.text


def united(regexes: Sequence[Regex]) -> Regex | None:
    """Return an expression that is found where one of ``regexes`` is; None when together they are too large."""
    text = "|".join(f"(?:{regex.text})" for regex in regexes)
    try:
        return Regex(text, re2.compile(text, _OPTIONS))
    except re2.error:
        return None
