"""The API as a page to read in a browser, made from the document that describes it: no script, no network."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from flask import Response, render_template
from markupsafe import Markup

from canopsis.api.auth import authkey
from canopsis.api.endpoints import Call, Resource, current_site
from canopsis.api.openapi import document, schemes_of

resource = Resource("reader", prefix="/api")

PAGE = "/api/docs"

_POLICY = "default-src 'none'; style-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"


@resource.get("/docs", "Show the API as a page to read.", role=None, light=True, answer=str, media="text/html")
def page(_call: Call) -> Response:
    """Return the page."""
    headers = {"Content-Security-Policy": _POLICY, "Cache-Control": "no-cache"}
    return Response(_kept("page", _page), headers=headers, content_type="text/html; charset=utf-8")


@resource.get("/docs/style.css", "Show how that page looks.", role=None, light=True, answer=str, media="text/css")
def style(_call: Call) -> Response:
    """Return the style sheet."""
    headers = {"Cache-Control": "no-cache"}
    return Response(_kept("style", _style), headers=headers, content_type="text/css; charset=utf-8")


def _kept(name: str, make: Callable[[], str]) -> str:
    """Return a text that is made once."""
    pages = current_site().pages
    if name not in pages:
        pages[name] = make()
    return pages[name]


def _style() -> str:
    return render_template("docs.css")


def _page() -> str:
    site = current_site()
    found = document(site.endpoints, schemes_of(site.providers))
    groups: dict[str, list[dict[str, Any]]] = {}
    for path, calls in found["paths"].items():
        for method, call in calls.items():
            groups.setdefault(call["tags"][0], []).append(_call_of(method.upper(), path, call))
    schemas = found["components"]["schemas"]
    ways = [provider.says for provider in site.providers]
    shown = {name: {"title": name, "rows": [*_rows(schema)]} for name, schema in sorted(schemas.items())}
    return render_template("docs.html", groups=groups, schemas=shown, ways=ways)


def _call_of(method: str, path: str, call: Mapping[str, Any]) -> dict[str, Any]:
    body = call.get("requestBody", {}).get("content", {})
    answers = [
        (status, answer["description"], [_kind(each["schema"]) for each in answer.get("content", {}).values()])
        for status, answer in call["responses"].items()
    ]
    return {
        "method": method,
        "path": path,
        "anchor": call["operationId"],
        "summary": call["summary"],
        "role": call.get("x-role"),
        "parameters": [_parameter(each) for each in call["parameters"]],
        "bodies": [(media, _kind(each["schema"])) for media, each in body.items()],
        "answers": answers,
        "curl": _curl(method, path, call, [*body]),
    }


def _parameter(found: Mapping[str, Any]) -> dict[str, Any]:
    schema = found["schema"]
    return {
        "name": found["name"],
        "where": found["in"],
        "kind": _kind(schema),
        "default": schema.get("default", ""),
        "text": found["description"],
    }


def _curl(method: str, path: str, call: Mapping[str, Any], media: list[str]) -> str:
    """Return a line of the shell that does it; the key and the address are variables of the reader's."""
    words = ["curl"] if method == "GET" else ["curl", "-X", method]
    words += ["-H", f'"{authkey.HEADER}: $KEY"'] if call.get("x-role") else []
    words += ["-H", f"'Content-Type: {media[0]}'", "-d", "@body.json"] if media else []
    return " ".join([*words, f'"$URL{path}"'])


def _rows(schema: Mapping[str, Any]) -> Iterator[tuple[str, Markup, str, bool]]:
    """Yield name, kind, description of each property of a schema, and whether it must be there."""
    required = schema.get("required", ())
    for name, each in schema.get("properties", {}).items():
        yield name, _kind(each), each.get("description", ""), name in required


def _kind(schema: Mapping[str, Any] | bool) -> Markup:
    """Return what a schema takes in a few words, with links to the schemas that it names."""
    if isinstance(schema, bool):
        return Markup("anything")
    if "$ref" in schema:
        return Markup('<a href="#schema-{0}">{0}</a>').format(schema["$ref"].rpartition("/")[2])
    if "allOf" in schema:
        items = schema.get("properties", {}).get("data", {}).get("items", True)
        return Markup("{}: {}").format(_kind(schema["allOf"][0]), _kind(items))
    if schema.get("type") == "array":
        return Markup("list of {}").format(_kind(schema.get("items", True)))
    return Markup(" or ").join(dict.fromkeys(_choices(schema)))


def _choices(schema: Mapping[str, Any]) -> Iterator[str]:
    for word in ("anyOf", "oneOf"):
        yield from map(_kind, schema.get(word, ()))
    yield from map(str, schema.get("enum", ()))
    if not schema.keys() & {"anyOf", "oneOf", "enum"}:
        found = schema.get("const", schema.get("type", "anything"))
        yield from map(str, found if isinstance(found, list) else [found])
