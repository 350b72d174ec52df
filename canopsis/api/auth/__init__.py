"""Who somebody is: one module a provider, and what they have in common."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

from werkzeug.wrappers import Request

from canopsis.errors import RequestError
from canopsis.store.users import Role, User

LEVEL: dict[Role, int] = {"reader": 0, "operator": 1, "admin": 2}
"""Each role may do what the ones below it may."""


@dataclass(frozen=True, slots=True)
class Identity:
    """Who asks, what they may do, and how they said who they are."""

    name: str
    role: Role
    via: Literal["authkey", "session"]


class Provider(Protocol):
    """One way to say who one is."""

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
    raise unauthorized("say who you are: the header X-Canopsis-Authkey with a key, or log in with POST /api/v1/login")


def demand(identity: Identity, role: Role) -> None:
    """Raise RequestError (403) unless ``identity`` has ``role`` or a higher one."""
    if LEVEL[identity.role] < LEVEL[role]:
        detail = f"{identity.name} has the role {identity.role}; this takes the role {role}"
        allowed = ", ".join(name for name, level in LEVEL.items() if level >= LEVEL[role])
        raise RequestError(403, detail, {"field": "role", "value": identity.role, "allowed": allowed})


def of_user(user: User, via: Literal["authkey", "session"]) -> Identity | None:
    """Return the identity of ``user``, None when the account is disabled."""
    return Identity(user.name, user.role, via) if user.enabled else None


def unauthorized(detail: str) -> RequestError:
    """Return the error of somebody who is not known."""
    return RequestError(401, detail, headers={"WWW-Authenticate": 'Bearer realm="canopsis"'})
