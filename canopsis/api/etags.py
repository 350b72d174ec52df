"""Entity tags: which state of a thing a client saw.

A tag is ``"<revision>.<digest>"``. Whether a client has what it would get is told by the whole of it; whether it may
write over what is there, by the revision alone: counts and times beside it are no reason to refuse.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

from flask import Response
from werkzeug.wrappers import Request

from canopsis.api.responses import one
from canopsis.errors import RequestError


def tagged(request: Request, document: Mapping[str, Any], status: int = 200) -> Response:
    """Return a thing with its tag; 304, and nothing of it, when ``request`` says that the client has it.

    One without ``rev`` has the revision 0.
    """
    response = one(document, status)
    tag = f"{document.get('rev', 0)}.{hashlib.sha256(response.data).hexdigest()[:16]}"
    if request.method in ("GET", "HEAD") and request.if_none_match.contains(tag):
        response = Response(status=304)
    response.set_etag(tag)
    return response


def is_conditional(request: Request) -> bool:
    """Tell whether a write says what it may write over."""
    return "If-Match" in request.headers or "If-None-Match" in request.headers


def demand(request: Request, found: Mapping[str, Any] | None) -> None:
    """Raise RequestError (412) unless ``found`` (None: there is nothing) is what ``request`` may write over."""
    if "If-None-Match" in request.headers and found is not None:
        raise refusal(request, "If-None-Match", "there is one already")
    if "If-Match" not in request.headers:
        return
    if found is None:
        raise refusal(request, "If-Match", "there is none")
    seen = {tag.partition(".")[0] for tag in request.if_match.as_set()}
    if not request.if_match.star_tag and str(found.get("rev", 0)) not in seen:
        raise refusal(request, "If-Match", "it was changed since")


def refusal(request: Request, header: str, why: str) -> RequestError:
    """Return the error (412) of a write whose condition does not hold."""
    allowed = "the ETag of what is there now: read it, and look whether the change is still wanted"
    members = {"field": header, "value": request.headers.get(header), "allowed": allowed}
    return RequestError(412, f"{header}: {why}; nothing is written", members)
