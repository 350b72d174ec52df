"""Logging in, logging out, and who one is."""

from __future__ import annotations

from flask import Response, request

from canopsis.api.auth import Identity
from canopsis.api.auth.local import LocalUsers, set_cookie
from canopsis.api.auth.proxies import client_address, scheme_of
from canopsis.api.body import Text, object_of, read_texts
from canopsis.api.endpoints import Call, Resource
from canopsis.api.responses import one
from canopsis.errors import RequestError

resource = Resource("account")

_FIELDS = {"username": Text("Name of the user.", limit=128), "password": Text("The password.", limit=1024)}


@resource.post(
    "/login",
    "Log in with name and password; the answer sets the cookie of the session.",
    role=None,
    body=object_of(_FIELDS),
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
    given = read_texts(call.content, _FIELDS)
    trusted = call.site.settings.trusted_proxies
    identity, cookie = local.login(given["username"], given["password"], client_address(request, trusted))
    response = one(_shown(identity))
    set_cookie(response, cookie, secure=scheme_of(request, trusted) == "https")
    return response


@resource.post("/logout", "End the session of the cookie.", role=None, answers={404: "The provider `local` is off."})
def logout(call: Call) -> Response:
    """End a session; without one there is nothing to do."""
    _local(call).logout(request)
    response = one({"status": "logged out"})
    set_cookie(response, "", secure=scheme_of(request, call.site.settings.trusted_proxies) == "https")
    return response


@resource.get("/me", "Show who one is.")
def me(call: Call) -> Response:
    """Return name, role and provider of who asks."""
    return one(_shown(call.identity) if call.identity else {})


def _local(call: Call) -> LocalUsers:
    if call.site.local is None:
        raise RequestError(
            404, "logging in is turned off: the provider local is not in etc/webserver.conf, section [auth]"
        )
    return call.site.local


def _shown(identity: Identity) -> dict[str, str]:
    return {"name": identity.name, "role": identity.role, "via": identity.via}
