"""Own types.db files of collectd: what is wrong with them. Pure."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

_NAME = r"[A-Za-z0-9][A-Za-z0-9_.-]*"
_NUMBER = r"[-+]?[0-9]+(?:\.[0-9]*)?(?:[eE][-+]?[0-9]+)?"
_SOURCE = re.compile(rf"[^:\s]+:(?:GAUGE|COUNTER|DERIVE|ABSOLUTE):(?:U|{_NUMBER}):(?:U|{_NUMBER})")
_NEEDED = "a type and its values, as in: my_type value:GAUGE:0:U"
Wrong = tuple[str, str]
"""What was found, and what is needed."""


def wrong_types(given: Iterable[object]) -> list[Wrong]:
    """Return what is wrong with ``collectd_types_db``: entries of a name and a content."""
    entries = list(given)
    names = [str(entry.get("name")) for entry in entries if isinstance(entry, Mapping)]
    found = [(f"{name} stands {count} times", "each name once") for name, count in Counter(names).items() if count > 1]
    for entry in entries:
        found += _wrong_entry(entry)
    return found


def _wrong_entry(entry: object) -> Iterator[Wrong]:
    if not isinstance(entry, Mapping) or set(entry) != {"name", "content"}:
        yield repr(entry)[:80], "a name and a content each"
        return
    if re.fullmatch(_NAME, str(entry["name"])) is None:
        yield f"name {str(entry['name'])[:80]!r}", "letters, digits, _ . and -"
    yield from _wrong_lines(str(entry["name"]), entry["content"])


def _wrong_lines(name: str, content: Any) -> Iterator[Wrong]:  # noqa: ANN401 - whatever the inventory says
    for number, line in enumerate(str(content).splitlines(), 1):
        words = line.split("#", 1)[0].replace(",", " ").split()
        if words and not (words[1:] and all(map(_SOURCE.fullmatch, words[1:]))):
            yield f"{name} line {number}: {line.strip()[:80]}", _NEEDED
