"""Which pages of other sites may call the API from a browser (CORS): those of the origins that are named, with a key.

No answer allows credentials: a browser sends our cookies to no other site's page, so this opens no session. Not
Flask-Cors: it tells methods that are configured, this tells those that an address has.
"""

from __future__ import annotations

from collections.abc import Collection

from flask import Flask, Response, request
from werkzeug.exceptions import MethodNotAllowed

from canopsis.api.auth import authkey

SENT = ("Authorization", "Content-Type", "If-Match", "If-None-Match", authkey.HEADER)
"""Headers that a page may send."""

SHOWN = ("ETag", "Location", "Retry-After")
"""Headers of an answer that a page may read, beside those that every page may."""

MAX_AGE = 600
"""Seconds for which a browser remembers what it was allowed."""


def allow(app: Flask, origins: Collection[str]) -> None:
    """Have ``app`` tell browsers that pages of ``origins`` (``https://host``) may call it; for none it says nothing."""
    if not origins:
        return

    def before() -> Response | None:
        refusal = request.routing_exception
        if request.method != "OPTIONS" or _origin(origins) is None or not isinstance(refusal, MethodNotAllowed):
            return None
        methods = ", ".join(sorted(refusal.valid_methods or ()))
        told = {"Access-Control-Allow-Methods": methods, "Access-Control-Allow-Headers": ", ".join(SENT)}
        return Response(status=204, headers=told | {"Access-Control-Max-Age": str(MAX_AGE)})

    def after(response: Response) -> Response:
        response.vary.add("Origin")
        if (origin := _origin(origins)) is not None:
            response.headers["Access-Control-Allow-Origin"] = origin
            response.headers["Access-Control-Expose-Headers"] = ", ".join(SHOWN)
        return response

    app.before_request(before)
    app.after_request(after)


def _origin(origins: Collection[str]) -> str | None:
    """Return the origin of the page that asks, when it is one of ``origins``."""
    given = request.headers.get("Origin")
    return given if given in origins else None
