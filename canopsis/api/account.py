"""Logging in, logging out, and who one is."""

from __future__ import annotations

from typing import Annotated

import msgspec
from flask import Response, request

from canopsis.api.auth import Identity, Via
from canopsis.api.auth.local import LocalUsers, set_cookie
from canopsis.api.auth.proxies import client_address, scheme_of
from canopsis.api.body import body_of, text
from canopsis.api.endpoints import Call, Resource
from canopsis.api.responses import one
from canopsis.core.parameters import flag
from canopsis.errors import RequestError
from canopsis.store.users import Role

resource = Resource("account")


class Login(msgspec.Struct, forbid_unknown_fields=True):
    """Who wants to come in."""

    username: Annotated[str, text("Name of the user.", limit=128)]
    password: Annotated[str, text("The password.", limit=1024)]


class Me(msgspec.Struct):
    """Who one is, and how one said so."""

    name: str
    role: Role
    via: Via


class Done(msgspec.Struct):
    """What was done."""

    status: str


_OFF = {404: "The provider `local` is off."}


@resource.post(
    "/login",
    "Log in with name and password; the answer sets the cookie of the session.",
    role=None,
    body=body_of(Login),
    answer=Me,
    answers={
        401: "The name or the password is wrong.",
        404: "The provider `local` is off.",
        429: "Too many wrong passwords.",
        503: "Too many logins at once, or the database does not answer.",
    },
)
def login(call: Call) -> Response:
    """Begin a session."""
    local = _local(call)
    given: Login = call.body
    trusted = call.site.settings.trusted_proxies
    identity, cookie = local.login(given.username, given.password, client_address(request, trusted))
    response = one(_shown(identity))
    set_cookie(response, cookie, secure=scheme_of(request, trusted) == "https")
    return response


class Logout(msgspec.Struct, frozen=True):
    """What is to end."""

    everywhere: Annotated[bool, flag("All sessions of this user, in every browser.")] = False


@resource.post("/logout", "End the session of the cookie.", role=None, query=Logout, answer=Done, answers=_OFF)
def logout(call: Call) -> Response:
    """End a session; without one there is nothing to do."""
    wish: Logout = call.query
    _local(call).logout(request, everywhere=wish.everywhere)
    response = one(Done("logged out"))
    set_cookie(response, "", secure=scheme_of(request, call.site.settings.trusted_proxies) == "https")
    return response


@resource.get("/me", "Show who one is.", answer=Me)
def me(call: Call) -> Response:
    """Return name, role and provider of who asks."""
    return one(_shown(call.identity) if call.identity else {})


def _local(call: Call) -> LocalUsers:
    for provider in call.site.providers:
        if isinstance(provider, LocalUsers):
            return provider
    raise RequestError(404, "logging in is turned off: the provider local is not in etc/webserver.conf, section [auth]")


def _shown(identity: Identity) -> Me:
    return Me(identity.name, identity.role, identity.via)
