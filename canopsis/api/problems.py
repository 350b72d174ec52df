"""Errors as RFC 9457 problem documents. No answer ever carries a traceback."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from http import HTTPStatus

import msgspec
from flask import Flask, Response
from werkzeug.exceptions import HTTPException, InternalServerError, MethodNotAllowed

from canopsis.errors import InputError, RequestError, StoreError, TransportError

MEDIA_TYPE = "application/problem+json"
RETRY_AFTER = "2"
"""Seconds after which a client is to try again when the broker or the database is away."""

_LOG = logging.getLogger(__name__)


class Seldom:
    """Says whether a thing may be logged: once in ``interval`` seconds for each thing."""

    def __init__(self, interval: float = 5.0, clock: Callable[[], float] = time.monotonic) -> None:
        self._interval = interval
        self._clock = clock
        self._last: dict[str, float] = {}

    def allows(self, thing: str) -> bool:
        """Tell whether ``thing`` was not logged for a while; then it is now."""
        now = self._clock()
        if now - self._last.get(thing, float("-inf")) < self._interval:
            return False
        self._last[thing] = now
        return True


# Each request of an outage is answered 503; a line for each would fill the disk.
_SELDOM = Seldom()


def problem(
    status: int,
    detail: str,
    members: Mapping[str, object] | None = None,
    headers: Mapping[str, str] | None = None,
) -> Response:
    """Return the answer with a problem document; ``members`` are its extension members."""
    body = msgspec.json.encode(document(status, detail, members))
    return Response(body, status, headers=dict(headers or {}), content_type=MEDIA_TYPE)


def document(status: int, detail: str, members: Mapping[str, object] | None = None) -> dict[str, object]:
    """Return a problem document; ``members`` are its extension members."""
    return {
        "type": "about:blank",
        "title": HTTPStatus(status).phrase,
        "status": status,
        "detail": detail,
        "success": False,
        **(members or {}),
    }


def members_of(error: InputError) -> dict[str, object]:
    """Return the extension members of an input error."""
    return {"field": error.field, "value": error.value, "allowed": error.allowed}


def install(app: Flask) -> None:
    """Let every error of ``app`` come out as a problem document."""
    app.register_error_handler(InputError, _on_input)
    app.register_error_handler(RequestError, _on_request)
    app.register_error_handler(TransportError, _on_transport)
    app.register_error_handler(StoreError, _on_store)
    app.register_error_handler(MethodNotAllowed, _on_method)
    app.register_error_handler(InternalServerError, _on_bug)
    app.register_error_handler(HTTPException, _on_http)


def _on_input(error: InputError) -> Response:
    return problem(400, str(error), members_of(error))


def _on_request(error: RequestError) -> Response:
    return problem(error.status, error.detail, error.members, error.headers)


def unconfirmed(error: TransportError, results: Sequence[Mapping[str, object]]) -> RequestError:
    """Return the answer for events that the broker did not confirm: ``results`` say of each under which id it went."""
    _note("broker", error)
    detail = (
        "the broker does not confirm now: whether the events count is not known; "
        "send them again, each with the event_id that data names, then each counts once"
    )
    members = {"server": "rabbitmq-server", "data": results}
    return RequestError(503, detail, members, {"Retry-After": RETRY_AFTER})


def _on_transport(error: TransportError) -> Response:
    _note("broker", error)
    detail = "the broker does not confirm now: whether the request was done is not known; send it again"
    return problem(503, detail, {"server": "rabbitmq-server"}, {"Retry-After": RETRY_AFTER})


def _on_store(error: StoreError) -> Response:
    _note("database", error)
    detail = "the database does not answer now: send the request again"
    return problem(503, detail, {"server": "mongodb"}, {"Retry-After": RETRY_AFTER})


def _note(server: str, error: Exception) -> None:
    if _SELDOM.allows(server):
        _LOG.warning("answering 503, the %s is away: %s", server, error)


def _on_method(error: MethodNotAllowed) -> Response:
    allowed = ", ".join(sorted(set(error.valid_methods or ()) - {"HEAD"}))
    members = {"field": "method", "allowed": allowed}
    return problem(405, f"this address takes {allowed}", members, {"Allow": allowed})


def _on_bug(error: InternalServerError) -> Response:
    _LOG.error("a bug", exc_info=error.original_exception)
    return problem(500, "a bug of Canopsis: its log file of the web server has the details")


def _on_http(error: HTTPException) -> Response:
    return problem(error.code or 500, error.description or "")
