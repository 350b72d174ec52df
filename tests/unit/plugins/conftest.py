"""Plugins are found as Ansible finds them: module_utils below ansible.module_utils, modules by their file."""

from __future__ import annotations

from collections.abc import Callable
from types import ModuleType

import pytest
from plugin_loader import load


@pytest.fixture(scope="session")
def module_of() -> Callable[[str], ModuleType]:
    """Return a module by its name."""
    return lambda name: load("modules", name)


@pytest.fixture(scope="session")
def filters() -> dict[str, Callable[..., object]]:
    """Return the filters by name."""
    found: dict[str, Callable[..., object]] = load("filter", "canopsis").FilterModule().filters()
    return found
