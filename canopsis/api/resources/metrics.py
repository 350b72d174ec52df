"""Metrics: which there are, and their points."""

from __future__ import annotations

from typing import Annotated
from urllib.parse import quote, unquote_to_bytes

import msgspec
from flask import Response, request

from canopsis.api.endpoints import PREFIX, Call, Resource
from canopsis.api.responses import many, page_of
from canopsis.core import parameters
from canopsis.errors import InputError, RequestError
from canopsis.store import metrics
from canopsis.store.metrics import AGGREGATES, Aggregate, MetricQuery

resource = Resource("metrics", service="metrics")

DEFAULT_WINDOW = 3600.0
"""Seconds before ``to`` where ``from`` is not given."""

PARTS = {"component": 1, "resource": 2, "connector": 2}
"""Names of an entity id, by its type: so many segments of a path belong to it."""

_MARK = f"{PREFIX}/metrics/"
_SHAPE = "/api/v1/metrics/<entity id>/<metric>, each percent-encoded"


class Metric(msgspec.Struct):
    """A metric that exists."""

    entity_id: str
    metric: str
    unit: str | None


class WindowQuery(msgspec.Struct, frozen=True):
    """Which points of a metric."""

    since: Annotated[float | None, parameters.moment("Begin of the window; by default an hour before its end.")] = (
        msgspec.field(name="from", default=None)
    )
    until: Annotated[float | None, parameters.moment("End of the window, not in it; by default now.")] = msgspec.field(
        name="to", default=None
    )
    interval: Annotated[
        float | None,
        parameters.seconds("One point for each so many seconds; without it every point.", 0.001, 3.2e8),
    ] = None
    aggregation: Annotated[Aggregate, parameters.choice("How the points of an interval become one.", AGGREGATES)] = (
        "avg"
    )


@resource.get("/metrics", "List which metrics exist, by entity and name.", query=MetricQuery, answer=Metric)
def listing(call: Call) -> Response:
    """Return a page of metrics."""
    page = call.ask(metrics.names, call.query)
    found = [Metric(each["_id"]["e"], each["_id"]["m"], each.get("u")) for each in page.data]
    return page_of(page, found)


@resource.get(
    "/metrics/<path:series>",
    "Show the points of a metric as `[seconds, value]`, oldest first.",
    shown=f"{PREFIX}/metrics/{{entity_id}}/{{metric}}",
    segments={"entity_id": "Id of the entity, percent-encoded.", "metric": "Name of the metric, percent-encoded."},
    query=WindowQuery,
    answer=tuple[float, float | None],
    answers={404: "There is no such metric."},
)
def show(call: Call) -> Response:
    """Return the points of a metric."""
    entity_id, metric = split_path(raw_path(call))
    query: WindowQuery = call.query
    found = call.ask(
        metrics.window,
        entity_id,
        metric,
        *bounds(query, call.now),
        interval=query.interval,
        aggregate=query.aggregation,
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


def bounds(query: WindowQuery, now: float) -> tuple[float, float]:
    """Return begin and end of a window, in seconds. Raises InputError naming ``to``."""
    until = now if query.until is None else query.until
    since = max(0.0, until - DEFAULT_WINDOW) if query.since is None else query.since
    if until <= since:
        raise InputError("to", until, f"a time after from ({since})")
    return since, until
