"""``canopsis rules``: what the event filter does and how well; rules out of files, tried before they are saved."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

import msgspec
import yaml

from canopsis.cli.alarms import cut
from canopsis.cli.common import DONE, NOT_DONE, command, complain, parser, say, show_json, table
from canopsis.core.rules.kinds import kinds
from canopsis.core.rules.rule import ADDED, DeclaredKind, Rule
from canopsis.errors import InputError, SiteError
from canopsis.ops import config
from canopsis.ops.apiclient import PREFIX, Api
from canopsis.ops.prefix import Prefix
from canopsis.ops.walk import pages

EXAMPLES = """
canopsis rules list                      every rule of the event filter, with its counts
canopsis rules show owners               one as a file, with what it did and why it failed last
canopsis rules apply rules.yml more/     make or replace what the files hold (YAML or JSON; - for the standard input)
canopsis rules try rules.yml --event event.json        what the rules would do, beside those that are saved
canopsis rules try rules.yml --stored EVENT_ID --alone the same for an event that is stored, without the others
canopsis rules delete owners
canopsis rules list --kind table         tables that rules look into
canopsis rules list --kind notification-rule           who is told of alarms
canopsis rules try mapper.yml --payload payload.json   what a mapper would make of what a tool sends
"""

KINDS = kinds()
FIRST = "event-filter"
"""The kind of a rule that does not say it."""

_PAGE = 200
_WIDTH = 140


@command
def main(argv: Sequence[str] | None = None) -> int:
    """Run ``canopsis rules``; return its exit code."""
    args = _parse(argv)
    run: Callable[[Api, argparse.Namespace], int] = args.run
    return run(Api(config.client(Prefix.find())), args)


def _parse(argv: Sequence[str] | None) -> argparse.Namespace:
    parse = parser("canopsis rules", "Look at rules, try them, put them in force.", EXAMPLES)
    verbs = parse.add_subparsers(dest="verb", required=True, metavar="list|show|apply|delete|try")
    listing = verbs.add_parser("list", help="every rule with its counts")
    show = verbs.add_parser("show", help="one as a file, with what it did")
    show.add_argument("id", metavar="ID")
    apply = verbs.add_parser("apply", help="make or replace the rules in files")
    apply.add_argument("files", nargs="+", metavar="FILE", help="a file of rules, a folder of them, or -")
    delete = verbs.add_parser("delete", help="delete rules")
    delete.add_argument("ids", nargs="+", metavar="ID")
    attempt = verbs.add_parser("try", help="say what rules would do with events, and change nothing")
    attempt.add_argument("files", nargs="*", metavar="FILE", help="rules that are not saved yet")
    for kind in KINDS.values():
        if kind.tried_on:
            told = f"{kind.tried_on}s to try each {kind.noun or kind.name} on"
            attempt.add_argument(f"--{kind.tried_on}", action="append", default=[], metavar="FILE", help=told)
    attempt.add_argument("--stored", action="append", default=[], metavar="EVENT_ID", help="an event that is stored")
    attempt.add_argument("--alone", action="store_true", help="without the rules that are saved")
    for verb, run in ((listing, _list), (show, _show), (apply, _apply), (delete, _delete), (attempt, _try)):
        verb.set_defaults(run=run)
        verb.add_argument("--json", action="store_true", help="print JSON")
    for verb in (listing, show, delete):
        verb.add_argument("--kind", choices=KINDS, default=FIRST, help="of this kind (%(default)s)")
    args = parse.parse_args(argv)
    if args.verb == "try" and len(_tried(args)) != 1:
        ways = [f"--{kind.tried_on} FILE" for kind in KINDS.values() if kind.tried_on]
        parse.error(f"give what they are tried on: {', '.join(ways)} or --stored EVENT_ID")
    return args


def _list(api: Api, args: argparse.Namespace) -> int:
    found = list(pages(api, _path(args.kind), {}, _PAGE))
    if args.json:
        show_json(found)
    elif not found:
        say(f"no rule of kind {args.kind}")
    else:
        rows = [_row(KINDS[args.kind], each) for each in found]
        lines = table([*rows[0]], [[*row.values()] for row in rows]).splitlines()
        say("\n".join(cut(line, _WIDTH) for line in lines))
    return DONE


def _row(kind: DeclaredKind[Any], rule: Mapping[str, Any]) -> dict[str, str]:
    """Return what the list shows of a rule, by column."""
    own = {name: _cell(rule.get(name)) for name in kind.columns}
    shown = {"id": rule["id"]} | own
    if issubclass(kind.struct, Rule):
        told = {name: str(rule["counts"][name]) for name in ("matched", "dropped", "failed")}
        enabled = "yes" if rule.get("enabled", True) else "no"
        shown = {"priority": str(rule.get("priority", 100))} | shown | {"enabled": enabled} | told
    return {name.upper(): text for name, text in (shown | {"description": rule.get("description", "")}).items()}


def _cell(value: object) -> str:
    """Return a value in a word: of texts all, of other things how many."""
    if isinstance(value, list) and all(isinstance(each, str) for each in value):
        return ",".join(value)
    return str(len(value)) if isinstance(value, (dict, list)) else str(value or "")


def _show(api: Api, args: argparse.Namespace) -> int:
    found = api.data("GET", _path(args.kind, args.id))
    (rule,) = found if isinstance(found, list) else [found]
    if args.json:
        show_json(rule)
        return DONE
    say(_file(args.kind, rule).rstrip())
    facts = {name: rule[name] for name in ("rev", "author", "created", "updated")} | rule["counts"]
    for name, value in facts.items():
        say(f"# {name}: {_failure(value) if name == 'failure' else value}")
    return DONE


def _failure(failure: Mapping[str, Any]) -> str:
    on = f" (event {failure['event_id']})" if failure["event_id"] else ""
    return f"{failure['reason']}{on}"


def _file(kind: str, rule: Mapping[str, Any]) -> str:
    """Return a rule as a file that ``apply`` takes."""
    written = {"kind": kind} | {name: value for name, value in rule.items() if name not in ADDED}
    text: str = yaml.safe_dump(written, sort_keys=False, allow_unicode=True, width=110)
    return text


def _apply(api: Api, args: argparse.Namespace) -> int:
    # All are read before one is sent: a file that cannot be read changes nothing.
    wanted = [(kind, document) for name in args.files for kind, document in rules_in(name)]
    results = {}
    for kind, document in wanted:
        answer = api.call("PUT", _path(kind, document["id"]), _json(document))
        done = "made" if answer.status == 201 else "replaced"
        results[f"{kind} {document['id']}"] = (answer.good, done if answer.good else answer.problem())
    return _tell(args, results)


def _delete(api: Api, args: argparse.Namespace) -> int:
    results = {}
    for name in args.ids:
        answer = api.call("DELETE", _path(args.kind, name))
        results[f"{args.kind} {name}"] = (answer.good, "deleted" if answer.good else answer.problem())
    return _tell(args, results)


def _tell(args: argparse.Namespace, results: Mapping[str, tuple[bool, str]]) -> int:
    if args.json:
        show_json([{"rule": name, "done": good, "result": text} for name, (good, text) in results.items()])
    for name, (good, text) in results.items() if not args.json else ():
        (say if good else complain)(f"{name}: {text}")
    return DONE if all(good for good, _ in results.values()) else NOT_DONE


def _tried(args: argparse.Namespace) -> set[str]:
    """Return the kinds of rules that are to be tried, as what they are tried on tells."""
    given = {kind.name for kind in KINDS.values() if kind.tried_on and getattr(args, kind.tried_on)}
    return given | {FIRST} if args.stored else given


def _try(api: Api, args: argparse.Namespace) -> int:
    (tried,) = map(KINDS.__getitem__, _tried(args))
    given = [pair for name in args.files for pair in rules_in(name)]
    files = getattr(args, tried.tried_on)
    wish = {
        "rules": [document for kind, document in given if kind == tried.name],
        "tables": [document for kind, document in given if kind == "table"],
        f"{tried.tried_on}s": [each for name in files for document in documents_in(name) for each in _listed(document)],
        "event_ids": args.stored,
        "alone": args.alone,
    }
    found = api.data("POST", f"{_path(tried.name)}/try", _json({name: value for name, value in wish.items() if value}))
    if args.json:
        show_json(found)
        return DONE
    for each in found:
        say("\n".join(_told(each)))
    return DONE


def _listed(document: object) -> list[Any]:
    return document if isinstance(document, list) else [document]


def _told(found: Mapping[str, Any]) -> Iterator[str]:
    event = found["event"]
    reason = f": {found['reason']}" if found.get("reason") else ""
    yield f"{event.get('entity_id', '')}  {found['outcome']}{reason}"
    if not found["trail"]:
        yield "  no rule matches"
    for step in found["trail"]:
        failure = f"  failed: {step['failure']}" if step.get("failure") else ""
        yield f"  {step['rule']} ({step['type']}): {step['outcome']}{failure}"
        for name, change in step.get("changes", {}).items():
            before, after = (json.dumps(change[side], ensure_ascii=False) for side in ("from", "to"))
            yield f"    {name}: {before} → {after}"


def rules_in(name: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield kind and document of each rule in a file or folder. Raises InputError, SiteError."""
    for document in documents_in(name):
        for rule in _listed(document):
            if not isinstance(rule, dict) or not isinstance(rule.get("id"), str):
                raise InputError(name, rule, "rules: objects with an id")
            kind = rule.get("kind", FIRST)
            if kind not in KINDS:
                raise InputError(f"{name}: rule {rule['id']}: kind", kind, ", ".join(KINDS))
            yield kind, {field: value for field, value in rule.items() if field != "kind" and field not in ADDED}


def documents_in(name: str) -> Iterator[object]:
    """Yield the documents of a file, of each file of a folder, or of the standard input (``-``): YAML, so JSON too.

    Raises InputError, SiteError.
    """
    path = Path(name)
    if name != "-" and path.is_dir():
        for each in sorted(path.iterdir()):
            if each.suffix in (".yml", ".yaml", ".json"):
                yield from documents_in(str(each))
        return
    try:
        text = sys.stdin.read() if name == "-" else path.read_text(encoding="utf-8")
        yield from [document for document in yaml.safe_load_all(text) if document is not None]
    except OSError as error:
        raise SiteError(f"{name} cannot be read: {error.strerror or error}") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise InputError(name, str(error), "YAML or JSON in UTF-8") from None


def _json(document: object) -> bytes:
    """Return what YAML makes of a file as JSON; its times are texts of RFC 3339."""
    return msgspec.json.encode(document)


def _path(kind: str, name: str = "") -> str:
    path = f"{PREFIX}/{KINDS[kind].path}"
    return f"{path}/{quote(name, safe='')}" if name else path
