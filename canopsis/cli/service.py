"""``service``: one service of this host."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import asdict

from canopsis.cli.common import DONE, NOT_DONE, command_that_goes_on, murmur, own_prefix, parser, say, show_json, table
from canopsis.ops import foreign, services
from canopsis.ops.prefix import Prefix
from canopsis.ops.services import State

EXAMPLES = """
service --status-all             every program and its state
service mongodb start            exit code 0: it runs and answers
service amqp2engines restart     all engine processes; service engine-worker restart: one
service webserver status         exit code 0: it runs; 1: it does not
"""

_VERBS = {"start": services.start, "restart": services.restart}


@command_that_goes_on
def main(argv: Sequence[str] | None = None) -> int:
    """Run ``service``; return its exit code."""
    foreign.hand_on(sys.argv[1:] if argv is None else argv)
    args = _parse(argv)
    prefix = own_prefix()
    if args.status_all or args.verb == "status":
        return show(services.status(prefix, args.name), as_json=args.json)
    return _act(prefix, args)


def _parse(argv: Sequence[str] | None) -> argparse.Namespace:
    parse = parser("service", "Start, stop or look at a service of this host.", EXAMPLES)
    parse.add_argument("name", nargs="?", metavar="NAME", help="a service, see --status-all")
    parse.add_argument(
        "verb", nargs="?", choices=("start", "stop", "restart", "status"), metavar="start|stop|restart|status"
    )
    parse.add_argument("--status-all", action="store_true", help="show every program of this host")
    parse.add_argument(
        "--timeout", type=float, default=services.START_TIMEOUT, help="seconds a start may take (%(default)g)"
    )
    parse.add_argument("--json", action="store_true", help="print JSON")
    args = parse.parse_args(argv)
    if args.status_all == bool(args.name) or (args.name and not args.verb):
        parse.error("give NAME and start, stop, restart or status; or --status-all alone")
    return args


def _act(prefix: Prefix, args: argparse.Namespace) -> int:
    tell = murmur if args.json else say
    if args.verb == "stop":
        outcomes = services.stop(prefix, args.name, tell)
    else:
        outcomes = _VERBS[args.verb](prefix, args.name, tell, args.timeout)
    if args.json:
        show_json([asdict(outcome) for outcome in outcomes])
    for outcome in outcomes if not args.json else ():
        say(outcome.text)
    return DONE


def show(states: Sequence[State], *, as_json: bool) -> int:
    """Print ``states``; return whether all run, as an exit code."""
    if as_json:
        show_json([asdict(state) for state in states])
    else:
        say(table(("PROGRAM", "STATE", ""), ((s.program, s.state, s.description) for s in states)))
    return DONE if all(state.ok for state in states) else NOT_DONE
