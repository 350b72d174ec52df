"""What every rule has, and how a document becomes one."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Annotated, Any, Generic, TypeVar

import msgspec

from canopsis.core import pattern as patterns
from canopsis.core.structs import refusal
from canopsis.errors import InputError, InvalidRule

MAX_DESCRIPTION = 1000
MOST_PRIORITY = 1_000_000
MAX_DEPTH = 40
"""Of lists and objects in one another: a document of the database has 100 levels."""

MOST_INTEGER = (1 << 63) - 1

ADDED = ("rev", "author", "created", "updated", "counts")
"""What is added to a rule where it is stored and shown."""

_ID = re.compile(r"[A-Za-z0-9_.-]{1,64}")
_IDS = "1 to 64 letters, digits or any of _ . -"
_PERIOD = "a time in RFC 3339 with its zone, such as 2026-05-01T22:00:00Z"

Time = Annotated[datetime, msgspec.Meta(tz=True)]


class Declared(msgspec.Struct, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """What is stored under an id and tried before it is: a rule, or a table that rules look into."""

    id: str
    description: Annotated[str, msgspec.Meta(max_length=MAX_DESCRIPTION)] = ""

    def check(self) -> None:
        """Raise InputError for what the types do not tell. The base checks the id."""
        if not _ID.fullmatch(self.id):
            raise InputError("id", self.id, _IDS)


class Rule(Declared, kw_only=True):
    """A rule: on what ``pattern`` matches, in order of ``priority``, then of ``id``; the lower comes first.

    It is in force while it is ``enabled``, from ``start`` and until ``stop``, where they are given.
    """

    pattern: dict[str, Any]
    priority: Annotated[int, msgspec.Meta(ge=0, le=MOST_PRIORITY)] = 100
    enabled: bool = True
    start: Time | None = None
    stop: Time | None = None

    def check(self) -> None:
        """Raise InputError for what the types do not tell."""
        super().check()
        if not self.pattern:
            raise InputError("pattern", self.pattern, 'at least one condition; {"connector": {"$exists": true}} is all')
        if self.start is not None and self.stop is not None and self.stop <= self.start:
            raise InputError("stop", self.stop.isoformat(), f"{_PERIOD}, after start")
        patterns.compile(self.pattern)


D = TypeVar("D", bound=Declared)


@dataclass(frozen=True, slots=True)
class DeclaredKind(Generic[D]):
    """What is stored in documents of one form. ``name`` stands in files, and what ``struct`` is called in texts.

    ``columns`` are the fields that a list of them shows beside those that all have; ``tried_on`` is what they can be
    tried on before they are saved, such as ``event``.
    """

    name: str
    struct: type[D]
    noun: str = field(default="", kw_only=True)
    columns: tuple[str, ...] = field(default=(), kw_only=True)
    tried_on: str = field(default="", kw_only=True)

    @property
    def path(self) -> str:
        """What the API calls a list of them."""
        return f"{self.name}s"

    def demand_good(self, rule: D, *, proven: bool = True) -> None:
        """Raise InvalidRule for what cannot be used though it could be read; if ``proven``, or not be saved so."""


def parse(struct: type[D], document: object, where: str = "") -> D:
    """Return the rule that ``document`` is, checked. Raises InvalidRule; ``where`` names one that has no id."""
    name = _name_of(document, where)
    try:
        rule = msgspec.convert(document, struct)
        rule.check()
    except msgspec.ValidationError as error:
        field, value, allowed = refusal(error, document, struct)
        raise InvalidRule(name, field or "rule", value, allowed) from None
    except InputError as error:
        raise InvalidRule.of(name, error) from None
    return rule


def document_of(rule: Declared) -> dict[str, Any]:
    """Return ``rule`` as it is stored and shown; ``parse`` makes the same of it."""
    document: dict[str, Any] = msgspec.to_builtins(rule, builtin_types=(datetime,))
    return document


def demand_storable(value: object, path: str, depth: int = 0) -> None:
    """Raise InputError, which names ``path`` or what is inside, for what the database cannot hold."""
    if depth > MAX_DEPTH:
        raise InputError(path, value, f"lists and objects at most {MAX_DEPTH} deep")
    if isinstance(value, dict):
        for name, inner in value.items():
            if "\0" in name:
                raise InputError(path, name, "names without NUL")
            demand_storable(inner, f"{path}.{name}", depth + 1)
    elif isinstance(value, list):
        for place, inner in enumerate(value):
            demand_storable(inner, f"{path}[{place}]", depth + 1)
    elif isinstance(value, int) and not -MOST_INTEGER - 1 <= value <= MOST_INTEGER:
        raise InputError(path, value, "whole numbers of at most 64 bits")


def _name_of(document: object, where: str) -> str:
    found = document.get("id") if isinstance(document, Mapping) else None
    return found if isinstance(found, str) and _ID.fullmatch(found) else where or "without an id"
