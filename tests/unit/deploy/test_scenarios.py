"""The scenarios of molecule/: each tests something, each role has one, hosts get the release that is asked for."""

from __future__ import annotations

import ast
import importlib.util
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[3]
MOLECULE = ROOT / "molecule"
SCENARIOS = sorted(path.parent for path in MOLECULE.glob("*/molecule.yml"))


def collected_in(folder: Path) -> list[str]:
    """Return the names of the test functions in the test files of ``folder``."""
    trees = [ast.parse(path.read_text()) for path in sorted(folder.glob("test_*.py"))]
    functions = (node for tree in trees for node in tree.body if isinstance(node, ast.FunctionDef))
    return [node.name for node in functions if node.name.startswith("test_")]


@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda path: path.name)
def test_a_scenario_verifies_and_has_tests_to_verify_with(scenario: Path) -> None:
    sequence = yaml.safe_load((scenario / "molecule.yml").read_text())["scenario"]["test_sequence"]
    assert sequence[0] == sequence[-1] == "destroy"
    assert "verify" in sequence
    assert collected_in(scenario / "tests"), "molecule passes over a scenario without tests"


@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda path: path.name)
def test_a_scenario_has_hosts_and_the_variables_of_test_hosts(scenario: Path) -> None:
    inventory = yaml.safe_load((scenario / "inventory/hosts.yml").read_text())
    assert making().hosts_of(inventory)
    variables = yaml.safe_load((scenario / "inventory/group_vars/canopsis/main.yml").read_text())
    assert variables["canopsis_prefix"] == "/opt/canopsis"


def test_every_role_has_a_scenario_of_its_own() -> None:
    roles = {path.name for path in (ROOT / "roles").iterdir() if path.is_dir()}
    names = {scenario.name.removeprefix("role-") for scenario in SCENARIOS}
    assert roles - names == set()


@pytest.mark.parametrize(
    "scenario", [path for path in SCENARIOS if path.name.startswith("role-")], ids=lambda p: p.name
)
def test_a_scenario_of_a_role_deploys_it_and_has_tests_about_it(scenario: Path) -> None:
    role = scenario.name.removeprefix("role-")
    playbooks = "".join(path.read_text() for path in sorted(scenario.glob("*.yml")))
    assert f"- {role}\n" in playbooks or f"name: {role}\n" in playbooks
    own = [name for name in collected_in(scenario / "tests") if name != "test_a_second_run_changed_nothing"]
    assert own, "nothing but the shared test"


# --- hosts.py -----------------------------------------------------------------------------------


def making() -> ModuleType:
    """Return molecule/shared/hosts.py as a module."""
    spec = importlib.util.spec_from_file_location("scenario_hosts", MOLECULE / "shared/hosts.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def inventory(common: str = "", **hosts: dict[str, Any] | None) -> dict[str, Any]:
    """Return an inventory with ``hosts`` in one tier, and the release of all."""
    variables = {"vars": {"test_release": common}} if common else {}
    return {"canopsis": {"children": {"mongodb": {"hosts": hosts}}, **variables}}


@pytest.mark.parametrize(
    ("given", "releases"),
    [
        (inventory(a=None), {"a": "bookworm"}),
        (inventory("trixie", a=None, b={}), {"a": "trixie", "b": "trixie"}),
        (inventory(a=None, b={"test_release": "trixie"}), {"a": "bookworm", "b": "trixie"}),
        (inventory("trixie", a={"test_release": "bookworm"}, b=None), {"a": "bookworm", "b": "trixie"}),
    ],
)
def test_a_host_has_its_own_release_else_that_of_all(given: dict[str, Any], releases: dict[str, str]) -> None:
    assert making().releases_of(given) == releases


def test_what_any_group_says_of_a_host_counts_and_spare_hosts_are_hosts() -> None:
    given = inventory(a=None) | {"spare": {"hosts": {"z": None}}}
    given["canopsis"]["children"]["engines"] = {"hosts": {"a": {"test_release": "trixie"}, "b": None}}
    assert making().releases_of(given) == {"a": "trixie", "b": "bookworm", "z": "bookworm"}


@pytest.mark.parametrize("name", ["CANOPSIS_TEST_IMAGE", "CANOPSIS_TEST_BUNDLE"])
def test_one_image_is_not_given_to_hosts_of_two_releases(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    for each in ("CANOPSIS_TEST_IMAGE", "CANOPSIS_TEST_BUNDLE"):
        monkeypatch.delenv(each, raising=False)
    hosts = making()
    hosts.refuse_one_for_all({"bookworm", "trixie"})
    monkeypatch.setenv(name, "anything")
    hosts.refuse_one_for_all({"trixie"})
    with pytest.raises(hosts.UnableError, match=f"bookworm and trixie: unset {name}"):
        hosts.refuse_one_for_all({"bookworm", "trixie"})
