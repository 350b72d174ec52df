"""The OpenAPI 3.1 document, made from the declarations that the handlers use."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from http import HTTPStatus
from typing import Any

import msgspec
from flask import Response

from canopsis import __version__
from canopsis.api.auth import Provider
from canopsis.api.body import Body
from canopsis.api.endpoints import Call, Endpoint, Resource, current_site
from canopsis.api.problems import MEDIA_TYPE
from canopsis.api.refusals import HEAD_LIMITS
from canopsis.api.schemas import REF, Schema, Schemas, envelope
from canopsis.core.parameters import Parameter

resource = Resource("openapi")

Document = Schema


@resource.get("/openapi.json", "Show this document.", answer=dict[str, Any], bare=True)
def openapi(_call: Call) -> Response:
    """Return the document."""
    site = current_site()
    return Response(
        msgspec.json.encode(document(site.endpoints, schemes_of(site.providers))), content_type="application/json"
    )


def schemes_of(providers: Sequence[Provider]) -> Document:
    """Return the security schemes of ``providers``."""
    return {name: scheme for provider in providers for name, scheme in provider.schemes.items()}


def document(endpoints: Sequence[Endpoint], schemes: Mapping[str, object]) -> Document:
    """Return the OpenAPI document of ``endpoints``, which take any of the security ``schemes``."""
    paths: dict[str, Document] = {}
    known = Schemas(endpoints)
    for endpoint in endpoints:
        paths.setdefault(endpoint.shown_path, {})[endpoint.method.lower()] = _operation(endpoint, known, schemes)
    return {
        "openapi": "3.1.0",
        "info": {"title": "Canopsis", "version": __version__, "license": {"name": "Apache-2.0"}},
        "paths": paths,
        "components": {"schemas": known.components, "securitySchemes": schemes},
    }


def _operation(endpoint: Endpoint, known: Schemas, schemes: Iterable[str]) -> Document:
    operation: Document = {
        "operationId": endpoint.handler.__name__ + "_" + _tag(endpoint),
        "summary": endpoint.summary,
        "tags": [_tag(endpoint)],
        "parameters": [*_segments(endpoint), *map(_parameter, endpoint.parameters)],
        "responses": _responses(endpoint, known),
        "security": [{name: []} for name in schemes] if endpoint.role else [],
    }
    if endpoint.role:
        operation["x-role"] = endpoint.role
    if endpoint.body:
        operation["requestBody"] = _request_body(endpoint.body, known)
    return operation


def _tag(endpoint: Endpoint) -> str:
    return endpoint.service or "site"


def _segments(endpoint: Endpoint) -> list[Document]:
    return [
        {
            "name": name,
            "in": "path",
            "required": True,
            "description": text,
            "schema": {"type": "string", "minLength": 1},
        }
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


def _request_body(body: Body, known: Schemas) -> Document:
    content: Document = {}
    schema = body.schema if body.kind is None else known.of(body.kind)
    for media in body.types:
        content[media] = {"schema": schema} | ({"example": body.example} if body.example else {})
    return {"required": not body.optional, "content": content}


def _responses(endpoint: Endpoint, known: Schemas) -> Document:
    answers = dict(endpoint.answers)
    if not any(status < 300 for status in answers):
        answers[200] = "Done."
    for status, text in _common(endpoint):
        answers.setdefault(status, text)
    return {str(status): _response(endpoint, status, text, known) for status, text in sorted(answers.items())}


def _common(endpoint: Endpoint) -> Iterator[tuple[int, str]]:
    """Yield what every call of the kind of ``endpoint`` may answer."""
    yield 400, "Something in the request is wrong; `field`, `value` and `allowed` say what."
    yield 414, f"The address is too long. Allowed: {HEAD_LIMITS}."
    yield 431, f"The header is too large. Allowed: {HEAD_LIMITS}."
    yield 500, "A bug of Canopsis; the log file of the web server has the details."
    if endpoint.body:
        yield 408, "The body did not come in time."
        yield 413, f"The body is longer than {endpoint.body.limit} bytes, or has too many values."
        yield 415, "The body is not of a type that is taken."
    if not endpoint.light:
        yield 503, "Too many requests at once, or a server does not answer; try again after `Retry-After` seconds."
    if endpoint.service:
        yield 404, "The web service is turned off."
    if endpoint.role:
        yield 401, "Nobody, or not known."
        yield 429, "Too many wrong passwords by HTTP Basic; try again after `Retry-After` seconds."
        yield 403, f"The role {endpoint.role} is needed, or a write with a cookie lacks its proof."


def _response(endpoint: Endpoint, status: int, text: str, known: Schemas) -> Document:
    if HTTPStatus.MULTIPLE_CHOICES <= status < HTTPStatus.BAD_REQUEST:
        return {"description": text}
    if status >= HTTPStatus.BAD_REQUEST:
        return {"description": text, "content": {MEDIA_TYPE: {"schema": {"$ref": REF.format(name="Problem")}}}}
    schema = known.of(endpoint.answer)
    shown = schema if endpoint.bare or endpoint.media else envelope(schema)
    return {"description": text, "content": {endpoint.media or "application/json": {"schema": shown}}}
