"""Which of many patterns an event may match: by hash where they demand equal values, together where they do not."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence

from canopsis.core import pattern as patterns
from canopsis.core.pattern import Matcher, Reader
from canopsis.core.regex import Regex, united
from canopsis.core.rules import gates
from canopsis.core.rules.gates import Clause, Key, Pattern

Places = tuple[int, ...]
Values = dict[tuple[bool, object], Places]

_LEAF = 16
"""Regular expressions that are looked for together and not parted further."""

_BRANCHES = 8


class Index:
    """Finds the places, in their order, of the patterns that a subject may match; a pattern not found cannot match."""

    def __init__(self, given: Sequence[Pattern]) -> None:
        known = list(given)
        crowd = gates.crowds(known)
        keyed: dict[Key, list[int]] = defaultdict(list)
        searched: dict[str, list[tuple[Regex, int]]] = defaultdict(list)
        rest: list[int] = []
        for place, pattern in enumerate(known):
            keys = gates.keys_of(pattern, crowd)
            regex = gates.regex_of(pattern) if keys is None else None
            for key in keys or ():
                keyed[key].append(place)
            if regex is not None:
                searched[regex[0]].append((regex[1], place))
            elif keys is None:
                rest.append(place)
        self._fields = _fields(keyed)
        self._searches = [(patterns.reader(field), _Search(found)) for field, found in searched.items()]
        self._shared, self._always = _shared(known, rest)

    def places(self, subject: object) -> list[int]:
        """Return the places of the patterns that ``subject`` may match, in their order."""
        found: set[int] = set(self._always)
        for read, texts, values in self._fields:
            value = read(subject)
            if type(value) is str:
                found.update(texts.get(value, ()))
            else:
                _look_up(value, values, found)
        for read, search in self._searches:
            _search(read(subject), search, found)
        for matches, places in self._shared:
            if matches(subject):
                found.update(places)
        return sorted(found) if found else []


def _fields(keyed: dict[Key, list[int]]) -> list[tuple[Reader, dict[str, Places], Values]]:
    """Return for each field what reads it, and the places by value: of texts apart, for most are."""
    fields: dict[str, Values] = defaultdict(dict)
    for (field, is_bool, value), places in keyed.items():
        fields[field][is_bool, value] = tuple(places)
    return [
        (
            patterns.reader(field),
            {value: places for (_, value), places in values.items() if isinstance(value, str)},
            values,
        )
        for field, values in fields.items()
    ]


def _look_up(value: object, values: Values, found: set[int]) -> None:
    for item in value if isinstance(value, list) else (value,):
        if isinstance(item, (str, int, float)):
            found.update(values.get((type(item) is bool, item), ()))


def _search(value: object, search: _Search, found: set[int]) -> None:
    for item in value if isinstance(value, list) else (value,):
        if type(item) is str:
            search.look(item, found)


class _Search:
    """Regular expressions over one text: one search for all of them, and narrower ones where it finds something."""

    __slots__ = ("_parts", "_places", "_together")

    def __init__(self, items: Sequence[tuple[Regex, int]]) -> None:
        self._together = united([regex for regex, _ in items])
        self._places: Places = ()
        self._parts: list[_Search] = []
        if len(items) <= _LEAF:
            self._places = tuple(place for _, place in items)
        else:
            size = -(-len(items) // _BRANCHES)
            self._parts = [_Search(items[start : start + size]) for start in range(0, len(items), size)]

    def look(self, text: str, found: set[int]) -> None:
        """Add to ``found`` the places of the expressions that may be found in ``text``."""
        if self._together is None or self._together.found_in(text):
            found.update(self._places)
            for part in self._parts:
                part.look(text, found)


def _shared(known: Sequence[Pattern], rest: Sequence[int]) -> tuple[list[tuple[Matcher, Places]], Places]:
    """Return, for the patterns at ``rest``, the conditions to test, each once, and the places of those without."""
    parts = {place: gates.clauses(known[place]) for place in rest}
    count = Counter(clause.text for clauses in parts.values() for clause in clauses)
    groups: dict[bytes, tuple[Clause, list[int]]] = {}
    for place, clauses in parts.items():
        if clauses:
            chosen = max(clauses, key=lambda clause: count[clause.text])
            groups.setdefault(chosen.text, (chosen, []))[1].append(place)
    shared = [(patterns.compile(clause.pattern), tuple(places)) for clause, places in groups.values()]
    return shared, tuple(place for place, clauses in parts.items() if not clauses)
