"""Plugins are found as Ansible finds them: module_utils below ansible.module_utils, modules by their file."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import ansible.module_utils
import pytest

PLUGINS = Path(__file__).resolve().parents[3] / "plugins"
ansible.module_utils.__path__.append(str(PLUGINS / "module_utils"))


def load(kind: str, name: str) -> ModuleType:
    """Return the plugin ``name`` of ``plugins/kind``."""
    spec = importlib.util.spec_from_file_location(f"tested_{kind}_{name}", PLUGINS / kind / f"{name}.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def module_of() -> Callable[[str], ModuleType]:
    """Return a module by its name."""
    return lambda name: load("modules", name)


@pytest.fixture(scope="session")
def filters() -> dict[str, Callable[..., object]]:
    """Return the filters by name."""
    found: dict[str, Callable[..., object]] = load("filter", "canopsis").FilterModule().filters()
    return found
