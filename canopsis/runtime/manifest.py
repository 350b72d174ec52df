"""The manifest of an engine: its name, input, options, place and beats, declared once in the engine's own module.

Registry, configuration model, the roles' default chain and the reference are made from it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from graphlib import CycleError, TopologicalSorter
from typing import TYPE_CHECKING, Any, Literal

import msgspec
from msgspec import Meta

from canopsis.core.chain import WORKER
from canopsis.errors import ConfigError

if TYPE_CHECKING:
    from canopsis.runtime.contract import Engine

GROUP = "canopsis.engines"
"""The group of entry points under which a site's own package gives its engines: ``NAME = package.module:MANIFEST``."""

Input = Literal["events", "raw"]
"""What an engine takes: ``events`` (partitioned, decoded) or ``raw`` (one queue, messages as they came)."""


class Options(msgspec.Struct, frozen=True, kw_only=True):
    """The options of an engine: each with its default, and what it means, by one of the functions below."""


def about(doc: str) -> Meta:
    """Return what a switch (``bool``), a text (``str``) or a choice (``Literal``) means."""
    return Meta(description=doc)


def seconds(low: float, high: float, doc: str) -> Meta:
    """Return the bounds and meaning of a ``float``; a file may give it with a unit (``5m``)."""
    return Meta(ge=low, le=high, description=doc, extra={"kind": "time"})


def count(low: int, high: int, doc: str) -> Meta:
    """Return the bounds and meaning of an ``int``."""
    return Meta(ge=low, le=high, description=doc)


def paths(doc: str) -> Meta:
    """Return what a list of files (``tuple[str, ...]``) means; without it such a list is one of names."""
    return Meta(description=doc, extra={"kind": "files"})


@dataclass(frozen=True, slots=True)
class Place:
    """Where an engine stands in the chain of a site that configures nothing.

    The engines of the line follow one another; ``after`` and ``before`` name some that it must follow
    or come before. ``next`` makes an engine stand beside the line, with these after it. ``beat_interval`` is in
    seconds, None for that of every engine.
    """

    process: str = WORKER
    after: tuple[str, ...] = ()
    before: tuple[str, ...] = ()
    next: tuple[str, ...] | None = None
    beat_interval: float | None = None


@dataclass(frozen=True, slots=True)
class Manifest:
    """An engine: ``make`` gets its options and the number of partitions.

    ``binding`` is the exchange and the key by which messages come in from outside. ``place`` None means that an
    engine is in the chain only where the inventory says so. ``beats`` tells whether it has a ``beat``.
    One that ``moves`` events to another entity has queues of its own wherever events come by partition.
    ``check`` raises ConfigError for options that are each allowed and cannot work.
    """

    name: str
    make: Callable[[Any, int], Engine]
    input: Input = "events"
    binding: tuple[str, str] | None = None
    options: type[Options] = Options
    place: Place | None = None
    beats: bool = False
    moves: bool = False
    check: Callable[[Any], object] = field(default=lambda _options: None)

    def engine(self, given: Mapping[str, object], partitions: int) -> Engine:
        """Return the engine with the options ``given``. Raises ConfigError."""
        made = self.make(self.read(given), partitions)
        made.name = self.name
        return made

    def read(self, given: Mapping[str, object]) -> Options:
        """Return the options ``given``, defaults filled in. Raises ConfigError."""
        try:
            return msgspec.convert(given, self.options)
        except msgspec.ValidationError as error:
            raise ConfigError(f"options of the engine {self.name}: {error}") from None


Registry = Mapping[str, Manifest]
"""The engines there are, by name."""


def placed(manifests: Iterable[Manifest]) -> list[tuple[Manifest, tuple[str, ...]]]:
    """Return those of ``manifests`` that have a place, each with the names of those that get what it lets through.

    Each engine comes before those that follow it. Raises ConfigError when no order keeps every place.
    """
    own = {each.name: (each, each.place) for each in manifests if each.place is not None}
    line = {name for name, (_, place) in own.items() if place.next is None}
    before: dict[str, set[str]] = {name: set(own[name][1].after) & line for name in sorted(line)}
    for name in line:
        for later in set(own[name][1].before) & line:
            before[later].add(name)
    order = _sorted(before)
    follows = {name: tuple(order[at + 1 : at + 2]) for at, name in enumerate(order)}
    beside = [name for name in sorted(own) if name not in line]
    return [(own[name][0], follows.get(name, own[name][1].next or ())) for name in (*beside, *order)]


def _sorted(before: Mapping[str, set[str]]) -> list[str]:
    """Return names so that each comes after those ``before`` it, as near to the alphabet as that allows."""
    sorter, order = TopologicalSorter(before), []
    try:
        sorter.prepare()
    except CycleError as error:
        circle = " -> ".join(reversed(error.args[1]))
        raise ConfigError(f"the places of these engines contradict each other: {circle}") from None
    ready: list[str] = []
    while sorter.is_active():
        ready = sorted([*ready, *sorter.get_ready()])
        order.append(ready.pop(0))
        sorter.done(order[-1])
    return order
