"""``canopsis``: its sub-commands, each in a module of its own."""

from __future__ import annotations

import difflib
import importlib
import sys
from collections.abc import Sequence
from dataclasses import dataclass

from canopsis.cli.common import DONE, USAGE, Main, complain, say


@dataclass(frozen=True, slots=True)
class SubCommand:
    """A sub-command: the module that has its ``main``, and its line in the help."""

    module: str
    help: str


COMMANDS = {
    "status": SubCommand("status", "what runs, what does not, what is wrong"),
    "alarms": SubCommand("alarms", "alarms as a table; --watch keeps it fresh"),
    "act": SubCommand("act", "acknowledge, snooze, cancel … alarms, one or many"),
    "check": SubCommand("check", "run a Nagios plugin and send its result"),
    "api": SubCommand("api", "call the API: METHOD PATH [--data JSON]"),
    "config": SubCommand("config", "show, check, explain or sample the configuration"),
    "rules": SubCommand("rules", "list, show, apply, delete or try the rules of the event filter"),
    "dead-letters": SubCommand("dead_letters", "list, show or replay what could not be processed"),
    "user": SubCommand("user", "users of the API and their keys"),
    "prove": SubCommand("prove", "strike the site under load, and prove that nothing is lost or counted twice"),
    "migrate": SubCommand("migrate", "bring the database to this release's shape"),
    "engine": SubCommand("engine", "run an engine process (supervisord does this)"),
    "version": SubCommand("version", "the version of Canopsis and of its parts"),
}

_USAGE = "usage: canopsis COMMAND [OPTION…]      canopsis COMMAND --help tells more"


def main(argv: Sequence[str] | None = None) -> int:
    """Run ``canopsis``; return its exit code."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    name = arguments[0] if arguments else ""
    if name in ("-h", "--help", "help"):
        say(_help())
        return DONE
    if name == "--version":
        arguments, name = ["version"], "version"
    if name not in COMMANDS:
        complain(_unknown(name))
        return USAGE
    return load(name)(arguments[1:])


def load(name: str) -> Main:
    """Return the ``main`` of the sub-command ``name``; only its own imports are paid for."""
    found: Main = importlib.import_module(f"canopsis.cli.{COMMANDS[name].module}").main
    return found


def _help() -> str:
    lines = [_USAGE, "", "commands:"]
    lines += (f"  {name:<14}{command.help}" for name, command in COMMANDS.items())
    lines += ["", "also: service, hypcontrol, send-event"]
    return "\n".join(lines)


def _unknown(name: str) -> str:
    near = difflib.get_close_matches(name, COMMANDS, n=1)
    hint = f"did you mean {near[0]}? " if near else ""
    return f"{f'{name}: no such command; ' if name else ''}{hint}commands: {', '.join(COMMANDS)}\n{_USAGE}"
