"""``canopsis prove``: strikes a site while events are sent, and tells whether every alarm is as it must be."""

from __future__ import annotations

import argparse
import signal
import sys
import uuid
from collections.abc import Sequence
from dataclasses import replace
from random import SystemRandom

from canopsis.cli.common import DONE, NOT_DONE, USAGE, command, complain, murmur, own_prefix, parser, say, show_json
from canopsis.cli.status import look
from canopsis.errors import CanopsisError, ConfigError, InputError, SiteError
from canopsis.ops import config, settings
from canopsis.ops.apiclient import Api
from canopsis.ops.config import ClientSettings
from canopsis.ops.prefix import Prefix
from canopsis.ops.prove import plan, report, strikes
from canopsis.ops.prove.explain import Delays
from canopsis.ops.prove.run import Options, Proof, Round, Site
from canopsis.ops.prove.strikes import Strike
from canopsis.ops.supervisor import Supervisor

EXAMPLES = """
canopsis prove                                          says what it will do, and asks
canopsis prove --yes --rounds 200                       the same without asking
canopsis prove --strikes engines,webserver --rounds 50  leaves the servers alone
canopsis prove --strikes '' --command-strike web2 'ssh web2 hypcontrol stop' 'ssh web2 hypcontrol start'
canopsis prove --yes --json --seed 7 >proof.json        the same plan each time
"""

EVERYTHING = ",".join((*strikes.KINDS, strikes.FREEZE))

_TIMEOUT = 10.0
"""Seconds that a request may take: what is frozen is asked again soon."""


@command
def main(argv: Sequence[str] | None = None) -> int:
    """Run ``canopsis prove``; return 0: proved, 1: something is wrong, 2: it could not be tried."""
    args = _parse(argv)
    show = murmur if args.json else say
    try:
        prefix = Prefix.find() if args.command_strike else own_prefix()
        options, site, found = _options(args), _site(prefix, args), _strikes(prefix, args)
        _refuse_unless_well(site)
        show(intent(options, found, settings_of(prefix, args.url)))
        _ask(args.yes)
    except CanopsisError as error:
        complain(str(error))
        return USAGE
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.default_int_handler)
    return prove(Proof(site, found, options, murmur if sys.stderr.isatty() else _silence), options, args.json)


def _parse(argv: Sequence[str] | None) -> argparse.Namespace:
    what = (
        "Send events while programs of the site are killed and frozen, and tell whether every event is stored once "
        "and every alarm is as it must be. Interrupts the site."
    )
    parse = parser("canopsis prove", what, EXAMPLES)
    parse.add_argument("--rounds", type=_count, default=20, help="how many rounds (%(default)s)")
    parse.add_argument("--events", type=_count, default=150, help="events of a round (%(default)s)")
    parse.add_argument("--entities", type=_count, default=12, help="entities of a round (%(default)s)")
    parse.add_argument("--rate", type=_seconds, default=50.0, help="events a second (%(default)g)")
    parse.add_argument("--seed", type=int, help="the same number makes the same plan (default: any)")
    parse.add_argument("--strikes", default=EVERYTHING, metavar="KIND,…", help="on programs of this host (%(default)s)")
    parse.add_argument("--command-strike", nargs=3, action="append", default=[], metavar=("NAME", "BEGIN", "END"))
    parse.add_argument("--freeze", type=_seconds, default=4.0, metavar="SECONDS", help="the longest one (%(default)g)")
    parse.add_argument(
        "--patience", type=_seconds, default=180.0, metavar="SECONDS", help="for a recovery (%(default)g)"
    )
    parse.add_argument("--url", action="append", default=[], help="an API; several: the next one where one is away")
    parse.add_argument("--keep", action="store_true", help="leave the alarms open")
    parse.add_argument("--yes", action="store_true", help="do not ask")
    parse.add_argument("--json", action="store_true", help="print JSON; progress goes to standard error")
    return parse.parse_args(argv)


def _count(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is refused; allowed: a whole number from 1 on")
    return int(text)


def _seconds(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0.5 <= value <= 10_000:
        raise argparse.ArgumentTypeError(f"{text!r} is refused; allowed: a number from 0.5 to 10000")
    return value


def _options(args: argparse.Namespace) -> Options:
    if args.events > args.entities * plan.MOST_TURNS:
        most = f"at most {plan.MOST_TURNS} for each of {args.entities} entities"
        raise InputError("--events", args.events, most)
    names = ("rounds", "events", "entities", "rate", "freeze", "patience", "keep")
    seed = SystemRandom().randrange(1_000_000) if args.seed is None else args.seed
    return Options(name=f"prove-{uuid.uuid4().hex[:8]}", seed=seed, **{name: getattr(args, name) for name in names})


def settings_of(prefix: Prefix, urls: Sequence[str]) -> list[ClientSettings]:
    """Return how to reach the API at each of ``urls``, else at the site's own."""
    own = replace(config.client(prefix), timeout=_TIMEOUT)
    return [replace(own, urls=(url.rstrip("/"),)) for url in urls] or [own]


def _site(prefix: Prefix, args: argparse.Namespace) -> Site:
    found = settings_of(prefix, args.url)
    return Site(
        lambda: [Api(each) for each in found],
        lambda: [each.text() for each in look(prefix).problems],
        delays_of(prefix, args.patience),
    )


def delays_of(prefix: Prefix, patience: float) -> Delays:
    """Return the delays of the chain, none on a host that does not know it.

    An alarm comes back from its snooze by the beat after it, once what is broken has recovered.
    """
    try:
        engines = {engine.name: engine for engine in settings.chain(prefix).engines}
        alarm = engines["alarm"]
    except (ConfigError, KeyError):
        return Delays()
    options = alarm.options
    wake = 2 * alarm.beat_interval + patience
    return Delays(_number(options.get("resolve_delay")), _number(options.get("cancel_resolve_delay")), wake)


def _number(value: object) -> float:
    return float(value) if isinstance(value, int | float) else 0.0


def _strikes(prefix: Prefix, args: argparse.Namespace) -> list[Strike]:
    kinds = [kind.strip() for kind in args.strikes.split(",") if kind.strip()]
    found = strikes.of_programs(kinds, Supervisor(prefix.socket)) if kinds else []
    found += [strikes.Command(*each) for each in args.command_strike]
    if not found:
        raise InputError("--strikes", args.strikes, f"{EVERYTHING}, or a --command-strike: else nothing is proved")
    return found


def _refuse_unless_well(site: Site) -> None:
    problems = site.problems()
    if problems:
        raise SiteError("\n  ".join(("the site is not well, nothing was done:", *problems)))


def intent(options: Options, found: Sequence[Strike], apis: Sequence[ClientSettings]) -> str:
    """Return what will be done, for whoever has to say yes."""
    left = "left as they are" if options.keep else "brought back to OK: the site resolves them after its delay"
    return "\n".join(
        (
            f"canopsis prove on {', '.join(url for api in apis for url in api.urls)}, seed {options.seed}",
            f"  sends {options.rounds} rounds of {options.events} events, about {options.rate:g} a second, "
            f"for entities of its own (connector {plan.CONNECTOR}, component {options.name}-…)",
            f"  strikes meanwhile, at first one after the other, then at random: {', '.join(s.name for s in found)}",
            "  the site is interrupted again and again: sources without retries lose what they send then",
            f"  its alarms are {left}; its events and alarms stay as long as any others",
        )
    )


def _ask(yes: bool) -> None:
    if yes:
        return
    if not sys.stdin.isatty():
        raise SiteError("nothing was done: there is no terminal to ask; --yes does it without asking")
    if input("Go on? Type yes: ").strip().lower() != "yes":
        raise SiteError("nothing was done")


def _silence(_line: str) -> None:
    return


def prove(proof: Proof, options: Options, as_json: bool) -> int:
    """Run ``proof``, show what it finds; return the exit code."""
    show = murmur if as_json else say
    rounds: list[Round] = []
    show(report.HEADER)
    try:
        for each in proof.rounds():
            rounds.append(each)
            show(report.row(each))
        again = proof.again()
    except CanopsisError as error:
        complain(f"the proof was given up: {error}")
        return USAGE
    finally:
        left = proof.end()
        for text in left:
            complain(f"after the proof: {text}")
        if not left:
            murmur("the site is well")
    wrong = [*(text for each in rounds for text in each.differences.texts), *again.texts, *left]
    show(report.total(rounds, again))
    show(report.verdict(rounds, wrong))
    if as_json:
        show_json(report.facts(rounds, again, wrong, options.seed))
    return NOT_DONE if wrong else DONE
