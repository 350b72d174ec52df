"""The templates of the roles write what the model reads: no key of one that the other does not know."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from canopsis.ops import daemon, probes
from canopsis.ops.model import ENGINE, FILES, File, engine_options, keys_of, section_of
from canopsis.ops.prefix import Prefix
from canopsis.ops.programs import ProgramFile

ROLES = Path(__file__).parents[3] / "roles"
TEMPLATES = sorted(path for path in ROLES.glob("*/templates/*.conf.j2") if path.name.removesuffix(".j2") in FILES)
PROGRAMS = sorted(ROLES.glob("*/templates/program.conf.j2"))

SECTION = re.compile(r"\[(.+)\]")
KEY = re.compile(r"([a-z_]+) ?=")


def lines(path: Path) -> list[str]:
    """Return the lines of a template without those of Jinja and comments."""
    return [line for line in path.read_text().splitlines() if line and not line.startswith(("{%", "#", ";"))]


def possible(file: File, title: str) -> list[str]:
    """Return the sections that ``title`` may be; Jinja fills in the names of some."""
    pattern = re.sub(r"\{\{.*?\}\}", ".+", title)
    names = (
        [f"{ENGINE}{name}" for name in engine_options()]
        if title.startswith(ENGINE)
        else [s.name for s in file.sections]
    )
    return [name for name in names if re.fullmatch(pattern, name)]


def unknown(file: File, path: Path) -> list[str]:
    """Return what the template writes and the model does not know."""
    found: list[str] = []
    keys: set[str] = set()
    for line in lines(path):
        if section := SECTION.fullmatch(line):
            names = possible(file, section[1])
            keys = {
                key for name in names for model in [section_of(file, name)] if model for key in keys_of(model, name)
            }
            found += [] if names else [section[0]]
        elif (key := KEY.match(line)) and key[1] not in keys:
            found.append(key[1])
    return found


def test_every_file_has_its_template() -> None:
    assert {path.name.removesuffix(".j2") for path in TEMPLATES} == set(FILES)


@pytest.mark.parametrize("path", TEMPLATES, ids=lambda path: path.name)
def test_templates_write_what_the_model_knows(path: Path) -> None:
    assert unknown(FILES[path.name.removesuffix(".j2")], path) == []


@pytest.mark.parametrize("path", PROGRAMS, ids=lambda path: path.parts[-3])
def test_programs_start_by_themselves_only_when_they_shall(path: Path) -> None:
    assert f"autostart=%(ENV_{daemon.AUTOSTART})s" in lines(path)
    assert "autorestart=true" in lines(path)


def test_the_web_server_can_be_asked_whether_it_is_ready() -> None:
    (command,) = [line for line in lines(ROLES / "webserver/templates/program.conf.j2") if line.startswith("command=")]
    command = re.sub(r"\{\{ webserver_listen \}\}", "127.0.0.1", re.sub(r"\{\{ webserver_port \}\}", "8082", command))
    assert probes.probe_of(Prefix(Path("/")), ProgramFile("webserver", ROLES, command)) is not None
