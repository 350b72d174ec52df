"""Sources: payloads of other tools, each mapped to events by the module of its kind."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from itertools import islice
from typing import Annotated, Any

import msgspec
from flask import Response

from canopsis.api import intake
from canopsis.api.body import JSON, MAX_BODY, TEXT, Body
from canopsis.api.endpoints import Call, Resource
from canopsis.api.intake import Examined
from canopsis.api.resources.events import ANSWERS, Result, answer_of
from canopsis.api.responses import many
from canopsis.core.body import loads
from canopsis.core.parameters import text
from canopsis.core.rules.kernel import RuleSet
from canopsis.errors import InvalidEvent, RequestError, bounded
from canopsis.sources.webhook import Arrival, ByRule, Source, sources
from canopsis.store.rules import Counts, RuleCount

_LOG = logging.getLogger(__name__)

resource = Resource("sources", service="sources")


class Kind(msgspec.Struct):
    """A kind of source, and where its payloads go."""

    kind: str
    summary: str
    path: str


class SourceQuery(msgspec.Struct, frozen=True):
    """How the payload is to be read."""

    labels: Annotated[
        str | None, text("Labels that tell apart what has one name, with commas; they become part of the resource.")
    ] = None


_SEGMENTS = {"kind": "Kind of source.", "name": "Which one of its kind: the `connector_name` of its events."}


@resource.get("/sources", "List the kinds of sources that may send here.", answer=Kind)
def kinds(_call: Call) -> Response:
    """Return the kinds of sources."""
    return many([Kind(each.kind, each.summary, f"/api/v1/sources/{each.kind}/NAME") for each in _all()])


for _name, _why in sources().broken.items():
    _LOG.error("the source %s is not served, for it cannot be loaded: %s", _name, _why)


def _all() -> list[Source]:
    return list(sources().things.values())


def _take(call: Call) -> Response:
    found = sources().things.get(call.path["kind"])
    if found is None:
        detail = f"there is no source {call.path['kind']}; there are {', '.join(sorted(sources().things))}"
        raise RequestError(404, detail, {"field": "kind", "value": call.path["kind"]})
    name = call.path["name"]
    labels = tuple(each.strip() for each in (call.query.labels or "").split(",") if each.strip())
    rules = call.rules(found.rules) if found.rules is not None else RuleSet()
    mapped = found.map(loads(call.content.data), Arrival(call.now, labels, name, rules))
    who: dict[str, Any] = {"connector": found.kind, "connector_name": name}
    # One more than are taken: a short payload may become more events than there is memory for.
    items = [each if isinstance(each, ByRule) else ByRule("", each) for each in islice(mapped, intake.MAX_EVENTS + 1)]
    raws = [each.found if isinstance(each.found, InvalidEvent) else each.found | who for each in items]
    if not raws:
        return many([], status=202)
    examined = intake.examine(raws, call.backend)
    if found.rules is not None:
        call.count(_counts(found.rules.name, items, examined, call.now))
    return answer_of(intake.send(examined, call.backend))


def _counts(kind: str, items: Sequence[ByRule], examined: Examined, now: float) -> Counts:
    """Return what each rule did: events that it made, and those of them that are refused."""
    counts: Counts = {}
    for item, result in zip(items, examined.results, strict=True):
        if item.rule:
            refused, reason = result["status"] == "refused", bounded(str(result.get("detail", "")))
            counts.setdefault((kind, item.rule), RuleCount()).add(RuleCount(1, 0, int(refused), reason, "", now))
    return counts


def _declare(suffix: str) -> None:
    def take(call: Call) -> Response:
        return _take(call)

    take.__name__ = f"take{suffix.replace('/', '_')}"
    resource.post(
        f"/sources/<kind>/<name>{suffix}",
        "Send what a tool of this kind sends." if not suffix else "The same, for senders that add this to the address.",
        role="operator",
        query=SourceQuery,
        segments=_SEGMENTS,
        answer=Result,
        body=Body({}, (JSON, TEXT), limit=MAX_BODY),
        answers=ANSWERS | {404: "There is no such kind of source."},
    )(take)


for _suffix in ("", *sorted({suffix for each in _all() for suffix in each.suffixes})):
    _declare(_suffix)
