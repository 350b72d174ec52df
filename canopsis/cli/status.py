"""``canopsis status``: what runs, what does not, what is wrong."""

from __future__ import annotations

import socket
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from canopsis.cli.common import command, own_prefix, parser, say, show_json, table
from canopsis.core.health import Problem
from canopsis.errors import CanopsisError, SiteError
from canopsis.ops import config, health, programs, services
from canopsis.ops.apiclient import PREFIX, Api
from canopsis.ops.brokerctl import list_queues
from canopsis.ops.health import Facts, Report
from canopsis.ops.prefix import Prefix

EXAMPLES = """
canopsis status           exit code 0: all is well; 1: something is wrong or still starting;
                          3: no event is accepted, or none is worked off; 2: wrong usage or configuration
canopsis status --json
"""


@command
def main(argv: Sequence[str] | None = None) -> int:
    """Run ``canopsis status``; return its exit code."""
    parse = parser("canopsis status", "Show what runs on this host, what the site says, and what is wrong.", EXAMPLES)
    parse.add_argument("--json", action="store_true", help="print JSON")
    args = parse.parse_args(argv)
    report = look(own_prefix())
    if args.json:
        show_json(report.facts())
    else:
        say(render(report))
    return report.exit_code


def look(prefix: Prefix) -> Report:
    """Return the state of the site as this host sees it. Raises ConfigError for a broken hypcontrol.conf."""
    wanted = [service for _, names in config.sections_of_host(prefix) for service in names]
    found = services.status(prefix)
    problems = list(health.of_programs(found, wanted))
    status, asking = _ask(prefix)
    problems += asking
    if status is not None:
        problems += health.of_site(status)
    if any(each.program == "rabbitmq-server" and each.ok for each in found):
        problems += _stuck(prefix)
    if problems:
        problems += _logs(prefix, found, status)
    return Report(found, status, problems)


def _ask(prefix: Prefix) -> tuple[dict[str, Any] | None, list[Problem]]:
    """Return what the API says, and which web servers do not answer; neither on a host without client.conf."""
    if not prefix.etc("client.conf").exists():
        return None, []
    try:
        api = Api(config.client(prefix))
        (status,) = api.data("GET", f"{PREFIX}/status")
        silent = api.silent()
    except (CanopsisError, ValueError) as error:
        return None, [Problem("down", "the API", str(error))]
    todo = "there: service webserver status"
    return status, [Problem("degraded", f"web server {url}", why, todo) for url, why in silent.items()]


def _stuck(prefix: Prefix) -> list[Problem]:
    try:
        return list(health.of_stuck(list_queues(prefix)))
    except SiteError as error:
        return [Problem("degraded", "rabbitmq-server", str(error))]


def _logs(prefix: Prefix, found: Sequence[services.State], status: Facts | None) -> Iterator[Problem]:
    """Yield the last line that each program in doubt wrote: the cause is there, and only this host can tell."""
    files = programs.read_all(prefix)
    for name in health.programs_in_doubt(found, status, socket.gethostname()):
        log = Path(files[name].log) if name in files and files[name].log else None
        lines = services.tail(log, 1) if log is not None and log.is_file() else []
        if lines:
            yield Problem("degraded", name, f"its log ends with: {lines[-1].strip()}", f"see {log}")


HEADS = {
    "starting": "it is starting:",
    "degraded": "what is wrong:",
    "down": "it does not work; what is wrong:",
}


def render(report: Report) -> str:
    """Return the report as people read it."""
    parts = [table(("PROGRAM", "STATE", ""), ((p.program, p.state, p.description) for p in report.programs))]
    if report.api is not None:
        parts.append(_site(report.api))
    parts.append(
        "\n".join((HEADS[report.state], *(f"  {problem.text()}" for problem in report.problems)))
        if report.problems
        else "all is well"
    )
    return "\n\n".join(parts)


def _site(status: Facts) -> str:
    servers = (
        (s["name"], _of_server(s), s.get("version", ""), ", ".join(map(str, s["hosts"]))) for s in status["servers"]
    )
    engines = (
        (
            e["_id"].removeprefix("instance:"),
            "alive" if e["alive"] else "GONE",
            str(len(e.get("partitions", ()))),
            e.get("state", ""),
        )
        for e in status["engines"]
    )
    queues = ((q["name"], "?" if q["messages"] is None else str(q["messages"])) for q in status["queues"])
    waiting = [row for row in queues if row[1] != "0"]
    text = table(("SERVER", "STATE", "VERSION", "HOSTS"), servers)
    text += "\n\n" + table(("ENGINES", "STATE", "PARTITIONS", ""), engines)
    return text + ("\n\n" + table(("QUEUE", "WAITING"), waiting) if waiting else "")


def _of_server(server: Facts) -> str:
    if not server["reachable"]:
        return "AWAY"
    return "BLOCKED" if server.get("blocked") else "answers"
