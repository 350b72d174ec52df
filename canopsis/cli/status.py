"""``canopsis status``: what runs, what does not, what is wrong."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from canopsis.cli.common import DONE, NOT_DONE, command, own_prefix, parser, say, show_json, table
from canopsis.errors import CanopsisError, ConfigError
from canopsis.ops import config, health, services
from canopsis.ops.apiclient import PREFIX, Api
from canopsis.ops.chain import links
from canopsis.ops.health import Facts, Report
from canopsis.ops.model import CHAIN
from canopsis.ops.prefix import Prefix

EXAMPLES = """
canopsis status           exit code 0: all is well; 1: something is wrong, and it says what
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
    return DONE if report.healthy else NOT_DONE


def look(prefix: Prefix) -> Report:
    """Return the state of the site as this host sees it. Raises ConfigError for a broken hypcontrol.conf."""
    wanted = [service for _, names in config.sections_of_host(prefix) for service in names]
    programs = services.status(prefix)
    problems = list(health.of_programs(programs, wanted))
    status, reason = _ask(prefix)
    if status is not None:
        problems += health.of_site(status, *_chain(prefix))
    elif reason:
        problems.append(reason)
    return Report(programs, status, problems)


def _ask(prefix: Prefix) -> tuple[dict[str, Any] | None, str]:
    """Return what the API says, or why it does not; neither on a host without client.conf."""
    if not prefix.etc("client.conf").exists():
        return None, ""
    try:
        (status,) = Api(config.client(prefix)).data("GET", f"{PREFIX}/status")
    except (CanopsisError, ValueError) as error:
        return None, str(error)
    return status, ""


def _chain(prefix: Prefix) -> tuple[list[str], int]:
    """Return the processes and the number of partitions of the chain, as far as this host knows them."""
    try:
        values = config.load(prefix, CHAIN)
    except ConfigError:
        return [], 0
    return sorted({link.process for link in links(values).values()}), values.sections["chain"]["partitions"]


def render(report: Report) -> str:
    """Return the report as people read it."""
    parts = [table(("PROGRAM", "STATE", ""), ((p.program, p.state, p.description) for p in report.programs))]
    if report.api is not None:
        parts.append(_site(report.api))
    parts.append(
        "\n".join(("what is wrong:", *(f"  {p}" for p in report.problems))) if report.problems else "all is well"
    )
    return "\n\n".join(parts)


def _site(status: Facts) -> str:
    servers = (
        (s["name"], "answers" if s["reachable"] else "AWAY", s.get("version", ""), ", ".join(map(str, s["hosts"])))
        for s in status["servers"]
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
