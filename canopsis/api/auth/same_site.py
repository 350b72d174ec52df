"""Whether a page of another site may have made a browser send a request."""

from __future__ import annotations

from werkzeug.wrappers import Request

from canopsis.api.auth import Identity
from canopsis.api.auth.proxies import scheme_of
from canopsis.api.settings import Network
from canopsis.errors import RequestError

CSRF_HEADER = "X-Requested-With"

_READING = frozenset({"GET", "HEAD", "OPTIONS"})


def demand_same_site(request: Request, identity: Identity, trusted: tuple[Network, ...] = ()) -> None:
    """Raise RequestError (403) when a page of another site may have made a browser send this.

    A browser sends cookies and passwords of HTTP Basic by itself. With the latter programs write too, which say nothing
    of an origin; a browser does.
    """
    if identity.via == "authkey" or request.method in _READING or request.headers.get(CSRF_HEADER):
        return
    origin = request.headers.get("Origin", "")
    if origin == f"{scheme_of(request, trusted)}://{request.host}":
        return
    if identity.via == "basic" and not origin and "Sec-Fetch-Site" not in request.headers:
        return
    detail = f"a write that a browser proves who it is of takes the header {CSRF_HEADER}, or an Origin of this site"
    raise RequestError(403, detail, {"field": CSRF_HEADER, "value": None, "allowed": "any text"})
