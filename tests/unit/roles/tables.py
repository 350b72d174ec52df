"""What roles hold that is made of something else: the variable tables of READMEs, the default chain of engines.

``python tests/unit/roles/tables.py`` writes them anew: a chain of the manifests, a table of specs and defaults.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import yaml

from canopsis.engines.chain import default_chain
from canopsis.runtime.settings import EngineSettings

ROLES = Path(__file__).resolve().parents[3] / "roles"
BEGIN, END = "<!-- variables -->\n", "<!-- end of variables -->\n"


def names() -> list[str]:
    """Return the roles there are."""
    return sorted(path.name for path in ROLES.iterdir() if path.is_dir())


def load(role: str, part: str) -> Any:
    """Return a YAML file of a role."""
    return yaml.safe_load((ROLES / role / part).read_text())


def options(role: str) -> dict[str, dict[str, Any]]:
    """Return the options of the role's main entry point."""
    found: dict[str, dict[str, Any]] = load(role, "meta/argument_specs.yml")["argument_specs"]["main"]["options"]
    return found


def table(role: str) -> str:
    """Return the table as Markdown."""
    defaults = load(role, "defaults/main.yml")
    lines = ["| Variable | Type | Default | Meaning |", "|---|---|---|---|"]
    for name, option in options(role).items():
        lines.append(f"| `{name}` | {option['type']} | {shown(name, defaults)} | {option['description']} |")
    return "\n".join(lines) + "\n"


def shown(name: str, defaults: dict[str, Any]) -> str:
    """Return a default as the table shows it: expressions only as what they are."""
    if name not in defaults:
        return "required"
    value = defaults[name]
    if isinstance(value, str) and "{{" in value:
        found = re.fullmatch(r"\{\{ (\w+) \| default\(([^|{}]+)\) \}\}", value)
        return f"`{found[1]}`, else `{found[2]}`" if found else "computed"
    if isinstance(value, list) and value and isinstance(value[0], dict):
        return f"{len(value)} entries, see `defaults/main.yml`"
    return f"`{yaml.safe_dump(value, default_flow_style=True, width=1000).split(chr(10))[0]}`"


def with_table(role: str, text: str) -> str:
    """Return ``text`` with the table of ``role`` between its marks."""
    before, rest = text.split(BEGIN)
    return f"{before}{BEGIN}{table(role)}{END}{rest.split(END)[1]}"


def with_chain(text: str) -> str:
    """Return the defaults of the role ``engines`` with the chain that the engines' manifests make."""
    entries = "".join(f"  - {{{_entry(engine)}}}\n" for engine in default_chain().engines)
    return re.sub(r"(?<=^engines_chain:\n)(  .*\n)+", entries, text, flags=re.MULTILINE)


def _entry(engine: EngineSettings) -> str:
    default = EngineSettings("")
    process = "" if engine.process == default.process else f", process: {engine.process}"
    beat = "" if engine.beat_interval == default.beat_interval else f", beat_interval: {engine.beat_interval:g}s"
    following = f", next: [{', '.join(engine.next)}]" if engine.next else ""
    return f"name: {engine.name}{process}{beat}{following}"


if __name__ == "__main__":
    CHAIN = ROLES / "engines/defaults/main.yml"
    CHAIN.write_text(with_chain(CHAIN.read_text()))
    for each in names():
        readme = ROLES / each / "README.md"
        readme.write_text(with_table(each, readme.read_text()))
