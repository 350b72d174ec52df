"""The OpenAPI 3.1 document, made from the declarations that the handlers use."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any

import msgspec
from flask import Response

from canopsis import __version__
from canopsis.api.body import Body
from canopsis.api.endpoints import Call, Endpoint, Resource, current_site
from canopsis.api.parameters import Parameter
from canopsis.api.problems import MEDIA_TYPE
from canopsis.core.event import Check
from canopsis.core.fields import SCALES

resource = Resource("openapi")

Document = dict[str, Any]

_REF = "#/components/schemas/{name}"
_COMPUTED = ("entity_id", "extra", "warnings", "sent_timestamp")
_EVENT_TYPES = ("check", "log", "perf", "ack", "ackremove", "cancel", "uncancel", "comment")


@resource.get("/openapi.json", "Show this document.")
def openapi(_call: Call) -> Response:
    """Return the document."""
    return Response(msgspec.json.encode(document(current_site().endpoints)), content_type="application/json")


def document(endpoints: Sequence[Endpoint]) -> Document:
    """Return the OpenAPI document of ``endpoints``."""
    paths: dict[str, Document] = {}
    for endpoint in endpoints:
        paths.setdefault(path_of(endpoint), {})[endpoint.method.lower()] = _operation(endpoint)
    return {
        "openapi": "3.1.0",
        "info": {"title": "Canopsis", "version": __version__, "license": {"name": "Apache-2.0"}},
        "paths": paths,
        "components": {"schemas": _schemas(), "securitySchemes": _security()},
    }


def path_of(endpoint: Endpoint) -> str:
    """Return the path of an endpoint as OpenAPI writes it."""
    return endpoint.shown or endpoint.path.replace("<", "{").replace(">", "}")


def _operation(endpoint: Endpoint) -> Document:
    operation: Document = {
        "operationId": endpoint.handler.__name__ + "_" + _tag(endpoint),
        "summary": endpoint.summary,
        "tags": [_tag(endpoint)],
        "parameters": [*_segments(endpoint), *map(_parameter, endpoint.parameters)],
        "responses": _responses(endpoint),
        "security": [{name: []} for name in _security()] if endpoint.role else [],
    }
    if endpoint.role:
        operation["x-role"] = endpoint.role
    if endpoint.body:
        operation["requestBody"] = _request_body(endpoint.body)
    return operation


def _tag(endpoint: Endpoint) -> str:
    return endpoint.service or "site"


def _segments(endpoint: Endpoint) -> list[Document]:
    return [
        {"name": name, "in": "path", "required": True, "description": text, "schema": {"type": "string"}}
        for name, text in endpoint.segments.items()
    ]


def _parameter(parameter: Parameter) -> Document:
    schema = dict(parameter.schema)
    if parameter.default is not None:
        schema["default"] = parameter.default
    found: Document = {
        "name": parameter.name,
        "in": "query",
        "description": f"{parameter.description} Allowed: {parameter.allowed}.",
        "schema": schema,
    }
    return found | ({"style": "form", "explode": False} if parameter.many else {})


def _request_body(body: Body) -> Document:
    content: Document = {}
    for media in body.types:
        content[media] = {"schema": body.schema} | ({"example": body.example} if body.example else {})
    return {"required": not body.optional, "content": content}


def _responses(endpoint: Endpoint) -> Document:
    answers = dict(endpoint.answers)
    if not any(status < 300 for status in answers):
        answers[200] = "Done."
    answers.setdefault(400, "Something in the request is wrong; `field`, `value` and `allowed` say what.")
    if endpoint.role:
        answers.setdefault(401, "Nobody, or not known.")
        answers.setdefault(403, f"The role {endpoint.role} is needed.")
        answers.setdefault(503, "The database does not answer; try again after `Retry-After` seconds.")
    return {str(status): _response(status, text) for status, text in sorted(answers.items())}


def _response(status: int, text: str) -> Document:
    good = status < HTTPStatus.BAD_REQUEST
    media, name = ("application/json", "Envelope") if good else (MEDIA_TYPE, "Problem")
    return {"description": text, "content": {media: {"schema": {"$ref": _REF.format(name=name)}}}}


def _security() -> Document:
    return {
        "authkey": {"type": "apiKey", "in": "header", "name": "X-Canopsis-Authkey"},
        "authkey_parameter": {"type": "apiKey", "in": "query", "name": "authkey"},
        "bearer": {"type": "http", "scheme": "bearer"},
        "session": {"type": "apiKey", "in": "cookie", "name": "canopsis_session"},
    }


def _schemas() -> Mapping[str, Document]:
    _, components = msgspec.json.schema_components((Check,), ref_template=_REF)
    properties = {
        name: schema for name, schema in components.pop("Check")["properties"].items() if name not in _COMPUTED
    }
    properties["event_type"] = {"enum": list(_EVENT_TYPES), "default": "check"}
    properties["state_scale"] = {"type": "string", "description": f"What the states 0 to 3 mean: {SCALES}."}
    properties["perf_data"] = {"type": "string", "description": "Performance data as a Nagios plugin writes it."}
    event: Document = {
        "type": "object",
        "description": "An event; keys that are not listed are kept with it. See docs/event-format.md.",
        "properties": properties,
        "required": ["connector", "connector_name", "component"],
        "additionalProperties": True,
    }
    return {**components, "Event": event, "Envelope": _ENVELOPE, "Problem": _PROBLEM}


_ENVELOPE: Document = {
    "type": "object",
    "properties": {
        "total": {"type": "integer", "description": "How many there are in all; `data` may be a part of them."},
        "success": {"type": "boolean", "description": "False only in a 207: some of the events are refused."},
        "accepted": {"type": "integer", "description": "Only in a 207: how many events are published."},
        "refused": {"type": "integer", "description": "Only in a 207: how many events are refused."},
        "exact": {"const": False, "description": "Only where counting was given up: there may be more than `total`."},
        "data": {"type": "array"},
    },
    "required": ["total", "success", "data"],
}
_PROBLEM: Document = {
    "type": "object",
    "description": "RFC 9457.",
    "properties": {
        "type": {"type": "string"},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "detail": {"type": "string"},
        "success": {"const": False},
        "field": {"type": "string", "description": "What is wrong."},
        "value": {"description": "What was given."},
        "allowed": {"type": "string", "description": "What may be given."},
        "errors": {"type": "array", "description": "One for each event that is refused.", "items": {"type": "object"}},
    },
    "required": ["type", "title", "status", "detail"],
}
