"""Users with a password: they log in, and a signed cookie names their session."""

from __future__ import annotations

import hashlib
import secrets
from typing import ClassVar

from itsdangerous import BadSignature, Signer
from werkzeug.wrappers import Request, Response

from canopsis.api.auth import Identity, Parts, Schemes, of_user, unauthorized
from canopsis.api.auth.logins import Logins
from canopsis.api.auth.lookups import FRESH, Lookups
from canopsis.api.ports import Database
from canopsis.store import sessions, users
from canopsis.store.operations import Document

COOKIE = "canopsis_session"


class LocalUsers:
    """The provider ``local``. ``lifetime`` is how long a session lasts, in seconds."""

    challenge: ClassVar[str] = ""
    says: ClassVar[str] = "log in with POST /api/v1/login"
    schemes: ClassVar[Schemes] = {"session": {"type": "apiKey", "in": "cookie", "name": COOKIE}}

    def __init__(self, database: Database, logins: Logins, secret: str, lifetime: float) -> None:
        self._ask = database.ask
        self._users = Lookups(lambda name: database.ask(users.get, name))
        self._signer = Signer(secret, salt="canopsis.session", digest_method=hashlib.sha256)
        self._lifetime = lifetime
        self._logins = logins

    def identify(self, request: Request) -> Identity | None:
        """Return whose session the cookie names; None without a cookie, or with one that is over."""
        token = self._token(request)
        if token is None:
            return None
        session = self._ask(sessions.find, _digest(token))
        return self._owner(session, _digest(token)) if session else None

    def login(self, name: str, password: str, address: str) -> tuple[Identity, str]:
        """Begin a session; return who it is of, and its cookie.

        Raises RequestError: 401 for a wrong name or password, 429 after too many of them.
        """
        user = self._logins.check(name, password, address, self.challenge)
        token = secrets.token_urlsafe(32)
        self._ask(sessions.create, _digest(token), user.name, self._lifetime, binding=user.binding)
        if self._ask(users.get, name) != user:
            # Whoever changed the user a moment ago ended the sessions that they saw, and not this one.
            self._ask(sessions.delete, _digest(token))
            raise unauthorized("the user was changed just now: log in again")
        return Identity(user.name, user.role, "session"), self._signer.sign(token).decode()

    def logout(self, request: Request, *, everywhere: bool = False) -> None:
        """End the session that the cookie names, if it names one; ``everywhere``: all of its user."""
        token = self._token(request)
        if token is None:
            return
        owner = self.identify(request) if everywhere else None
        self._ask(sessions.delete, _digest(token))
        if owner is not None:
            self._ask(sessions.delete_of, owner.name)

    def _owner(self, session: Document, token_sha256: str) -> Identity | None:
        """Return whose ``session`` is; a session that outlived its password or its user ends here."""
        for fresh in (FRESH, 0.0):
            user = self._users.get(str(session["user"]), fresh)
            if user is not None and user.enabled and user.binding == session.get("binding"):
                return of_user(user, "session")
        self._ask(sessions.delete, token_sha256)
        return None

    def _token(self, request: Request) -> str | None:
        signed = request.cookies.get(COOKIE)
        if not signed:
            return None
        try:
            return self._signer.unsign(signed).decode()
        except (BadSignature, UnicodeError):
            return None


def provider(parts: Parts) -> LocalUsers:
    """Return the provider of an application."""
    return LocalUsers(parts.database, parts.logins, parts.settings.secret, parts.settings.lifetime)


def set_cookie(response: Response, value: str, *, secure: bool) -> None:
    """Give the browser the cookie of a session; an empty ``value`` takes it away."""
    if value:
        response.set_cookie(COOKIE, value, httponly=True, samesite="Lax", secure=secure)
    else:
        response.delete_cookie(COOKIE, httponly=True, samesite="Lax", secure=secure)


def _digest(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()
