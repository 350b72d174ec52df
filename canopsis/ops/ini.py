"""Reading one configuration file against its model, with every problem found at once."""

from __future__ import annotations

import configparser
import difflib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from canopsis.errors import ConfigError, shorten
from canopsis.ops.model import File, Key, keys_of, section_of

SectionValues = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong. ``file`` is as an operator reads it; ``section`` and ``key`` may be empty."""

    file: str
    section: str
    key: str
    text: str

    def __str__(self) -> str:
        where = f" [{self.section}]" if self.section else ""
        return f"{self.file}{where}{f' {self.key}' if self.key else ''}: {self.text}"


@dataclass(slots=True)
class Values:
    """What a file says, read: values by section and key, defaults filled in.

    ``given`` holds (section, key) of what stands in the file itself; ``problems`` what is wrong.
    """

    file: File
    sections: dict[str, SectionValues] = field(default_factory=dict)
    given: set[tuple[str, str]] = field(default_factory=set)
    problems: list[Problem] = field(default_factory=list)

    def section(self, name: str, shown: str) -> SectionValues:
        """Return the values of section ``name``; raises ConfigError when ``shown`` (the file) has none."""
        if name not in self.sections:
            hint = f"`canopsis config sample {self.file.name}` shows what belongs there"
            raise ConfigError(f"{shown}: section [{name}] is missing; {hint}")
        return self.sections[name]


def read(path: Path, model: File, shown: str) -> Values:
    """Read ``path``; what is wrong is in the result's ``problems`` (a file that cannot be read too).

    ``shown`` is the name of the file in those problems.
    """
    values = Values(model)
    try:
        raw = _parse(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        values.problems.append(Problem(shown, "", "", "missing; site.yml writes it"))
    except OSError as error:
        values.problems.append(Problem(shown, "", "", f"cannot be read: {error.strerror}"))
    except UnicodeDecodeError as error:
        values.problems.append(Problem(shown, "", "", f"byte {error.start} is not UTF-8"))
    except configparser.Error as error:
        values.problems.append(Problem(shown, "", "", _syntax(error)))
    else:
        _fill(values, raw, shown)
    return values


def demand(values: Values) -> Values:
    """Return ``values``; raises ConfigError with all its problems when it has any."""
    if values.problems:
        raise ConfigError("\n".join(map(str, values.problems)))
    return values


def nearest(name: str, allowed: Iterable[str], *, what: str = "") -> str:
    """Return the allowed names after ``what``, with the one that ``name`` is near to."""
    names = sorted(allowed)
    near = difflib.get_close_matches(name, names, n=1, cutoff=0.5)
    hint = f"; did you mean {near[0]}?" if near else ""
    return f"{what}{': ' if what else ''}{', '.join(names) or 'none'}{hint}"


def _parse(content: str) -> dict[str, dict[str, str]]:
    parser = configparser.ConfigParser(
        interpolation=None, delimiters=("=",), default_section="", empty_lines_in_values=False
    )
    parser.optionxform = str  # type: ignore[assignment,method-assign] # the documented way to keep case
    parser.read_string(content)
    return {name: dict(parser.items(name)) for name in parser.sections()}


def _syntax(error: configparser.Error) -> str:
    if isinstance(error, configparser.DuplicateOptionError):
        return f"line {error.lineno}: [{error.section}] {error.option} stands here a second time"
    if isinstance(error, configparser.DuplicateSectionError):
        return f"line {error.lineno}: [{error.section}] stands here a second time"
    if isinstance(error, configparser.MissingSectionHeaderError):
        return f"line {error.lineno} comes before any [section]"
    # The line itself may hold a secret: its number is enough.
    lines = [str(number) for number, _ in getattr(error, "errors", [])]
    return (
        f"not KEY=VALUE: line {', '.join(lines)}" if lines else f"not KEY=VALUE in [section]s ({type(error).__name__})"
    )


def _fill(values: Values, raw: Mapping[str, Mapping[str, str]], shown: str) -> None:
    for name, given in raw.items():
        section = section_of(values.file, name)
        if section is None:
            hint = nearest(name, (s.title() for s in values.file.sections), what="allowed sections")
            values.problems.append(Problem(shown, name, "", f"unknown section; {hint}"))
            continue
        _fill_section(values, name, keys_of(section, name), given, shown)
    for section in values.file.sections:
        if not section.many and section.name not in raw:
            _fill_absent(values, section.name, section.required, keys_of(section, section.name), shown)


def _fill_section(values: Values, name: str, keys: Mapping[str, Key], given: Mapping[str, str], shown: str) -> None:
    found = values.sections.setdefault(name, {})
    for unknown in given.keys() - keys.keys():
        hint = nearest(unknown, keys, what="allowed keys")
        values.problems.append(Problem(shown, name, unknown, f"unknown key; {hint}"))
    for key in keys.values():
        content = given.get(key.name, key.default)
        if content is None:
            values.problems.append(Problem(shown, name, key.name, f"missing; allowed: {key.kind.allowed}"))
            continue
        try:
            found[key.name] = key.kind.read(content.strip())
        except ValueError:
            # What is before an @ may be a password, in a place that has none.
            value = "the value" if key.secret or "@" in content else shorten(content)
            values.problems.append(Problem(shown, name, key.name, f"{value} is refused; allowed: {key.kind.allowed}"))
    values.given |= {(name, key) for key in given}


def _fill_absent(values: Values, name: str, required: bool, keys: Mapping[str, Key], shown: str) -> None:
    missing = [key.name for key in keys.values() if key.default is None]
    if required and missing:
        values.problems.append(Problem(shown, name, "", f"section missing; it must give {', '.join(missing)}"))
    elif not missing:
        values.sections[name] = {key.name: key.kind.read(key.default or "") for key in keys.values()}
