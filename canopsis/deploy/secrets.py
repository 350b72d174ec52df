"""The secrets of a site against what its roles declare: which are missing, which nobody knows; new ones are made."""

from __future__ import annotations

import importlib.util
import json
import os
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol, cast

from canopsis.deploy.folder import SECRETS
from canopsis.deploy.home import Site, ask
from canopsis.deploy.vault import MODE, Vault, is_open, is_vaulted
from canopsis.errors import InputError, SiteError

GENERATES = "environment_secrets_generate"
"""A host with this variable makes its own secrets (the local site)."""


class Planner(Protocol):
    """``plugins/module_utils/canopsis_secrets.py``, which Ansible's own module uses too."""

    def needed(self, groups: Iterable[str], amqp_url: str, mongodb_url: str) -> dict[str, str]: ...
    def parse(self, text: str) -> dict[str, str]: ...
    def render(self, secrets: Mapping[str, str]) -> str: ...
    def complete(
        self, secrets: Mapping[str, str], wanted: Mapping[str, str], random: Callable[[int], bytes]
    ) -> dict[str, str]: ...


def load_planner(home: Path) -> Planner:
    """Return the planner of the plugins; Ansible puts them in no package, so it is loaded by its path."""
    path = home / "plugins" / "module_utils" / "canopsis_secrets.py"
    spec = importlib.util.spec_from_file_location("canopsis_secrets", path)
    if spec is None or spec.loader is None:
        raise SiteError(f"{path} is missing: install Canopsis again")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return cast("Planner", module)


@dataclass(frozen=True, slots=True)
class Inventory:
    """What ``ansible-inventory`` says: the variables of each host, and its groups."""

    variables: Mapping[str, Mapping[str, Any]]
    groups: Mapping[str, frozenset[str]]

    @classmethod
    def read(cls, vault: Vault, path: Path) -> Inventory:
        """Return the inventory at ``path``. Raises SiteError when Ansible cannot read it or it has no host."""
        text = ask(vault.site, "ansible-inventory", ["--inventory", str(path), "--list", *vault.options])
        data = json.loads(text)
        hosts: dict[str, set[str]] = {}
        for group, content in data.items():
            for host in content.get("hosts", []) if group != "_meta" else ():
                hosts.setdefault(host, set()).add(group)
        if not hosts:
            raise SiteError(f"{path} has no host: add yours under its groups")
        known = data["_meta"]["hostvars"]
        return cls(
            {host: known.get(host, {}) for host in hosts}, {host: frozenset(found) for host, found in hosts.items()}
        )

    def hosts(self) -> list[str]:
        """Return the hosts that need secrets from the inventory."""
        return sorted(host for host in self.groups if self.variables[host].get(GENERATES) is not True)


@dataclass(frozen=True, slots=True)
class Specs:
    """The options of the roles: by role those that are secret and have no default, and the names of all."""

    secrets: Mapping[str, frozenset[str]]
    options: frozenset[str]

    @classmethod
    def read(cls, site: Site, home: Path) -> Specs:
        """Return what the ``argument_specs`` of all roles in ``home`` declare."""
        roles = sorted(path.name for path in (home / "roles").iterdir() if path.is_dir())
        data = json.loads(
            ask(site, "ansible-doc", ["--type", "role", "--json", "--roles-path", str(home / "roles"), *roles])
        )
        options = {role: data[role]["entry_points"]["main"]["options"] for role in roles}
        secrets = {
            role: frozenset(name for name, option in found.items() if _is_secret(option))
            - defaults_of(home / "roles" / role)
            for role, found in options.items()
        }
        return cls(secrets, frozenset(name for found in options.values() for name in found))


def _is_secret(option: Mapping[str, object]) -> bool:
    return bool(option.get("no_log") and option.get("required"))


def defaults_of(role: Path) -> frozenset[str]:
    """Return the names that a role has defaults for."""
    path = role / "defaults" / "main.yml"
    return frozenset(re.findall(r"(?m)^([a-z_0-9]+):", path.read_text(encoding="utf-8")) if path.exists() else ())


@dataclass(frozen=True, slots=True)
class Report:
    """How the secrets are. ``missing``: hosts by name; ``unknown``: names in the file that no role declares."""

    file: Path
    vaulted: bool
    missing: dict[str, list[str]] = field(default_factory=dict)
    unknown: list[str] = field(default_factory=list)
    open_to_others: bool = False
    own: bool = False

    @property
    def ok(self) -> bool:
        """Whether a deployment can use them."""
        return not (self.missing or self.unknown or self.open_to_others)


@dataclass(frozen=True, slots=True)
class Secrets:
    """The secrets of the inventory at ``path``."""

    home: Path
    vault: Vault
    path: Path

    @property
    def file(self) -> Path:
        """Where ``init`` writes them."""
        return (self.path if self.path.is_dir() else self.path.parent) / SECRETS

    def check(self) -> Report:
        """Return the report. Raises SiteError when the inventory or the file cannot be read."""
        inventory, specs = self._inventory(), Specs.read(self.vault.site, self.home)
        if not inventory.hosts():
            return Report(self.file, is_vaulted(self.file), own=True)
        planner = load_planner(self.home)
        unknown = sorted(name for name in self._parse(planner) if name not in specs.options)
        return Report(self.file, is_vaulted(self.file), missing(planner, specs, inventory), unknown, is_open(self.file))

    def init(self) -> list[str]:
        """Make what is missing, keep what is there, return the names that were made.

        Raises SiteError when the inventory or the file cannot be read, or a role declares what cannot be made.
        """
        inventory, specs = self._inventory(), Specs.read(self.vault.site, self.home)
        if not inventory.hosts():
            return []
        planner = load_planner(self.home)
        names = sorted(missing(planner, specs, inventory))
        kinds = planner.needed(specs.secrets, "", "")
        foreign = [name for name in names if name not in kinds]
        if foreign:
            raise SiteError(f"{', '.join(foreign)}: given by you, not made here; add it to {self.file} first")
        if names:
            wanted = {name: kinds[name] for name in names}
            self.vault.write(self.file, planner.render(planner.complete(self._parse(planner), wanted, os.urandom)))
        elif is_open(self.file):
            self.file.chmod(MODE)
        return names

    def _inventory(self) -> Inventory:
        if not self.path.exists():
            raise InputError("--inventory", str(self.path), "an inventory: a file, or a folder with hosts.yml")
        return Inventory.read(self.vault, self.path)

    def _parse(self, planner: Planner) -> dict[str, str]:
        try:
            return planner.parse(self.vault.read(self.file))
        except ValueError as error:
            raise SiteError(f"{self.file}: {error}") from error


def missing(planner: Planner, specs: Specs, inventory: Inventory) -> dict[str, list[str]]:
    """Return, by name, the hosts that need a secret and have no value for it."""
    found: dict[str, list[str]] = {}
    for host in inventory.hosts():
        groups, variables = inventory.groups[host], inventory.variables[host]
        urls = [str(variables.get(f"canopsis_{kind}_url") or "") for kind in ("amqp", "mongodb")]
        theirs = set(planner.needed(groups, "", "")) - set(planner.needed(groups, *urls))
        declared = frozenset[str]().union(*(specs.secrets.get(group, frozenset()) for group in groups))
        for name in sorted((declared | set(planner.needed(groups, *urls))) - theirs):
            if not variables.get(name):
                found.setdefault(name, []).append(host)
    return dict(sorted(found.items()))
