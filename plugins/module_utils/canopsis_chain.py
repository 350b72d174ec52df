"""The chain of engines as the inventory gives it, with the changes it asks for, and what is wrong with it. Pure."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import Any

from ansible.module_utils.canopsis_core_chain import WORKER, Link, faults, nearest

SETTINGS = ("process", "next", "beat_interval", "options")
"""What may differ of one engine."""
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
        process = str(entry.get("process", WORKER))
        made.append({**entry, **({"instances": instances[process]} if process in instances else {})})
    return made


def wrong_chain(chain: list[dict[str, Any]], known: Collection[str]) -> list[Wrong]:
    """Return what is wrong with a chain; ``known`` are the engines there are."""
    return [*_values(chain), *((fault.found, fault.needed) for fault in faults(list(map(_link, chain)), known))]


def wrong_settings(settings: Mapping[str, Any], chain: list[dict[str, Any]]) -> list[Wrong]:
    """Return what is wrong with changes by engine: an engine that is not in the chain, or no dictionary."""
    names = [str(entry.get("name", "")) for entry in chain]
    found = []
    for name, said in settings.items():
        if name not in names:
            found.append((f"unknown engine {name}", nearest(name, names)))
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
    processes = {str(entry.get("name", "")): str(entry.get("process", WORKER)) for entry in chain}
    known = sorted(set(processes.values()))
    found = []
    for process, count in instances.items():
        if process not in known and process in processes:
            found.append((f"{process} is an engine", f"{processes[process]}, the process that it runs in"))
        elif process not in known:
            found.append((f"unknown process {process}", nearest(process, known)))
        elif not _is_count(count):
            found.append((f"instances of process {process}: {count!r}", "a whole number from 1"))
    return found


def _is_count(value: object) -> bool:
    return not isinstance(value, bool) and str(value).isdecimal() and int(str(value)) >= 1


def _link(entry: Mapping[str, Any]) -> Link:
    following, count = entry.get("next", []), entry.get("instances", 1)
    return Link(
        str(entry.get("name", "")),
        tuple(map(str, following)) if isinstance(following, list) else (),
        str(entry.get("process", WORKER)),
        int(str(count)) if _is_count(count) else 1,
    )


def _values(entries: list[dict[str, Any]]) -> Iterator[Wrong]:
    for entry in entries:
        if not isinstance(entry.get("next", []), list):
            yield f"next of {entry.get('name')}: {entry['next']!r}", "a list of engines"
        if not _is_count(entry.get("instances", 1)):
            yield f"instances of {entry.get('name')}: {entry['instances']!r}", "a whole number from 1"
