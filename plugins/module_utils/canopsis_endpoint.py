"""URLs of clusters that a site uses and did not make: amqp://user:password@b1,b2:5672/vhost, mongodb://… Pure."""

from __future__ import annotations

import re
from typing import Any
from urllib.parse import parse_qsl, unquote

SCHEMES = {
    "amqp": ("amqp", 5672, False),
    "amqps": ("amqp", 5671, True),
    "mongodb": ("mongodb", 27017, False),
}
"""Kind, port and whether it is encrypted, by scheme."""
OPTIONS = {"amqp": set(), "mongodb": {"replicaSet", "authSource", "tls"}}
HIGHEST_PORT = 65535
ENCODE = (
    "percent-encode what is special in user and password: @ is %40, / is %2F, : is %3A, # is %23, ? is %3F, % is %25"
)
_URL = re.compile(r"(?P<cluster>[^/?#]*)(?:/(?P<name>[^?#]*))?(?:\?(?P<query>[^#]*))?(?P<fragment>#.*)?", re.DOTALL)


def parse(url: str, kind: str) -> dict[str, Any]:
    """Return what ``url`` says of a cluster of ``kind`` (amqp or mongodb).

    ``{hosts: [host:port], user, password, name, tls, options}``: ``name`` is the virtual host or the database, empty
    when the URL has none. Raises ValueError saying what is wrong; its text quotes nothing of the URL, for a password
    that is not percent-encoded may end up anywhere in it.
    """
    scheme, separator, rest = url.partition("://")
    if not separator or scheme not in SCHEMES or SCHEMES[scheme][0] != kind:
        allowed = " or ".join(f"{name}://" for name, what in SCHEMES.items() if what[0] == kind)
        raise ValueError(f"begins otherwise than allowed: {allowed}")
    found = _URL.fullmatch(rest)
    if not found or found["fragment"] is not None or "@" in f"{found['name']}{found['query']}":
        raise ValueError(f"has a sign where none can be; {ENCODE}")
    credentials, at, addresses = found["cluster"].rpartition("@")
    user, _, password = credentials.partition(":")
    if at and not (user and password):
        raise ValueError("has a user without a password; allowed: user:password@ or neither")
    options = _options(found["query"] or "", kind)
    return {
        "hosts": [
            _address(each, SCHEMES[scheme][1], number) for number, each in enumerate(addresses.split(","), start=1)
        ],
        "user": _decoded(user, "user"),
        "password": _decoded(password, "password"),
        "name": _decoded((found["name"] or "").lstrip("/"), "virtual host" if kind == "amqp" else "database"),
        "tls": SCHEMES[scheme][2] or options.get("tls") == "true",
        "options": options,
    }


def one_line(text: str) -> bool:
    """Whether configuration files can hold ``text`` as a value: no line breaks, no blanks at its ends."""
    return text == text.strip() and not re.search(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]", text)


def _decoded(text: str, what: str) -> str:
    """Return a part of the URL as it is meant. Raises ValueError when it cannot be, naming ``what``."""
    if re.search(r"%(?![0-9A-Fa-f]{2})", text):
        raise ValueError(f"has a % in its {what} without two digits after it; {ENCODE}")
    if not text.isprintable() or " " in text:
        raise ValueError(f"has blanks or control signs in its {what}; percent-encode a blank as %20")
    try:
        meant = unquote(text, errors="strict")
    except UnicodeDecodeError as error:
        raise ValueError(f"has in its {what} what is not UTF-8; {ENCODE}") from error
    if not one_line(meant):
        raise ValueError(f"has in its {what} a line break, or a blank at an end: no configuration file holds that")
    return meant


def _address(text: str, port: int, place: int) -> str:
    host, _, number = text.rpartition(":") if ":" in text else (text, "", str(port))
    if not re.fullmatch(r"[A-Za-z0-9_.-]+|\[[0-9A-Fa-f:.]+\]", host):
        raise ValueError(f"has no name or address as its host {place}; allowed: host:port,host:port; {ENCODE}")
    if not re.fullmatch(r"[0-9]{1,5}", number) or not 0 < int(number) <= HIGHEST_PORT:
        raise ValueError(f"has no port from 1 to {HIGHEST_PORT} at its host {place}; {ENCODE}")
    return f"{host}:{number}"


def _options(query: str, kind: str) -> dict[str, str]:
    options = dict(parse_qsl(query, keep_blank_values=True))
    if set(options) - OPTIONS[kind]:
        allowed = ", ".join(sorted(OPTIONS[kind])) or "none"
        raise ValueError(f"has an option that is not allowed; allowed: {allowed}; {ENCODE}")
    wrong = sorted(name for name, value in options.items() if not one_line(value))
    if wrong:
        raise ValueError(f"has a line break, or a blank at an end, in its option {wrong[0]}")
    return options
