"""What a part of the house finds by looking: modules of one of our packages, and entry points of a site's own ones."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Iterator
from dataclasses import dataclass, field
from importlib.metadata import entry_points
from typing import Generic, TypeVar

from canopsis.errors import CanopsisError, reason_of

T = TypeVar("T")

_FAILURES = (
    ImportError,
    AttributeError,
    SyntaxError,
    NameError,
    TypeError,
    ValueError,
    LookupError,
    OSError,
    CanopsisError,
)
"""What the import of a package that is wrong, or wrongly installed, raises."""


@dataclass(slots=True)
class Found(Generic[T]):
    """Things by name; ``broken`` are those that cannot be loaded, with the reason."""

    things: dict[str, T] = field(default_factory=dict)
    broken: dict[str, str] = field(default_factory=dict)


def in_package(package: str, attribute: str, kind: type[T]) -> Iterator[T]:
    """Yield the ``attribute`` of each module of ``package`` that has one of this ``kind``, in order of the modules."""
    for found in pkgutil.iter_modules(importlib.import_module(package).__path__):
        thing = getattr(importlib.import_module(f"{package}.{found.name}"), attribute, None)
        if isinstance(thing, kind):
            yield thing


def of_site(group: str, kind: type[T], taken: dict[str, T], name: str) -> Found[T]:
    """Return what installed packages give under ``group``, beside those ``taken`` by our own.

    An entry point has the name of its thing, which is the thing's attribute ``name``. A package that cannot be loaded
    takes nothing else with it.
    """
    found: Found[T] = Found(dict(taken))
    for point in sorted(entry_points(group=group), key=lambda point: (point.name, point.value)):
        where = f"{point.value} of the package {point.dist.name if point.dist else '?'}"
        if point.name in found.things:
            found.broken[f"{point.name} ({where})"] = "another one has this name"
            continue
        try:
            thing = point.load()
        except _FAILURES as error:
            found.broken[point.name] = f"{where}: {reason_of(error)}"
            continue
        if not isinstance(thing, kind):
            found.broken[point.name] = f"{where} is a {type(thing).__name__}, not a {kind.__name__}"
        elif getattr(thing, name) != point.name:
            own = getattr(thing, name)
            found.broken[point.name] = f"{where} is called {own}: its entry point needs that name, not {point.name}"
        else:
            found.things[point.name] = thing
    return found
