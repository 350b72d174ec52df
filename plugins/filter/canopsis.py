"""Filters of the roles. Those with arithmetic call the planners in plugins/module_utils."""

from __future__ import annotations

import json
import os
import pwd
from collections.abc import Callable, Iterable, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import ansible.module_utils
import yaml
from ansible.errors import AnsibleError, AnsibleFilterError, AnsibleUndefinedVariable
from jinja2 import Undefined

# On the controller Ansible finds our module_utils for modules only; filters use the same planners.
_OURS = str(Path(__file__).resolve().parents[1] / "module_utils")
if _OURS not in ansible.module_utils.__path__:
    ansible.module_utils.__path__.append(_OURS)

from ansible.module_utils import (  # noqa: E402
    canopsis_chain,
    canopsis_health,
    canopsis_hosts,
    canopsis_inventory,
    canopsis_rabbitmq_cluster,
    canopsis_reach,
)
from ansible.module_utils.canopsis_capacity import Finding, as_rows, cache_gb, table  # noqa: E402
from ansible.module_utils.canopsis_certificates import blocks  # noqa: E402
from ansible.module_utils.canopsis_endpoint import parse  # noqa: E402
from ansible.module_utils.canopsis_secrets import names_for, needed  # noqa: E402

# What a run itself makes of a host and no inventory gives.
RUNTIME = ("preflight_host", "preflight_seen", "preflight_findings", "preflight_site", "rabbitmq_seen")
ROLES = Path(__file__).resolve().parents[2] / "roles"


def site_user(default: str) -> str:
    """Return who a local site runs as: ``default`` when root deploys it, else whoever does."""
    return default if os.geteuid() == 0 else pwd.getpwuid(os.geteuid()).pw_name


def chain_of(
    chain: Iterable[Mapping[str, Any]], instances: Mapping[str, int], settings: Mapping[str, Mapping[str, Any]]
) -> list[dict[str, Any]]:
    """Return the chain with what the inventory changes of it; see canopsis_chain."""
    made: list[dict[str, Any]] = canopsis_chain.changed(chain, instances, settings)
    return made


def engine_programs(chain: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return the supervisord programs of a chain: ``{program, process, instance, engines}`` each."""
    processes: dict[str, list[Mapping[str, Any]]] = {}
    for engine in chain:
        processes.setdefault(engine.get("process", "worker"), []).append(engine)
    return [
        {
            "program": f"engine-{process}" + (f"-{number}" if number > 1 else ""),
            "process": process,
            "instance": number,
            "engines": engines,
        }
        for process, engines in processes.items()
        for number in range(1, max(engine.get("instances", 1) for engine in engines) + 1)
    ]


def members(hosts: Iterable[str], hostvars: Mapping[str, Any], port: int) -> list[str]:
    """Return ``address:port`` of each host; the address is canopsis_address, else ansible_host, else its name."""
    found = []
    for host in hosts:
        known = hostvars[host]
        found.append(f"{known.get('canopsis_address') or known.get('ansible_host') or host}:{port}")
    return found


def nodes(hosts: Iterable[str], hostvars: Mapping[str, Any]) -> list[str]:
    """Return the broker's node on each host: rabbitmq_nodename, else rabbit@ and its name; see canopsis_inventory."""
    return [
        hostvars[host].get("rabbitmq_nodename") or f"rabbit@{canopsis_inventory.node_host_of(host, hostvars[host])}"
        for host in hosts
    ]


def broker_to_force(hosts: Iterable[str], hostvars: Mapping[str, Any]) -> str:
    """Return the host whose broker boots without the others, from what each has ``seen``; '' when none has to."""
    seen = {host: hostvars[host]["rabbitmq_seen"] for host in hosts}
    chosen: str = canopsis_rabbitmq_cluster.force_choice(seen)
    return chosen


def secret_findings(host: str, names: Iterable[str], known: Mapping[str, Any]) -> list[dict[str, str]]:
    """Return a finding for each of the secrets ``names`` that ``host`` has not among its variables ``known``."""
    lacking = [name for name in sorted(names) if not _value(known, name)]
    needed = "a value: `canopsis-deploy secrets init` makes it"
    rows: list[dict[str, str]] = as_rows(Finding(host, "secret", "no value", needed, name) for name in lacking)
    return rows


def _value(known: Mapping[str, Any], name: str) -> Any:  # noqa: ANN401 - whatever the inventory says
    """Return a variable, None where it is not given or refers to something that is not given."""
    try:
        value = known.get(name)
    except AnsibleUndefinedVariable:
        return None
    return None if isinstance(value, Undefined) else value


def secret_names(own: Iterable[str], amqp_url: str = "", mongodb_url: str = "") -> list[str]:
    """Return the secrets of a host in the groups ``own``; a URL with a password is one for its cluster."""
    return list(needed(own, amqp_url, mongodb_url))


def endpoint(url: str, kind: str) -> dict[str, Any]:
    """Return the parts of the URL of a cluster that is not ours; see canopsis_endpoint. Raises AnsibleFilterError."""
    try:
        parts: dict[str, Any] = parse(url, kind)
    except ValueError as error:
        variable = {"amqp": "canopsis_amqp_url", "mongodb": "canopsis_mongodb_url"}[kind]
        raise AnsibleFilterError(f"{variable} {error}") from error
    return parts


def quoted(value: object) -> str:
    """Return a value as collectd reads it between quotes: there a backslash takes the meaning from what follows."""
    text = str(value).replace("\\", "\\\\").replace('"', '\\"')
    return f'"{text}"'


@cache
def _options() -> dict[str, Any]:
    """Return what each variable of ours may be, from the specs of all roles."""
    specs = [yaml.safe_load(path.read_text()) for path in sorted(ROLES.glob("*/meta/argument_specs.yml"))]
    options: dict[str, Any] = canopsis_inventory.options_of(specs)
    return options


@cache
def _default_chain() -> list[dict[str, Any]]:
    """Return the chain of an inventory that gives none."""
    chain: list[dict[str, Any]] = yaml.safe_load((ROLES / "engines/defaults/main.yml").read_text())["engines_chain"]
    return chain


def inventory_findings(
    groups: Mapping[str, list[str]], hostvars: Mapping[str, Any], even: bool
) -> list[dict[str, str]]:
    """Return what is wrong with the inventory as a whole; ``even`` says that even member counts are meant."""
    found = {host: _variables(hostvars[host]) for host in groups.get("canopsis", [])}
    inventory = canopsis_inventory.Inventory(
        groups=groups,
        variables={host: values for host, (values, _) in found.items()},
        broken={host: broken for host, (_, broken) in found.items()},
        options=_options(),
        even=even,
        chain=_default_chain(),
        absent=_absent(found.values(), "canopsis_bundle", Path.is_file)
        | _absent(found.values(), "environment_own_packages", Path.is_dir),
    )
    rows: list[dict[str, str]] = as_rows(canopsis_inventory.check(inventory))
    return rows


def _absent(
    found: Iterable[tuple[Mapping[str, Any], object]], name: str, is_there: Callable[[Path], bool]
) -> frozenset[str]:
    """Return the values of ``name`` that this controller does not find; it looks for none where it was started."""
    paths = {str(values.get(name) or "") for values, _ in found} - {""}
    known = {path: Path(path).expanduser() for path in paths}
    return frozenset(path for path, place in known.items() if not (place.is_absolute() and is_there(place)))


def _variables(known: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, str]]:
    """Return the variables of a host that the inventory gives and that are ours, and why others cannot be computed."""
    values: dict[str, Any] = {}
    broken: dict[str, str] = {}
    for name in known:
        if name in canopsis_inventory.TOLD or (name not in RUNTIME and canopsis_inventory.is_ours(name, _options())):
            try:
                value = _value(known, name)
            except AnsibleError as error:
                broken[name] = " ".join(str(error).split())
            else:
                values |= {} if value is None else {name: value}
    return values, broken


def host_findings(hosts: Iterable[str], hostvars: Mapping[str, Any], limits: Mapping[str, Any]) -> list[dict[str, str]]:
    """Return what is wrong between ``hosts``, from what each was seen to be (``preflight_seen``)."""
    looked = {host: hostvars[host].get("preflight_seen") for host in hosts}
    seen = {host: canopsis_hosts.Seen(**each) for host, each in looked.items() if each}
    asked = canopsis_hosts.Limits(
        clock_seconds=float(limits["clock_seconds"]),
        systems=tuple(limits["systems"]),
        mirrored=limits["ha_mode"] == "classic",
        addresses={host: canopsis_inventory.address_of(host, hostvars[host]) for host in seen},
        nodes={host: nodes([host], hostvars)[0] for host in seen if host in limits.get("brokers", ())},
        listens={host: _listens(hostvars[host]) for host in seen if host in limits.get("servers", ())},
    )
    rows: list[dict[str, str]] = as_rows(canopsis_hosts.check(seen, asked))
    return rows


def _listens(known: Mapping[str, Any]) -> tuple[str, ...]:
    """Return where the servers of a host take connections."""
    given = str(_value(known, "canopsis_listen") or "0.0.0.0")  # noqa: S104 - compared only
    return tuple(each.strip().replace("localhost", "127.0.0.1") for each in given.split(","))


def reach_findings(result: Mapping[str, Any], host: str, known: Mapping[str, Any]) -> list[dict[str, str]]:
    """Return what looking at a host found, or why it could not be looked at."""
    rows: list[dict[str, str]] = as_rows(canopsis_reach.unseen(host, result, str(_value(known, "ansible_user") or "")))
    return rows + list(result.get("findings", ()))


def seen_of(seen: Mapping[str, Any], after: float) -> dict[str, Any]:
    """Return what module canopsis_capacity saw as the fields of Seen; ``after`` is the controller's time now."""
    return {
        "names": {name: tuple(addresses) for name, addresses in seen["names"].items()},
        "offset": canopsis_hosts.offset(seen["asked_at"], seen["clock"], after),
        "system": seen["system"],
        "broker": seen["broker"],
        "hostname": seen["hostname"],
        "nodes": tuple(seen["nodes"]),
        "known": tuple(seen["known"]),
    }


def names_of(groups: Mapping[str, list[str]], hostvars: Mapping[str, Any]) -> list[str]:
    """Return the names that every host has to resolve alike: addresses of hosts, and hosts of node names."""
    names = {canopsis_inventory.address_of(host, hostvars[host]) for host in groups.get("canopsis", [])}
    nodes = {canopsis_inventory.node_host_of(host, hostvars[host]) for host in groups.get("rabbitmq", [])}
    return sorted(names | nodes)


def certificate_names(hosts: Iterable[str], hostvars: Mapping[str, Any]) -> dict[str, list[str]]:
    """Return the names and addresses that the certificate of each host has to name."""
    return {host: _names(host, hostvars[host]) for host in hosts}


def _names(host: str, known: Mapping[str, Any]) -> list[str]:
    address = canopsis_inventory.address_of(host, known)
    names = [address, host, host.split(".", maxsplit=1)[0], known.get("ansible_host") or "", "localhost", "127.0.0.1"]
    names += [canopsis_inventory.node_host_of(host, known), *known.get("tls_names", [])]
    return list(dict.fromkeys(str(name).lower() for name in names if name))


def certificate_files(hosts: Iterable[str], hostvars: Mapping[str, Any]) -> dict[str, dict[str, str]]:
    """Return the files certificate and key that are given for each host, where any is."""
    found = {
        host: {part: str(hostvars[host].get(f"tls_{part}") or "") for part in ("certificate", "key")} for host in hosts
    }
    return {host: files for host, files in found.items() if any(files.values())}


def pem_part(path: str, part: str) -> str:
    """Return the ``key`` or the ``certificates`` of a PEM file; nothing when it is not there (a run in check mode)."""
    file = Path(path)
    return blocks(file.read_text(encoding="utf-8"), key=part == "key") if file.is_file() else ""


def findings_of(hosts: Iterable[str], hostvars: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the findings of every host."""
    return [row for host in hosts for row in hostvars[host].get("preflight_findings", [])]


def health_findings(
    hosts: Iterable[str], hostvars: Mapping[str, Any], wanted: Mapping[str, list[str]]
) -> list[dict[str, str]]:
    """Return what is wrong with the site, from what playbooks/health.yml registered of each host."""
    reports = {host: _report(hostvars[host]) for host in hosts}
    asked = canopsis_health.Wanted(tuple(wanted["members"]), tuple(wanted["nodes"]))
    rows: list[dict[str, str]] = as_rows(canopsis_health.check(reports, asked))
    return rows


def _report(known: Mapping[str, Any]) -> canopsis_health.Report:
    status = known.get("health_status", {})
    if status.get("unreachable"):
        return canopsis_health.Report(silent=str(status.get("msg", "it cannot be reached")))
    if status.get("rc") not in (0, 1):
        return canopsis_health.Report(
            silent=str(status.get("stderr") or status.get("msg") or "its services are not known")
        )
    cluster, queues = [*(_json(each) for each in known.get("health_broker", {}).get("results", ())), None, None][:2]
    members = known.get("health_members", {}).get("states")
    return canopsis_health.Report(_json(status), members, cluster, queues)


def _json(result: Mapping[str, Any]) -> Any:  # noqa: ANN401 - whatever was said
    """Return what a command printed, None when it failed or was passed over."""
    text = str(result.get("stdout", ""))
    begins = [at for at in (text.find("{"), text.find("[")) if at >= 0]
    return json.loads(text[min(begins) :]) if result.get("rc") in (0, 1) and begins else None


def releases(text: str) -> dict[str, str]:
    """Return release by package from what build-install.sh says (or lists as JSON)."""
    if text.lstrip().startswith("["):
        return {row["name"]: row["version"] for row in json.loads(text) if row["installed"]}
    words = [line.split() for line in text.splitlines()]
    return {word[1]: word[2] for word in words if len(word) > 2 and word[0] in ("current", "installed")}


class FilterModule:
    """What Ansible loads."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Return the filters by name."""
        return {
            "canopsis_site_user": site_user,
            "canopsis_chain": chain_of,
            "canopsis_engine_programs": engine_programs,
            "canopsis_members": members,
            "canopsis_nodes": nodes,
            "canopsis_broker_to_force": broker_to_force,
            "canopsis_secret_findings": secret_findings,
            "canopsis_inventory_findings": inventory_findings,
            "canopsis_host_findings": host_findings,
            "canopsis_seen": seen_of,
            "canopsis_reach_findings": reach_findings,
            "canopsis_names": names_of,
            "canopsis_endpoint": endpoint,
            "canopsis_quoted": quoted,
            "canopsis_secret_kinds": names_for,
            "canopsis_secret_names": secret_names,
            "canopsis_health_findings": health_findings,
            "canopsis_releases": releases,
            "canopsis_findings_of": findings_of,
            "canopsis_findings_table": table,
            "canopsis_cache_gb": cache_gb,
            "canopsis_certificate_names": certificate_names,
            "canopsis_certificate_files": certificate_files,
            "canopsis_pem": pem_part,
        }
