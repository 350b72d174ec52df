"""Secrets of a site: which are missing, and the file they are kept in. Pure; random bytes are handed in."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Callable, Iterable, Mapping

Random = Callable[[int], bytes]
"""Returns so many random bytes."""

SECRETS: dict[str, dict[str, str]] = {
    "mongodb": {
        "mongodb_keyfile": "keyfile",
        "mongodb_admin_password": "password",
        "mongodb_engines_password": "password",
        "mongodb_webserver_password": "password",
    },
    "rabbitmq": {
        "rabbitmq_erlang_cookie": "cookie",
        "rabbitmq_admin_password": "password",
        "rabbitmq_engines_password": "password",
        "rabbitmq_webserver_password": "password",
        "rabbitmq_collectd_password": "password",
    },
    "engines": {"mongodb_engines_password": "password", "rabbitmq_engines_password": "password"},
    "webserver": {
        "mongodb_webserver_password": "password",
        "rabbitmq_webserver_password": "password",
        "webserver_session_secret": "password",
        "webserver_admin_login_password": "password",
        "webserver_admin_authkey": "password",
    },
    "collectd": {"rabbitmq_collectd_password": "password"},
}
"""Secrets that a host needs: kind by name, by the groups it is in."""

HEADER = "# The secrets of this site, made by its first deployment. Keep a copy in a safe place.\n---\n"
_LINE = re.compile(r'^([a-z][a-z0-9_]*): ("(?:[^"\\]|\\.)*")\s*$')


def _password(random: Random) -> str:
    return base64.urlsafe_b64encode(random(24)).decode()


def _key(random: Random) -> str:
    return base64.b64encode(random(567)).decode()


def _cookie(random: Random) -> str:
    return base64.b32encode(random(25)).decode()


KINDS: dict[str, Callable[[Random], str]] = {"password": _password, "keyfile": _key, "cookie": _cookie}


def names_for(groups: Iterable[str]) -> dict[str, str]:
    """Return the secrets, kind by name, of a host in ``groups``."""
    return {name: kind for group in groups for name, kind in SECRETS.get(group, {}).items()}


def needed(groups: Iterable[str], amqp_url: str = "", mongodb_url: str = "") -> dict[str, str]:
    """Return the same for a host whose clusters may be given as URLs: one with a password needs no other for it."""
    given = tuple(f"{kind}_" for kind, url in (("rabbitmq", amqp_url), ("mongodb", mongodb_url)) if "@" in url)
    return {name: kind for name, kind in names_for(groups).items() if not name.startswith(given)}


def parse(text: str) -> dict[str, str]:
    """Return the secrets of a file by name. Raises ValueError naming the line that is none."""
    secrets: dict[str, str] = {}
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip() or line.startswith(("#", "---")):
            continue
        match = _LINE.match(line)
        if match is None:
            raise ValueError(f'line {number} is refused; allowed: name: "value"')
        secrets[match[1]] = json.loads(match[2])
    return secrets


def render(secrets: Mapping[str, str]) -> str:
    """Return the text of a file with ``secrets``; it is YAML."""
    return HEADER + "".join(f"{name}: {json.dumps(secrets[name])}\n" for name in sorted(secrets))


def missing(secrets: Mapping[str, str], wanted: Mapping[str, str]) -> list[str]:
    """Return the names of ``wanted`` that have no value."""
    return sorted(name for name in wanted if not secrets.get(name))


def complete(secrets: Mapping[str, str], wanted: Mapping[str, str], random: Random) -> dict[str, str]:
    """Return ``secrets`` with a new value for each of ``wanted`` (name: kind) that has none.

    Raises ValueError for an unknown kind.
    """
    unknown = sorted({kind for kind in wanted.values() if kind not in KINDS})
    if unknown:
        raise ValueError(f"kind {unknown[0]!r} is refused; allowed: {', '.join(KINDS)}")
    return {**secrets, **{name: KINDS[wanted[name]](random) for name in missing(secrets, wanted)}}
