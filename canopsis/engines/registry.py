"""Which engines there are: each module of this package that has a ``MANIFEST``, and those of a site's own packages."""

from __future__ import annotations

from functools import cache

from canopsis import extensions
from canopsis.extensions import Found
from canopsis.runtime.manifest import GROUP, Manifest, Registry

_PACKAGE = "canopsis.engines"


@cache
def found() -> Found[Manifest]:
    """Return all engines, and those of a site's own packages that cannot be loaded."""
    return extensions.of_site(GROUP, Manifest, own(), "name")


@cache
def own() -> dict[str, Manifest]:
    """Return the engines of this package by name."""
    return {each.name: each for each in extensions.in_package(_PACKAGE, "MANIFEST", Manifest)}


def registry() -> Registry:
    """Return all engines by name."""
    return found().things
