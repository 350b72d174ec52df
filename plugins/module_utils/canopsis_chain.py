"""The chain of engines as the inventory gives it, with the changes it asks for, and what is wrong with it. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from difflib import get_close_matches
from graphlib import CycleError, TopologicalSorter
from typing import Any

PROCESS = "worker"
"""The process of an engine that names none."""
SETTINGS = ("process", "next", "beat_interval", "options")
"""What may differ of one engine."""
CLOSE = 0.75
Wrong = tuple[str, str]
"""What was found, and what is needed."""


def changed(
    chain: Iterable[Mapping[str, Any]], instances: Mapping[str, int], settings: Mapping[str, Mapping[str, Any]]
) -> list[dict[str, Any]]:
    """Return ``chain`` with ``settings`` (by engine) laid over it, options one by one, and ``instances`` by process."""
    made = []
    for engine in chain:
        own = settings.get(str(engine.get("name")), {})
        options = {**engine.get("options", {}), **own.get("options", {})}
        entry = {**engine, **own, **({"options": options} if options else {})}
        process = str(entry.get("process", PROCESS))
        made.append({**entry, **({"instances": instances[process]} if process in instances else {})})
    return made


def wrong_chain(chain: list[dict[str, Any]], known: tuple[str, ...]) -> list[Wrong]:
    """Return what is wrong with a chain; ``known`` are the engines there are."""
    names = [str(entry.get("name", "")) for entry in chain]
    return [*_links(chain, names), *_engines(chain, names, known), *_processes(chain)]


def wrong_settings(settings: Mapping[str, Any], chain: list[dict[str, Any]]) -> list[Wrong]:
    """Return what is wrong with changes by engine: an engine that is not in the chain, or no dictionary."""
    names = [str(entry.get("name", "")) for entry in chain]
    found = []
    for name, said in settings.items():
        if name not in names:
            found.append((f"unknown engine {name}", _nearest(name, names) or f"one of {', '.join(names)}"))
        elif not isinstance(said, Mapping) or not isinstance(said.get("options", {}), Mapping):
            found.append((f"{name}: {said!r}", "a dictionary of what differs, its options a dictionary too"))
        elif set(said) - set(SETTINGS):
            strange = ", ".join(sorted(map(str, set(said) - set(SETTINGS))))
            found.append(
                (f"{name} has {strange}", f"{', '.join(SETTINGS)}; instances in engines_instances, by process")
            )
    return found


def wrong_instances(instances: Mapping[str, Any], chain: list[dict[str, Any]]) -> list[Wrong]:
    """Return what is wrong with instances by process."""
    processes = {str(entry.get("name", "")): str(entry.get("process", PROCESS)) for entry in chain}
    known = sorted(set(processes.values()))
    found = []
    for process, count in instances.items():
        if process not in known and process in processes:
            found.append((f"{process} is an engine", f"{processes[process]}, the process that it runs in"))
        elif process not in known:
            meant = _nearest(process, known)
            found.append(
                (f"unknown process {process}", f"did you mean {meant}?" if meant else f"one of {', '.join(known)}")
            )
        elif not _is_count(count):
            found.append((f"instances of process {process}: {count!r}", "a whole number from 1"))
    return found


def _is_count(value: object) -> bool:
    return not isinstance(value, bool) and str(value).isdecimal() and int(str(value)) >= 1


def _nearest(name: str, known: Iterable[str]) -> str:
    close = get_close_matches(name, list(known), 1, CLOSE)
    return close[0] if close else ""


def _next(entry: Mapping[str, Any]) -> list[str]:
    following = entry.get("next", [])
    return [str(each) for each in following] if isinstance(following, list) else []


def _links(entries: list[dict[str, Any]], names: list[str]) -> Iterator[Wrong]:
    for entry in entries:
        if not isinstance(entry.get("next", []), list):
            yield f"next of {entry.get('name')}: {entry['next']!r}", "a list of engines"
        for target in _next(entry):
            if target not in names:
                nearest = _nearest(str(target), names)
                yield f"{entry.get('name')} is followed by {target}, which is not there", nearest or "an engine"


def _engines(entries: list[dict[str, Any]], names: list[str], known: tuple[str, ...]) -> Iterator[Wrong]:
    for name, count in Counter(names).items():
        if count > 1:
            yield f"{name} stands {count} times", "once"
        if known and name not in known:
            yield f"unknown engine {name}", _nearest(name, known) or f"one of {', '.join(known)}"
    for entry in entries:
        if not _is_count(entry.get("instances", 1)):
            yield f"instances of {entry.get('name')}: {entry['instances']!r}", "a whole number from 1"


def _processes(entries: list[dict[str, Any]]) -> Iterator[Wrong]:
    """A process runs all its engines as often, and no event goes in a circle."""
    counts: dict[str, set[str]] = {}
    for entry in entries:
        counts.setdefault(str(entry.get("process", PROCESS)), set()).add(str(entry.get("instances", 1)))
    for process, found in counts.items():
        if len(found) > 1:
            yield f"instances of process {process}: {' and '.join(sorted(found))}", "as many for each of its engines"
    try:
        TopologicalSorter({str(entry.get("name")): _next(entry) for entry in entries}).prepare()
    except CycleError as error:
        yield f"events go in a circle: {' -> '.join(reversed(error.args[1]))}", "an end"
