"""Where to begin: which calls there are, and which one an address that is not there may have meant."""

from __future__ import annotations

import difflib
import re
from collections.abc import Sequence

import msgspec
from flask import Response, request
from werkzeug.exceptions import NotFound

from canopsis.api.endpoints import PREFIX, Call, Endpoint, Resource, current_site
from canopsis.api.problems import problem
from canopsis.api.reader import PAGE
from canopsis.api.responses import many

resource = Resource("index")
root = Resource("root", prefix="")


class Listed(msgspec.Struct):
    """One call."""

    method: str
    path: str
    summary: str


_SUMMARY = "List the calls of this API."
_VERSION = re.compile(r"/+(?:api|rest)?(?:/*v[0-9.]+)?/*", re.IGNORECASE)
"""What stands before the name of a resource, here or in another version."""

_MEANT = {"healthcheck": "healthz", "health": "healthz", "ready": "readyz", "perfdata": "metrics", "app-info": "status"}
_ALIKE = 0.7


@resource.get("", _SUMMARY, role=None, light=True, answer=Listed)
def index(_call: Call) -> Response:
    """Return method, path and summary of each call."""
    return many([Listed(each.method, each.shown_path, each.summary) for each in _endpoints()])


@root.get(
    "/",
    _SUMMARY,
    role=None,
    light=True,
    answer=Listed,
    answers={200: "Done.", 303: "A browser is led to the page that shows the API."},
)
def start(call: Call) -> Response:
    """Return the same; lead a browser to the page to read."""
    wanted = request.accept_mimetypes.best_match(("application/json", "text/html"))
    response = Response(status=303, headers={"Location": PAGE}) if wanted == "text/html" else index(call)
    response.vary.add("Accept")
    return response


def missing(_error: NotFound) -> Response:
    """Answer for an address that is not there; name the one that is meant."""
    everything = f"GET {PREFIX} lists all addresses"
    found = meant(request.path, [each.shown_path for each in _endpoints()])
    detail = f"there is no address {request.path}; {f'{found} is meant? ' if found else ''}{everything}"
    members = {"field": "path", "value": request.path, "allowed": found or everything}
    return problem(404, detail, members)


def meant(path: str, known: Sequence[str]) -> str:
    """Return the address of ``known`` that ``path``, one of another version or a mistyped one, most likely means."""
    rest = _VERSION.sub("", f"/{path}", count=1).strip("/")
    first, _, more = rest.partition("/")
    names = {each.removeprefix(PREFIX).strip("/").partition("/")[0]: None for each in known if each.startswith(PREFIX)}
    close = difflib.get_close_matches(_MEANT.get(first.lower(), first.lower()), filter(None, names), 1, _ALIKE)
    if not close:
        return ""
    candidate = "/".join(filter(None, (PREFIX, close[0], more)))
    return candidate if any(_fits(candidate, each) for each in known) else f"{PREFIX}/{close[0]}"


def _fits(path: str, shown: str) -> bool:
    return re.fullmatch(re.sub(r"\{[^}]*\}", "[^/]+", shown), path) is not None


def _endpoints() -> tuple[Endpoint, ...]:
    return current_site().endpoints
