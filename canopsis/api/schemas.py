"""The schemas of what is sent and answered: what the code refuses they refuse too, as far as a schema can."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import msgspec

from canopsis.core.event_types import EVENT_TYPES, SENT_BY_SOURCES
from canopsis.core.event_types.check import Check
from canopsis.core.event_types.declaration import EventType
from canopsis.core.fields import EVENT_ID, MAX_TAGS, SCALES
from canopsis.core.parameters import SCALE
from canopsis.core.perfdata import MAX_ITEMS, MAX_UNIT
from canopsis.core.text import MAX_NAME

if TYPE_CHECKING:
    from canopsis.api.endpoints import Endpoint

Schema = dict[str, Any]

REF = "#/components/schemas/{name}"

_NAME: Schema = {
    "type": "string",
    "minLength": 1,
    "maxLength": 4 * MAX_NAME,
    "pattern": r"^[^\u0000-\u001f\u007f-\u009f]*[^\s\u0000-\u001f\u007f-\u009f][^\u0000-\u001f\u007f-\u009f]*$",
    "description": f"1 to {MAX_NAME} characters once blanks at its ends are cut off; no control characters.",
}
_COMPUTED = ("entity_id", "extra", "warnings", "sent_timestamp", "late")
_ARE_NAMES = ("connector", "connector_name", "component")
_RESOURCE: Schema = {"anyOf": [_NAME, {"const": ""}, {"type": "null"}]}


class Schemas:
    """The schemas of a document: of the structs that ``endpoints`` take and answer, and of what no struct tells."""

    def __init__(self, endpoints: Sequence[Endpoint]) -> None:
        bodies = [each.body.kind for each in endpoints if each.body is not None and each.body.kind is not None]
        kinds = [Check, *bodies, *(each.answer for each in endpoints)]
        found, components = msgspec.json.schema_components(kinds, ref_template=REF)
        self._schemas = [(kind, schema) for kind, schema in zip(kinds, found, strict=True)]
        own = components.pop("Check")["properties"]
        components["PerfData"]["properties"]["metric"] |= {"minLength": 1}
        for name in ("unit", "warn", "crit", "min", "max"):
            components["PerfData"]["properties"][name].pop("default")
        components["PerfData"]["properties"]["unit"]["anyOf"][0]["maxLength"] = MAX_UNIT
        known = {name: schema for name, schema in own.items() if name not in _COMPUTED}
        self.components: Schema = {**components, "Event": _event(known), "Envelope": _ENVELOPE, "Problem": _PROBLEM}

    def of(self, kind: object) -> Schema:
        """Return the schema of a type that a call takes or answers."""
        return next(schema for known, schema in self._schemas if known == kind)


def envelope(schema: Schema) -> Schema:
    """Return the schema of an answer with things of ``schema`` in it."""
    return {"allOf": [{"$ref": REF.format(name="Envelope")}], "properties": {"data": {"items": schema}}}


def _event(own: Mapping[str, Schema]) -> Schema:
    properties: Schema = {**own, **dict.fromkeys(_ARE_NAMES, _NAME), **_OTHERS}
    properties["perf_data_array"] = own["perf_data_array"] | {"maxItems": MAX_ITEMS}
    return {
        "type": "object",
        "description": "An event; keys that are not listed are kept with it. See docs/event-format.md.",
        "properties": properties,
        "required": list(_ARE_NAMES),
        "additionalProperties": True,
        "allOf": [
            *(_needed(each) for each in _FROM_SOURCES if each.required),
            _when({"source_type": {"const": "resource"}}, _WITH_RESOURCE, there=["source_type"]),
            _when({"source_type": {"const": "component"}}, _WITHOUT_RESOURCE, there=["source_type"]),
        ],
    }


def _needed(declared: EventType) -> Schema:
    """Return what a type of event must have; without a type it is a check."""
    there = None if declared.name == "check" else ["event_type"]
    return _when({"event_type": {"const": declared.name}}, {"required": list(declared.required)}, there)


def _when(properties: Schema, then: Schema, there: list[str] | None = None) -> Schema:
    return {"if": {"properties": properties} | ({"required": there} if there else {}), "then": then}


_FROM_SOURCES = [EVENT_TYPES[name] for name in SENT_BY_SOURCES]
_WITH_RESOURCE: Schema = {"required": ["resource"], "properties": {"resource": _NAME}}
_WITHOUT_RESOURCE: Schema = {"properties": {"resource": {"enum": ["", None]}}}
_OTHERS: Schema = {
    "event_type": {"enum": list(SENT_BY_SOURCES), "default": "check"},
    "source_type": {"enum": ["component", "resource"], "description": "By default what there is a name of."},
    "resource": _RESOURCE,
    **{name: own.schema for each in _FROM_SOURCES for name, own in each.fields.items()},
    "state_scale": {"type": "string", "pattern": SCALE, "description": f"What the states 0 to 3 mean: {SCALES}."},
    "timestamp": {"type": "number", "description": "Seconds since the epoch; by default the time of receipt."},
    "event_id": {"type": "string", "pattern": f"^({EVENT_ID.pattern})?$"},
    "tags": {"type": "array", "items": {"type": "string"}, "maxItems": MAX_TAGS},
    "perf_data": {"type": "string", "description": "Performance data as a Nagios plugin writes it."},
}


_ENVELOPE: Schema = {
    "type": "object",
    "properties": {
        "total": {
            "type": "integer",
            "minimum": 0,
            "description": "How many there are in all; `data` may be a part of them.",
        },
        "success": {"type": "boolean", "description": "False only in a 207: some of the events are refused."},
        "accepted": {"type": "integer", "description": "Only in a 207: how many events are published."},
        "refused": {"type": "integer", "description": "Only in a 207: how many events are refused."},
        "exact": {"const": False, "description": "Only where counting was given up: there may be more than `total`."},
        "next": {
            "type": ["integer", "string"],
            "description": "Only where there is more than the page: its `after`, or `start` in a list that has that.",
        },
        "older": {
            "type": ["string", "null"],
            "description": "Only in steps of an alarm: the part before, if any.",
        },
        "data": {"type": "array"},
    },
    "required": ["total", "success", "data"],
    "additionalProperties": False,
}
_PROBLEM: Schema = {
    "type": "object",
    "description": "RFC 9457. Some answers have members of their own beside these.",
    "properties": {
        "type": {"const": "about:blank"},
        "title": {"type": "string"},
        "status": {"type": "integer", "minimum": 400, "maximum": 599},
        "detail": {"type": "string"},
        "success": {"const": False},
        "field": {"type": "string", "description": "What is wrong."},
        "value": {"description": "What was given."},
        "allowed": {"type": "string", "description": "What may be given."},
        "server": {"enum": ["mongodb", "rabbitmq-server"], "description": "Only in a 503: the server that is away."},
        "errors": {"type": "array", "description": "One for each event that is refused.", "items": {"type": "object"}},
        "data": {
            "type": "array",
            "description": "Only in a 503 of the broker: under which id each event may be sent again.",
            "items": {"type": "object"},
        },
    },
    "required": ["type", "title", "status", "detail", "success"],
}
