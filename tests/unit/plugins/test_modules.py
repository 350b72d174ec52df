"""Every module: its documentation says what it takes; what it takes is checked; no secret can be printed."""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import yaml

MODULES = sorted(
    path.stem for path in (Path(__file__).resolve().parents[3] / "plugins" / "modules").glob("canopsis_*.py")
)
EXPECTED = {
    "files",
    "secrets",
    "capacity",
    "certificates",
    "supervisor",
    "replica_set",
    "rabbitmq",
    "rabbitmq_cluster",
    "user",
    "source",
    "kernel",
    "smoke",
    "members",
}
modules = pytest.mark.parametrize("name", MODULES)
ModuleOf = Callable[[str], ModuleType]


def documented(module: ModuleType) -> dict[str, Any]:
    """Return the documentation of a module."""
    found: dict[str, Any] = yaml.safe_load(module.DOCUMENTATION)
    return found


def arguments(options: dict[str, Any], path: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    """Every argument with its path, nested ones too."""
    for name, option in options.items():
        yield f"{path}{name}", option
        yield from arguments(option.get("options", {}), f"{path}{name}.")


def test_the_modules_are_there() -> None:
    assert {f"canopsis_{name}" for name in EXPECTED} == set(MODULES)


@modules
def test_documentation_and_arguments_agree(module_of: ModuleOf, name: str) -> None:
    module = module_of(name)
    compare(documented(module)["options"], module.ARGUMENTS)


def compare(documentation: dict[str, Any], specification: dict[str, Any]) -> None:
    """Fail when the two say different things."""
    assert set(documentation) == set(specification)
    for name, option in specification.items():
        said = documentation[name]
        assert said["type"] == option["type"], name
        assert said.get("required", False) == option.get("required", False), name
        assert said.get("default") == option.get("default"), name
        assert said.get("choices") == option.get("choices"), name
        compare(said.get("suboptions", {}), option.get("options", {}))


@modules
def test_documentation_has_what_people_read(module_of: ModuleOf, name: str) -> None:
    module = module_of(name)
    said = documented(module)
    assert said["module"] == name
    assert said["short_description"]
    (task,) = yaml.safe_load(module.EXAMPLES)
    assert name in task
    assert set(task[name]) <= set(module.ARGUMENTS)
    assert yaml.safe_load(module.RETURN)


@modules
def test_secrets_are_masked(module_of: ModuleOf, name: str) -> None:
    for path, option in arguments(module_of(name).ARGUMENTS):
        if re.search(r"password|authkey|secret", path):
            assert option["no_log"] is True, path


@modules
def test_check_mode_is_supported(name: str) -> None:
    path = Path(__file__).resolve().parents[3] / "plugins" / "modules" / f"{name}.py"
    calls = [node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Call)]
    made = [call for call in calls if isinstance(call.func, ast.Name) and call.func.id == "AnsibleModule"]
    assert made
    for call in made:
        assert {
            word.arg: ast.literal_eval(word.value) for word in call.keywords if word.arg == "supports_check_mode"
        } == {"supports_check_mode": True}
