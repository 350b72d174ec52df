"""``canopsis user``: who may use the API."""

from __future__ import annotations

import argparse
import secrets
import sys
import time
from collections.abc import Callable, Sequence
from datetime import datetime
from pathlib import Path
from typing import get_args

import msgspec

from canopsis.api.auth.authkey import digest
from canopsis.api.auth.passwords import hash_password, verify
from canopsis.cli.common import DONE, command, own_prefix, parser, say, show_json, table
from canopsis.errors import InputError
from canopsis.ops import kinds, settings
from canopsis.store import client, sessions, users
from canopsis.store.client import Store
from canopsis.store.users import AuthKey, Role, User

EXAMPLES = """
canopsis user list
canopsis user ensure alice --role operator --password-file alice.pw     - reads standard input
canopsis user ensure nagios --role operator --authkey-file nagios.key
canopsis user key alice --name laptop         makes a key and prints it, once
canopsis user key alice --name wall --role reader --for 90d
canopsis user logout alice                    ends her sessions in every browser
canopsis user disable alice
canopsis user delete alice
"""

MIN_KEY, MAX_KEY = 16, 256
_MAIN_KEY = "main"
_MAX_NAME = 64
_LONGEST = 3650 * 86_400


@command
def main(argv: Sequence[str] | None = None) -> int:
    """Run ``canopsis user``; return its exit code."""
    args = _parse(argv)
    run: Callable[[Store, argparse.Namespace], object] = args.run
    with client.opened(settings.storage(own_prefix(), "engines")) as db:
        run(db, args)
    return DONE


def _parse(argv: Sequence[str] | None) -> argparse.Namespace:
    parse = parser("canopsis user", "Look at the users of the API, or change them.", EXAMPLES)
    verbs = parse.add_subparsers(dest="verb", required=True, metavar="VERB")
    listing = verbs.add_parser("list", help="all users")
    ensure = verbs.add_parser("ensure", help="make a user, or bring it to what is given")
    ensure.add_argument("--role", choices=get_args(Role), help="what it may do (new users: reader)")
    ensure.add_argument("--password-file", metavar="FILE", help="a file whose first line is the password")
    ensure.add_argument("--authkey-file", metavar="FILE", help="a file whose first line is the key")
    key = verbs.add_parser("key", help="make a key and print it")
    key.add_argument("--role", choices=get_args(Role), help="the most that it may do (else: what its user may)")
    key.add_argument("--for", dest="lasts", metavar="TIME", help="how long it is good, as in 12h or 90d (else: always)")
    key.add_argument("--revoke", action="store_true", help="take the key away instead")
    for verb in (ensure, key):
        verb.add_argument("--name", dest="key_name", default=_MAIN_KEY, help="name of the key (%(default)s)")
    enable = verbs.add_parser("enable", help="let a user in again")
    disable = verbs.add_parser("disable", help="let a user in no more")
    logout = verbs.add_parser("logout", help="end all sessions of a user")
    delete = verbs.add_parser("delete", help="delete a user")
    changes = ((key, _key), (enable, _enable), (disable, _disable), (logout, _logout), (delete, _delete))
    for verb, run in ((listing, _list), (ensure, _ensure), *changes):
        verb.set_defaults(run=run)
        if verb is not listing:
            verb.add_argument("user", metavar="NAME")
        verb.add_argument("--json", action="store_true", help="print JSON")
    return parse.parse_args(argv)


def _list(db: Store, args: argparse.Namespace) -> None:
    found = users.listing(db)
    if args.json:
        show_json([_shown(user) for user in found])
        return
    rows = (
        (user.name, user.role, _yes(user.enabled), _yes(user.password), ", ".join(map(_limits, user.authkeys)))
        for user in found
    )
    say(table(("NAME", "ROLE", "ENABLED", "PASSWORD", "KEYS"), rows))


def _shown(user: User) -> dict[str, object]:
    keys = [{"name": key.id, "role": key.role, "until": key.until} for key in user.authkeys]
    return {
        "name": user.name,
        "role": user.role,
        "enabled": user.enabled,
        "password": bool(user.password),
        "keys": keys,
    }


def _limits(key: AuthKey) -> str:
    """Return the name of a key, and what it may less than its user."""
    found: list[str] = [key.role] if key.role else []
    if key.until is not None:
        ended = "ended" if key.until <= time.time() else "until"
        found.append(f"{ended} {datetime.fromtimestamp(key.until).astimezone():%Y-%m-%d %H:%M}")
    return f"{key.id} ({', '.join(found)})" if found else key.id


def _ensure(db: Store, args: argparse.Namespace) -> None:
    old = users.get(db, _name(args.user))
    user = wanted(
        old or User(name=args.user),
        role=args.role,
        password=_secret(args.password_file, "--password-file"),
        key=_secret(args.authkey_file, "--authkey-file"),
        key_name=args.key_name,
    )
    _tell(args, user.name, changed=user != old and users.save(db, user))


def wanted(user: User, *, role: Role | None, password: str | None, key: str | None, key_name: str) -> User:
    """Return ``user`` as it is to be; what is None stays. Raises InputError for a poor password or key."""
    if role is not None:
        user = msgspec.structs.replace(user, role=role)
    if password is not None and not verify(user.password, password):
        user = msgspec.structs.replace(user, password=hash_password(password))
    return user if key is None else with_key(user, key_name, key)


def with_key(user: User, name: str, key: str, role: Role | None = None, until: float | None = None) -> User:
    """Return ``user`` with the key called ``name``, instead of the one it had; see AuthKey. Raises InputError."""
    if not MIN_KEY <= len(key) <= MAX_KEY or not key.isascii() or not key.isprintable() or " " in key:
        raise InputError(
            "authkey", f"{len(key)} characters", f"{MIN_KEY} to {MAX_KEY} letters, digits and signs of ASCII"
        )
    new = AuthKey(name, digest(key), role, until)
    kept = [each for each in user.authkeys if each.id != name]
    return user if new in user.authkeys else msgspec.structs.replace(user, authkeys=[*kept, new])


def _key(db: Store, args: argparse.Namespace) -> None:
    user = _existing(db, args.user)
    if args.revoke:
        kept = [key for key in user.authkeys if key.id != args.key_name]
        changed = users.save(db, msgspec.structs.replace(user, authkeys=kept))
        _tell(args, user.name, changed=changed)
        return
    key = secrets.token_urlsafe(32)
    until = None if args.lasts is None else time.time() + _seconds(args.lasts)
    users.save(db, with_key(user, args.key_name, key, args.role, until))
    if args.json:
        show_json({"user": user.name, "name": args.key_name, "authkey": key, "role": args.role, "until": until})
    else:
        say(key)


def _seconds(lasts: str) -> float:
    """Return how long a key is good. Raises InputError."""
    kind = kinds.duration(60, _LONGEST)
    try:
        return float(kind.read(lasts))
    except ValueError as error:
        raise InputError("--for", lasts, kind.allowed) from error


def _enable(db: Store, args: argparse.Namespace) -> None:
    _switch(db, args, enabled=True)


def _disable(db: Store, args: argparse.Namespace) -> None:
    _switch(db, args, enabled=False)


def _switch(db: Store, args: argparse.Namespace, *, enabled: bool) -> None:
    user = msgspec.structs.replace(_existing(db, args.user), enabled=enabled)
    _tell(args, user.name, changed=users.save(db, user))


def _logout(db: Store, args: argparse.Namespace) -> None:
    _tell(args, args.user, changed=sessions.delete_of(db, _existing(db, args.user).name) > 0)


def _delete(db: Store, args: argparse.Namespace) -> None:
    _tell(args, args.user, changed=users.delete(db, args.user))


def _existing(db: Store, name: str) -> User:
    user = users.get(db, name)
    if user is None:
        raise InputError("NAME", name, ", ".join(each.name for each in users.listing(db)) or "(there is no user yet)")
    return user


def _name(name: str) -> str:
    if not 0 < len(name) <= _MAX_NAME or not name.isprintable() or name != name.strip():
        raise InputError("NAME", name, f"1 to {_MAX_NAME} characters that can be printed, no blank at the ends")
    return name


def _secret(path: str | None, option: str) -> str | None:
    """Return the first line of a file. Raises InputError when it cannot be read or is empty."""
    if path is None:
        return None
    try:
        text = sys.stdin.read() if path == "-" else Path(path).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(option, path, f"a text file that can be read ({error})") from error
    line = text.split("\n", 1)[0].strip("\r")
    if not line:
        raise InputError(option, path, "a file whose first line is not empty")
    return line


def _tell(args: argparse.Namespace, name: str, *, changed: bool) -> None:
    if args.json:
        show_json({"user": name, "changed": changed})
    else:
        say(f"{name}: {'changed' if changed else 'unchanged'}")


def _yes(value: object) -> str:
    return "yes" if value else "no"
