"""What gunicorn answers and logs itself: requests that never reach the application.

What was sent is neither logged nor sent back: a line that is no HTTP may hold a key anywhere in it.
"""

from __future__ import annotations

from datetime import timedelta
from http import HTTPStatus
from ssl import SSLError
from typing import Any

import msgspec
from gunicorn import util
from gunicorn.http import errors
from gunicorn.http.wsgi import Response, default_environ

from canopsis.api.problems import MEDIA_TYPE, document

HEAD_LIMITS = "a request line of at most 8190 bytes, and at most 100 header fields of at most 8190 bytes each"

_ANSWERS: tuple[tuple[type[BaseException], int, str], ...] = (
    (errors.LimitRequestLine, 414, f"the address is too long; allowed: {HEAD_LIMITS}"),
    (errors.LimitRequestHeaders, 431, f"the header is too large; allowed: {HEAD_LIMITS}"),
    (errors.ExpectationFailed, 417, "the header Expect is not understood; allowed: 100-continue"),
    # RFC 9112 would have 501 here. A status of 500 and more says that the fault is ours.
    (errors.UnsupportedTransferCoding, 400, "the header Transfer-Encoding is not understood; allowed: chunked"),
    (errors.InvalidRequestLine, 400, "the first line is no HTTP; allowed: METHOD ADDRESS HTTP/1.1, ADDRESS in ASCII"),
    (errors.InvalidRequestMethod, 400, "the method is no HTTP; allowed: GET, HEAD, OPTIONS, POST, PUT, PATCH, DELETE"),
    (errors.InvalidHTTPVersion, 400, "the version is not understood; allowed: HTTP/1.0, HTTP/1.1"),
    (SSLError, 400, "this port takes another protocol; allowed: https"),
    (errors.ParseException, 400, "the request is no HTTP/1.1: a header, or the frame of the body, is malformed"),
)


def refuse(worker: Any, req: Any, client: Any, addr: Any, error: BaseException) -> None:  # noqa: ANN401 - gunicorn's
    """Answer with a problem document, and log who sent what kind of thing."""
    status, detail = answer_to(error)
    address = addr[0] if isinstance(addr, tuple) else ""
    if status == HTTPStatus.INTERNAL_SERVER_ERROR:
        worker.log.error("a bug, in the answer to %s", getattr(req, "uri", "(no address)"), exc_info=error)
    else:
        worker.log.warning("refused a request from %s: %s, %s", address, status, type(error).__name__)
    body = msgspec.json.encode(document(status, detail))
    if req is None and isinstance(error, errors.InvalidHeader | errors.InvalidHeaderName):
        req = getattr(error, "req", None)
    if req is not None:
        environ = default_environ(req, client, worker.cfg) | {"REMOTE_ADDR": address}
        answer = Response(req, client, worker.cfg)
        answer.status = f"{status} {HTTPStatus(status).phrase}"
        answer.response_length = len(body)
        worker.log.access(answer, req, environ, timedelta())
    try:
        util.write_nonblock(client, _head(status, len(body)) + body)
    except OSError:
        return  # nobody is left to answer


def answer_to(error: BaseException) -> tuple[int, str]:
    """Return status and detail for an error of gunicorn's; 500 for one of ours."""
    for kind, status, detail in _ANSWERS:
        if isinstance(error, kind) and not isinstance(
            error, errors.InvalidResponseHeader | errors.InvalidResponseHeaderName
        ):
            return status, detail
    return 500, "a bug of Canopsis: its log file of the web server has the details"


def _head(status: int, length: int) -> bytes:
    lines = [f"HTTP/1.1 {status} {HTTPStatus(status).phrase}", "Connection: close", f"Content-Type: {MEDIA_TYPE}"]
    return "\r\n".join([*lines, f"Content-Length: {length}", "", ""]).encode()
