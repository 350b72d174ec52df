"""Users with a password: they log in, and a signed cookie names their session."""

from __future__ import annotations

import hashlib
import secrets

from itsdangerous import BadSignature, Signer
from werkzeug.wrappers import Request, Response

from canopsis.api.auth import Identity, of_user, unauthorized
from canopsis.api.auth.lookups import Lookups
from canopsis.api.auth.passwords import verify
from canopsis.api.auth.throttle import Throttle
from canopsis.api.ports import Accounts
from canopsis.errors import RequestError

COOKIE = "canopsis_session"
CSRF_HEADER = "X-Requested-With"

_READING = frozenset({"GET", "HEAD", "OPTIONS"})


class LocalUsers:
    """The provider ``local``. ``lifetime`` is how long a session lasts, in seconds."""

    def __init__(self, accounts: Accounts, secret: str, lifetime: float, throttle: Throttle | None = None) -> None:
        self._accounts = accounts
        self._users = Lookups(accounts.user)
        self._signer = Signer(secret, salt="canopsis.session", digest_method=hashlib.sha256)
        self._lifetime = lifetime
        self._throttle = throttle or Throttle()

    def identify(self, request: Request) -> Identity | None:
        """Return whose session the cookie names; None without a cookie, or with one that is over."""
        token = self._token(request)
        if token is None:
            return None
        name = self._accounts.session_user(_digest(token))
        user = self._users.get(name) if name else None
        return of_user(user, "session") if user else None

    def login(self, name: str, password: str, address: str) -> tuple[Identity, str]:
        """Begin a session; return who it is of, and its cookie.

        Raises RequestError: 401 for a wrong name or password, 429 after too many of them.
        """
        key = (name, address)
        self._throttle.check(key)
        user = self._accounts.user(name)
        right = verify(user.password if user else "", password)
        # Once more: of many that came at once, those after the first wrong ones learn nothing.
        self._throttle.check(key)
        identity = of_user(user, "session") if user and right else None
        if identity is None:
            self._throttle.failed(key)
            raise unauthorized("the name or the password is wrong, or the account is disabled")
        self._throttle.succeeded(key)
        token = secrets.token_urlsafe(32)
        self._accounts.begin_session(_digest(token), identity.name, self._lifetime)
        return identity, self._signer.sign(token).decode()

    def logout(self, request: Request) -> None:
        """End the session that the cookie names, if it names one."""
        token = self._token(request)
        if token is not None:
            self._accounts.end_session(_digest(token))

    def _token(self, request: Request) -> str | None:
        signed = request.cookies.get(COOKIE)
        if not signed:
            return None
        try:
            return self._signer.unsign(signed).decode()
        except (BadSignature, UnicodeError):
            return None


def demand_same_site(request: Request, identity: Identity) -> None:
    """Raise RequestError (403) when a page of another site may have made a browser send this."""
    if identity.via != "session" or request.method in _READING or request.headers.get(CSRF_HEADER):
        return
    if request.headers.get("Origin", "").partition("://")[2] == request.host:
        return
    detail = f"a write with a session cookie takes the header {CSRF_HEADER}, or an Origin of this site"
    raise RequestError(403, detail, {"field": CSRF_HEADER, "value": None, "allowed": "any text"})


def set_cookie(request: Request, response: Response, value: str) -> None:
    """Give the browser the cookie of a session; an empty ``value`` takes it away."""
    if value:
        response.set_cookie(COOKIE, value, httponly=True, samesite="Lax", secure=request.is_secure)
    else:
        response.delete_cookie(COOKIE, httponly=True, samesite="Lax", secure=request.is_secure)


def _digest(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()
