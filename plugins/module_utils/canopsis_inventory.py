"""Whether an inventory describes a site: pure rules over its groups and variables."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from typing import Any

from ansible.module_utils.canopsis_capacity import Finding
from ansible.module_utils.canopsis_endpoint import parse

TIERS = ("mongodb", "rabbitmq", "engines", "webserver", "collectd")
ALIASES = {"mongo": "mongodb", "rabbit": "rabbitmq", "amqp": "rabbitmq", "web": "webserver", "api": "webserver"}
OWN_GROUPS = ("all", "ungrouped", "canopsis", *TIERS)

SITE = {
    "canopsis_user": "str",
    "canopsis_prefix": "path",
    "canopsis_address": "str",
    "canopsis_listen": "str",
    "canopsis_zone": "str",
    "canopsis_web_port": "int",
    "canopsis_amqp_port": "int",
    "canopsis_mongodb_port": "int",
    "canopsis_port_base": "int",
    "canopsis_from": "str",
    "canopsis_bundle": "str",
    "canopsis_tls": "bool",
    "canopsis_amqp_url": "str",
    "canopsis_mongodb_url": "str",
    "canopsis_secrets": "dict",
    "canopsis_unmade": "str",
    "canopsis_target": "str",
    "canopsis_target_dead": "bool",
    "canopsis_purge_data": "bool",
    "canopsis_confirm_uninstall": "str",
    "canopsis_confirm_recover": "str",
}
"""Variables that belong to no role: type by name."""

SAME = (
    "canopsis_prefix",
    "canopsis_user",
    "canopsis_web_port",
    "canopsis_amqp_port",
    "canopsis_mongodb_port",
    "canopsis_tls",
    "canopsis_amqp_url",
    "canopsis_mongodb_url",
    "mongodb_replica_set",
    "rabbitmq_cluster_name",
    "rabbitmq_epmd_port",
    "rabbitmq_dist_port",
    "rabbitmq_ha_mode",
    "engines_partitions",
    "engines_chain",
)
"""What every host has to say alike, beside the secrets."""

URLS = {"rabbitmq": ("canopsis_amqp_url", "amqp"), "mongodb": ("canopsis_mongodb_url", "mongodb")}
USERS = ("engines", "webserver", "collectd")
WORDS = ("true", "false", "yes", "no", "on", "off")
LOOPBACK = re.compile(r"^(localhost|127\..*|::1|0\.0\.0\.0|::)$")
LOWEST_PORT, HIGHEST_PORT = 1024, 65535
CLOSE = 0.75
PAIR = 2


@dataclass(frozen=True)
class Option:
    """What a variable may be. ``secret`` values are compared and never shown."""

    type: str
    choices: tuple[str, ...] = ()
    secret: bool = False


@dataclass(frozen=True)
class Inventory:
    """Groups, and the variables of each host that are ours by name; ``options`` says what each may be.

    ``broken`` are variables of a host that cannot be computed, with the reason.
    """

    groups: Mapping[str, list[str]]
    variables: Mapping[str, Mapping[str, Any]]
    options: Mapping[str, Option]
    broken: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    even: bool = False

    @property
    def hosts(self) -> list[str]:
        """The hosts of the site."""
        return list(self.groups.get("canopsis", []))

    def of(self, host: str) -> Mapping[str, Any]:
        """Return the variables of ``host``."""
        return self.variables.get(host, {})

    def members(self, group: str) -> list[str]:
        """Return the hosts of ``group``."""
        return list(self.groups.get(group, []))


def options_of(specs: Iterable[Mapping[str, Any]]) -> dict[str, Option]:
    """Return the options of all roles by name, from their argument_specs, with those of the site."""
    found = {name: Option(kind) for name, kind in SITE.items()}
    for spec in specs:
        for entry in spec["argument_specs"].values():
            for name, said in entry["options"].items():
                choices = tuple(str(choice) for choice in said.get("choices", ()))
                found[name] = Option(said["type"], choices, bool(said.get("no_log")))
    return found


def prefixes(options: Iterable[str]) -> tuple[str, ...]:
    """Return the beginnings of names that are ours."""
    return tuple(sorted({f"{name.split('_')[0]}_" for name in options}))


def is_ours(name: str, options: Mapping[str, Option]) -> bool:
    """Whether a variable is one of ours, or may have been meant to be."""
    return name.startswith(prefixes(options)) or bool(get_close_matches(name, options, 1, 0.85))


def check(inventory: Inventory) -> list[Finding]:
    """Return everything that is wrong with ``inventory``."""
    return [finding for rule in RULES for finding in rule(inventory)]


def _nearest(name: str, known: Iterable[str]) -> str:
    close = get_close_matches(name, list(known), 1, CLOSE)
    return close[0] if close else ""


def _groups(inventory: Inventory) -> Iterator[Finding]:
    """A group whose name is nearly ours was meant to be ours; any other is the operator's own."""
    for group in inventory.groups:
        meant = ALIASES.get(group) or _nearest(group, (*TIERS, "canopsis"))
        if group not in OWN_GROUPS and meant:
            yield Finding("inventory", "group", f"unknown group {group}", f"did you mean {meant}?", f"group {group}")


def _places(inventory: Inventory) -> Iterator[Finding]:
    in_tier = {host for tier in TIERS for host in inventory.members(tier)}
    for host in inventory.hosts:
        if host not in in_tier:
            yield Finding(host, "group", "in canopsis and in no tier", f"one of {', '.join(TIERS)}", "group canopsis")
    for host in sorted(in_tier - set(inventory.hosts)):
        yield Finding(host, "group", "in a tier and not in canopsis", "tiers as children of canopsis", "group canopsis")


def _names(inventory: Inventory) -> Iterator[Finding]:
    """Names that nobody reads: each once, at the first host that has it."""
    seen: set[str] = set()
    for host in inventory.hosts:
        for name in sorted(set(inventory.of(host)) | set(inventory.broken.get(host, {}))):
            if name not in (*inventory.options, "ansible_host", *seen):
                seen.add(name)
                yield _unknown(host, name, inventory.options)


def _unknown(host: str, name: str, options: Mapping[str, Option]) -> Finding:
    meant = _nearest(name, options)
    if meant:
        return Finding(host, "variable", f"unknown variable {name}", f"did you mean {meant}?", name)
    found = f"{name} is read by nobody"
    return Finding(host, "variable", found, "a name that does not begin like ours", name, "warning")


def _broken(inventory: Inventory) -> Iterator[Finding]:
    for host, broken in inventory.broken.items():
        for name, why in broken.items():
            yield Finding(host, "variable", f"cannot be computed: {why}", "a value", name)


def _types(inventory: Inventory) -> Iterator[Finding]:
    for host in inventory.hosts:
        for name, value in inventory.of(host).items():
            option = inventory.options.get(name)
            wanted = _refusal(value, option, name) if option else ""
            if option and wanted:
                found = "another value" if option.secret else f"{value!r}"
                yield Finding(host, "variable", found, wanted, name)


def _refusal(value: object, option: Option, name: str) -> str:
    """Return what is allowed when ``value`` is not, or an empty text."""
    if not TYPES[option.type](value):
        return MEANT[option.type]
    if option.choices and str(value) not in option.choices:
        return f"one of {', '.join(option.choices)}"
    # A role may call a dictionary of ports so too.
    if name.endswith("_port") and option.type == "int" and not LOWEST_PORT <= int(str(value)) <= HIGHEST_PORT:
        return f"a port from {LOWEST_PORT} to {HIGHEST_PORT}: nothing runs as root"
    if option.type == "path" and not re.match(r"/[^\s%]+$", str(value)):
        return "an absolute path without blanks"
    return ""


def _is_number(value: object) -> bool:
    return not isinstance(value, bool) and re.fullmatch(r"-?\d+(\.\d+)?", str(value)) is not None


TYPES: dict[str, Callable[[object], bool]] = {
    "bool": lambda value: isinstance(value, bool) or str(value).lower() in WORDS,
    "int": lambda value: _is_number(value) and "." not in str(value),
    "float": _is_number,
    "list": lambda value: isinstance(value, list),
    "dict": lambda value: isinstance(value, dict),
    "str": lambda value: isinstance(value, str | int | float) and not isinstance(value, bool),
    "path": lambda value: isinstance(value, str),
    "raw": lambda _: True,
}
MEANT = {
    "bool": "true or false",
    "int": "a whole number",
    "float": "a number",
    "list": "a list",
    "dict": "a dictionary",
    "str": "a text",
    "path": "an absolute path without blanks",
}


def address_of(host: str, known: Mapping[str, Any]) -> str:
    """Return the address by which the other hosts reach ``host``."""
    return str(known.get("canopsis_address") or known.get("ansible_host") or host)


def node_host_of(host: str, known: Mapping[str, Any]) -> str:
    """Return the host part of the broker's node name: canopsis_address where that is a name, else its short name."""
    address = str(known.get("canopsis_address") or "")
    by_name = address if re.search(r"[A-Za-z]", address) and ":" not in address else host.split(".", maxsplit=1)[0]
    return str(known.get("rabbitmq_nodename") or f"rabbit@{by_name}").rpartition("@")[2]


def _addresses(inventory: Inventory) -> Iterator[Finding]:
    addresses = {host: address_of(host, inventory.of(host)) for host in inventory.hosts}
    for host, address in addresses.items():
        others = [other for other in addresses if other != host and addresses[other] == address]
        if others:
            found = f"{address}, as {', '.join(others)}"
            yield Finding(host, "address", found, "an address of its own", "canopsis_address")
        elif len(addresses) > 1 and LOOPBACK.match(address):
            yield Finding(host, "address", address, "an address that other hosts reach", "canopsis_address")


def _nodes(inventory: Inventory) -> Iterator[Finding]:
    names = {host: node_host_of(host, inventory.of(host)) for host in inventory.members("rabbitmq")}
    for host, name in names.items():
        if Counter(names.values())[name] > 1:
            yield Finding(host, "node name", f"{name}, as another broker's", "one of its own", "rabbitmq_nodename")


def _ports(inventory: Inventory) -> Iterator[Finding]:
    """Two services of a host on one port."""
    for host in inventory.hosts:
        ports: dict[str, list[str]] = {}
        for name, value in inventory.of(host).items():
            if name.endswith("_port") and name in inventory.options and inventory.options[name].type == "int":
                ports.setdefault(str(value), []).append(name)
        for port, names in ports.items():
            if len(names) > 1:
                yield Finding(host, "port", f"{port} for {' and '.join(names)}", "a port each", names[-1])


def _tiers(inventory: Inventory) -> Iterator[Finding]:
    if inventory.members("webserver") and not inventory.members("engines"):
        found = "webserver without engines"
        yield Finding(
            "inventory", "tiers", found, "a host in group engines: nobody works on the events", "group engines"
        )
    users = [tier for tier in USERS if inventory.members(tier)]
    for group, (variable, kind) in URLS.items():
        if kind == "amqp" or set(users) - {"collectd"}:
            yield from _cluster(inventory, group, variable, kind, users)


def _cluster(inventory: Inventory, group: str, variable: str, kind: str, users: list[str]) -> Iterator[Finding]:
    """Exactly one of our own cluster and somebody else's."""
    url = next((str(inventory.of(host)[variable]) for host in inventory.hosts if inventory.of(host).get(variable)), "")
    members = inventory.members(group)
    if url and members:
        yield Finding("inventory", "tiers", f"hosts in group {group} and {variable}", "one of the two", variable)
    elif users and not url and not members:
        needed = f"hosts in group {group}, or {variable}"
        yield Finding("inventory", "tiers", f"no {group}, which {', '.join(users)} need", needed, f"group {group}")
    elif url:
        yield from _url(url, variable, kind, "collectd" in users)


def _url(url: str, variable: str, kind: str, measured: bool) -> Iterator[Finding]:
    try:
        hosts = parse(url, kind)["hosts"]
    except ValueError as error:
        yield Finding("inventory", "URL", f"it {error}", f"{kind}://host:port,host:port/name", variable)
        return
    ports = sorted({host.rpartition(":")[2] for host in hosts})
    if kind == "amqp" and measured and len(ports) > 1:
        yield Finding(
            "inventory", "URL", ", ".join(ports), "one port for all brokers: collectd knows but one", variable
        )


def _counts(inventory: Inventory) -> Iterator[Finding]:
    """A pair is worse than one host; four are no better than three."""
    for group in ("mongodb", "rabbitmq"):
        count = len(inventory.members(group))
        if count and count % 2 == 0 and not inventory.even:
            level = "error" if count == PAIR else "warning"
            needed = "an odd number: half of them cannot go on alone"
            yield Finding("inventory", f"members of {group}", str(count), needed, f"group {group}", level)


def _same(inventory: Inventory) -> Iterator[Finding]:
    """What differs between hosts and must not."""
    secrets = [name for name, option in inventory.options.items() if option.secret]
    for name in (*SAME, *secrets):
        by_value: dict[str, list[str]] = {}
        for host in inventory.hosts:
            if name in inventory.of(host):
                by_value.setdefault(str(inventory.of(host)[name]), []).append(host)
        if len(by_value) > 1:
            found = " / ".join(", ".join(hosts) for hosts in by_value.values())
            yield Finding("inventory", "variable", f"differs between {found}", "one value for all hosts", name)


def _chain(inventory: Inventory) -> Iterator[Finding]:
    chains = (inventory.of(host).get("engines_chain") for host in inventory.members("engines"))
    chain = next((chain for chain in chains if isinstance(chain, list)), [])
    entries = [entry for entry in chain if isinstance(entry, dict)]
    names = [str(entry.get("name", "")) for entry in entries]
    for wrong, needed in (*_links(entries, names), *_engines(entries, names)):
        yield Finding("inventory", "engines", wrong, needed, "engines_chain")


def _links(entries: list[dict[str, Any]], names: list[str]) -> Iterator[tuple[str, str]]:
    for entry in entries:
        for target in entry.get("next", []):
            if target not in names:
                nearest = _nearest(str(target), names)
                yield f"{entry.get('name')} is followed by {target}, which is not there", nearest or "an engine"


def _engines(entries: list[dict[str, Any]], names: list[str]) -> Iterator[tuple[str, str]]:
    for name, count in Counter(names).items():
        if count > 1:
            yield f"{name} stands {count} times", "once"
    for entry in entries:
        if not str(entry.get("instances", 1)).isdecimal() or int(entry.get("instances", 1)) < 1:
            yield f"instances of {entry.get('name')}: {entry['instances']!r}", "a whole number from 1"


def _who(inventory: Inventory) -> Iterator[Finding]:
    for host in inventory.hosts:
        if inventory.of(host).get("canopsis_user") == "root":
            yield Finding(host, "user", "root", "an ordinary user", "canopsis_user")


RULES = (
    _groups,
    _places,
    _names,
    _broken,
    _types,
    _addresses,
    _nodes,
    _ports,
    _tiers,
    _counts,
    _same,
    _chain,
    _who,
)
