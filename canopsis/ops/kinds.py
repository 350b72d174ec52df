"""Kinds of configuration values: how a text is read, how a value is shown, what is allowed."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Network, ip_network
from typing import Any
from urllib.parse import urlsplit

_UNITS = {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86400}
_DURATION = re.compile(r"([0-9]+(?:[.][0-9]+)?) ?([smhd]?)")
_TRUE = {"true", "yes", "on", "1"}
_FALSE = {"false", "no", "off", "0"}
_ORIGIN = re.compile(
    r"(?P<scheme>https?)://(?:[a-z0-9](?:[a-z0-9.-]*[a-z0-9])?|\[[0-9a-f:.]+\])(?::(?P<port>[0-9]{1,5}))?"
)
_USUAL_PORTS = {"http": 80, "https": 443}
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*")


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind of value. ``read`` raises ValueError for a text that is not ``allowed``."""

    name: str
    allowed: str
    read: Callable[[str], Any]


def text(allowed: str = "one line of text") -> Kind:
    """Return the kind of any text, which may be empty."""
    return Kind("text", allowed, str)


def word() -> Kind:
    """Return the kind of a text that is not empty."""
    return Kind("text", "one line of text, not empty", _word)


def token() -> Kind:
    """Return the kind of a secret that travels in an HTTP header."""
    return Kind("text", "letters, digits and signs of ASCII without blanks", _token)


def boolean() -> Kind:
    """Return the kind of a switch."""
    return Kind("switch", "true or false (also yes, no, on, off, 1, 0)", _boolean)


def integer(low: int, high: int) -> Kind:
    """Return the kind of a whole number from ``low`` to ``high``."""
    return Kind("number", f"a whole number from {low} to {high}", lambda value: _within(_whole(value), low, high))


def duration(low: float, high: float) -> Kind:
    """Return the kind of a time, read as seconds, from ``low`` to ``high`` seconds."""
    allowed = f"a time from {seconds(low)} to {seconds(high)}: seconds, or a number with s, m, h or d"
    return Kind("time", allowed, lambda value: _within(_duration(value), low, high))


def choice(*names: str) -> Kind:
    """Return the kind of one of ``names``."""

    def read(value: str) -> str:
        if value not in names:
            raise ValueError(value)
        return value

    return Kind("word", " or ".join(names), read)


def choices(*names: str) -> Kind:
    """Return the kind of a list whose items are among ``names``."""
    allowed = f"a list, separated by commas, of: {', '.join(names)}"

    def read(value: str) -> tuple[str, ...]:
        items = _names(value)
        if not items or not set(items) <= set(names):
            raise ValueError(value)
        return items

    return Kind("list", allowed, read)


def names() -> Kind:
    """Return the kind of a list of names, which may be empty."""
    return Kind("list", "names of letters, digits, _ . and -, each once, separated by commas", _names)


def name() -> Kind:
    """Return the kind of one name."""
    return Kind("name", "a name of letters, digits, _ . and -", _name)


def hosts() -> Kind:
    """Return the kind of a list of servers, read as (host, port) pairs."""
    return Kind("hosts", "HOST:PORT, several separated by commas; an IPv6 address in [ ]", _hosts)


def networks() -> Kind:
    """Return the kind of a list of IP addresses and networks, which may be empty."""
    return Kind("networks", "IP addresses, or networks such as 10.0.0.0/8, separated by commas", _networks)


def files() -> Kind:
    """Return the kind of a list of files, which may be empty."""
    return Kind("files", "absolute paths, separated by commas", _files)


def urls() -> Kind:
    """Return the kind of a list of addresses of HTTP servers."""
    allowed = "http://HOST:PORT or https://HOST:PORT, with a path or without, no user and password"
    return Kind("URLs", f"{allowed}; several separated by commas", _urls)


def origins() -> Kind:
    """Return the kind of a list of origins of web pages, as browsers send them, which may be empty."""
    allowed = "https://HOST or http://HOST in small letters, with :PORT where that is not the usual one; no path, no *"
    return Kind("origins", f"{allowed}; several separated by commas", _origins)


def seconds(value: float) -> str:
    """Return ``value`` seconds as an operator writes it (``30d``, ``90s``, ``0.5s``)."""
    for unit in ("d", "h", "m"):
        if value and value % _UNITS[unit] == 0:
            return f"{number(value / _UNITS[unit])}{unit}"
    return f"{number(value)}s"


def number(value: float) -> str:
    """Return ``value`` without an exponent and without zeros at its end."""
    return f"{value:.6f}".rstrip("0").rstrip(".")


def show(value: object) -> str:
    """Return ``value`` as it would stand in a file."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        return number(value)
    if isinstance(value, tuple):
        return ",".join(host_port(*item) if isinstance(item, tuple) else str(item) for item in value)
    return str(value)


def host_port(host: str, port: int) -> str:
    """Return ``host:port``, with brackets around an IPv6 address."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _word(value: str) -> str:
    if not value:
        raise ValueError(value)
    return value


def _token(value: str) -> str:
    if not re.fullmatch(r"[!-~]+", value):
        raise ValueError(value)
    return value


def _boolean(value: str) -> bool:
    lowered = value.lower()
    if lowered not in _TRUE | _FALSE:
        raise ValueError(value)
    return lowered in _TRUE


def _whole(value: str) -> int:
    if not re.fullmatch(r"-?[0-9]{1,18}", value):
        raise ValueError(value)
    return int(value)


def _duration(value: str) -> float:
    found = _DURATION.fullmatch(value)
    if not found:
        raise ValueError(value)
    return float(found[1]) * _UNITS[found[2]]


def _within(value: Any, low: float, high: float) -> Any:  # noqa: ANN401 - int and float alike, given back as they came
    if not low <= value <= high:
        raise ValueError(value)
    return value


def _name(value: str) -> str:
    if not _NAME.fullmatch(value):
        raise ValueError(value)
    return value


def _names(value: str) -> tuple[str, ...]:
    items = tuple(_name(item.strip()) for item in value.split(",")) if value.strip() else ()
    if len(set(items)) < len(items):
        raise ValueError(value)
    return items


def _hosts(value: str) -> tuple[tuple[str, int], ...]:
    return tuple(_host(item.strip()) for item in value.split(","))


def _host(value: str) -> tuple[str, int]:
    host, colon, port = value.rpartition(":")
    bare = host[1:-1] if host.startswith("[") and host.endswith("]") else host
    if not colon or not bare or (":" in bare) != (bare != host) or re.search(r"[\s\[\]/@]", bare):
        raise ValueError(value)
    return bare, int(_within(_whole(port), 1, 65535))


def _networks(value: str) -> tuple[IPv4Network | IPv6Network, ...]:
    return tuple(ip_network(item.strip()) for item in value.split(",")) if value.strip() else ()


def _files(value: str) -> tuple[str, ...]:
    items = tuple(item.strip() for item in value.split(",")) if value.strip() else ()
    if not all(item.startswith("/") for item in items):
        raise ValueError(value)
    return items


def _urls(value: str) -> tuple[str, ...]:
    return tuple(_url(item.strip()) for item in value.split(","))


def _origins(value: str) -> tuple[str, ...]:
    return tuple(_origin(item.strip()) for item in value.split(",")) if value.strip() else ()


def _origin(value: str) -> str:
    found = _ORIGIN.fullmatch(value)
    port = found and found["port"]
    # A browser leaves out the usual port: with it no page would ever match.
    if not found or (port and (not 0 < int(port) < 65536 or int(port) == _USUAL_PORTS[found["scheme"]])):
        raise ValueError(value)
    return value


def _url(value: str) -> str:
    parts = urlsplit(value)
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.port == 0 or parts.query or parts.fragment:
        raise ValueError(value)
    if "@" in value:
        raise ValueError(value)
    return value.rstrip("/")
