"""What a variable of an inventory may be: pure rules over one value."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from ipaddress import ip_address

from ansible.module_utils.canopsis_endpoint import one_line

WORDS = ("true", "false", "yes", "no", "on", "off")
LOWEST_PORT, HIGHEST_PORT = 1024, 65535
LONGEST_PREFIX = 83
"""supervisord's socket below it may have 107 bytes."""
KNOWN_TO_ALL = ("admin", "canopsis", "changeme", "guest", "password", "root", "secret")
"""Secrets that are none."""
SHARED = (
    *("/", "/bin", "/boot", "/dev", "/etc", "/home", "/lib", "/media", "/mnt", "/opt", "/proc", "/root", "/run"),
    *("/sbin", "/srv", "/sys", "/tmp", "/usr", "/usr/lib", "/usr/local", "/var", "/var/lib"),  # noqa: S108 - refused
)
"""Folders that others live in: a site changes the owner of its prefix, and taking it away deletes in it."""

Rule = tuple[Callable[[str], bool], str]
"""Whether a value does, and what is allowed."""


@dataclass(frozen=True)
class Option:
    """What a variable may be. ``secret`` values are compared and never shown.

    ``choices`` are those of the value, or of each entry of a list.
    """

    type: str
    choices: tuple[str, ...] = ()
    secret: bool = False


def refusal(name: str, value: object, option: Option) -> str:
    """Return what is allowed when ``value`` is not, or an empty text."""
    if not TYPES[option.type](value):
        return MEANT[option.type]
    if not _chosen(value, option.choices):
        return f"one of {', '.join(option.choices)}"
    # A role may call a dictionary of ports so too.
    if name.endswith("_port") and option.type == "int" and not LOWEST_PORT <= int(str(value)) <= HIGHEST_PORT:
        return f"a port from {LOWEST_PORT} to {HIGHEST_PORT}: nothing runs as root"
    return next((meant for does, meant in _rules(name, option) if not does(str(value))), "")


def _chosen(value: object, choices: Iterable[str]) -> bool:
    values = value if isinstance(value, list) else [value]
    return not choices or {str(each) for each in values} <= set(choices)


def _rules(name: str, option: Option) -> tuple[Rule, ...]:
    """Without rules of its own a variable has that of its type."""
    return VALUES.get(name, ()) or ((_SECRET, _LINE) if option.secret else (KINDS[option.type],))


def is_address(text: str) -> bool:
    """Whether ``text`` is a name or an IPv4 address, without scheme and port."""
    if re.fullmatch(r"[\d.]+", text):
        return _is_ipv4(text)
    return re.fullmatch(r"[A-Za-z0-9_]([A-Za-z0-9_.-]*[A-Za-z0-9_.])?", text) is not None


def _is_ipv4(text: str) -> bool:
    try:
        return ip_address(text).version == 4
    except ValueError:
        return False


def _is_number(value: object) -> bool:
    return not isinstance(value, bool) and re.fullmatch(r"-?\d+(\.\d+)?", str(value)) is not None


TYPES: dict[str, Callable[[object], bool]] = {
    "bool": lambda value: isinstance(value, bool) or str(value).lower() in WORDS,
    "int": lambda value: _is_number(value) and "." not in str(value),
    "float": _is_number,
    "list": lambda value: isinstance(value, list),
    "dict": lambda value: isinstance(value, dict),
    "str": lambda value: isinstance(value, str | int | float) and not isinstance(value, bool),
    "path": lambda value: isinstance(value, str),
    "raw": lambda _: True,
}
MEANT = {
    "bool": "true or false",
    "int": "a whole number",
    "float": "a number",
    "list": "a list",
    "dict": "a dictionary",
    "str": "a text",
    "path": "an absolute path without blanks",
}


def _like(pattern: str, meant: str) -> Rule:
    return lambda text: re.fullmatch(pattern, text) is not None, meant


def _between(least: float, most: float = float("inf")) -> Rule:
    meant = f"{least:g} or more" if most == float("inf") else f"from {least:g} to {most:g}"
    return lambda text: least <= float(text) <= most, meant


def _is_own_folder(text: str) -> bool:
    return (text.rstrip("/") or "/") not in SHARED and ".." not in text.split("/")


def _is_secret(text: str) -> bool:
    return text.lower() not in KNOWN_TO_ALL


_SIZE = _like(r"\d+(\.\d+)? ?([kKMG]i?B?)?", "a size such as 500MB")
_SECRET = (_is_secret, "a value that cannot be guessed: `canopsis-deploy secrets init` makes one")
_LINE = (
    one_line,
    "one line, without control characters and without blanks at its ends: no configuration file holds those",
)
KINDS: dict[str, Rule] = {
    **dict.fromkeys(("bool", "list", "dict", "str", "raw"), (lambda _: True, "")),
    **dict.fromkeys(("int", "float"), _between(0)),
    "path": _like(r"/[^\s%]+", MEANT["path"]),
}
VALUES: dict[str, tuple[Rule, ...]] = {
    "canopsis_prefix": (
        _like(r"/[^\s%]*", MEANT["path"]),
        (_is_own_folder, "a folder that only the site lives in, such as /opt/canopsis"),
        (lambda text: len(text.encode()) <= LONGEST_PREFIX, f"at most {LONGEST_PREFIX} bytes, for the sockets in it"),
    ),
    "canopsis_user": (
        _like(r"[^\s:/,]+", "a name of a user, without blanks, colons and slashes"),
        (lambda text: text != "root", "an ordinary user"),
    ),
    "canopsis_address": ((lambda text: not text or is_address(text), "a name or an IPv4 address, without a port"),),
    "engines_partitions": (_between(1),),
    "webserver_workers": (_between(1),),
    "webserver_threads": (_between(1),),
    "collectd_interval": (_between(1),),
    "preflight_read_share": (_between(0, 1),),
    "rabbitmq_memory_watermark": (_between(0.05, 1),),
    "rabbitmq_disk_free_limit": (_SIZE,),
    "rabbitmq_nodename": (_like(r"[\w-]+@[\w.-]+", "a name and a host, such as rabbit@broker1"),),
    "supervisor_log_size": (_SIZE,),
    # Their own rules are those of canopsis_endpoint.
    "canopsis_amqp_url": ((lambda _: True, ""),),
    "canopsis_mongodb_url": ((lambda _: True, ""),),
    # An empty secret is one that is missing, and told as that.
    "mongodb_keyfile": (_SECRET, _like(r"|[A-Za-z0-9+/=\s]{6,1024}", "6 to 1024 characters of base64")),
    "rabbitmq_erlang_cookie": (_SECRET, _like(r"|[A-Za-z0-9]{20,255}", "20 to 255 letters and digits")),
    "webserver_admin_login_password": (
        _SECRET,
        _LINE,
        _like(r"|.{8,1024}", "8 to 1024 characters"),
    ),
    "webserver_admin_authkey": (_SECRET, _like(r"|[!-~]{16,256}", "16 to 256 letters, digits and signs of ASCII")),
}
"""Rules of single variables; the first that refuses says what is allowed."""
