"""Is this process alive, and can it do its work? Open to anybody, for load balancers and installers."""

from __future__ import annotations

from typing import Literal

import msgspec
from flask import Response

from canopsis.api.endpoints import Call, Resource
from canopsis.api.problems import RETRY_AFTER
from canopsis.api.responses import one
from canopsis.errors import RequestError

resource = Resource("health")


class Said(msgspec.Struct):
    """How it is."""

    status: Literal["alive", "ready"]


@resource.get("/healthz", "Tell that the process is alive.", role=None, light=True, answer=Said)
def healthz(_call: Call) -> Response:
    """Answer, whatever else is wrong."""
    return one(Said("alive"))


@resource.get(
    "/readyz",
    "Tell whether this web server can take requests.",
    role=None,
    answer=Said,
    answers={503: "It cannot; `reasons` says why, `servers` which server is the cause."},
)
def readyz(call: Call) -> Response:
    """Answer 503 when events are not accepted, or not processed. Details are for those who may see ``/status``.

    One engine or one host of several that is away is no reason: another web server would know it no better.
    """
    reasons = call.site.readiness.refusals()
    if reasons:
        causes = [server.name for server in call.site.readiness.servers() if server.error or server.blocked]
        facts = {"reasons": reasons, "servers": causes}
        raise RequestError(503, f"not ready: {' and '.join(reasons)}", facts, {"Retry-After": RETRY_AFTER})
    return one(Said("ready"))
