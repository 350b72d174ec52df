"""What only shows when hosts are held side by side: names, clocks, versions. Pure."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from ipaddress import ip_address

from ansible.module_utils.canopsis_capacity import Finding

BROKER_OF_DEBIAN = {"12": "3.10", "13": "4.0"}
LAST_MIRRORED = (3, 13)


@dataclass(frozen=True)
class Seen:
    """What one host says. ``names``: addresses by name, as it resolves them; ``broker``: version it has or would get.

    ``offset`` is how many seconds its clock is certainly away from the controller's.
    """

    names: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    offset: float = 0.0
    system: str = ""
    broker: str = ""


@dataclass(frozen=True)
class Limits:
    """What is asked of all hosts. ``systems`` like ``debian 12``; empty: any."""

    clock_seconds: float = 5.0
    systems: tuple[str, ...] = ()
    mirrored: bool = False


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
    rules = (_names(seen), _clocks(seen, limits), _systems(seen, limits), _brokers(seen, limits))
    return [finding for found in rules for finding in found]


def _names(seen: Mapping[str, Seen]) -> Iterator[Finding]:
    for host, each in seen.items():
        for name, addresses in each.names.items():
            if not addresses:
                yield Finding(host, f"name {name}", "unknown here", "an address", "canopsis_address or /etc/hosts")
    for name in sorted({name for each in seen.values() for name in each.names}):
        yield from _one_name(name, {host: _reachable(each.names.get(name, ())) for host, each in seen.items()})


def _reachable(addresses: Iterable[str]) -> tuple[str, ...]:
    """Without loopback: Debian gives a host's own name 127.0.1.1."""
    return tuple(sorted(address for address in addresses if not ip_address(address).is_loopback))


def _one_name(name: str, found: Mapping[str, tuple[str, ...]]) -> Iterator[Finding]:
    known = {host: addresses for host, addresses in found.items() if addresses}
    common = set.intersection(*(set(addresses) for addresses in known.values())) if known else set()
    if known and not common:
        text = "; ".join(f"{', '.join(addresses)} on {host}" for host, addresses in sorted(known.items()))
        yield Finding(
            "inventory", f"name {name}", text, "the same address everywhere", "canopsis_address or /etc/hosts"
        )


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
