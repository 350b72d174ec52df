"""Certificates of a site: which are to be made, and what is wrong with those an operator gives. Pure."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

STEPS = ("", "trust", "sign", "retire")
"""Steps of a change of the authority, in their order; each is one run."""

_BLOCK = re.compile(r"-----BEGIN ([A-Z0-9 ]+)-----.*?-----END \1-----", re.DOTALL)
_DAY = "%Y-%m-%d"


@dataclass(frozen=True)
class Leaf:
    """The certificate of a host as it was found.

    ``issuer`` is the fingerprint of the trusted authority its chain ends at, empty when at none of them;
    ``matches`` says whether the key beside it is its own.
    """

    names: frozenset[str]
    begins: datetime
    ends: datetime
    issuer: str
    matches: bool = True


@dataclass(frozen=True)
class Asked:
    """``window`` is how long before its end a certificate is made anew; ``renew`` makes all anew.

    ``blank`` are hosts that have no key: what was made for a host that is gone is not given to another.
    """

    now: datetime
    window: timedelta
    renew: bool = False
    blank: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Step:
    """The certificate of ``host`` is to be made, because of ``why``."""

    host: str
    why: str


def plan(
    wanted: Mapping[str, Collection[str]], found: Mapping[str, Leaf | None], signer: str, asked: Asked
) -> list[Step]:
    """Return the certificates to make. ``wanted`` is names by host, ``signer`` the fingerprint of the authority."""
    whys = {
        host: _why(found.get(host), names, signer, asked) or ("its host is new" if host in asked.blank else "")
        for host, names in wanted.items()
    }
    return [Step(host, why) for host, why in whys.items() if why]


def _why(leaf: Leaf | None, names: Collection[str], signer: str, asked: Asked) -> str:
    if leaf is None:
        return "there is none"
    if not leaf.matches:
        return "its key is another's"
    if leaf.issuer != signer:
        return "another authority signed it"
    if lacking := missing_names(leaf, names):
        return f"it does not name {', '.join(lacking)}"
    if leaf.ends - asked.window <= asked.now:
        return f"it ends on {leaf.ends:{_DAY}}"
    return "renewal was asked for" if asked.renew else ""


def missing_names(leaf: Leaf, names: Collection[str]) -> list[str]:
    """Return which of ``names`` a certificate does not name; ``*`` stands for one label."""
    return [name for name in names if not leaf.names & {name.lower(), "*." + name.lower().partition(".")[2]}]


def problems(wanted: Mapping[str, Collection[str]], given: Mapping[str, Leaf], now: datetime) -> list[str]:
    """Return what is wrong with certificates that an operator gives, all at once."""
    return [f"{host}: {what}" for host, leaf in given.items() for what in _wrong(leaf, wanted[host], now)]


def _wrong(leaf: Leaf, names: Collection[str], now: datetime) -> Iterator[str]:
    if not leaf.matches:
        yield "tls_key is not the key of tls_certificate"
    if leaf.begins > now:
        yield f"tls_certificate begins on {leaf.begins:{_DAY}} only"
    if leaf.ends <= now:
        yield f"tls_certificate ended on {leaf.ends:{_DAY}}"
    if lacking := missing_names(leaf, names):
        yield f"tls_certificate does not name {', '.join(lacking)}"
    if not leaf.issuer:
        yield "the chain in tls_certificate does not end at a certificate in tls_ca_file"


def rotation(step: str, current: bool, following: bool, old: bool) -> str:
    """Return what to do with the authorities: ``create``, ``add``, ``switch``, ``retire`` or nothing.

    ``current`` signs, ``following`` is trusted and will sign, ``old`` has signed. Raises ValueError for a step
    that comes too early: a host would be refused by those that do not trust its authority yet.
    """
    if not current:
        if step:
            raise ValueError(f"there is no authority yet: run site.yml without tls_ca_step={step}")
        return "create"
    if step == "trust":
        if old:
            raise ValueError("the change of the authority before is not ended: run tls_ca_step=retire first")
        return "" if following else "add"
    if step == "sign":
        if not following and not old:
            raise ValueError("no host trusts a further authority yet: run tls_ca_step=trust first")
        return "switch" if following else ""
    if step == "retire" and following:
        raise ValueError("certificates are signed by the old authority still: run tls_ca_step=sign first")
    return "retire" if step == "retire" and old else ""


def authority_note(ends: datetime, asked: Asked, longest: timedelta) -> str:
    """Return what is to be said of an authority that ends before a certificate of ``longest`` would."""
    if ends <= asked.now:
        raise ValueError(
            f"the authority ended on {ends:{_DAY}}: remove authority.pem, and all hosts get new certificates"
        )
    if ends - asked.now < longest:
        return f"the authority ends on {ends:{_DAY}}: change it with tls_ca_step=trust, then sign, then retire"
    return ""


def blocks(text: str, key: bool) -> str:
    """Return the private key of a PEM text, or its certificates."""
    found = [match[0] for match in _BLOCK.finditer(text) if (match[1].endswith("PRIVATE KEY")) is key]
    found = [block for block in found if key or block.startswith("-----BEGIN CERTIFICATE-----")]
    return "".join(f"{block}\n" for block in found)
