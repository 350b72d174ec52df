"""Every problem of the configuration files of a host, and of a site's own packages, at once."""

from __future__ import annotations

import stat
from collections.abc import Collection, Iterable, Iterator

from canopsis.core.chain import faults
from canopsis.engines import registry
from canopsis.errors import ConfigError
from canopsis.notifiers import notifier
from canopsis.ops import config, settings
from canopsis.ops.ini import Problem, Values
from canopsis.ops.model import CHAIN, ENGINE, FILES, HYPCONTROL, File
from canopsis.ops.prefix import Prefix
from canopsis.runtime import manifest
from canopsis.runtime.manifest import Manifest
from canopsis.runtime.settings import EngineSettings
from canopsis.sources import webhook

OWN = "own packages"
"""What stands in the place of the file in a problem of a site's own packages."""

_NEXT = "put a mended wheel into etc/packages and install canopsis again"


def problems(prefix: Prefix) -> list[Problem]:
    """Return what is wrong with the files in ``etc/``, and what cannot be loaded of the site's own packages.

    A file that is missing is a problem only on a host that runs a service which reads it.
    """
    control = config.look(prefix, HYPCONTROL)
    services = {service for section in control.sections.values() for service in section.get("services", ())}
    found = _nothing_to_run(prefix, control, services)
    for file in FILES.values():
        if file is HYPCONTROL or prefix.etc(file.name).exists() or services & set(file.readers):
            found += _of_file(prefix, file)
    return [*found, *_of_packages({problem.section for problem in found})]


def _nothing_to_run(prefix: Prefix, control: Values, services: Collection[str]) -> list[Problem]:
    if services or control.problems:
        return []
    shown = prefix.shown(prefix.etc(HYPCONTROL.name))
    return [Problem(shown, "", "", "no section names a service: this host would run nothing")]


def _of_file(prefix: Prefix, file: File) -> list[Problem]:
    values = config.look(prefix, file)
    shown = prefix.shown(prefix.etc(file.name))
    found = [*values.problems, *_mode(prefix, file, shown)]
    if file is CHAIN and not any(not p.section for p in values.problems):
        found += _of_chain(values, shown)
    return found


def _of_chain(values: Values, shown: str) -> Iterator[Problem]:
    chain, found = settings.chain_of(values), registry.found()
    for fault in faults(chain.links(), found.things, found.broken):
        yield Problem(shown, f"{ENGINE}{fault.engine}" if fault.engine else "", fault.key, fault.text())
    for engine in chain.engines:
        if engine.name in found.things:
            yield from _of_options(found.things[engine.name], engine, shown)


def _of_options(manifest: Manifest, engine: EngineSettings, shown: str) -> Iterator[Problem]:
    """Yield why the engine would not start with options that are each allowed."""
    try:
        manifest.check(manifest.read(engine.options))
    except ConfigError as error:
        yield Problem(shown, f"{ENGINE}{engine.name}", "", str(error))


def _of_packages(told: Collection[str]) -> Iterator[Problem]:
    """Yield what cannot be loaded, by group of entry points, but the engines whose sections are ``told`` of."""
    engines = {name: why for name, why in registry.found().broken.items() if f"{ENGINE}{name}" not in told}
    yield from _lost(manifest.GROUP, engines.items())
    yield from _lost(webhook.GROUP, webhook.sources().broken.items())
    yield from _lost(notifier.GROUP, notifier.notifiers().broken.items())


def _lost(group: str, broken: Iterable[tuple[str, str]]) -> Iterator[Problem]:
    for name, why in broken:
        yield Problem(OWN, group, name, f"it cannot be loaded: {why}; {_NEXT}")


def _mode(prefix: Prefix, file: File, shown: str) -> Iterator[Problem]:
    path = prefix.etc(file.name)
    if not path.exists():
        return
    mode = stat.S_IMODE(path.stat().st_mode)
    if mode & ~file.mode & 0o077:
        yield Problem(shown, "", "", f"it holds secrets but its mode is {mode:04o}; do: chmod {file.mode:04o} {path}")
