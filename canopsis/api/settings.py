"""What ``etc/webserver.conf`` says, as the application takes it."""

from __future__ import annotations

from dataclasses import dataclass, field
from ipaddress import IPv4Network, IPv6Network

from canopsis.api.resources import SERVICES
from canopsis.core.health import Process

Network = IPv4Network | IPv6Network

DEFAULT_PROVIDERS = ("local", "authkey")
PROVIDERS = (*DEFAULT_PROVIDERS, "basic")
"""The ways to say who one is that ``[auth] providers`` may name: a module of ``canopsis.api.auth`` each."""


@dataclass(frozen=True, slots=True)
class WebSettings:
    """The web application of a site.

    ``secret`` signs session cookies and is the same on all web hosts of a site. ``lifetime`` is
    how long a session lasts, in seconds. ``chain`` are the engine processes that the site shall
    have, empty on a host that does not know: then what the engines noted in the database counts.
    ``trusted_proxies`` are those whose ``X-Forwarded-For`` is believed. ``allowed_origins`` are those of pages that may
    call the API from a browser.
    """

    secret: str = field(repr=False)
    debug: bool = False
    providers: tuple[str, ...] = DEFAULT_PROVIDERS
    lifetime: float = 28800.0
    services: frozenset[str] = frozenset(SERVICES)
    chain: tuple[Process, ...] = ()
    trusted_proxies: tuple[Network, ...] = ()
    allowed_origins: tuple[str, ...] = ()
