"""Users with a password: they log in, and a signed cookie names their session."""

from __future__ import annotations

import hashlib
import secrets

from itsdangerous import BadSignature, Signer
from werkzeug.wrappers import Request, Response

from canopsis.api.auth import Identity, of_user, unauthorized
from canopsis.api.auth.lookups import FRESH, Lookups
from canopsis.api.auth.passwords import verify
from canopsis.api.auth.proxies import scheme_of
from canopsis.api.auth.throttle import Throttle
from canopsis.api.ports import Database
from canopsis.api.settings import Network
from canopsis.errors import RequestError
from canopsis.store import sessions, users
from canopsis.store.operations import Document

COOKIE = "canopsis_session"
CSRF_HEADER = "X-Requested-With"

_READING = frozenset({"GET", "HEAD", "OPTIONS"})


class LocalUsers:
    """The provider ``local``. ``lifetime`` is how long a session lasts, in seconds."""

    def __init__(self, database: Database, secret: str, lifetime: float, throttle: Throttle | None = None) -> None:
        self._ask = database.ask
        self._users = Lookups(lambda name: database.ask(users.get, name))
        self._signer = Signer(secret, salt="canopsis.session", digest_method=hashlib.sha256)
        self._lifetime = lifetime
        self._throttle = throttle or Throttle(database)

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
        self._throttle.check(name, address)
        user = self._ask(users.get, name)
        right = verify(user.password if user else "", password)
        # Once more: of many that came at once, those after the first wrong ones learn nothing.
        self._throttle.check(name, address)
        identity = of_user(user, "session") if user and right else None
        if identity is None or user is None:
            self._throttle.failed(name, address)
            raise unauthorized("the name or the password is wrong, or the account is disabled")
        self._throttle.succeeded(name, address)
        token = secrets.token_urlsafe(32)
        self._ask(sessions.create, _digest(token), user.name, self._lifetime, binding=user.binding)
        if self._ask(users.get, name) != user:
            # Whoever changed the user a moment ago ended the sessions that they saw, and not this one.
            self._ask(sessions.delete, _digest(token))
            raise unauthorized("the user was changed just now: log in again")
        return identity, self._signer.sign(token).decode()

    def logout(self, request: Request) -> None:
        """End the session that the cookie names, if it names one."""
        token = self._token(request)
        if token is not None:
            self._ask(sessions.delete, _digest(token))

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


def demand_same_site(request: Request, identity: Identity, trusted: tuple[Network, ...] = ()) -> None:
    """Raise RequestError (403) when a page of another site may have made a browser send this."""
    if identity.via != "session" or request.method in _READING or request.headers.get(CSRF_HEADER):
        return
    if request.headers.get("Origin", "") == f"{scheme_of(request, trusted)}://{request.host}":
        return
    detail = f"a write with a session cookie takes the header {CSRF_HEADER}, or an Origin of this site"
    raise RequestError(403, detail, {"field": CSRF_HEADER, "value": None, "allowed": "any text"})


def set_cookie(response: Response, value: str, *, secure: bool) -> None:
    """Give the browser the cookie of a session; an empty ``value`` takes it away."""
    if value:
        response.set_cookie(COOKIE, value, httponly=True, samesite="Lax", secure=secure)
    else:
        response.delete_cookie(COOKIE, httponly=True, samesite="Lax", secure=secure)


def _digest(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()
