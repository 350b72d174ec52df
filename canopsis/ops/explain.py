"""The model told to people: explanations, samples, effective values and the reference page."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

from canopsis.engines.chain import default_chain
from canopsis.errors import ConfigError
from canopsis.ops import kinds
from canopsis.ops.ini import Values, nearest
from canopsis.ops.model import CHAIN, ENGINE, FILES, File, Key, Section, engine_options, keys_of, section_of
from canopsis.runtime.settings import EngineSettings

MASK = "********"


@dataclass(frozen=True, slots=True)
class Entry:
    """One key with where it stands. ``section`` is its title (``engine:NAME``)."""

    file: File
    section: str
    key: Key

    def names(self) -> set[str]:
        """Return everything this entry answers to."""
        return {
            self.key.name,
            f"{self.section}.{self.key.name}",
            self.section,
            self.file.name,
            f"{self.file.name}:{self.section}.{self.key.name}",
        }

    def facts(self) -> dict[str, object]:
        """Return the entry as plain data."""
        return {
            "file": self.file.name,
            "section": self.section,
            "key": self.key.name,
            "doc": self.key.doc,
            "kind": self.key.kind.name,
            "allowed": self.key.kind.allowed,
            "default": self.key.default,
            "required": self.key.default is None,
            "secret": self.key.secret,
            "since": self.key.since,
        }


def entries() -> Iterator[Entry]:
    """Yield every key of every file, in the order of the model."""
    for file in FILES.values():
        for section in file.sections:
            yield from (Entry(file, section.title(), key) for key in section.keys)
            if section.name == ENGINE:
                for engine, options in engine_options().items():
                    yield from (Entry(file, f"{ENGINE}{engine}", key) for key in options)


def find(wanted: str) -> list[Entry]:
    """Return the entries called ``wanted``: a key, ``SECTION.KEY``, a section or a file.

    Raises ConfigError with the nearest name when there is none.
    """
    section, dot, key = wanted.rpartition(".")
    general = f"{ENGINE}NAME.{key}" if dot and section.startswith(ENGINE) else wanted
    found = [entry for entry in entries() if {wanted, general} & entry.names()]
    if not found:
        hint = nearest(wanted, {entry.key.name for entry in entries()}, what="keys")
        raise ConfigError(f"{wanted}: no such key, section or file; {hint}")
    return found


def explain(entry: Entry) -> str:
    """Return the explanation of one key as a short paragraph."""
    key = entry.key
    return "\n".join(
        (
            f"{key.name}   etc/{entry.file.name} [{entry.section}]",
            f"  {key.doc}",
            f"  allowed: {key.kind.allowed}",
            f"  default: {_default(key)}",
            f"  since:   {key.since}" + ("   (a secret)" if key.secret else ""),
        )
    )


def sample(file: File) -> str:
    """Return ``file`` with every key at its default; keys that must be given are marked."""
    parts = [f"# etc/{file.name}: {file.doc}\n"]
    for section in file.sections:
        many = default_chain().engines if section.name == ENGINE else ()
        parts += [_sample_engine(engine) for engine in many] or [_sample_section(section, section.title(), {})]
    return "\n".join(parts)


def _sample_section(section: Section, title: str, given: Mapping[str, str]) -> str:
    lines = [f"# {section.doc}", f"[{title}]"]
    for key in keys_of(section, title).values():
        default = "CHANGE-ME" if key.default is None else key.default
        lines += (f"# {key.doc}", f"#   allowed: {key.kind.allowed}")
        lines.append(f"{key.name} = {given.get(key.name, default)}".rstrip())
    return "\n".join(lines) + "\n"


def _sample_engine(engine: EngineSettings) -> str:
    """Return the section of an engine of the default chain, at its place."""
    title = f"{ENGINE}{engine.name}"
    section = replace(_section_of_engines(), doc=f"The engine {engine.name}.")
    return _sample_section(section, title, {"next": ",".join(engine.next), "process": engine.process})


def _section_of_engines() -> Section:
    return next(section for section in CHAIN.sections if section.name == ENGINE)


def effective(values: Values) -> dict[str, dict[str, dict[str, str]]]:
    """Return section → key → ``value`` as in a file (secrets masked) and ``from`` (``file``, ``default``)."""
    shown: dict[str, dict[str, dict[str, str]]] = {}
    for name, found in values.sections.items():
        section = section_of(values.file, name)
        keys = keys_of(section, name) if section else {}
        shown[name] = {
            key: {
                "value": MASK if keys[key].secret else _shown(keys[key], value),
                "from": "file" if (name, key) in values.given else "default",
            }
            for key, value in found.items()
        }
    return shown


def reference() -> str:
    """Return the reference page of all files as Markdown."""
    parts = [_HEAD]
    for file in FILES.values():
        parts.append(f"## etc/{file.name}\n\n{file.doc}\n\n{_readers(file)}\n")
        for section in file.sections:
            parts.append(f"### [{section.title()}]\n\n{section.doc}\n\n{_table(section.keys)}")
            if section.name == ENGINE:
                parts += (
                    f"### [{ENGINE}{engine}]\n\nBeside the keys of every engine:\n\n{_table(options)}"
                    for engine, options in engine_options().items()
                )
    return "\n".join(parts)


_HEAD = """# Configuration reference

Made by `canopsis config explain --markdown` from the model that also reads and checks the files; do not edit.

Files are INI: `[section]`, then `key = value`; a line that begins with `#` or `;` is a comment. They are in `etc/`
of the prefix and are written by the roles only: change a variable and run `site.yml` again. `canopsis config check`
tells every problem at once, `canopsis config show` what is in effect, `canopsis config explain KEY` what a key means.
A time is a number of seconds, or a number with `s`, `m`, `h` or `d`.
"""


def _readers(file: File) -> str:
    readers = ", ".join(f"`{service}`" for service in file.readers) or "the commands in `bin/`"
    return f"Read by {readers}; mode at most `{file.mode:04o}`."


def _table(keys: tuple[Key, ...]) -> str:
    rows = ["| key | meaning | allowed | default | since |", "|---|---|---|---|---|"]
    rows += (f"| `{k.name}` | {k.doc} | {k.kind.allowed} | {_default(k, '`')} | {k.since} |" for k in keys)
    return "\n".join(rows) + "\n"


def _default(key: Key, quote: str = "") -> str:
    if key.default is None:
        return "none, must be given"
    return f"{quote}{key.default}{quote}" if key.default else "empty"


def _shown(key: Key, value: object) -> str:
    if key.kind.name == "time" and isinstance(value, int | float):
        return kinds.seconds(value)
    return kinds.show(value)
