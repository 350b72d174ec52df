"""``canopsis check``: run a Nagios plugin, send its result."""

from __future__ import annotations

import argparse
import socket
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from canopsis.cli.common import DONE, NOT_DONE, command, complain, murmur, parser, say, show_json
from canopsis.core import plugin
from canopsis.core.normalise import normalise
from canopsis.core.status import STATES
from canopsis.errors import InvalidEvent
from canopsis.ops import config, pluginrun
from canopsis.ops.apiclient import Api
from canopsis.ops.pluginrun import Ran
from canopsis.ops.prefix import Prefix
from canopsis.ops.sending import Result, Sender

EXAMPLES = """
canopsis check -- /usr/lib/nagios/plugins/check_load -w 5 -c 10
canopsis check --resource disk-root -- check_disk -w 20% -c 10% -p /
canopsis check --component web1 --resource http --timeout 10 --exit-code -- check_http -H web1
canopsis check --dry-run -- ./my_plugin       shows the event and sends nothing
"""


@command
def main(argv: Sequence[str] | None = None) -> int:
    """Run ``canopsis check``; return 0 when the result was sent, or the plugin's state with ``--exit-code``."""
    args = _parse(argv)
    sender = None if args.dry_run else Sender(Api(config.client(Prefix.find())), args.retry_for)
    ran = pluginrun.run(args.command, args.timeout)
    event = event_of(ran, args)
    result = sender.send([event])[0] if sender else None
    _show(event, result, args)
    if result is not None and result.error:
        return NOT_DONE
    return ran.state if args.exit_code else DONE


def _parse(argv: Sequence[str] | None) -> argparse.Namespace:
    parse = parser("canopsis check", "Run a Nagios plugin and send its result with its performance data.", EXAMPLES)
    parse.add_argument("--component", default=socket.gethostname(), help="what is checked (%(default)s)")
    parse.add_argument("--resource", help="which part of it (the plugin's name)")
    parse.add_argument("--connector", default="canopsis", help="kind of source (%(default)s)")
    parse.add_argument("--connector-name", default="check", help="which source of that kind (%(default)s)")
    parse.add_argument("--tag", action="append", metavar="TAG", help="a tag; may be given several times")
    parse.add_argument("--timeout", type=float, default=60.0, help="seconds the plugin may take (%(default)g)")
    parse.add_argument("--retry-for", type=float, default=0.0, metavar="SECONDS", help="wait for a broker that is away")
    parse.add_argument("--exit-code", action="store_true", help="end with the plugin's state when it was sent")
    parse.add_argument("--dry-run", action="store_true", help="show the event, send nothing")
    parse.add_argument("--json", action="store_true", help="print the event and what became of it as JSON")
    parse.add_argument("command", nargs="+", metavar="COMMAND", help="the plugin and its arguments, after --")
    return parse.parse_args(argv)


def event_of(ran: Ran, args: argparse.Namespace) -> dict[str, Any]:
    """Return the check event of a plugin run. Performance data that cannot be read never cost the state."""
    printed = plugin.parse_output(ran.output)
    notes = [printed.long_output, ran.note if printed.output else ""]
    event = {
        "connector": args.connector,
        "connector_name": args.connector_name,
        "event_type": "check",
        "component": args.component,
        "resource": args.resource or Path(args.command[0]).name,
        "state": ran.state,
        "output": printed.output or f"{STATES[ran.state].upper()}: {ran.note}",
    }
    if printed.perf_data:
        event["perf_data"] = printed.perf_data
    long_output = "\n".join(filter(None, notes))
    extra = {"long_output": long_output, "tags": args.tag}
    return event | {name: value for name, value in extra.items() if value}


def expected_warnings(event: dict[str, Any]) -> list[str]:
    """Return what the API would warn of, for an event that is not sent."""
    try:
        return normalise(event, time.time()).warnings
    except InvalidEvent as error:
        return [str(error)]


def _show(event: dict[str, Any], result: Result | None, args: argparse.Namespace) -> None:
    error = result.error if result else ""
    warnings = list(result.warnings) if result else expected_warnings(event)
    if args.json:
        sent = bool(result and not error)
        told = {"event_id": result.event_id if result else "", "error": error, "warnings": warnings}
        show_json({"event": event, "sent": sent} | told)
        return
    what = f"{event['component']}/{event['resource']}"
    say(f"{what}: {STATES[event['state']].upper()} - {event['output']}")
    for name in ("perf_data", "long_output"):
        if name in event:
            say(f"  {name.replace('_', ' ')}: {event[name]}")
    for text in warnings:
        murmur(f"warning: {text}")
    if error:
        complain(f"refused: {error}")
    else:
        say(f"  sent: {result.event_id}" if result else "  not sent (--dry-run)")
