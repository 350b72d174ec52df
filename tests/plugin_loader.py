"""The plugins of the checkout, loaded from their files as Ansible loads them."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import ansible.module_utils

PLUGINS = Path(__file__).resolve().parents[1] / "plugins"
ansible.module_utils.__path__.append(str(PLUGINS / "module_utils"))


def load(kind: str, name: str) -> ModuleType:
    """Return the plugin ``name`` of ``plugins/kind``; not by its bare name, which a filter shares with the package."""
    spec = importlib.util.spec_from_file_location(f"plugin_{kind}_{name}", PLUGINS / kind / f"{name}.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module
