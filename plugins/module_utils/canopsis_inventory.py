"""Whether an inventory describes a site: pure rules over its groups and variables."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from typing import Any

from ansible.module_utils.canopsis_capacity import Finding
from ansible.module_utils.canopsis_chain import changed, wrong_chain, wrong_instances, wrong_settings
from ansible.module_utils.canopsis_endpoint import parse
from ansible.module_utils.canopsis_types_db import wrong_types
from ansible.module_utils.canopsis_values import Option, is_address, refusal

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
    "engines_own",
    "engines_settings",
    "collectd_types_db",
)
"""What every host has to say alike, beside the secrets."""

URLS = {"rabbitmq": ("canopsis_amqp_url", "amqp"), "mongodb": ("canopsis_mongodb_url", "mongodb")}
PORTS = {
    "mongodb": {"canopsis_mongodb_port": 27017},
    "rabbitmq": {
        "canopsis_amqp_port": 5672,
        "rabbitmq_dist_port": 25672,
        "rabbitmq_epmd_port": 4369,
        "rabbitmq_management_port": 15672,
        "rabbitmq_prometheus_port": 15692,
    },
    "webserver": {"canopsis_web_port": 8082},
}
"""Ports that a host of each group listens on, as the roles have them when the inventory says nothing."""
SHADOWS = {
    "mongodb_port": "canopsis_mongodb_port",
    "rabbitmq_port": "canopsis_amqp_port",
    "webserver_port": "canopsis_web_port",
    "environment_user": "canopsis_user",
    "supervisor_user": "canopsis_user",
    **{f"{role}_prefix": "canopsis_prefix" for role in (*TIERS, "environment", "preflight", "supervisor", "tls")},
}
"""Variables of a role that others take from the site's, by the variable of the site that sets all of them."""
GENERATES = "environment_secrets_generate"
LISTENS = {"mongodb": "mongodb_listen", "rabbitmq": "rabbitmq_listen"}
TOLD = ("ansible_host", "ansible_connection")
"""Variables of Ansible's own that tell how a host is reached."""

BROUGHT_MONGODB = "6.0.5"
"""What the package brings."""
ENDED = {"6.0": "July 2025"}
"""Series of MongoDB that get no security updates any more, and since when."""

USERS = ("engines", "webserver", "collectd")
LOOPBACK = re.compile(r"^(localhost|127\..*|::1|0\.0\.0\.0|::)$")
CLOSE = 0.75
PAIR = 2


@dataclass(frozen=True)
class Inventory:
    """Groups, and the variables of each host that are ours by name; ``options`` says what each may be.

    ``broken`` are variables of a host that cannot be computed, with the reason; ``chain`` is that of a host that gives
    none; ``absent`` are bundles and folders of own packages that the controller does not find.
    """

    groups: Mapping[str, list[str]]
    variables: Mapping[str, Mapping[str, Any]]
    options: Mapping[str, Option]
    broken: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    even: bool = False
    chain: list[dict[str, Any]] = field(default_factory=list)
    absent: frozenset[str] = frozenset()

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
    # A URL holds a password.
    found = {name: Option(kind, secret=name.endswith("_url")) for name, kind in SITE.items()}
    for spec in specs:
        for entry in spec["argument_specs"].values():
            for name, said in entry["options"].items():
                found[name] = Option(said["type"], _choices(said), bool(said.get("no_log")))
    return found


def _choices(said: Mapping[str, Any]) -> tuple[str, ...]:
    return tuple(str(choice) for choice in said.get("choices", ()))


def prefixes(options: Iterable[str]) -> tuple[str, ...]:
    """Return the beginnings of names that are ours."""
    return tuple(sorted({f"{name.split('_')[0]}_" for name in options}))


def is_ours(name: str, options: Mapping[str, Option]) -> bool:
    """Whether a variable is one of ours, or may have been meant to be."""
    return name.startswith(prefixes(options)) or bool(get_close_matches(name, options, 1, 0.85))


def check(inventory: Inventory) -> list[Finding]:
    """Return everything that is wrong with ``inventory``."""
    return list(dict.fromkeys(finding for rule in RULES for finding in rule(inventory)))


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
            if name not in (*inventory.options, *TOLD, *seen):
                seen.add(name)
                yield _unknown(host, name, inventory.options)


def _unknown(host: str, name: str, options: Mapping[str, Option]) -> Finding:
    meant = _nearest(name, options)
    if meant:
        return Finding(host, "variable", f"unknown variable {name}", f"did you mean {meant}?", name)
    found = f"{name} is not read by any role"
    return Finding(host, "variable", found, "a name that does not begin like ours", name, "warning")


def _broken(inventory: Inventory) -> Iterator[Finding]:
    for host, broken in inventory.broken.items():
        for name, why in broken.items():
            yield Finding(host, "variable", f"cannot be computed: {why}", "a value", name)


def _types(inventory: Inventory) -> Iterator[Finding]:
    for host in inventory.hosts:
        for name, value in inventory.of(host).items():
            option = inventory.options.get(name)
            wanted = refusal(name, value, option) if option else ""
            if option and wanted:
                found = "another value" if option.secret else f"{value!r}"
                yield Finding(host, "variable", found, wanted, name)


def address_of(host: str, known: Mapping[str, Any]) -> str:
    """Return the address by which the other hosts reach ``host``."""
    return str(known.get("canopsis_address") or known.get("ansible_host") or host)


def node_host_of(host: str, known: Mapping[str, Any]) -> str:
    """Return the host part of the broker's node name: canopsis_address where that is a name, else its short name.

    A host that the inventory knows by its address alone keeps that.
    """
    address = str(known.get("canopsis_address") or "")
    is_name = re.search(r"[A-Za-z]", address) and ":" not in address
    by_name = address if is_name else host if _is_bare(host) else host.split(".", maxsplit=1)[0]
    return str(known.get("rabbitmq_nodename") or f"rabbit@{by_name}").rpartition("@")[2]


def _is_bare(host: str) -> bool:
    """Whether the name of a host is an IPv4 address."""
    return re.fullmatch(r"[\d.]+", host) is not None and is_address(host)


def _addresses(inventory: Inventory) -> Iterator[Finding]:
    addresses = {host: address_of(host, inventory.of(host)) for host in inventory.hosts}
    for host, address in addresses.items():
        others = [other for other in addresses if other != host and addresses[other] == address]
        if others:
            found = f"{address}, as {', '.join(others)}"
            yield Finding(host, "address", found, "an address of its own", "canopsis_address")
        elif len(addresses) > 1 and LOOPBACK.match(address):
            yield Finding(host, "address", address, "an address that other hosts reach", "canopsis_address")
        elif not inventory.of(host).get("canopsis_address") and not is_address(address):
            needed = "a name or an IPv4 address in canopsis_address: the others reach it by that"
            yield Finding(host, "address", address, needed, "canopsis_address")


def _nodes(inventory: Inventory) -> Iterator[Finding]:
    names = {host: node_host_of(host, inventory.of(host)) for host in inventory.members("rabbitmq")}
    for host, name in names.items():
        if Counter(names.values())[name] > 1:
            yield Finding(host, "node name", f"{name}, as another broker's", "one of its own", "rabbitmq_nodename")
        elif _is_bare(name) and str(inventory.of(host).get("canopsis_tls")).lower() in ("true", "yes", "on"):
            needed = f"with canopsis_tls a name that every host resolves, such as NAME: {{ansible_host: {name}}}"
            yield Finding(host, "node name", name, needed, "canopsis_address")
    dotted = sorted(host for host, name in names.items() if "." in name)
    if dotted and len(dotted) < len(names):
        found = f"with dots on {', '.join(dotted)}, without on {', '.join(sorted(set(names) - set(dotted)))}"
        needed = "all with or all without: neither finds the other. Full names or addresses on all hosts"
        yield Finding("inventory", "node names", found, needed, "canopsis_address")


def _ports(inventory: Inventory) -> Iterator[Finding]:
    """Two services of a host on one port, also where only one of the two is given."""
    for host in inventory.hosts:
        ports: dict[str, list[str]] = {}
        for group, defaults in PORTS.items():
            for name, default in defaults.items() if host in inventory.members(group) else ():
                ports.setdefault(str(inventory.of(host).get(name, default)), []).append(name)
        for port, names in ports.items():
            if len(names) > 1:
                yield Finding(host, "port", f"{port} for {' and '.join(names)}", "a port each", names[-1])


def _shadows(inventory: Inventory) -> Iterator[Finding]:
    """A variable of one role, of which the other roles hear nothing."""
    defaults = {name: port for ports in PORTS.values() for name, port in ports.items()}
    for host in inventory.hosts:
        known = {**defaults, **inventory.of(host)}
        for name, site in SHADOWS.items():
            if name in known and str(known[name]) != str(known.get(site, "")):
                needed = f"{site} in its place: other roles read that one"
                yield Finding(host, "variable", f"{name} is {known[name]}", needed, name)


def _listens(inventory: Inventory) -> Iterator[Finding]:
    """A server of a site of many hosts that only its own host reaches."""
    for group, own in LISTENS.items():
        for host in inventory.members(group) if len(inventory.hosts) > 1 else ():
            name = own if own in inventory.of(host) else "canopsis_listen"
            listen = str(inventory.of(host).get(name, ""))
            if all(re.match(r"localhost$|127\.|::1$", each) for each in listen.split(",")):
                needed = f"0.0.0.0, or an address that other hosts reach {group} by"
                yield Finding(host, "listen", f"{group} on {listen}", needed, name)


def _alone(inventory: Inventory) -> Iterator[Finding]:
    """What only a site of one host can have."""
    many = inventory.hosts if len(inventory.hosts) > 1 else []
    local = [host for host in many if inventory.of(host).get("ansible_connection") == "local"]
    if len(local) > 1:
        found = f"{', '.join(local)} are all this machine"
        yield Finding("inventory", "connection", found, "ssh: a host each", "ansible_connection")
    makes = [host for host in many if str(inventory.of(host).get(GENERATES)).lower() in ("true", "yes", "on")]
    if makes:
        needed = "false: `canopsis-deploy secrets init` makes them once for all hosts"
        found = f"each of {len(makes)} hosts makes secrets of its own"
        yield Finding("inventory", "secrets", found, needed, GENERATES)


def _tiers(inventory: Inventory) -> Iterator[Finding]:
    if inventory.members("webserver") and not inventory.members("engines"):
        found = "webserver without engines"
        yield Finding(
            "inventory", "tiers", found, "a host in group engines: without one no event is processed", "group engines"
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
        yield from _url(url, variable, kind, "collectd" in users, len(inventory.hosts) > 1)


def _url(url: str, variable: str, kind: str, measured: bool, many: bool) -> Iterator[Finding]:
    try:
        hosts = parse(url, kind)["hosts"]
    except ValueError as error:
        yield Finding("inventory", "URL", f"it {error}", f"{kind}://host:port,host:port/name", variable)
        return
    near = [host for host in hosts if LOOPBACK.match(host.rpartition(":")[0])]
    if near and many:
        yield Finding("inventory", "URL", ", ".join(near), "a host that every host of the site reaches", variable)
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
    for name in dict.fromkeys((*SAME, *secrets)):
        by_value: dict[str, list[str]] = {}
        for host in inventory.hosts:
            if name in inventory.of(host):
                by_value.setdefault(str(inventory.of(host)[name]), []).append(host)
        if len(by_value) > 1:
            found = " / ".join(", ".join(hosts) for hosts in by_value.values())
            yield Finding("inventory", "variable", f"differs between {found}", "one value for all hosts", name)


def _chain(inventory: Inventory) -> Iterator[Finding]:
    for host in inventory.members("engines"):
        known = inventory.of(host)
        given = known.get("engines_chain", inventory.chain)
        chain = [entry for entry in given if isinstance(entry, dict)] if isinstance(given, list) else []
        settings, instances = (
            dict(found) if isinstance(found := known.get(name, {}), Mapping) else {}
            for name in ("engines_settings", "engines_instances")
        )
        names = {str(entry.get("name")) for entry in inventory.chain} | set(map(str, known.get("engines_own", ())))
        yield from _wrong("engines_settings", wrong_settings(settings, chain))
        yield from _wrong("engines_instances", wrong_instances(instances, chain))
        # What is wrong with a change is told as that.
        if not wrong_settings(settings, chain) and not wrong_instances(instances, chain):
            yield from _wrong("engines_chain", wrong_chain(changed(chain, instances, settings), names))


def _wrong(variable: str, wrong: Iterable[tuple[str, str]]) -> Iterator[Finding]:
    for found, needed in wrong:
        yield Finding("inventory", "engines", found, needed, variable)


def _types_db(inventory: Inventory) -> Iterator[Finding]:
    for host in dict.fromkeys((*inventory.members("engines"), *inventory.members("collectd"))):
        given = inventory.of(host).get("collectd_types_db", [])
        for found, needed in wrong_types(given if isinstance(given, list) else []):
            yield Finding("inventory", "types.db", found, needed, "collectd_types_db")


def _archive(inventory: Inventory) -> Iterator[Finding]:
    for host in inventory.members("mongodb"):
        known = inventory.of(host)
        if known.get("mongodb_source") == "archive" and not known.get("mongodb_archive"):
            needed = "the URL of MongoDB's mongodb-linux-….tgz, or its path on the controller"
            yield Finding(host, "archive", "mongodb_source is archive, and there is none", needed, "mongodb_archive")


def _ended(inventory: Inventory) -> Iterator[Finding]:
    """A site of several hosts on a database whose maker mends nothing in it any more. A trial may."""
    series = BROUGHT_MONGODB.rpartition(".")[0]
    brought = [
        host for host in inventory.members("mongodb") if inventory.of(host).get("mongodb_source", "wheel") == "wheel"
    ]
    if len(inventory.hosts) > 1 and brought and series in ENDED:
        found = f"{BROUGHT_MONGODB}, which comes with Canopsis: no security updates since {ENDED[series]}"
        needed = "a newer MongoDB for production (docs/sizing.md, Versions)"
        yield Finding("inventory", "version of mongodb", found, needed, "mongodb_source", "warning")


def _bundles(inventory: Inventory) -> Iterator[Finding]:
    """The host is half made already when its bundle is copied to it."""
    for host in inventory.hosts:
        bundle = str(inventory.of(host).get("canopsis_bundle") or "")
        if bundle in inventory.absent:
            needed = "the whole path of a file on this controller; ./build-install.sh bundle makes it"
            yield Finding(host, "bundle", f"no file {bundle}", needed, "canopsis_bundle")


def _own_packages(inventory: Inventory) -> Iterator[Finding]:
    """A folder that is not there is not one that is empty, which takes every own package away."""
    for host in inventory.hosts:
        folder = str(inventory.of(host).get("environment_own_packages") or "")
        if folder in inventory.absent:
            needed = "the whole path of a folder of wheels on this controller, or no variable"
            yield Finding(host, "own packages", f"no folder {folder}", needed, "environment_own_packages")


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
    _types_db,
    _shadows,
    _listens,
    _alone,
    _archive,
    _ended,
    _bundles,
    _own_packages,
)
