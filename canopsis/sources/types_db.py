"""collectd's types.db: which values each type has, and whether they are counters.

``types.db`` beside this module holds the types of collectd 5.12, one a line, sorted.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from pathlib import Path

from canopsis.core.perfdata import MetricType
from canopsis.errors import ConfigError

KINDS: dict[str, MetricType] = {"GAUGE": "GAUGE", "COUNTER": "COUNTER", "DERIVE": "DERIVE", "ABSOLUTE": "ABSOLUTE"}
"""The kinds of values by their names in types.db."""


@dataclass(frozen=True, slots=True)
class DataSource:
    """One value of a type. ``min`` and ``max`` bound the gauge or the rate; None is no bound."""

    name: str
    kind: MetricType
    min: float | None = None
    max: float | None = None


Types = Mapping[str, tuple[DataSource, ...]]


def parse_types(text: str, file: str = "types.db") -> dict[str, tuple[DataSource, ...]]:
    """Return the data sources of each type in the text of a types.db. Raises ConfigError naming ``file`` and line."""
    types: dict[str, tuple[DataSource, ...]] = {}
    for number, line in enumerate(text.splitlines(), 1):
        words = line.split("#", 1)[0].replace(",", " ").split()
        if words:
            types[words[0]] = tuple([_source(word, f"{file} line {number}") for word in words[1:]])
            if not types[words[0]]:
                raise ConfigError(f"{file} line {number}: type {words[0]} has no data source")
    return types


def _source(word: str, line: str) -> DataSource:
    parts = word.split(":")
    if len(parts) == 4 and parts[0] and parts[1].upper() in KINDS:
        try:
            return DataSource(parts[0], KINDS[parts[1].upper()], _bound(parts[2]), _bound(parts[3]))
        except ValueError:
            pass
    raise ConfigError(f"{line}: {word!r} is not name:GAUGE|COUNTER|DERIVE|ABSOLUTE:min|U:max|U")


def _bound(text: str) -> float | None:
    return None if text == "U" else float(text)


@cache
def default_types() -> Types:
    """Return the types that come with Canopsis."""
    return parse_types(files("canopsis.sources").joinpath("types.db").read_text("utf-8"))


def types_with(paths: Iterable[str]) -> Types:
    """Return the types that come with Canopsis and those of own files; a later line replaces an earlier one.

    Raises ConfigError for a file that cannot be read, or a line of it that is none.
    """
    types = dict(default_types())
    for path in paths:
        try:
            text = Path(path).read_text("utf-8")
        except (OSError, ValueError) as error:
            why = error.strerror if isinstance(error, OSError) else "not UTF-8"
            raise ConfigError(f"types.db {path} cannot be read: {why}; amqp2engines.conf names it") from None
        types |= parse_types(text, path)
    return types
