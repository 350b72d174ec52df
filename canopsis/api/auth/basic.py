"""HTTP Basic (RFC 7617): a name and a password with each request, for programs that know nothing else."""

from __future__ import annotations

import hashlib
import hmac
import secrets
import threading
import time
from typing import ClassVar

from werkzeug.wrappers import Request

from canopsis.api.auth import Identity, Parts, Schemes, unauthorized
from canopsis.api.auth.logins import Logins
from canopsis.api.auth.lookups import Lookups
from canopsis.api.auth.proxies import client_address
from canopsis.api.ports import Database
from canopsis.api.settings import Network
from canopsis.store import users

REMEMBERED = 60.0
"""Seconds for which a right password is not verified again: that takes a quarter of a second of all processors."""

_MOST = 1000


class BasicUsers:
    """The provider ``basic``."""

    challenge: ClassVar[str] = 'Basic realm="canopsis", charset="UTF-8"'
    says: ClassVar[str] = "a name and a password by HTTP Basic"
    schemes: ClassVar[Schemes] = {"basic": {"type": "http", "scheme": "basic"}}

    def __init__(self, database: Database, logins: Logins, trusted: tuple[Network, ...] = ()) -> None:
        self._users = Lookups(lambda name: database.ask(users.get, name))
        self._logins = logins
        self._trusted = trusted
        self._secret = secrets.token_bytes(32)
        self._lock = threading.Lock()
        self._right: dict[bytes, tuple[float, str]] = {}
        """When a name and a password were right, and the binding of their user then."""

    def identify(self, request: Request) -> Identity | None:
        """Return who has the name and the password of the request. Raises as ``Logins.check`` does."""
        if request.headers.get("Authorization", "").partition(" ")[0].lower() != "basic":
            return None
        given = request.authorization
        if given is None or not given.username:
            raise unauthorized("Authorization: Basic takes NAME:PASSWORD in UTF-8 and Base64", self.challenge)
        name, password = given.username, given.password or ""
        key = hmac.digest(self._secret, f"{len(name)} {name}{password}".encode(), hashlib.sha256)
        user = self._users.get(name)
        if user is None or not user.enabled or not self._is_right(key, user.binding):
            user = self._logins.check(name, password, client_address(request, self._trusted), self.challenge)
            self._remember(key, user.binding)
        return Identity(user.name, user.role, "basic")

    def _is_right(self, key: bytes, binding: str) -> bool:
        since, bound = self._right.get(key, (float("-inf"), ""))
        return time.monotonic() - since < REMEMBERED and hmac.compare_digest(bound, binding)

    def _remember(self, key: bytes, binding: str) -> None:
        with self._lock:
            if len(self._right) >= _MOST:
                self._right.clear()
            self._right[key] = (time.monotonic(), binding)


def provider(parts: Parts) -> BasicUsers:
    """Return the provider of an application."""
    return BasicUsers(parts.database, parts.logins, parts.settings.trusted_proxies)
