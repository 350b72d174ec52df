"""Which kinds of rules there are: the ``KIND`` of each module of this package."""

from __future__ import annotations

from functools import cache
from typing import Any

from canopsis import extensions
from canopsis.core.rules.rule import DeclaredKind


@cache
def kinds() -> dict[str, DeclaredKind[Any]]:
    """Return the kinds by name."""
    return {each.name: each for each in extensions.in_package("canopsis.core.rules", "KIND", DeclaredKind)}
