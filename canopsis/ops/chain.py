"""What is wrong with a chain of engines: cycles, unknown engines, a next that is not there."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass

from canopsis.ops.ini import Problem, Values, nearest
from canopsis.ops.model import ENGINE


@dataclass(frozen=True, slots=True)
class Link:
    """One engine of the chain as configured."""

    next: tuple[str, ...]
    process: str
    instances: int


def links(values: Values) -> dict[str, Link]:
    """Return the engines of ``amqp2engines.conf`` by name, in the order of the file; broken sections are left out."""
    found = {}
    for section, keys in values.sections.items():
        if section.startswith(ENGINE) and {"next", "process", "instances"} <= keys.keys():
            found[section.removeprefix(ENGINE)] = Link(keys["next"], keys["process"], keys["instances"])
    return found


def problems(chain: Mapping[str, Link], known: Collection[str], shown: str) -> list[Problem]:
    """Return everything that is wrong with ``chain``. ``known`` are the engines there is code for."""
    return [
        *_unknown(chain, known, shown),
        *_missing(chain, shown),
        *_cycles(chain, shown),
        *_unequal(chain, shown),
    ]


def _unknown(chain: Mapping[str, Link], known: Collection[str], shown: str) -> Iterator[Problem]:
    for name in chain:
        if name not in known:
            hint = nearest(name, known, what="engines there are")
            yield Problem(shown, f"{ENGINE}{name}", "", f"no such engine; {hint}")


def _missing(chain: Mapping[str, Link], shown: str) -> Iterator[Problem]:
    if not chain:
        yield Problem(shown, "", "", "no [engine:NAME] section: nothing would work on events")
    for name, link in chain.items():
        for follower in link.next:
            if follower not in chain:
                hint = nearest(follower, chain, what="engines in this file")
                yield Problem(shown, f"{ENGINE}{name}", "next", f"{follower} has no section; {hint}")


def _cycles(chain: Mapping[str, Link], shown: str) -> Iterator[Problem]:
    done: set[str] = set()
    for name in chain:
        path = _cycle(chain, name, [], done)
        if path:
            yield Problem(
                shown, f"{ENGINE}{path[0]}", "next", f"a cycle: {' -> '.join(path)}; events would never leave it"
            )


def _cycle(chain: Mapping[str, Link], name: str, path: list[str], done: set[str]) -> list[str]:
    """Return the first cycle met from ``name`` on, or nothing; ``done`` collects what was looked at."""
    if name in path:
        return [*path[path.index(name) :], name]
    if name in done or name not in chain:
        return []
    done.add(name)
    return next(filter(None, (_cycle(chain, n, [*path, name], done) for n in chain[name].next)), [])


def _unequal(chain: Mapping[str, Link], shown: str) -> Iterator[Problem]:
    first: dict[str, tuple[str, int]] = {}
    for name, link in chain.items():
        other, instances = first.setdefault(link.process, (name, link.instances))
        if instances != link.instances:
            text = f"{link.instances}, but {other} of the same process {link.process} says {instances}"
            yield Problem(shown, f"{ENGINE}{name}", "instances", text)
