"""What the scenarios' tests ask of a site's hosts, and the fingerprints of 'a second run changes nothing'."""

from __future__ import annotations

import json
import os
import re
import sys
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[3]
sys.path.insert(0, str(ROOT))
from plugins.module_utils import canopsis_secrets  # noqa: E402  the checkout is no package

PREFIX = "/opt/canopsis"
FINGERPRINT = Path(__file__).with_name("fingerprint.py")
PYTHON = f"{PREFIX}/opt/canopsis/current/bin/python"
CONTROL = f"{PREFIX}/opt/canopsis/current/bin/supervisorctl -c {PREFIX}/supervisord.conf"
AS_USER = "runuser -u canopsis -- env -C / LC_ALL=C.UTF-8"
UNTOUCHED = ("bin", "boot", "etc", "home", "lib", "opt", "root/.ssh", "sbin", "srv", "usr", "var")
AUTHORITIES = f"{PREFIX}/etc/ssl/ca.pem"
"""There on hosts that encrypt."""
HEALTH = f"""
import os, ssl, sys, urllib.request
tls = ssl.create_default_context(cafile='{AUTHORITIES}') if os.path.exists('{AUTHORITIES}') else None
url = f"{{'https' if tls else 'http'}}://{{sys.argv[1]}}:8082/api/v1/healthz"
print(urllib.request.urlopen(url, timeout=10, context=tls).status)
"""


@dataclass(frozen=True)
class Place:
    """Where a host stands in the inventory: ``groups`` are all tiers with their hosts, ``variables`` as written."""

    name: str
    groups: dict[str, set[str]]
    variables: dict[str, Any]

    def has(self, tier: str) -> bool:
        """Return whether the host is of ``tier``."""
        return self.name in self.groups.get(tier, set())


def fingerprint(host: Any, prefix: str = PREFIX) -> dict[str, dict[str, Any]]:
    """Return the fingerprint of ``host``, as fingerprint.py makes it. Raises AssertionError when it cannot be taken."""
    script = FINGERPRINT.read_text()
    done = host.run(f"python3 - {prefix} <<'END-OF-SCRIPT'\n{script}\nEND-OF-SCRIPT\n")
    assert done.rc == 0, done.stderr
    found: dict[str, dict[str, Any]] = json.loads(done.stdout)
    return found


def kept(name: str) -> Path:
    """Return the file in which the fingerprint of the host ``name`` is kept within a scenario."""
    return Path(os.environ["MOLECULE_EPHEMERAL_DIRECTORY"]) / f"fingerprint-{name}.json"


def listing(host: Any) -> set[str]:
    """Return every path of the host that a site could have left."""
    found = host.check_output(f"cd / && find {' '.join(UNTOUCHED)} ! -path '*/__pycache__*'")
    moving = re.compile(
        r"var/(log|tmp|lib/systemd|cache)/|var/lib/dbus|etc/(\.pwd\.lock|(passwd|group|shadow|gshadow)-)$"
    )
    return {path for path in found.splitlines() if not moving.match(path)}


def difference(before: dict[str, dict[str, Any]], after: dict[str, dict[str, Any]]) -> list[str]:
    """Return a line for each thing that is not the same."""
    return [
        f"{kind} {name}: {before[kind].get(name)} became {after[kind].get(name)}"
        for kind in before
        for name in sorted({*before[kind], *after[kind]})
        if before[kind].get(name) != after[kind].get(name)
    ]


def secrets_of(variables: Mapping[str, Any]) -> dict[str, str]:
    """Return the secrets of the site by name, among the variables of one of its hosts."""
    names = canopsis_secrets.names_for(canopsis_secrets.SECRETS)
    return {name: str(variables[name]) for name in names if variables.get(name)}


def readable_with(host: Any, secrets: Mapping[str, str]) -> list[str]:
    """Return each file of the site that holds a secret and that others than its owner and group may read."""
    lines = "\n".join(line for value in secrets.values() for line in value.splitlines())
    script = f"cat > /tmp/secrets && find {PREFIX} -ignore_readdir_race -type f -perm /o+rwx "
    # Servers delete files meanwhile: that one is gone is no error.
    script += "-exec grep -lsF -f /tmp/secrets {} +"
    found = host.run(f"({script}; rm /tmp/secrets) <<'END'\n{lines}\nEND\n")
    assert found.stderr == "", found.stderr
    return sorted(found.stdout.split())


def programs(host: Any) -> dict[str, str]:
    """Return the state of each program of supervisor, by name."""
    done = host.run(f"{AS_USER} {CONTROL} status")
    return {line.split()[0]: line.split()[1] for line in done.stdout.splitlines()}


def as_user(host: Any, command: str) -> str:
    """Return what a command of the site's user prints. Raises AssertionError when it fails."""
    done = host.run(f"{AS_USER} {command}")
    assert done.rc == 0, f"{command}: {done.stdout}{done.stderr}"
    return str(done.stdout)


def service(host: Any, *words: str) -> str:
    """Start or stop a service: ``service(host, "mongodb", "stop")``."""
    return as_user(host, f"{PREFIX}/bin/service {' '.join(words)}")


def address(host: Any) -> str:
    """Return the address by which the other hosts reach ``host``."""
    return str(host.check_output("hostname -I")).split()[0]


def wipe(host: Any, *paths: str) -> None:
    """Stop everything of the site and delete ``paths``, as a new disk would."""
    done = host.run(f"systemctl stop canopsis; pkill -9 -u canopsis; rm -rf {' '.join(paths)}")
    assert done.rc == 0, done.stderr


def ask(host: Any, path: str) -> Any:
    """Return the answer of the API on ``host`` to a GET of ``path`` below /api/v1."""
    return json.loads(as_user(host, f"{PREFIX}/bin/canopsis api GET '/api/v1/{path}'"))


def status(host: Any) -> tuple[int, dict[str, str]]:
    """Return the exit code of ``canopsis status`` on ``host``, and how bad it is by where it is."""
    done = host.run(f"{AS_USER} {PREFIX}/bin/canopsis status --json")
    assert done.stdout, done.stderr
    return int(done.rc), {each["where"]: each["severity"] for each in json.loads(done.stdout)["details"]}


def newest_load(host: Any, component: str) -> float:
    """Return when the newest load of ``component`` was, in seconds, as ``host`` knows it; 0 without one."""
    points = ask(host, f"metrics/resource:{component}/load/load-shortterm")["data"]
    return float(points[-1][0]) if points else 0.0


def queues(host: Any) -> dict[str, set[str]]:
    """Return the hosts that have a replica of each queue of an engine."""
    found = as_user(host, f"{PREFIX}/bin/rabbitmqctl --silent list_queues -p canopsis name members --formatter json")
    rows = json.loads(found[found.index("[") :])
    return {
        row["name"]: {node.partition("@")[2] for node in row["members"]}
        for row in rows
        if row["name"].startswith("Engine_")
    }


def pids(host: Any, *names: str) -> dict[str, str]:
    """Return pid and start time of each process whose command has one of ``names``."""
    running = fingerprint(host)["processes"]
    return {process: began for process, began in running.items() if any(name in process for name in names)}


def send(host: Any, count: int, prefix: str) -> None:
    """Open ``count`` alarms, of the resources PREFIX-0, PREFIX-1 and so on, through the API of ``host``."""
    events = [
        {"connector": "test", "connector_name": "t", "event_type": "check", "source_type": "resource"}
        | {"component": "hosts", "resource": f"{prefix}-{number}", "state": 2, "output": "down"}
        for number in range(count)
    ]
    done = host.run(f"cat > /tmp/events.json <<'END'\n{json.dumps(events)}\nEND\n")
    assert done.rc == 0, done.stderr
    as_user(host, f"{PREFIX}/bin/send-event --quiet --retry-for 60 /tmp/events.json")


def alarms(host: Any, prefix: str) -> int:
    """Return how many of the alarms that ``send`` opened the API of ``host`` shows."""
    return int(ask(host, f"alarms?search={prefix}&limit=0")["total"])


def eventually(probe: Callable[[], Any], wanted: Any, seconds: float = 60.0) -> None:
    """Return when ``probe`` gives ``wanted``, whatever it asserts before. Raises AssertionError after ``seconds``."""
    pause, end = threading.Event(), time.monotonic() + seconds
    while (found := answer(probe)) != wanted:
        assert time.monotonic() < end, f"still {found}, not {wanted}, after {seconds} s"
        pause.wait(0.5)


def answer(probe: Callable[[], Any]) -> Any:
    """Return what ``probe`` gives, or its AssertionError."""
    try:
        return probe()
    except AssertionError as error:
        return error


def health(host: Any, name: str) -> str:
    """Return the status code of /healthz as the host ``name`` itself sees it; empty when there is no answer."""
    return str(host.run(f"python3 - {name} <<'END'\n{HEALTH}END\n").stdout.strip())


def brokers(host: Any) -> set[str]:
    """Return the nodes that run in the broker's cluster as this host sees it."""
    found = as_user(host, f"{PREFIX}/bin/rabbitmqctl --silent cluster_status --formatter json")
    return set(json.loads(found)["running_nodes"])


def broker_hosts(host: Any) -> set[str]:
    """Return the hosts of those nodes."""
    return {node.partition("@")[2] for node in brokers(host)}


QUERY = f"""
import json, os, sys
from pymongo import MongoClient
tls = dict(tls=True, tlsCAFile='{AUTHORITIES}') if os.path.exists('{AUTHORITIES}') else {{}}
client = MongoClient('localhost', 27017, username='admin', password=sys.argv[1], directConnection=True, **tls)
print(json.dumps(%s))
"""


def database(host: Any, secret: str, expression: str) -> Any:
    """Return the value of a Python expression of ``client``, the database of ``host`` itself."""
    script = f"{PYTHON} - '{secret}' <<'END'\n{QUERY % expression}END\n"
    done = host.run(script)
    assert done.rc == 0, done.stderr
    return json.loads(done.stdout)


def members(host: Any, secret: str) -> dict[str, str]:
    """Return the state of each member of the replica set, by host:port, as this host sees it."""
    status = "{m['name']: m['stateStr'] for m in client.admin.command('replSetGetStatus')['members']}"
    found: dict[str, str] = database(host, secret, status)
    return found


def set_version(host: Any, secret: str) -> int:
    """Return how often the configuration of the replica set was changed."""
    return int(database(host, secret, "client.admin.command('replSetGetConfig')['config']['version']"))


def votes(host: Any) -> list[int]:
    """Return the number of votes in each configuration that the member on ``host`` has had, the oldest first."""
    log = host.run(f"grep -h 'New replica set config in use' {PREFIX}/var/log/mongodb.log").stdout
    configs = [json.loads(line)["attr"]["config"] for line in log.splitlines()]
    return [sum(member["votes"] for member in config["members"]) for config in configs]
