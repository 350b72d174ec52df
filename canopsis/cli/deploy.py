"""``canopsis-deploy``: a site from the controller. Each playbook is a verb, a plain call of ansible-playbook."""

from __future__ import annotations

import argparse
import difflib
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NoReturn

from canopsis.cli.common import DONE, NOT_DONE, USAGE, command, complain, murmur, parser, say, show_json, table
from canopsis.deploy.folder import VARIABLES, init, logs_in_as
from canopsis.deploy.home import Site, find_home
from canopsis.deploy.playbooks import Call, Playbook, call, playbooks
from canopsis.deploy.secrets import Report, Secrets
from canopsis.deploy.vault import Vault

INIT_EXAMPLES = """
canopsis-deploy init mysite                     three hosts, every role on each
canopsis-deploy init mysite --inventory large   3 databases, 3 brokers, engines, 2 web servers
canopsis-deploy init mysite --user debian       logs in as debian, who becomes root with sudo
canopsis-deploy init mysite                     again: renews ansible.cfg, keeps hosts and variables
"""
SECRETS_EXAMPLES = """
canopsis-deploy secrets init                    make what is missing, keep what is there
canopsis-deploy secrets check                   all that is missing or unknown; exit code 1 if anything is
canopsis-deploy secrets init --vault-password-file ~/.canopsis-vault
"""
_USAGE = "usage: canopsis-deploy VERB [ARGUMENT…]      canopsis-deploy VERB --help tells more"


@command
def main(argv: Sequence[str] | None = None) -> int:
    """Run ``canopsis-deploy``; return its exit code."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    verb, rest = (arguments[0] if arguments else ""), arguments[1:]
    if verb == "init":
        return _init(rest)
    if verb == "secrets":
        return _secrets(rest)
    found = playbooks(find_home())
    if verb in ("-h", "--help", "help"):
        say(_help(found))
        return DONE
    if verb not in found:
        complain(_unknown(verb, ["init", "secrets", *found]))
        return USAGE
    return _play(found[verb], rest)


def _help(found: dict[str, Playbook]) -> str:
    lines = [_USAGE, "", "a site's folder:", "  init          a folder with hosts, variables and ansible.cfg"]
    lines += ["  secrets       init: make the missing ones; check: list all that is wrong", "", "playbooks:"]
    lines += (f"  {playbook.verb:<14}{playbook.purpose}" for playbook in found.values())
    lines += [
        "",
        "A playbook takes the arguments of ansible-playbook: --check --diff, --limit HOST, --tags TAG, -e NAME=VALUE",
    ]
    return "\n".join(lines)


def _unknown(verb: str, verbs: Sequence[str]) -> str:
    near = difflib.get_close_matches(verb, verbs, n=1)
    hint = f"did you mean {near[0]}? " if near else ""
    return f"{f'{verb}: no such verb; ' if verb else ''}{hint}verbs: {', '.join(verbs)}\n{_USAGE}"


def _play(playbook: Playbook, arguments: Sequence[str]) -> int:
    """Become ansible-playbook: its exit code and its signals are the true ones."""
    if "-h" in arguments or "--help" in arguments:
        usage = f"usage: canopsis-deploy {playbook.verb} [ARGUMENT OF ansible-playbook…]"
        say(f"{usage}\n\n{playbook.about}\n\n{playbook.path}")
        return DONE
    site = Site.find(Path.cwd())
    site.check(find_home())
    made = call(site, playbook, arguments)
    murmur(str(made))
    return become(made, site.environ())


def become(made: Call, environ: Mapping[str, str]) -> NoReturn:
    """Replace this process by the program called."""
    os.execve(made.arguments[0], made.arguments, environ)  # noqa: S606 - no shell is wanted


def _init(argv: Sequence[str]) -> int:
    parse = parser("canopsis-deploy init", "Make a folder for a site: hosts, variables, ansible.cfg.", INIT_EXAMPLES)
    parse.add_argument("folder", type=Path, metavar="DIR", help="where; made if it is not there")
    parse.add_argument("--inventory", default="small", metavar="SAMPLE", help="small, large or local (%(default)s)")
    parse.add_argument("--user", default="", metavar="NAME", help="who logs in by SSH, if not root; needs sudo there")
    args = parse.parse_args(argv)
    laid = init(find_home(), args.folder, args.inventory, args.user)
    for name in laid.wrote:
        say(f"wrote  {args.folder / name}")
    for name in laid.kept:
        say(f"kept   {args.folder / name}")
    if user := logs_in_as(args.folder):
        say(f"SSH:  as {user} (ansible_user in {args.folder / VARIABLES}){'' if user == 'root' else ', with sudo'}")
    say(f"Next: cd {args.folder}; edit hosts.yml; canopsis-deploy secrets init; canopsis-deploy preflight")
    return DONE


def _secrets(argv: Sequence[str]) -> int:
    args = _parse_secrets(argv)
    site, home = Site.find(Path.cwd()), find_home()
    options = [word for name in args.vault_id for word in ("--vault-id", name)]
    options += [word for name in args.vault_password_file for word in ("--vault-password-file", name)]
    secrets = Secrets(home, Vault(site, tuple(options)), args.inventory or site.inventory())
    return _check(secrets, as_json=args.json) if args.verb == "check" else _make(secrets, as_json=args.json)


def _parse_secrets(argv: Sequence[str]) -> argparse.Namespace:
    about = "Make or check the secrets of the site whose folder this is."
    parse = parser("canopsis-deploy secrets", about, SECRETS_EXAMPLES)
    parse.add_argument("verb", choices=("init", "check"), help="make what is missing, or list what is wrong")
    parse.add_argument("--inventory", "-i", type=Path, metavar="PATH", help="default: the one that ansible.cfg names")
    parse.add_argument("--vault-id", action="append", default=[], metavar="ID", help="as for ansible-vault")
    parse.add_argument(
        "--vault-password-file", action="append", default=[], metavar="FILE", help="as for ansible-vault"
    )
    parse.add_argument("--json", action="store_true", help="print JSON")
    return parse.parse_args(argv)


def _make(secrets: Secrets, *, as_json: bool) -> int:
    made = secrets.init()
    if as_json:
        show_json({"file": str(secrets.file), "made": made})
    elif not secrets.file.exists() or (not made and secrets.check().own):
        say("nothing to make: every host of this inventory makes its own secrets")
    else:
        say(f"{secrets.file}: made {', '.join(made) if made else 'nothing, all are there'}")
        if not secrets.vault.closes(secrets.file):
            say(f"It is clear text that only you can read; `ansible-vault encrypt {secrets.file}` closes it.")
    return DONE


def _check(secrets: Secrets, *, as_json: bool) -> int:
    report = secrets.check()
    if as_json:
        show_json(_as_json(report))
    else:
        _show(report)
    return DONE if report.ok else NOT_DONE


def _as_json(report: Report) -> dict[str, object]:
    return {
        "file": str(report.file),
        "vaulted": report.vaulted,
        "ok": report.ok,
        "missing": [{"name": name, "hosts": hosts} for name, hosts in report.missing.items()],
        "unknown": report.unknown,
        "open_to_others": report.open_to_others,
        "made_by_hosts": report.own,
    }


def _show(report: Report) -> None:
    if report.own:
        say("every host of this inventory makes its own secrets")
        return
    rows = [(name, "missing", f"on {', '.join(hosts)}") for name, hosts in report.missing.items()]
    rows += [(name, "unknown", "no role has such a variable: a typing error?") for name in report.unknown]
    if report.open_to_others:
        rows.append((report.file.name, "readable", f"chmod 600 {report.file}"))
    if not rows:
        say(f"{report.file}: all secrets are there{', encrypted' if report.vaulted else ''}")
        return
    say(f"{report.file}:")
    say(table(("SECRET", "IS", ""), rows))
    if report.missing:
        say("`canopsis-deploy secrets init` makes what is missing.")
