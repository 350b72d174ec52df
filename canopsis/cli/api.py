"""``canopsis api``: any call of the API with the key of the site."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path

from canopsis.cli.common import DONE, NOT_DONE, command, complain, parser, say
from canopsis.errors import InputError
from canopsis.ops import config
from canopsis.ops.apiclient import Answer, Api
from canopsis.ops.prefix import Prefix

EXAMPLES = """
canopsis api GET /api/v1/status
canopsis api GET '/api/v1/alarms?state=2&limit=5'
canopsis api POST /api/v1/alarms/ID/ack --data '{"message": "on it"}'
canopsis api POST /api/v1/events --data @events.json
generate | canopsis api POST /api/v1/events --data -
"""

METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE")


@command
def main(argv: Sequence[str] | None = None) -> int:
    """Run ``canopsis api``; return its exit code: 0 when the answer is below 400."""
    parse = parser("canopsis api", "Call the API of the site; its answer is printed.", EXAMPLES)
    parse.add_argument("method", type=str.upper, choices=METHODS, metavar="METHOD", help=", ".join(METHODS))
    parse.add_argument("path", metavar="PATH", help="with its query, as in /api/v1/alarms?limit=5")
    parse.add_argument("--data", metavar="JSON|@FILE|-", help="the body: JSON, a file, or - for standard input")
    args = parse.parse_args(argv)
    if not args.path.startswith("/"):
        raise InputError("PATH", args.path, "a path that begins with /, such as /api/v1/status")
    body = None if args.data is None else read_data(args.data)
    answer = Api(config.client(Prefix.find())).call(args.method, args.path, body)
    show(answer)
    return DONE if answer.good else NOT_DONE


def read_data(given: str) -> bytes:
    """Return the bytes that ``--data`` names. Raises InputError."""
    if given == "-":
        return sys.stdin.buffer.read()
    if not given.startswith("@"):
        return given.encode()
    try:
        return Path(given[1:]).read_bytes()
    except OSError as error:
        raise InputError("--data", given, f"@ and a file that can be read ({error.strerror})") from error


def show(answer: Answer) -> None:
    """Print the content of ``answer``; its status goes to standard error when it is an error."""
    if answer.content_type.endswith("json"):
        say(json.dumps(answer.json(), indent=2, ensure_ascii=False))
    elif answer.content:
        say(answer.content.decode(errors="replace"))
    if not answer.good:
        complain(answer.problem())
