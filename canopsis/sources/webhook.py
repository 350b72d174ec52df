"""What a source that sends over HTTP is: one declaration, of which its route and its place in lists are made."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import Any

from canopsis import extensions
from canopsis.core.rules.kernel import Kind, RuleSet
from canopsis.errors import InputError, InvalidEvent

GROUP = "canopsis.sources"
"""The group of entry points under which a site's own package gives its sources: ``NAME = package.module:SOURCE``."""

Raw = dict[str, Any]
"""An event as a client would send it; ``connector`` and ``connector_name`` come from the path of the request."""


@dataclass(frozen=True, slots=True)
class Arrival:
    """How a payload came: ``now`` in seconds since the epoch; ``name`` is the last part of the address.

    ``labels`` shall tell things of one name apart; ``rules`` are those in force of the kind that the source declares.
    """

    now: float
    labels: tuple[str, ...] = ()
    name: str = ""
    rules: RuleSet[Any, Any] = field(default_factory=RuleSet)


@dataclass(frozen=True, slots=True)
class ByRule:
    """An event that the rule of this id made, or why it could not: it is counted for the rule. Empty: of no rule."""

    rule: str
    found: Raw | InvalidEvent


Map = Callable[[Any, Arrival], Iterator[Raw | InvalidEvent | ByRule]]
"""From a decoded payload to events. Pure; raises InputError for a payload of another kind.

An event that lacks what it needs is yielded all the same: it is refused like any other, and the answer says why. An
error in place of an event is such a refusal.
"""


@dataclass(frozen=True, slots=True)
class Source:
    """A source. ``kind`` is its name in the address and the ``connector`` of its events.

    ``suffixes`` are what its senders put behind the address themselves. ``rules`` is the kind of the rules that it goes
    by, where it does, as ``webhooks/generic.py``.
    """

    kind: str
    summary: str
    map: Map
    suffixes: tuple[str, ...] = ()
    rules: Kind[Any, Any] | None = None


@cache
def sources() -> extensions.Found[Source]:
    """Return the sources by kind: those of ``canopsis.sources.webhooks``, and a site's own."""
    own = {each.kind: each for each in extensions.in_package("canopsis.sources.webhooks", "SOURCE", Source)}
    return extensions.of_site(GROUP, Source, own, "kind")


def object_of(found: object, name: str) -> Mapping[str, Any]:
    """Return an object of a payload. Raises InputError naming it."""
    if isinstance(found, dict):
        return found
    raise InputError(name, found, "an object")


def list_of(found: object, name: str) -> list[Any]:
    """Return a list of a payload. Raises InputError naming it."""
    if isinstance(found, list):
        return found
    raise InputError(name, found, "a list")
