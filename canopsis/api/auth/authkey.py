"""Keys: ``X-Canopsis-Authkey``, ``Authorization: Bearer``, or the parameter ``authkey``."""

from __future__ import annotations

import hashlib
from typing import ClassVar

from werkzeug.wrappers import Request

from canopsis.api.auth import BEARER, Identity, Parts, Schemes, of_user, unauthorized
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

    def __init__(self, database: Database) -> None:
        self._users = Lookups(lambda key: database.ask(users.by_key, key))

    def identify(self, request: Request) -> Identity | None:
        """Return who has the key of the request."""
        key = given_key(request)
        if key is None:
            return None
        user = self._users.get(digest(key)) if key else None
        found = of_user(user, "authkey") if user else None
        if found is None:
            raise unauthorized("this key is not known, or its user is disabled")
        return found


def provider(parts: Parts) -> AuthKeys:
    """Return the provider of an application."""
    return AuthKeys(parts.database)
