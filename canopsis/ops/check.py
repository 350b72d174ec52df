"""Every problem of every configuration file of a host, at once."""

from __future__ import annotations

import stat
from collections.abc import Collection, Iterator

from canopsis.errors import ConfigError
from canopsis.ops import chain, config
from canopsis.ops.ini import Problem, Values
from canopsis.ops.model import CHAIN, ENGINE, FILES, HYPCONTROL, File
from canopsis.ops.prefix import Prefix
from canopsis.sources.types_db import types_with


def problems(prefix: Prefix, engines: Collection[str]) -> list[Problem]:
    """Return what is wrong with the files in ``etc/``. ``engines`` are those there is code for.

    A file that is missing is a problem only on a host that runs a service which reads it.
    """
    control = config.look(prefix, HYPCONTROL)
    services = {service for section in control.sections.values() for service in section.get("services", ())}
    found = _nothing_to_run(prefix, control, services)
    for file in FILES.values():
        if file is HYPCONTROL or prefix.etc(file.name).exists() or services & set(file.readers):
            found += _of_file(prefix, file, engines)
    return found


def _nothing_to_run(prefix: Prefix, control: Values, services: Collection[str]) -> list[Problem]:
    if services or control.problems:
        return []
    shown = prefix.shown(prefix.etc(HYPCONTROL.name))
    return [Problem(shown, "", "", "no section names a service: this host would run nothing")]


def _of_file(prefix: Prefix, file: File, engines: Collection[str]) -> list[Problem]:
    values = config.look(prefix, file)
    shown = prefix.shown(prefix.etc(file.name))
    found = [*values.problems, *_mode(prefix, file, shown)]
    if file is CHAIN and not any(not p.section for p in values.problems):
        found += chain.problems(chain.links(values), engines, shown)
        found += _types(values, shown)
    return found


def _types(values: Values, shown: str) -> Iterator[Problem]:
    """Yield the own types.db files that cannot be read or understood: the engine would not start."""
    section = f"{ENGINE}collectdgw"
    try:
        types_with(values.sections.get(section, {}).get("types_db", ()))
    except ConfigError as error:
        yield Problem(shown, section, "types_db", str(error))


def _mode(prefix: Prefix, file: File, shown: str) -> Iterator[Problem]:
    path = prefix.etc(file.name)
    if not path.exists():
        return
    mode = stat.S_IMODE(path.stat().st_mode)
    if mode & ~file.mode & 0o077:
        yield Problem(shown, "", "", f"it holds secrets but its mode is {mode:04o}; do: chmod {file.mode:04o} {path}")
