"""The configuration files of a site: read, and what running services needs of them.

It imports no server's client library, so that ``service`` starts at once.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field

from canopsis.errors import ConfigError, SiteError
from canopsis.ops.ini import Values, demand, nearest, read
from canopsis.ops.model import AMQP, CLIENT, FILES, HYPCONTROL, File
from canopsis.ops.prefix import Prefix, user_name


@dataclass(frozen=True, slots=True)
class ClientSettings:
    """How to reach the API: any of ``urls``. ``source`` is the file this comes from; ``timeout`` is in seconds."""

    urls: tuple[str, ...]
    authkey: str = field(repr=False)
    timeout: float = 30.0
    ca_file: str = ""
    source: str = CLIENT.name


def load(prefix: Prefix, file: File) -> Values:
    """Return what ``file`` says, without a problem; raises ConfigError naming all of them."""
    return demand(look(prefix, file))


def look(prefix: Prefix, file: File) -> Values:
    """Return what ``file`` says with the problems it has."""
    path = prefix.etc(file.name)
    return read(path, file, prefix.shown(path))


def file_named(name: str) -> File:
    """Return the model of the file ``name``; raises ConfigError naming the nearest one."""
    if name not in FILES:
        raise ConfigError(f"{name}: no such file; {nearest(name, FILES, what='files')}")
    return FILES[name]


def amqp_hosts(prefix: Prefix) -> tuple[tuple[str, int], ...]:
    """Return the brokers of the site. Raises ConfigError."""
    hosts: tuple[tuple[str, int], ...] = load(prefix, AMQP).sections["master"]["hosts"]
    return hosts


def client(prefix: Prefix) -> ClientSettings:
    """Return how to reach the API. Raises SiteError when only the owner may read the file, else ConfigError."""
    path = prefix.etc(CLIENT.name)
    if path.exists() and not os.access(path, os.R_OK):
        owner = user_name(prefix.owner)
        raise SiteError(f"{path} is for {owner} alone (it holds a key): run this as {owner} or as root")
    values = dict(load(prefix, CLIENT).sections["api"])
    urls = values.pop("url")
    return ClientSettings(urls, **values, source=str(path))


def sections_of_host(prefix: Prefix) -> list[tuple[str, tuple[str, ...]]]:
    """Return the sections of ``hypcontrol.conf`` in their order, each with its services. Raises ConfigError."""
    values = load(prefix, HYPCONTROL)
    return [(section.name, values.sections[section.name]["services"]) for section in HYPCONTROL.sections]
