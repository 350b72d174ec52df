"""Who somebody is: one module a provider, and what they have in common.

The module of a provider has its name, and a function ``provider`` that makes it out of ``Parts``.
``settings.PROVIDERS`` names them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Protocol

from werkzeug.wrappers import Request

from canopsis.api.ports import Database
from canopsis.api.settings import WebSettings
from canopsis.errors import RequestError
from canopsis.store.users import Role, User

if TYPE_CHECKING:
    from canopsis.api.auth.logins import Logins

LEVEL: dict[Role, int] = {"reader": 0, "operator": 1, "admin": 2}
"""Each role may do what the ones below it may."""


BEARER = 'Bearer realm="canopsis"'

Schemes = Mapping[str, Mapping[str, Any]]

Via = Literal["authkey", "session", "basic"]


@dataclass(frozen=True, slots=True)
class Identity:
    """Who asks, what they may do, and how they said who they are."""

    name: str
    role: Role
    via: Via


@dataclass(frozen=True, slots=True)
class Parts:
    """What a provider is made of. ``now`` is in seconds since the epoch."""

    settings: WebSettings
    database: Database
    logins: Logins
    now: Callable[[], float]


class Provider(Protocol):
    """One way to say who one is.

    ``challenge`` is what ``WWW-Authenticate`` says of it, empty for nothing; ``says`` what somebody who is not known is
    to do; ``schemes`` are its security schemes in OpenAPI, by name.
    """

    challenge: ClassVar[str]
    says: ClassVar[str]
    schemes: ClassVar[Schemes]

    def identify(self, request: Request) -> Identity | None:
        """Return who asks; None when the request says nothing to this provider.

        Raises RequestError (401) for credentials that are wrong, StoreError.
        """
        ...


def identify(providers: Sequence[Provider], request: Request) -> Identity:
    """Return who asks. Raises RequestError (401), StoreError."""
    for provider in providers:
        found = provider.identify(request)
        if found is not None:
            return found
    challenges = ", ".join(each.challenge for each in providers if each.challenge)
    raise unauthorized(f"say who you are: {', or '.join(each.says for each in providers)}", challenges)


def demand(identity: Identity, role: Role) -> None:
    """Raise RequestError (403) unless ``identity`` has ``role`` or a higher one."""
    if LEVEL[identity.role] < LEVEL[role]:
        detail = f"{identity.name} has the role {identity.role}; this takes the role {role}"
        allowed = ", ".join(name for name, level in LEVEL.items() if level >= LEVEL[role])
        raise RequestError(403, detail, {"field": "role", "value": identity.role, "allowed": allowed})


def made(parts: Parts) -> tuple[Provider, ...]:
    """Return the providers that the settings name, in their order."""
    return tuple(import_module(f"{__name__}.{name}").provider(parts) for name in parts.settings.providers)


def lower(one: Role, other: Role | None) -> Role:
    """Return the role of the two that may do less; None is no limit."""
    return one if other is None or LEVEL[one] <= LEVEL[other] else other


def of_user(user: User, via: Via) -> Identity | None:
    """Return the identity of ``user``, None when the account is disabled."""
    return Identity(user.name, user.role, via) if user.enabled else None


def unauthorized(detail: str, challenge: str = "") -> RequestError:
    """Return the error of somebody who is not known; ``challenge`` is how they may prove themselves."""
    return RequestError(401, detail, headers={"WWW-Authenticate": challenge or BEARER})
