"""``canopsis alarms``: the alarms of the site as a table."""

from __future__ import annotations

import argparse
import select
import shutil
import signal
import sys
import time
from collections.abc import Mapping, Sequence
from datetime import datetime
from itertools import islice
from typing import Any

from canopsis.cli.common import DONE, command, parser, say, show_json, table
from canopsis.core.status import NAMES as STATUSES
from canopsis.core.status import STATES
from canopsis.errors import InputError, SiteError
from canopsis.ops import config
from canopsis.ops.apiclient import PREFIX, Api
from canopsis.ops.prefix import Prefix
from canopsis.ops.walk import parts

EXAMPLES = """
canopsis alarms                              open alarms, the newest first
canopsis alarms --watch                      the same, fresh every 2 s, until Ctrl-C
canopsis alarms --state critical --not-acked
canopsis alarms --component web1 --show all --limit 20
canopsis alarms --component web1 --resource disk --steps
canopsis alarms --json | jq '.[].output'
"""

HEADER = ("STATE", "STATUS", "AGE", "ACK", "WHAT", "OUTPUT")
STEPS_HEADER = ("TIME", "STEP", "VALUE", "AUTHOR", "MESSAGE")

NONE = "no alarms"

_NARROWEST_OUTPUT = 20
_CLEAR = "\x1b[H\x1b[2J"
_UNITS = ((86400, "d"), (3600, "h"), (60, "m"))


@command
def main(argv: Sequence[str] | None = None) -> int:
    """Run ``canopsis alarms``; return its exit code."""
    args = _parse(argv)
    api = Api(config.client(Prefix.find()))
    query = _query(args)
    if args.watch:
        return _watch(api, query, args)
    found = _listing(api, query)
    if args.steps:
        return _show_steps(api, found["data"], args)
    if args.json:
        show_json(found["data"])
    else:
        say(render(found, time.time(), _width()))
    return DONE


def _parse(argv: Sequence[str] | None) -> argparse.Namespace:
    parse = parser("canopsis alarms", "Show alarms.", EXAMPLES)
    parse.add_argument("--show", choices=("open", "resolved", "all"), default="open", help="which ones (%(default)s)")
    add_filters(parse)
    parse.add_argument("--sort", metavar="FIELD", help="order by this field (created, newest first)")
    parse.add_argument("--descending", action="store_true", help="with --sort: the highest first")
    parse.add_argument("--limit", type=int, default=50, help="how many at most (%(default)s)")
    shown = parse.add_mutually_exclusive_group()
    shown.add_argument("--steps", action="store_true", help="what happened to each, newest first, --limit steps")
    shown.add_argument("--watch", action="store_true", help="keep it fresh until Ctrl-C; Enter refreshes at once")
    parse.add_argument("--interval", type=float, default=2.0, help="seconds between two looks (%(default)g)")
    parse.add_argument("--json", action="store_true", help="print JSON; with --watch a line each time")
    return parse.parse_args(argv)


def add_filters(parse: argparse.ArgumentParser, state: str = "--state") -> None:
    """Add the options that say which alarms; ``state`` is the name of the one of states."""
    parse.add_argument(state, dest="of_state", help=f"only these, with commas: {', '.join(STATES)}, or 0 to 3")
    for name in ("connector", "component", "resource", "tag"):
        parse.add_argument(f"--{name}", help=f"only those of this {name}")
    parse.add_argument("--search", help="words in names, output or tags")
    for name, done in (("acked", "acknowledged"), ("snoozed", "snoozed")):
        choice = parse.add_mutually_exclusive_group()
        choice.add_argument(f"--{name}", dest=name, action="store_const", const="true", help=f"only {done} ones")
        choice.add_argument(f"--not-{name}", dest=name, action="store_const", const="false", help="only the others")


FILTERS = ("state", "connector", "component", "resource", "tag", "search", "acked", "snoozed")


def filters(args: argparse.Namespace) -> dict[str, str | None]:
    """Return which alarms are meant, as the API wants it; None for what was not given. Raises InputError."""
    found = {name: getattr(args, name) for name in FILTERS if name != "state"}
    return found | {"state": states(args.of_state) if args.of_state else None}


def _query(args: argparse.Namespace) -> dict[str, object]:
    query = filters(args) | {name: getattr(args, name) for name in ("show", "sort", "limit")}
    return query | ({"sort": f"-{args.sort}"} if args.sort and args.descending else {})


def states(text: str) -> str:
    """Return state names or numbers as the API wants them. Raises InputError."""
    words = [word.strip().lower() for word in text.split(",")]
    numbers = [str(STATES.index(word)) if word in STATES else word for word in words]
    if not set(numbers) <= {"0", "1", "2", "3"}:
        raise InputError("--state", text, f"{', '.join(STATES)}, or 0 to 3, with commas")
    return ",".join(numbers)


def _listing(api: Api, query: Mapping[str, object]) -> Mapping[str, Any]:
    answer = api.call("GET", f"{PREFIX}/alarms", query=query)
    if not answer.good:
        raise SiteError(f"cannot list alarms: {answer.problem()}")
    found: Mapping[str, Any] = answer.json()
    return found


def _show_steps(api: Api, found: Sequence[Mapping[str, Any]], args: argparse.Namespace) -> int:
    """Show the steps of each alarm."""
    steps = [list(islice(parts(api, f"{PREFIX}/alarms/{alarm['_id']}/steps"), args.limit)) for alarm in found]
    if args.json:
        show_json([{**alarm, "steps": own} for alarm, own in zip(found, steps, strict=True)])
        return DONE
    now, width = time.time(), _width()
    shown = [
        f"{' '.join(row(alarm, now)[:2])}  {_what(alarm)}\n{_cut_lines(table(STEPS_HEADER, map(step_row, own)), width)}"
        for alarm, own in zip(found, steps, strict=True)
    ]
    say("\n\n".join(shown) or NONE)
    return DONE


def step_row(step: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the cells of one step; times are those of this host."""
    moment = datetime.fromtimestamp(step["t"]).astimezone().isoformat(" ", "seconds")
    return (moment, step["type"], str(step["value"]), step["author"], " ".join(step["message"].split()))


def _watch(api: Api, query: Mapping[str, object], args: argparse.Namespace) -> int:
    """Show alarms again and again, until Ctrl-C or until nobody reads any more."""
    try:
        while True:
            _show_once(api, query, as_json=args.json)
            _pause(args.interval)
    except KeyboardInterrupt:
        # How a watch ends: nothing was interrupted.
        return 128 + signal.SIGINT


def _show_once(api: Api, query: Mapping[str, object], *, as_json: bool) -> None:
    try:
        found = _listing(api, query)
        text = render(found, time.time(), _width())
    except SiteError as error:
        # An API that restarts is no reason to stop watching.
        found, text = {"error": str(error)}, f"{error}\ntrying again"
    if as_json:
        show_json(found, lines=True)
    else:
        say((_CLEAR if sys.stdout.isatty() else "") + text)


def _pause(seconds: float) -> None:
    keyboard = [sys.stdin] if sys.stdin.isatty() else []
    if select.select(keyboard, [], [], seconds)[0]:
        sys.stdin.readline()


def render(found: Mapping[str, Any], now: float, width: int) -> str:
    """Return a page of alarms as a table at most ``width`` wide."""
    alarms = found["data"]
    if not alarms:
        return NONE
    text = table(HEADER, [row(alarm, now) for alarm in alarms])
    shown = f"{len(alarms)} of {found['total']} alarms" if found["total"] > len(alarms) else f"{len(alarms)} alarms"
    return f"{_cut_lines(text, width)}\n{shown}"


def _cut_lines(text: str, width: int) -> str:
    """Return a table cut to ``width``, with some room for its last column."""
    lines = text.splitlines()
    room = max(width, len(lines[0]) + _NARROWEST_OUTPUT)
    return "\n".join(cut(line, room) for line in lines)


def row(alarm: Mapping[str, Any], now: float) -> tuple[str, ...]:
    """Return the cells of one alarm."""
    state, status = alarm["state"], alarm["status"]
    acked = (alarm.get("ack") or {}).get("author", "")
    output = " ".join(str(alarm.get("output", "")).split())
    name = STATES[state].upper() if 0 <= state < len(STATES) else str(state)
    shown = STATUSES.get(status, str(status)) if alarm.get("open", True) else "resolved"
    return (name, shown, age(now - alarm["created"]), acked, _what(alarm), output)


def _what(alarm: Mapping[str, Any]) -> str:
    return f"{alarm['component']}/{alarm['resource']}" if alarm.get("resource") else str(alarm["component"])


def age(seconds: float) -> str:
    """Return a time as one number and unit."""
    seconds = max(0.0, seconds)
    return next((f"{seconds / size:.0f}{unit}" for size, unit in _UNITS if seconds >= size), f"{seconds:.0f}s")


def cut(line: str, width: int) -> str:
    """Return ``line`` cut to ``width`` characters."""
    return line if len(line) <= width else line[: width - 1] + "…"


def _width() -> int:
    # What is not a terminal (a file, a program) gets whole lines.
    return shutil.get_terminal_size().columns if sys.stdout.isatty() else 10_000
