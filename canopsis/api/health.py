"""Is this process alive, and can it do its work? Open to anybody, for load balancers and installers."""

from __future__ import annotations

from flask import Response

from canopsis.api.endpoints import Call, Resource
from canopsis.api.problems import RETRY_AFTER
from canopsis.api.responses import one
from canopsis.errors import RequestError

resource = Resource("health")


@resource.get("/healthz", "Tell that the process is alive.", role=None, light=True)
def healthz(_call: Call) -> Response:
    """Answer, whatever else is wrong."""
    return one({"status": "alive"})


@resource.get(
    "/readyz",
    "Tell that broker and database answer.",
    role=None,
    answers={503: "One of them does not; `servers` says."},
)
def readyz(call: Call) -> Response:
    """Answer 503 with the names of the servers that are away. Why they are is for those who may see ``/status``."""
    servers = call.site.readiness.servers()
    away = [server.name for server in servers if server.error]
    if away:
        detail = f"not ready: {' and '.join(away)} away"
        raise RequestError(503, detail, {"servers": away}, {"Retry-After": RETRY_AFTER})
    return one({"status": "ready"})
