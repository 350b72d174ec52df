"""What only shows when hosts are held side by side: names, clocks, versions. Pure."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from ipaddress import ip_address

from ansible.module_utils.canopsis_capacity import Finding

BROKER_OF_DEBIAN = {"12": "3.10", "13": "4.0"}
IPV4 = 4
EVERYWHERE = ("0.0.0.0", "::", "*")  # noqa: S104 - compared only
LAST_MIRRORED = (3, 13)


@dataclass(frozen=True)
class Seen:
    """What one host says. ``names``: addresses by name, as it resolves them; ``broker``: version it has or would get.

    ``offset`` is how many seconds its clock is certainly away from the controller's; ``nodes`` are the brokers whose
    data it holds, ``known`` the hosts that its configuration of a running site names.
    """

    names: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    offset: float = 0.0
    system: str = ""
    broker: str = ""
    hostname: str = ""
    nodes: tuple[str, ...] = ()
    known: tuple[str, ...] = ()


@dataclass(frozen=True)
class Limits:
    """What is asked of all hosts. ``systems`` like ``debian 12``; empty: any.

    By host: ``addresses`` by which others reach it, ``nodes`` that its broker is to be, ``listens`` the addresses that
    its servers take connections at.
    """

    clock_seconds: float = 5.0
    systems: tuple[str, ...] = ()
    mirrored: bool = False
    addresses: Mapping[str, str] = field(default_factory=dict)
    nodes: Mapping[str, str] = field(default_factory=dict)
    listens: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


def offset(before: float, clock: float, after: float) -> float:
    """Return the seconds by which ``clock`` is certainly off; it was read between ``before`` and ``after`` of ours."""
    return max(before - clock, clock - after, 0.0)


def broker_version(installed: str, policy: str, system: str) -> str:
    """Return the version a host has, else what its apt sources would give, else what its Debian brings."""
    candidate = re.search(r"Candidate:\s*(?:\d+:)?(\d[\w.]*)", policy)
    for found in (re.match(r"\d+\.\d+", installed), re.match(r"\d+\.\d+", candidate[1]) if candidate else None):
        if found:
            return found[0]
    return BROKER_OF_DEBIAN.get(system.partition(" ")[2], "")


def check(seen: Mapping[str, Seen], limits: Limits) -> list[Finding]:
    """Return everything that is wrong between the hosts, by host."""
    rules = (
        _names(seen),
        _near(seen, limits),
        _hostnames(seen),
        _nodes(seen, limits),
        _letters(seen, limits),
        _clocks(seen, limits),
        _systems(seen, limits),
        _brokers(seen, limits),
    )
    return [finding for found in rules for finding in found]


def _names(seen: Mapping[str, Seen]) -> Iterator[Finding]:
    for host, each in seen.items():
        for name, addresses in each.names.items():
            if not addresses:
                yield Finding(host, f"name {name}", "unknown here", "an address", "canopsis_address or /etc/hosts")
            elif not any(ip_address(address).version == IPV4 for address in addresses):
                needed = "an IPv4 address: servers listen on those"
                yield Finding(host, f"name {name}", ", ".join(addresses), needed, "canopsis_address or /etc/hosts")
    for name in sorted({name for each in seen.values() for name in each.names}):
        yield from _one_name(name, {host: _reachable(each.names.get(name, ())) for host, each in seen.items()})


def _reachable(addresses: Iterable[str]) -> tuple[str, ...]:
    """Return those of IPv4 without loopback: Debian gives a host's own name 127.0.1.1."""
    found = ((address, ip_address(address)) for address in addresses)
    return tuple(sorted(address for address, read in found if read.version == IPV4 and not read.is_loopback))


def _one_name(name: str, found: Mapping[str, tuple[str, ...]]) -> Iterator[Finding]:
    known = {host: addresses for host, addresses in found.items() if addresses}
    common = set.intersection(*(set(addresses) for addresses in known.values())) if known else set()
    if known and not common:
        text = "; ".join(f"{', '.join(addresses)} on {host}" for host, addresses in sorted(known.items()))
        yield Finding(
            "inventory", f"name {name}", text, "the same address everywhere", "canopsis_address or /etc/hosts"
        )


def _near(seen: Mapping[str, Seen], limits: Limits) -> Iterator[Finding]:
    """A host whose own name leads it to a loopback address at which its servers do not listen."""
    for host, each in seen.items():
        name, listens = limits.addresses.get(host, ""), limits.listens.get(host, ())
        own = set(each.names.get(name, ()))
        nowhere = not own & set(listens) and not set(EVERYWHERE) & set(listens)
        if own and listens and nowhere and not _reachable(own):
            found = f"{', '.join(sorted(own))} here, and its servers listen on {', '.join(listens)} only"
            needed = f"{listens[0]} for {name} in its own /etc/hosts"
            yield Finding(host, f"name {name}", found, needed, "canopsis_listen or /etc/hosts")


def _hostnames(seen: Mapping[str, Seen]) -> Iterator[Finding]:
    """Engines hold their partitions, and measured values have their entities, by the name that a host has itself."""
    for host, each in seen.items():
        others = [other for other in seen if other != host and seen[other].hostname == each.hostname]
        if each.hostname and others:
            found = f"{each.hostname}, as {', '.join(others)}"
            yield Finding(host, "hostname", found, "a name of its own (hostnamectl set-hostname)", "name of the host")


def _nodes(seen: Mapping[str, Seen], limits: Limits) -> Iterator[Finding]:
    """A broker that would begin anew, without its messages, under another name."""
    for host, node in limits.nodes.items():
        held = seen[host].nodes if host in seen else ()
        if held and node not in held:
            found = f"{node}, and the data here is of {', '.join(held)}"
            yield Finding(host, "node name", found, "its old name", "rabbitmq_nodename, or the name of the host")


def _letters(seen: Mapping[str, Seen], limits: Limits) -> Iterator[Finding]:
    """A name that the running site has in other letters: resolvers take it for the same, clusters do not."""
    known = {name for each in seen.values() for name in each.known}
    for address in sorted(set(limits.addresses.values()) - known):
        for old in sorted(name for name in known if name.lower() == address.lower()):
            found = f"{address}, which the running site knows as {old}"
            yield Finding("inventory", "name", found, "the same capital and small letters", "name of the host")


def _clocks(seen: Mapping[str, Seen], limits: Limits) -> Iterator[Finding]:
    for host, each in seen.items():
        if each.offset > limits.clock_seconds:
            have, need = f"{each.offset:.0f} s from the controller's", f"at most {limits.clock_seconds:g} s (use NTP)"
            yield Finding(host, "clock", have, need, "preflight_clock_seconds")


def _systems(seen: Mapping[str, Seen], limits: Limits) -> Iterator[Finding]:
    for host, each in seen.items():
        if limits.systems and each.system not in limits.systems:
            yield Finding(host, "system", each.system or "unknown", " or ".join(limits.systems), "preflight_systems")


def _brokers(seen: Mapping[str, Seen], limits: Limits) -> Iterator[Finding]:
    versions = {host: each.broker for host, each in sorted(seen.items()) if each.broker}
    if len(set(versions.values())) > 1:
        found = ", ".join(f"{version} on {host}" for host, version in versions.items())
        yield Finding("inventory", "RabbitMQ", found, _one_release(versions), "group rabbitmq")
    for host, version in versions.items():
        if limits.mirrored and _parts(version) > LAST_MIRRORED:
            needed = "quorum: RabbitMQ 4.0 and later have no mirrored queues"
            yield Finding(host, "RabbitMQ", f"classic with RabbitMQ {version}", needed, "rabbitmq_ha_mode")


def _one_release(versions: Mapping[str, str]) -> str:
    """Say what brokers of different releases need: the release of most stays, of two alike the older."""
    counts = Counter(versions.values())
    kept = min(counts, key=lambda version: (-counts[version], _parts(version)))
    others = " and ".join(host for host, version in versions.items() if version != kept)
    return f"one release, they form no cluster: take {others} out of the group, or have RabbitMQ {kept} there"


def _parts(version: str) -> tuple[int, ...]:
    return tuple(map(int, version.split(".")))
