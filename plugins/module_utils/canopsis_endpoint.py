"""URLs of clusters that a site uses and did not make: amqp://user:password@b1,b2:5672/vhost, mongodb://… Pure."""

from __future__ import annotations

from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

SCHEMES = {
    "amqp": ("amqp", 5672, False),
    "amqps": ("amqp", 5671, True),
    "mongodb": ("mongodb", 27017, False),
}
"""Kind, port and whether it is encrypted, by scheme."""
OPTIONS = {"amqp": set(), "mongodb": {"replicaSet", "authSource", "tls"}}
HIGHEST_PORT = 65535


def parse(url: str, kind: str) -> dict[str, Any]:
    """Return what ``url`` says of a cluster of ``kind`` (amqp or mongodb).

    ``{hosts: [host:port], user, password, name, tls, options}``: ``name`` is the virtual host or the database, empty
    when the URL has none. Raises ValueError saying what is wrong; its text never has the password.
    """
    scheme = url.partition("://")[0]
    if scheme not in SCHEMES or SCHEMES[scheme][0] != kind:
        allowed = " or ".join(f"{name}://" for name, what in SCHEMES.items() if what[0] == kind)
        raise ValueError(f"begins with {scheme if '://' in url else 'no scheme'!r}; allowed: {allowed}")
    parts = urlsplit(url)
    credentials, at, addresses = parts.netloc.rpartition("@")
    user, _, password = credentials.partition(":")
    if at and not (user and password):
        raise ValueError("has a user without a password; allowed: user:password@ or neither")
    options = _options(parts.query, kind)
    encrypted = SCHEMES[scheme][2] or options.get("tls") == "true"
    return {
        "hosts": [_address(each, SCHEMES[scheme][1]) for each in addresses.split(",")],
        "user": unquote(user),
        "password": unquote(password),
        "name": unquote(parts.path.lstrip("/")),
        "tls": encrypted,
        "options": options,
    }


def _address(text: str, port: int) -> str:
    host, _, number = text.rpartition(":") if ":" in text else (text, "", str(port))
    if not host or any(each.isspace() for each in host):
        raise ValueError(f"names a host {host!r}; allowed: host:port,host:port")
    if not number.isdecimal() or not 0 < int(number) <= HIGHEST_PORT:
        raise ValueError(f"gives {host} the port {number!r}; allowed: 1 to {HIGHEST_PORT}")
    return f"{host}:{number}"


def _options(query: str, kind: str) -> dict[str, str]:
    options = dict(parse_qsl(query, keep_blank_values=True))
    unknown = sorted(set(options) - OPTIONS[kind])
    if unknown:
        raise ValueError(f"has the option {unknown[0]}; allowed: {', '.join(sorted(OPTIONS[kind])) or 'none'}")
    return options
