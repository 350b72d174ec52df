"""``send-event``: events from flags, JSON or CSV."""

from __future__ import annotations

import argparse
import io
import socket
import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from canopsis.cli.common import DONE, NOT_DONE, command, complain, murmur, parser, say, show_json
from canopsis.core.event_types import EVENT_TYPES, SENT_BY_SOURCES
from canopsis.errors import InputError
from canopsis.ops import config
from canopsis.ops.apiclient import Api
from canopsis.ops.prefix import Prefix
from canopsis.ops.reading import Event, Found, Unreadable, read_csv, read_json
from canopsis.ops.sending import Result, Sender, chunks

EXAMPLES = """
send-event --component web1 --resource disk --state 2 --output 'disk is full' --perf-data '/=95%;80;90'
send-event --event-type ack --component web1 --resource disk --author alice --output 'on it'
send-event < event.json                 an object, an array, or an object a line
send-event --csv events.csv             the first line names the fields
tail -F app.json | send-event --batch 1 --connector app -
"""

_FIELDS = {
    "connector": "kind of source",
    "connector-name": "which source of that kind (this host)",
    "event-type": f"{', '.join(SENT_BY_SOURCES)} (check)",
    "component": "host or application it speaks of",
    "resource": "part of the component",
    **{name.replace("_", "-"): own.help for each in EVENT_TYPES.values() for name, own in each.fields.items()},
    "output": "one line",
    "long-output": "more lines",
    "timestamp": "seconds since the epoch (now)",
    "author": "who did it",
    "perf-data": "Nagios performance data",
    "event-id": "an id of your own: the same id again is the same event",
    "state-scale": "what 0 to 3 mean: nagios, severity, or such as ok,warning,warning,critical (nagios)",
}


@command
def main(argv: Sequence[str] | None = None) -> int:
    """Run ``send-event``; return its exit code: 0 when every event was accepted."""
    args = _parse(argv)
    sender = Sender(Api(config.client(Prefix.find())), args.retry_for)
    good = _send(sender, _events(args), args)
    return DONE if good else NOT_DONE


def _parse(argv: Sequence[str] | None) -> argparse.Namespace:
    parse = parser("send-event", "Send events to Canopsis.", EXAMPLES)
    parse.add_argument("file", nargs="?", metavar="FILE", help="a file with events; - is standard input")
    for name, text in _FIELDS.items():
        parse.add_argument(f"--{name}", help=text)
    parse.add_argument("--tag", action="append", metavar="TAG", help="a tag; may be given several times")
    parse.add_argument("--field", action="append", default=[], metavar="NAME=VALUE", help="any other field")
    parse.add_argument("--csv", action="store_true", help="the input is CSV with a header")
    parse.add_argument("--batch", type=int, default=500, metavar="N", help="events a request (%(default)s)")
    parse.add_argument("--retry-for", type=float, default=0.0, metavar="SECONDS", help="wait for a broker that is away")
    parse.add_argument("--quiet", action="store_true", help="show refused events only")
    parse.add_argument("--json", action="store_true", help="print the results as JSON, an object a line")
    args = parse.parse_args(argv)
    if args.batch < 1:
        parse.error("--batch: at least 1")
    if not args.file and not args.component and sys.stdin.isatty():
        parse.error("give --component and more, or a FILE, or events on standard input")
    return args


def given(args: argparse.Namespace) -> Event:
    """Return the fields that flags give. Raises InputError for a ``--field`` without a name."""
    event: Event = {}
    for name in _FIELDS:
        field = name.replace("-", "_")
        if getattr(args, field) is not None:
            event[field] = getattr(args, field)
    if args.tag:
        event["tags"] = args.tag
    for pair in args.field:
        name, equals, value = pair.partition("=")
        if not equals or not name:
            raise InputError("--field", pair, "NAME=VALUE")
        event[name] = value
    return event


def _events(args: argparse.Namespace) -> Iterator[Found]:
    flags = given(args)
    defaults = {"connector": "send-event", "connector_name": socket.gethostname(), "event_type": "check"} | flags
    if args.component and not args.file:
        yield defaults
        return
    for found in _read(args):
        # What an event says itself goes before what the flags say for all.
        yield found if isinstance(found, Unreadable) else defaults | found


def _read(args: argparse.Namespace) -> Iterator[Found]:
    read = read_csv if args.csv else read_json
    yield from read(_lines(args.file or "-"))


def _lines(name: str) -> Iterator[str]:
    try:
        if name == "-":
            # Not sys.stdin itself: its encoding follows the locale.
            yield from io.TextIOWrapper(sys.stdin.buffer, encoding="utf-8-sig", errors="surrogateescape", newline="")
        else:
            with Path(name).open(encoding="utf-8-sig", errors="surrogateescape", newline="") as file:
                yield from file
    except OSError as error:
        raise InputError("FILE", name, f"a file that can be read ({error.strerror})") from error


def _send(sender: Sender, events: Iterable[Found], args: argparse.Namespace) -> bool:
    counts = {"accepted": 0, "refused": 0}
    for chunk in chunks(enumerate(events), args.batch):
        sendable = [found for _, found in chunk if not isinstance(found, Unreadable)]
        results = iter(sender.send(sendable) if sendable else ())
        for index, found in chunk:
            told = _told(found) if isinstance(found, Unreadable) else _result(next(results))
            counts[told["status"]] += 1
            _show(index, told, args)
    if not args.json and sum(counts.values()) != 1:
        murmur(f"{counts['accepted']} accepted, {counts['refused']} refused")
    return counts["refused"] == 0


def _told(found: Unreadable) -> dict[str, Any]:
    error = f"line {found.line}: {found.reason}"
    return {"status": "refused", "event_id": "", "error": error, "field": "", "warnings": []}


def _result(result: Result) -> dict[str, Any]:
    status = "refused" if result.error else "accepted"
    return {
        "status": status,
        "event_id": result.event_id,
        "error": result.error,
        "field": result.field,
        "warnings": list(result.warnings),
    }


def _show(index: int, told: dict[str, Any], args: argparse.Namespace) -> None:
    if args.json:
        show_json({"index": index} | told, lines=True)
        return
    if told["error"]:
        complain(f"event {index}: refused: {told['error']}")
        return
    for text in told["warnings"]:
        murmur(f"warning: event {index}: {text}")
    if not args.quiet:
        say(f"event {index}: accepted {told['event_id']}")
