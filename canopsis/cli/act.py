"""``canopsis act``: acknowledge, snooze, cancel and the like, one alarm or many."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from typing import Any

from canopsis.cli.alarms import FILTERS, add_filters, filters, states
from canopsis.cli.common import DONE, NOT_DONE, command, complain, murmur, parser, say, show_json
from canopsis.core.event_types import ACTIONS
from canopsis.core.event_types.declaration import EventType
from canopsis.errors import InputError, SiteError
from canopsis.ops import config, wait
from canopsis.ops.apiclient import PREFIX, Api
from canopsis.ops.prefix import Prefix

EXAMPLES = """
canopsis act ack 0d9b0c0e7f6a4d1b9a1e2c3d4e5f6071 --message 'looking into it'
canopsis act snooze --component web1 --duration 3600 --message 'until noon'
canopsis act ack --in-state critical --not-acked --yes
canopsis act assocticket 0d9b0c0e7f6a4d1b9a1e2c3d4e5f6071 --ticket INC-4711
"""

_TASKS = f"{PREFIX}/alarms/actions"
_MOST_SHOWN = 20


@command
def main(argv: Sequence[str] | None = None) -> int:
    """Run ``canopsis act``; return its exit code: 0 when every alarm was changed."""
    args = _parse(argv)
    api = Api(config.client(Prefix.find()))
    body = {"action": args.action, "parameters": _parameters(args), **_which(args)}
    if "filter" in body and not args.yes:
        _confirm(api, body["filter"], args)
    (task,) = api.data("POST", _TASKS, json.dumps(body).encode())
    return _told(_followed(api, task, args), args)


def _parse(argv: Sequence[str] | None) -> argparse.Namespace:
    parse = parser("canopsis act", "Do something to alarms.", EXAMPLES)
    actions = parse.add_subparsers(dest="action", required=True, metavar="ACTION")
    for action in ACTIONS.values():
        _add(actions.add_parser(action.name, help=action.summary, description=action.summary), action)
    return parse.parse_args(argv)


def _add(parse: argparse.ArgumentParser, action: EventType) -> None:
    parse.add_argument("ids", nargs="*", metavar="ID", help="the alarms; or say which by the options below")
    parse.add_argument("--message", required="output" in action.required, help="why; shown with the alarm")
    for name, own in action.fields.items():
        parse.add_argument(f"--{name.replace('_', '-')}", dest=name, required=name in action.required, help=own.help)
    add_filters(parse, "--in-state")
    parse.add_argument("--yes", action="store_true", help="do not ask how many alarms may be meant")
    parse.add_argument("--wait", type=float, default=30.0, metavar="SECONDS", help="for what comes of it (%(default)g)")
    parse.add_argument("--json", action="store_true", help="print what came of it as JSON")


def _parameters(args: argparse.Namespace) -> dict[str, Any]:
    """Return what the action takes; a number is sent as one. Raises InputError."""
    own = ACTIONS[args.action].fields
    given = {name: getattr(args, name) for name in ("message", *own) if getattr(args, name) is not None}
    return {name: _value(name, value, own[name].schema if name in own else {}) for name, value in given.items()}


def _value(name: str, text: str, schema: Mapping[str, Any]) -> object:
    if schema.get("type", "") == "string" or not schema:
        return text
    if name == "state":
        return int(states(text))
    try:
        return json.loads(text)
    except ValueError:
        raise InputError(f"--{name}", text, str(schema.get("description", "a number"))) from None


def _which(args: argparse.Namespace) -> dict[str, Any]:
    found = {name: value for name, value in filters(args).items() if value is not None}
    if args.ids and found:
        raise InputError("ID", args.ids[0], "ids, or options that say which alarms, not both")
    if not args.ids and not found:
        raise InputError("ID", "nothing", f"ids of alarms, or one of --in-{', --'.join(FILTERS)}")
    return {"alarm_ids": args.ids} if args.ids else {"filter": found}


def _confirm(api: Api, which: Mapping[str, Any], args: argparse.Namespace) -> None:
    """Ask before many alarms are changed. Raises SiteError when the answer is not yes."""
    answer = api.call("GET", f"{PREFIX}/alarms", query={**which, "limit": 0})
    if not answer.good:
        raise SiteError(f"cannot count the alarms: {answer.problem()}")
    question = f"{args.action}: {answer.json()['total']} alarms"
    if not sys.stdin.isatty():
        raise SiteError(f"{question}; give --yes to do it without being asked")
    murmur(f"{question}; go on? [y/N]")
    if sys.stdin.readline().strip().lower() not in ("y", "yes"):
        raise SiteError("nothing was done")


def _followed(api: Api, task: dict[str, Any], args: argparse.Namespace) -> dict[str, Any]:
    """Return the task once every event is handled, or as it is when the time to wait is over."""
    latest = task

    def is_over() -> bool:
        nonlocal latest
        (latest,) = api.data("GET", f"{_TASKS}/{task['task_id']}")
        return not latest["pending"]

    def tick(_waited: float) -> None:
        if sys.stderr.isatty():
            murmur(f"{latest['total'] - latest['pending']} of {latest['total']}")

    if task["pending"] and args.wait > 0:
        wait.until(is_over, args.wait, tick=tick)
    return latest


def _told(task: Mapping[str, Any], args: argparse.Namespace) -> int:
    if args.json:
        show_json(task)
    else:
        pending = f", {task['pending']} not handled yet (task {task['task_id']})" if task["pending"] else ""
        say(f"{args.action}: {task['total']} alarms, {task['applied']} changed, {task['failed']} not{pending}")
        for each in task["failures"][:_MOST_SHOWN]:
            complain(f"{each['alarm_id']}: {each['reason']}")
    return DONE if task["applied"] == task["total"] else NOT_DONE
