"""Who a client is when a reverse proxy stands in between."""

from __future__ import annotations

from functools import lru_cache
from ipaddress import IPv6Address, ip_address

from werkzeug.wrappers import Request

from canopsis.api.settings import Network

_REMEMBERED = 4096
"""Addresses whose meaning is remembered: a client sends many requests."""


def client_address(request: Request, trusted: tuple[Network, ...]) -> str:
    """Return the address of the client: the last one of ``X-Forwarded-For`` that is no proxy of ours.

    The header is believed only as far as those in ``trusted`` wrote it.
    """
    found = request.remote_addr or ""
    hops = [hop.strip() for hop in request.headers.get("X-Forwarded-For", "").split(",")]
    while is_one_of(found, trusted) and hops:
        hop = _normal(hops.pop())
        if not hop:
            break
        found = hop
    return _normal(found) or found


def scheme_of(request: Request, trusted: tuple[Network, ...]) -> str:
    """Return ``http`` or ``https``: how the client sees this site."""
    given = request.headers.get("X-Forwarded-Proto", "")
    if given in ("http", "https") and is_one_of(request.remote_addr or "", trusted):
        return given
    return request.scheme


@lru_cache(_REMEMBERED)
def is_one_of(address: str, networks: tuple[Network, ...]) -> bool:
    """Tell whether an address is in one of ``networks``."""
    normal = _normal(address)
    return bool(normal) and any(ip_address(normal) in network for network in networks)


@lru_cache(_REMEMBERED)
def _normal(address: str) -> str:
    """Return an address as it is written shortest, an IPv4 one without its IPv6 disguise; nothing for what is none."""
    try:
        found = ip_address(address)
    except ValueError:
        return ""
    mapped = found.ipv4_mapped if isinstance(found, IPv6Address) else None
    return str(mapped or found)
