"""``canopsis dead-letters``: what could not be processed, why, and once more."""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any
from urllib.parse import quote

from canopsis.cli.alarms import cut
from canopsis.cli.common import DONE, NOT_DONE, command, complain, parser, say, show_json, table
from canopsis.errors import SiteError
from canopsis.ops import config
from canopsis.ops.apiclient import PREFIX, Api
from canopsis.ops.prefix import Prefix
from canopsis.ops.walk import pages

EXAMPLES = """
canopsis dead-letters list --engine cleaner_events --limit 5
canopsis dead-letters show ID         with the original bytes
canopsis dead-letters replay ID ID    publish the original bytes again
canopsis dead-letters replay ID --body mended.json    publish that in its place (- for the standard input)
canopsis dead-letters replay --all    every one that was neither replayed nor discarded yet
canopsis dead-letters discard ID --comment "a test of ours"
"""

HEADER = ("ID", "RECEIVED", "ENGINE", "REASON")

_PAGE = 200
_WIDTH = 120


@command
def main(argv: Sequence[str] | None = None) -> int:
    """Run ``canopsis dead-letters``; return its exit code."""
    args = _parse(argv)
    run: Callable[[Api, argparse.Namespace], int] = args.run
    return run(Api(config.client(Prefix.find())), args)


def _parse(argv: Sequence[str] | None) -> argparse.Namespace:
    parse = parser("canopsis dead-letters", "Look at what could not be processed, or try it again.", EXAMPLES)
    verbs = parse.add_subparsers(dest="verb", required=True, metavar="list|show|replay|discard")
    listing = verbs.add_parser("list", help="the latest ones")
    listing.add_argument("--engine", help="only those of this engine")
    listing.add_argument("--field", help="only those refused for this field")
    listing.add_argument("--search", help="words of the reason")
    listing.add_argument("--limit", type=int, default=20, help="how many at most (%(default)s)")
    show = verbs.add_parser("show", help="one with its original bytes")
    show.add_argument("id", metavar="ID")
    replay = verbs.add_parser("replay", help="publish the original bytes again")
    replay.add_argument("ids", nargs="*", metavar="ID")
    replay.add_argument("--all", action="store_true", help="every one that was neither replayed nor discarded yet")
    replay.add_argument("--body", type=argparse.FileType(encoding="utf-8"), metavar="FILE", help="publish this instead")
    discard = verbs.add_parser("discard", help="say that nothing more is to be done")
    discard.add_argument("ids", nargs="+", metavar="ID")
    discard.add_argument("--comment", default="", help="why")
    for verb, run in ((listing, _list), (show, _show), (replay, _replay), (discard, _discard)):
        verb.set_defaults(run=run)
        verb.add_argument("--json", action="store_true", help="print JSON")
    args = parse.parse_args(argv)
    if args.verb == "replay" and bool(args.ids) == args.all:
        parse.error("give one ID or more, or --all")
    if args.verb == "replay" and args.body and len(args.ids) != 1:
        parse.error("--body takes the place of one letter: give its ID")
    return args


def _list(api: Api, args: argparse.Namespace) -> int:
    query = {name: getattr(args, name) for name in ("engine", "field", "search", "limit")}
    letters = api.data("GET", f"{PREFIX}/dead-letters", query=query)
    if args.json:
        show_json(letters)
    else:
        text = table(HEADER, map(_row, letters)) if letters else "no dead letters"
        say("\n".join(cut(line, _WIDTH) for line in text.splitlines()))
    return DONE


def _row(letter: Mapping[str, Any]) -> tuple[str, ...]:
    return (letter["_id"], str(letter["received"])[:19], str(letter.get("engine", "")), str(letter.get("reason", "")))


def _show(api: Api, args: argparse.Namespace) -> int:
    (letter,) = api.data("GET", f"{PREFIX}/dead-letters/{quote(args.id, safe='')}")
    if args.json:
        show_json(letter)
        return DONE
    facts = {name: value for name, value in letter.items() if name != "body" and value not in ("", None, {})}
    say(table(("FIELD", "VALUE"), facts.items()))
    say(f"\n{letter['body']}")
    return DONE


def _replay(api: Api, args: argparse.Namespace) -> int:
    body = {"body": args.body.read()} if args.body else None
    wanted = _unplayed(api) if args.all else args.ids
    return _tell(args, {letter_id: _do(api, letter_id, "replay", body) for letter_id in wanted}, "replayed")


def _discard(api: Api, args: argparse.Namespace) -> int:
    comment = {"comment": args.comment}
    return _tell(args, {letter_id: _do(api, letter_id, "discard", comment) for letter_id in args.ids}, "discarded")


def _tell(args: argparse.Namespace, results: Mapping[str, str], done: str) -> int:
    """Say what came of each letter: an error, or that it is ``done``."""
    if args.json:
        show_json([{"id": letter_id, "error": error} for letter_id, error in results.items()])
    for letter_id, error in results.items() if not args.json else ():
        (complain if error else say)(f"{letter_id}: {error or done}")
    return NOT_DONE if any(results.values()) else DONE


def _unplayed(api: Api) -> list[str]:
    query = {"replayed": "false", "discarded": "false", "sort": "received"}
    return [letter["_id"] for letter in pages(api, f"{PREFIX}/dead-letters", query, _PAGE)]


def _do(api: Api, letter_id: str, what: str, body: Mapping[str, str] | None) -> str:
    data = None if body is None else json.dumps(body).encode()
    try:
        api.data("POST", f"{PREFIX}/dead-letters/{quote(letter_id, safe='')}/{what}", data)
    except SiteError as error:
        return str(error)
    return ""
