"""Keys: ``X-Canopsis-Authkey``, ``Authorization: Bearer``, or the parameter ``authkey``."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import ClassVar

from werkzeug.wrappers import Request

from canopsis.api.auth import BEARER, Identity, Parts, Schemes, lower, unauthorized
from canopsis.api.auth.lookups import Lookups
from canopsis.api.ports import Database
from canopsis.store import users

HEADER = "X-Canopsis-Authkey"
PARAMETER = "authkey"


def digest(key: str) -> str:
    """Return what is stored of a key: it is random and long, so one SHA-256 is enough."""
    return hashlib.sha256(key.encode("utf-8", "surrogateescape")).hexdigest()


def given_key(request: Request) -> str | None:
    """Return the key in ``request``, None when it has none."""
    if HEADER in request.headers:
        return request.headers[HEADER].strip()
    scheme, _, token = request.headers.get("Authorization", "").partition(" ")
    if scheme.lower() == "bearer":
        return token.strip()
    return request.args.get(PARAMETER)


class AuthKeys:
    """The provider ``authkey``."""

    challenge: ClassVar[str] = BEARER
    says: ClassVar[str] = f"the header {HEADER} with a key"
    schemes: ClassVar[Schemes] = {
        "authkey": {"type": "apiKey", "in": "header", "name": HEADER},
        "authkey_parameter": {"type": "apiKey", "in": "query", "name": PARAMETER},
        "bearer": {"type": "http", "scheme": "bearer"},
    }

    def __init__(self, database: Database, now: Callable[[], float]) -> None:
        self._users = Lookups(lambda key: database.ask(users.by_key, key))
        self._now = now

    def identify(self, request: Request) -> Identity | None:
        """Return who has the key of the request."""
        given = given_key(request)
        if given is None:
            return None
        user = self._users.get(digest(given)) if given else None
        if user is None or not user.enabled:
            raise unauthorized("this key is not known, or its user is disabled")
        key = next(each for each in user.authkeys if each.sha256 == digest(given))
        if key.until is not None and key.until <= self._now():
            raise unauthorized(f"the key {key.id} of {user.name} has ended; make another one: canopsis user key")
        return Identity(user.name, lower(user.role, key.role), "authkey")


def provider(parts: Parts) -> AuthKeys:
    """Return the provider of an application."""
    return AuthKeys(parts.database, parts.now)
