"""The program files of supervisord, as far as they matter when it does not run."""

from __future__ import annotations

import configparser
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from pathlib import Path

from canopsis.errors import InputError, SiteError
from canopsis.ops.ini import nearest
from canopsis.ops.prefix import Prefix

ENGINES = "amqp2engines"
"""The name of all engine processes together."""

_ENGINE = "engine-"
_PROGRAM = "program:"
_HERE = "%(here)s"


@dataclass(frozen=True, slots=True)
class ProgramFile:
    """One ``[program:NAME]``. ``stop_wait`` is in seconds."""

    name: str
    path: Path
    command: str = ""
    stop_signal: str = "TERM"
    stop_wait: float = 10.0
    log: str = ""


def read_all(prefix: Prefix) -> dict[str, ProgramFile]:
    """Return the programs of the host by name. Raises SiteError when a file cannot be read."""
    paths = [*_files(prefix, "supervisord.d"), *_files(prefix, "engines")]
    return {program.name: program for path in paths for program in _read(path, prefix)}


def _files(prefix: Prefix, folder: str) -> list[Path]:
    return sorted(prefix.etc(folder).glob("*.conf"))


def _read(path: Path, prefix: Prefix) -> Iterable[ProgramFile]:
    parser = configparser.RawConfigParser(inline_comment_prefixes=(";", "#"), strict=False)
    try:
        parser.read_string(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, configparser.Error) as error:
        raise SiteError(f"{prefix.shown(path)} cannot be read: {error}") from error
    for section in parser.sections():
        if section.startswith(_PROGRAM):
            keys = parser[section]
            yield ProgramFile(
                name=section.removeprefix(_PROGRAM),
                path=path,
                command=keys.get("command", ""),
                stop_signal=keys.get("stopsignal", "TERM").strip().upper().removeprefix("SIG"),
                stop_wait=_number(keys.get("stopwaitsecs", ""), 10.0),
                log=keys.get("stdout_logfile", "").replace(_HERE, str(prefix.path)),
            )


def _number(text: str, default: float) -> float:
    return float(text) if text.strip().isdecimal() else default


def members(service: str, programs: Collection[str]) -> list[str]:
    """Return which of ``programs`` make up ``service``. Raises InputError naming what there is."""
    if service == ENGINES:
        found = [name for name in programs if name.startswith(_ENGINE)]
        if not found:
            raise SiteError(f"{ENGINES}: no engine-* program in etc/engines/; site.yml writes them")
        return sorted(found)
    if service in programs:
        return [service]
    raise InputError("service", service, nearest(service, services(programs)))


def services(programs: Iterable[str]) -> list[str]:
    """Return the names of services that ``programs`` make up: engines count as one."""
    names = {ENGINES if name.startswith(_ENGINE) else name for name in programs}
    return sorted(names)
