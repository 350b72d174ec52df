"""A server or a host dies while events are posted through the others: each becomes visible, none twice."""

from __future__ import annotations

import json
import threading
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import site_hosts as site

ALL = ("site1", "site2", "site3")
POSTER = Path(__file__).with_name("poster.py")
EVENTS = 10_000
SECONDS = 15
FROZEN = 40
DOUBLED = """
sum(
    len(steps) - len(set(steps))
    for alarm in client.canopsis.alarms.find({'connector': '%s'})
    for steps in [[(s['e'], s.get('type'), s.get('value')) for s in alarm['steps'] if s.get('e')]]
)
"""


def leader(hosts: dict[str, Any]) -> str:
    """Return the host whose broker leads the most queues of engines."""
    command = f"{site.PREFIX}/bin/rabbitmqctl --silent list_queues -p canopsis name leader --formatter json"
    found = site.as_user(hosts["site1"], command)
    rows = json.loads(found[found.index("[") :])
    names = [row["leader"].partition("@")[2] for row in rows if row["name"].startswith("Engine_")]
    return Counter(names).most_common(1)[0][0]


def primary(hosts: dict[str, Any], secret: str) -> str:
    """Return the host with MongoDB's primary."""
    states = site.members(hosts["site1"], secret)
    return next(member.partition(":")[0] for member, state in states.items() if state == "PRIMARY")


def kill(program: str) -> Callable[[Any], None]:
    """Return what kills a program of the site at once."""
    return lambda host: host.check_output(f"pkill -9 -u canopsis {program}")


def freeze(host: Any) -> None:
    """Have the whole site on a host hang for FROZEN seconds, holding its connections."""
    host.check_output("pkill -STOP -u canopsis")
    threading.Event().wait(FROZEN)
    host.check_output("pkill -CONT -u canopsis")


def post(host: Any, run: str, key: str, through: list[str]) -> dict[str, Any]:
    words = " ".join([run, key, str(SECONDS), *through])
    done = host.run(f"python3 - {words} <<'END-OF-SCRIPT'\n{POSTER.read_text()}\nEND-OF-SCRIPT\n")
    assert done.rc == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


@pytest.fixture
def victim(request: pytest.FixtureRequest, hosts: dict[str, Any], secret: str) -> str:
    """Return the host that is struck."""
    return leader(hosts) if request.param == "leader" else primary(hosts, secret)


@pytest.mark.parametrize(
    ("run", "victim", "strike"),
    [
        ("broker", "leader", kill("beam.smp")),
        ("database", "primary", kill("mongod")),
        ("frozen", "leader", freeze),
    ],
    indirect=["victim"],
    ids=["the broker that leads is killed", "the primary is killed", "a whole host hangs"],
)
def test_nothing_is_lost_and_nothing_doubled(
    hosts: dict[str, Any], secrets: dict[str, Any], run: str, victim: str, strike: Callable[[Any], None]
) -> None:
    through = [name for name in ALL if name != victim]
    with ThreadPoolExecutor(1) as pool:
        posting = pool.submit(post, hosts[through[0]], run, secrets["webserver_admin_authkey"], through)
        threading.Event().wait(SECONDS / 5)
        strike(hosts[victim])
        said = posting.result()
    assert said["sent"] == EVENTS, said
    seen = hosts[through[0]]
    site.eventually(lambda: site.ask(seen, f"events?connector={run}&limit=0")["total"], EVENTS, 180)
    assert site.ask(seen, f"alarms?connector={run}&show=all&limit=0")["total"] >= 50
    assert site.database(seen, secrets["mongodb_admin_password"], DOUBLED % run) == 0


def test_the_site_is_whole_again(hosts: dict[str, Any], secret: str) -> None:
    well = ["PRIMARY", "SECONDARY", "SECONDARY"]
    for host in hosts.values():
        site.eventually(lambda: sorted(site.members(host, secret).values()), well, 120)  # noqa: B023 - called at once
        site.eventually(lambda: len(site.brokers(host)), 3, 120)  # noqa: B023 - called at once
        site.eventually(lambda: set(site.programs(host).values()), {"RUNNING"}, 120)  # noqa: B023 - called at once
