"""Metrics: which there are, and their points."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any
from urllib.parse import quote, unquote_to_bytes

from flask import Response, request

from canopsis.api import parameters
from canopsis.api.endpoints import PREFIX, Call, Resource
from canopsis.api.responses import many, page_of
from canopsis.errors import InputError, RequestError
from canopsis.store import metrics
from canopsis.store.metrics import AGGREGATES
from canopsis.store.query import Paging

resource = Resource("metrics", service="metrics")

DEFAULT_WINDOW = 3600.0
"""Seconds before ``to`` where ``from`` is not given."""

PARTS = {"component": 1, "resource": 2, "connector": 2}
"""Names of an entity id, by its type: so many segments of a path belong to it."""

_MARK = f"{PREFIX}/metrics/"
_SHAPE = "/api/v1/metrics/<entity id>/<metric>, each percent-encoded"


@resource.get(
    "/metrics",
    "List which metrics exist, by entity and name.",
    parameters=(
        parameters.text("entity_id", "Only metrics of this entity."),
        parameters.text("search", "Words that all stand in the entity id or in the name.", limit=200),
        *parameters.paging(),
    ),
)
def listing(call: Call) -> Response:
    """Return a page of metrics: entity id, name, unit."""
    given = call.arguments
    paging = Paging(given["start"], given["limit"], "_id", call.weigh)
    page = call.ask(metrics.names, given["entity_id"], given["search"] or "", paging)
    found = [{"entity_id": each["_id"]["e"], "metric": each["_id"]["m"], "unit": each.get("u")} for each in page.data]
    return page_of(replace(page, data=found))


@resource.get(
    "/metrics/<path:series>",
    "Show the points of a metric as `[seconds, value]`, oldest first.",
    shown=f"{PREFIX}/metrics/{{entity_id}}/{{metric}}",
    segments={"entity_id": "Id of the entity, percent-encoded.", "metric": "Name of the metric, percent-encoded."},
    parameters=(
        parameters.moment("from", "Begin of the window; by default an hour before its end."),
        parameters.moment("to", "End of the window, not in it; by default now."),
        parameters.seconds("interval", "One point for each so many seconds; without it every point.", 0.001, 3.2e8),
        parameters.choice("aggregation", "How the points of an interval become one.", AGGREGATES, "avg"),
    ),
    answers={404: "There is no such metric."},
)
def show(call: Call) -> Response:
    """Return the points of a metric."""
    entity_id, metric = split_path(raw_path(call))
    given = call.arguments
    since, until = _window(given, call.backend.now())
    found = call.ask(
        metrics.window,
        entity_id,
        metric,
        since,
        until,
        interval=given["interval"],
        aggregate=given["aggregation"],
        weigh=call.weigh,
    )
    if found is None:
        members = {"field": "metric", "value": metric, "entity_id": entity_id}
        raise RequestError(404, f"{entity_id} has no metric {metric!r}; GET {PREFIX}/metrics lists them", members)
    return many(found.points)


def raw_path(call: Call) -> str:
    """Return the path after ``/metrics/`` as the client wrote it: only there is ``/`` told from ``%2F``."""
    raw = str(request.environ.get("RAW_URI", "")).partition("?")[0]
    _, mark, rest = raw.partition(_MARK)
    return rest if mark else quote(call.path["series"], safe="/:")


def split_path(path: str) -> tuple[str, str]:
    """Return entity id and metric of a raw path. Raises InputError naming ``path``.

    ``/`` within the id or the metric may be written as it is: the type of the id says how many
    segments belong to it. An id or a name with ``%`` in it has to be percent-encoded.
    """
    first, *rest = [_decoded(segment) for segment in path.split("/")]
    kind = first.partition(":")[0]
    if kind not in PARTS:
        raise InputError("entity_id", first, "an id that begins with " + ", ".join(f"{name}:" for name in PARTS))
    missing = PARTS[kind] - 1 - first.count("/")
    entity_id = "/".join([first, *rest[:missing]]) if missing > 0 else first
    metric = "/".join(rest[max(missing, 0) :])
    if not metric:
        raise InputError("metric", "", _SHAPE)
    return entity_id, metric


def _decoded(segment: str) -> str:
    try:
        return unquote_to_bytes(segment.encode("latin-1", "replace")).decode()
    except UnicodeDecodeError as error:
        raise InputError("path", segment, "percent-encoded UTF-8") from error


def _window(given: Mapping[str, Any], now: float) -> tuple[float, float]:
    until = given["to"] if given["to"] is not None else now
    since = given["from"] if given["from"] is not None else max(0.0, until - DEFAULT_WINDOW)
    if until <= since:
        raise InputError("to", until, f"a time after from ({since})")
    return since, until
