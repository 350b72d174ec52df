"""What is wrong with a chain of engines: the one place that tells it, to the application and to the roles.

Nothing but the standard library: ``plugins/module_utils/canopsis_core_chain.py`` is a link to this file, so that
preflight refuses on the controller what an engine process would refuse on its host.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from graphlib import CycleError, TopologicalSorter

WORKER = "worker"
"""The process of an engine that names none."""

_CLOSE = 0.6


@dataclass(frozen=True, slots=True)
class Link:
    """One engine of the chain as configured: who gets what it lets through, where it runs, how often on each host."""

    name: str
    next: tuple[str, ...] = ()
    process: str = WORKER
    instances: int = 1


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing that is wrong: at which ``engine`` and key (both may be empty), what was found, what is needed."""

    engine: str
    key: str
    found: str
    needed: str

    def __str__(self) -> str:
        where = " ".join(filter(None, (self.engine and f"[engine:{self.engine}]", self.key)))
        return f"{where}{where and ': '}{self.text()}"

    def text(self) -> str:
        """Return the fault without its place."""
        return f"{self.found}; needed: {self.needed}"


def faults(chain: Sequence[Link], known: Collection[str], broken: Mapping[str, str] | None = None) -> list[Fault]:
    """Return everything that is wrong with ``chain``.

    ``known`` are the engines there are; ``broken`` those that cannot be loaded, with the reason.
    """
    if not chain:
        return [Fault("", "", "there is no engine: nothing would work on events", "at least one")]
    return [*_names(chain, known, broken or {}), *_missing(chain), *_circles(chain), *_unequal(chain)]


def nearest(name: str, known: Iterable[str]) -> str:
    """Return the name that is near to ``name``, else all there are."""
    names = sorted(known)
    return next(iter(get_close_matches(name, names, 1, _CLOSE)), "one of " + ", ".join(names))


def _names(chain: Sequence[Link], known: Collection[str], broken: Mapping[str, str]) -> Iterator[Fault]:
    for name, count in Counter(link.name for link in chain).items():
        if count > 1:
            yield Fault(name, "", f"{name} stands {count} times", "once")
        if name in broken:
            yield Fault(name, "", f"the engine {name} cannot be loaded", broken[name])
        elif name not in known:
            yield Fault(name, "", f"unknown engine {name}", nearest(name, known))


def _missing(chain: Sequence[Link]) -> Iterator[Fault]:
    names = {link.name for link in chain}
    for link in chain:
        for target in link.next:
            if target not in names:
                found = f"{link.name} is followed by {target}, which is not there"
                yield Fault(link.name, "next", found, nearest(target, names))


def _circles(chain: Sequence[Link]) -> Iterator[Fault]:
    try:
        TopologicalSorter({link.name: link.next for link in chain}).prepare()
    except CycleError as error:
        circle = list(reversed(error.args[1]))
        yield Fault(circle[0], "next", f"events go in a circle: {' -> '.join(circle)}", "an end")


def _unequal(chain: Sequence[Link]) -> Iterator[Fault]:
    counts: dict[str, set[int]] = {}
    for link in chain:
        own = counts.setdefault(link.process, {link.instances})
        if link.instances not in own:
            own.add(link.instances)
            found = f"instances of process {link.process}: {' and '.join(map(str, sorted(own)))}"
            yield Fault(link.name, "instances", found, "as many for each of its engines")
