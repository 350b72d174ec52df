"""The inventories that we ship are sound, as Ansible reads them; a copy that is broken is not."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from ansible.inventory.manager import InventoryManager
from ansible.parsing.dataloader import DataLoader
from ansible.vars.hostvars import HostVars
from ansible.vars.manager import VariableManager

ROOT = Path(__file__).resolve().parents[3]
SAMPLES = sorted(path.name for path in (ROOT / "inventories").iterdir() if (path / "hosts.yml").is_file())
TIERS = ("mongodb", "rabbitmq", "engines", "webserver", "collectd")
Filters = dict[str, Callable[..., Any]]


def read(*sources: Path) -> tuple[dict[str, list[str]], HostVars]:
    """Return groups and variables of an inventory."""
    loader = DataLoader()
    loader.set_basedir(str(ROOT))
    inventory = InventoryManager(loader, [str(source) for source in sources])
    variables = VariableManager(loader, inventory)
    return inventory.get_groups_dict(), HostVars(inventory, variables, loader)


def written(folder: Path, hosts: int, **variables: Any) -> Path:
    """Write an inventory with every tier on some hosts; return its file."""
    names = "".join(f"        n{number}:\n" for number in range(1, hosts + 1))
    tiers = "".join(f"    {tier}:\n      hosts:\n{names}" for tier in TIERS)
    lines = "".join(f"    {name}: {value}\n" for name, value in variables.items())
    path = folder / "hosts.yml"
    path.write_text(f"canopsis:\n  vars:\n    canopsis_user: canopsis\n{lines}  children:\n{tiers}")
    return path


@pytest.mark.parametrize("name", SAMPLES)
def test_our_inventories_are_sound(filters: Filters, name: str) -> None:
    groups, hostvars = read(ROOT / "inventories" / name)
    assert groups["canopsis"]
    warned = ["version of mongodb"] if len(groups["canopsis"]) > 1 else []
    assert [row["check"] for row in filters["canopsis_inventory_findings"](groups, hostvars, False)] == warned


def test_what_the_local_inventory_looks_up_is_computed() -> None:
    _, hostvars = read(ROOT / "inventories" / "local")
    known = hostvars["localhost"]
    assert known["rabbitmq_tools_port"] == known["canopsis_web_port"] + 10


def test_there_are_samples() -> None:
    assert {"local", "small", "large"} <= set(SAMPLES)


@pytest.mark.parametrize(
    ("variables", "found"),
    [
        ({}, []),
        ({"canopsis_web_port": "'{{ 9000 + 82 }}'"}, []),
        ({"canopsis_web_port": "'{{ 90000 }}'"}, ["canopsis_web_port"]),
        ({"webserver_debug": "sometimes"}, ["webserver_debug"]),
        ({"webserver_thread": 4}, ["webserver_thread"]),
        ({"mongodb_admin_password": "'{{ vault_not_there }}'"}, []),
        ({"canopsis_prefix": "'{{ 1 // 0 }}'"}, ["canopsis_prefix"]),
    ],
)
def test_values_are_looked_at_as_ansible_computes_them(
    filters: Filters, tmp_path: Path, variables: dict[str, Any], found: list[str]
) -> None:
    groups, hostvars = read(written(tmp_path, 1, **variables))
    rows = filters["canopsis_inventory_findings"](groups, hostvars, False)
    assert [row["variable"] for row in rows] == found


def test_a_secret_that_refers_to_nothing_is_missing(filters: Filters, tmp_path: Path) -> None:
    _, hostvars = read(written(tmp_path, 1, mongodb_admin_password="'{{ vault_not_there }}'"))
    rows = filters["canopsis_secret_findings"]("n1", ["mongodb_admin_password", "mongodb_keyfile"], hostvars["n1"])
    assert [row["variable"] for row in rows] == ["mongodb_admin_password", "mongodb_keyfile"]


@pytest.mark.parametrize(("hosts", "levels"), [(1, []), (2, ["error", "error"]), (3, []), (4, ["warning", "warning"])])
def test_how_many_hosts_form_clusters(filters: Filters, tmp_path: Path, hosts: int, levels: list[str]) -> None:
    groups, hostvars = read(written(tmp_path, hosts, mongodb_source="system"))
    assert [row["level"] for row in filters["canopsis_inventory_findings"](groups, hostvars, False)] == levels
