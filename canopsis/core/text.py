"""Texts and names as they are kept: valid Unicode, bounded, and a name looks like no other."""

from __future__ import annotations

import re
import unicodedata
from typing import TypeGuard

MAX_NAME = 255
"""Characters of a name, an author, a tag or a metric."""

NAMES = f"a text of 1 to {MAX_NAME} characters that can be seen, without control characters"

_LONGEST_GIVEN = 4 * MAX_NAME
"""Characters that are looked at: composing takes time that grows faster than the text."""

_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")
_HALVES = re.compile(r"[\ud800-\udfff]")
_UNSEEN = frozenset("\u034f\u115f\u1160\u17b4\u17b5\u2800\u3164\uffa0")
"""Fillers and blanks that Unicode does not count as such."""

_UNSEEN_KINDS = frozenset({"Cf", "Zs", "Zl", "Zp"})


def whole(text: str) -> str:
    """Return ``text`` with U+FFFD for each half of a surrogate pair; a byte that is not UTF-8 is decoded to one."""
    if text.isascii():
        return text
    try:
        text.encode()
    except UnicodeEncodeError:
        return _HALVES.sub("\ufffd", text)
    return text


def has_control(text: str) -> bool:
    """Tell whether there are control characters in ``text``."""
    return _CONTROL.search(text) is not None


def is_name(value: object) -> TypeGuard[str]:
    """Tell whether ``value`` is a name as it is kept: trimmed, composed, and all that ``name_of`` asks."""
    if type(value) is not str or not 0 < len(value) <= MAX_NAME:
        return False
    if value.isprintable() and value[0] != " " != value[-1] and (value.isascii() or _is_composed(value)):
        return True
    return name_of(value) == value


def _is_composed(text: str) -> bool:
    ends = text[0], text[-1]
    return _UNSEEN.isdisjoint(ends) and unicodedata.is_normalized("NFC", text)


def name_of(text: str) -> str:
    """Return ``text`` as a name, or an empty text when it can be none.

    What cannot be seen at both ends is cut off (blanks, zero-width and direction characters), letters and
    accents are composed (NFC), halves of surrogate pairs are replaced.
    """
    text = _trimmed(text) if len(text) <= _LONGEST_GIVEN else ""
    if not text or has_control(text):
        return ""
    found = unicodedata.normalize("NFC", whole(text))
    return found if len(found) <= MAX_NAME else ""


def _trimmed(text: str) -> str:
    start, end = 0, len(text)
    while start < end and _is_unseen(text[start]):
        start += 1
    while start < end and _is_unseen(text[end - 1]):
        end -= 1
    return text[start:end]


def _is_unseen(letter: str) -> bool:
    return letter.isspace() or letter in _UNSEEN or unicodedata.category(letter) in _UNSEEN_KINDS
