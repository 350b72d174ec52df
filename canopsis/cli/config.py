"""``canopsis config``: what the files say, whether they are right, what they may say."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from dataclasses import asdict

from canopsis.cli.common import DONE, USAGE, command, complain, own_prefix, parser, say, show_json, table
from canopsis.errors import SiteError
from canopsis.ops import check, config, explain
from canopsis.ops.model import FILES
from canopsis.ops.prefix import Prefix

EXAMPLES = """
canopsis config check                     every problem of every file and of own packages; exit code 2: there is one
canopsis config show                      what is in effect, and whether a file or a default says so
canopsis config show storage.conf --json
canopsis config explain resolve_delay     also: SECTION.KEY, a section, a file
canopsis config sample amqp2engines.conf  the file with every key
"""


@command
def main(argv: Sequence[str] | None = None) -> int:
    """Run ``canopsis config``; return its exit code."""
    args = _parse(argv)
    run: Callable[[argparse.Namespace], int] = args.run
    return run(args)


def _parse(argv: Sequence[str] | None) -> argparse.Namespace:
    parse = parser("canopsis config", "Look at the configuration of the site.", EXAMPLES)
    verbs = parse.add_subparsers(dest="verb", required=True, metavar="show|check|explain|sample")
    show = verbs.add_parser("show", help="effective values, secrets masked")
    show.add_argument("file", nargs="?", help="one file; without it, all that are there")
    checking = verbs.add_parser("check", help="look for problems")
    explaining = verbs.add_parser("explain", help="what a key means")
    explaining.add_argument("key", nargs="?", help="KEY, SECTION.KEY, a section or a file; without it, everything")
    explaining.add_argument("--markdown", action="store_true", help="print the reference page of all keys")
    sample = verbs.add_parser("sample", help="a file with every key at its default")
    sample.add_argument("file", choices=tuple(FILES), metavar="FILE", help=", ".join(FILES))
    for verb, run in ((show, _show), (checking, _check), (explaining, _explain), (sample, _sample)):
        verb.set_defaults(run=run)
        verb.add_argument("--json", action="store_true", help="print JSON")
    return parse.parse_args(argv)


def _show(args: argparse.Namespace) -> int:
    prefix = own_prefix()
    wanted = [config.file_named(args.file)] if args.file else [f for f in FILES.values() if prefix.etc(f.name).exists()]
    shown = {file.name: explain.effective(config.load(prefix, file)) for file in wanted}
    if args.json:
        show_json(shown)
        return DONE
    rows = (
        (f"{file} [{section}] {key}", found["value"], found["from"])
        for file, sections in shown.items()
        for section, keys in sections.items()
        for key, found in keys.items()
    )
    say(table(("KEY", "VALUE", "FROM"), rows))
    return DONE


def _check(args: argparse.Namespace) -> int:
    problems = check.problems(own_prefix())
    if args.json:
        show_json({"good": not problems, "problems": [asdict(problem) for problem in problems]})
    elif problems:
        complain("\n".join(map(str, problems)))
    else:
        say("the configuration is right")
    return USAGE if problems else DONE


def _explain(args: argparse.Namespace) -> int:
    if args.markdown:
        say(explain.reference().rstrip())
        return DONE
    entries = explain.find(args.key) if args.key else list(explain.entries())
    if args.json:
        show_json([entry.facts() for entry in entries])
        return DONE
    say("\n\n".join(explain.explain(entry) + _in_effect(entry) for entry in entries))
    return DONE


def _in_effect(entry: explain.Entry) -> str:
    """Return what this site says to ``entry``, where there is a site that says something."""
    try:
        prefix = Prefix.find()
    except SiteError:
        return ""
    values = config.look(prefix, entry.file)
    found = explain.effective(values).get(entry.section, {}).get(entry.key.name)
    return f"\n  here:    {found['value']} (from the {found['from']})" if found else ""


def _sample(args: argparse.Namespace) -> int:
    text = explain.sample(config.file_named(args.file))
    if args.json:
        show_json({"file": args.file, "content": text})
    else:
        say(text.rstrip())
    return DONE
