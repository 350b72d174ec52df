"""For every scenario's tests: its hosts over SSH, each with its place in the inventory; a run without a test fails."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import testinfra

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE / "shared/testing"))
from site_hosts import Place  # noqa: E402  the library is no package


@cache
def listed() -> dict[str, Any]:
    """Return the scenario's inventory as Ansible lists it."""
    folder = Path(os.environ["MOLECULE_SCENARIO_DIRECTORY"]) / "inventory"
    environment = os.environ | {"ANSIBLE_CONFIG": str(HERE.parent / "ansible.cfg")}
    command = ["ansible-inventory", "-i", str(folder), "--list"]
    done = subprocess.run(command, env=environment, capture_output=True, check=True)
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def hostvars() -> dict[str, dict[str, Any]]:
    """Return the variables of each host."""
    found: dict[str, dict[str, Any]] = listed()["_meta"]["hostvars"]
    return found


def places() -> dict[str, Place]:
    """Return each host of the scenario below the group canopsis, by name."""
    found = listed()
    groups = {name: set(found.get(name, {}).get("hosts", [])) for name in found["canopsis"]["children"]}
    names = sorted(set().union(*groups.values()))
    return {name: Place(name, groups, hostvars()[name]) for name in names}


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run a test that asks for a place once on each host."""
    if "place" in metafunc.fixturenames:
        found = places()
        metafunc.parametrize("place", found.values(), ids=found)


def login(variables: dict[str, Any]) -> Any:  # noqa: ANN401  testinfra's hosts have no type
    """Return a host as testinfra's, logged in as root."""
    url = f"ssh://root@{variables['ansible_host']}:{variables['ansible_port']}"
    key = variables["ansible_ssh_private_key_file"]
    return testinfra.get_host(url, ssh_identity_file=key, ssh_extra_args=variables["ansible_ssh_common_args"])


@pytest.fixture
def host(place: Place) -> Any:  # noqa: ANN401  testinfra's hosts have no type
    """Return the host of ``place``."""
    return login(place.variables)


@pytest.fixture
def hosts() -> dict[str, Any]:
    """Return all hosts of the scenario by name, the spare ones too."""
    return {name: login(variables) for name, variables in hostvars().items()}


@pytest.fixture
def inits() -> dict[str, int]:
    """Return the first process of each host as this machine sees it, by name."""
    return {name: variables["test_pid"] for name, variables in hostvars().items()}


@pytest.fixture
def secrets() -> dict[str, Any]:
    """Return the variables of a host, all secrets of the site among them."""
    return next(iter(hostvars().values()))


@pytest.fixture
def secret(secrets: dict[str, Any]) -> str:
    """Return the password of the databases' administrator."""
    return str(secrets["mongodb_admin_password"])


def pytest_collection_finish(session: pytest.Session) -> None:
    """Refuse a scenario that tests nothing."""
    if not session.items:
        raise pytest.UsageError("no test was collected: a scenario that tests nothing is a failure")
