"""Things that clients make, change and delete: one declaration is their list and all calls on one of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Generic, TypeVar
from urllib.parse import quote

import msgspec
from flask import Response, request

from canopsis.api.body import JSON, Body, body_of, object_in, read_struct
from canopsis.api.endpoints import Call, Resource, Thing
from canopsis.api.etags import demand, is_conditional, refusal, tagged
from canopsis.api.responses import one
from canopsis.errors import InputError, RequestError
from canopsis.store.client import Store
from canopsis.store.operations import Document
from canopsis.store.query import Page, Query
from canopsis.store.users import Role

MERGE_PATCH = "application/merge-patch+json"
KEY = "id"
"""The field of a body that is the id in its path."""

S = TypeVar("S", bound=msgspec.Struct)
Q = TypeVar("Q", bound=Query)

_CHANGED = "It is not what `If-Match` or `If-None-Match` says; nothing is written."
_MADE = {201: "It is made; `Location` says where it is."}
_TAKEN = {409: "There is one with this id; PUT replaces it."}
_PUT = _MADE | {200: "It is replaced.", 412: _CHANGED}
_LATE = {409: "It was changed meanwhile: send it again."}


class Deleted(msgspec.Struct):
    """What is gone."""

    id: str
    status: str = "deleted"


@dataclass(frozen=True, slots=True)
class Crud(Generic[S, Q]):
    """Things of one kind, and the functions of ``store`` for them. What is stored has a ``rev``, 1 of a new one.

    ``kind`` is the struct of what is sent, with its ``id``; ``parse`` makes it of an object where types alone do not
    tell what is wrong (raises InputError). ``written`` returns of what is stored the object that was sent; ``answer``
    is the type of the whole. ``put`` takes what was sent, its author and the revision that it replaces (None for any,
    0 for none), and returns what is stored then, None where there is another revision. ``delete`` takes an id and a
    revision. A body has at most ``limit`` bytes, where it is given.
    """

    path: str
    thing: Thing
    kind: type[S]
    answer: type
    query: type[Q]
    listing: Callable[[Store, Q], Page]
    put: Callable[[Store, S, str, int | None], Document | None]
    delete: Callable[[Store, str, int | None], bool]
    written: Callable[[Document], Mapping[str, Any]]
    parse: Callable[[Mapping[str, Any]], S] | None = None
    role: Role = "admin"
    limit: int | None = None

    def declare(self, resource: Resource) -> None:
        """Add the list and the calls on one to ``resource``."""
        noun, path = self.thing.noun, f"{self.path}/<{self.thing.segment}>"
        body, part = body_of(self.kind), Body({"type": "object"}, (MERGE_PATCH, JSON))
        if self.limit is not None:
            body, part = replace(body, limit=self.limit), replace(part, limit=self.limit)
        write: dict[str, Any] = {"role": self.role, "answer": self.answer}
        on_one = write | {"segments": self.thing.segments}
        none = {404: self.thing.none, 412: _CHANGED}
        resource.listing(self.path, f"List every {noun}.", self.listing, self.query, answer=self.answer)
        resource.item(path, f"Show a {noun}.", self.thing, answer=self.answer)
        declared = (
            (resource.post(self.path, f"Make a {noun}.", body=body, answers=_MADE | _TAKEN, **write), self.create),
            (resource.put(path, f"Make or replace a {noun}.", body=body, answers=_PUT, **on_one), self.replace),
            (resource.patch(path, f"Change a {noun}.", body=part, answers=none | _LATE, **on_one), self.change),
            (resource.delete(path, f"Delete a {noun}.", answers=none, **on_one | {"answer": Deleted}), self.remove),
        )
        for declare, handler in declared:
            declare(handler)

    def create(self, call: Call) -> Response:
        """Store a new thing."""
        sent = self._parsed(object_in(call.content))
        stored = call.ask(self.put, sent, call.user, 0)
        if stored is None:
            key = getattr(sent, KEY)
            members = {"field": KEY, "value": key, "allowed": f"an id that no {self.thing.noun} has; PUT replaces one"}
            raise RequestError(409, f"there is a {self.thing.noun} {key} already", members)
        return _made(stored, f"{request.path.rstrip('/')}/{quote(getattr(sent, KEY), safe='')}")

    def replace(self, call: Call) -> Response:
        """Store a thing in place of the one of its id, if there is one."""
        key = call.path[self.thing.segment]
        sent = self._parsed({KEY: key} | object_in(call.content))
        if getattr(sent, KEY) != key:
            raise InputError(KEY, getattr(sent, KEY), f"{key}, as in the path")
        found = call.ask(self.thing.get, key)
        demand(request, found)
        before = (found["rev"] if found else 0) if is_conditional(request) else None
        stored = self._stored(call, sent, before)
        return tagged(request, stored) if stored["rev"] > 1 else _made(stored, request.path)

    def change(self, call: Call) -> Response:
        """Store a thing with some of its fields changed, as RFC 7396 tells: null takes one away."""
        found = self.thing.find(call)
        demand(request, found)
        sent = self._parsed(merged(self.written(found), object_in(call.content)))
        if getattr(sent, KEY) != call.path[self.thing.segment]:
            raise InputError(KEY, getattr(sent, KEY), f"{call.path[self.thing.segment]}, as in the path")
        return tagged(request, self._stored(call, sent, found["rev"]))

    def remove(self, call: Call) -> Response:
        """Delete a thing."""
        found = self.thing.find(call)
        demand(request, found)
        key = call.path[self.thing.segment]
        if not call.ask(self.delete, key, found["rev"] if is_conditional(request) else None):
            raise refusal(request, "If-Match", "it was changed since")
        return one(Deleted(key))

    def _parsed(self, sent: Mapping[str, Any]) -> S:
        return self.parse(sent) if self.parse is not None else read_struct(sent, self.kind)

    def _stored(self, call: Call, sent: S, before: int | None) -> Document:
        stored = call.ask(self.put, sent, call.user, before)
        if stored is not None:
            return stored
        if is_conditional(request):
            raise refusal(request, "If-Match", "it was changed since")
        raise RequestError(409, f"the {self.thing.noun} was changed meanwhile: send it again")


def _made(stored: Document, path: str) -> Response:
    response = tagged(request, stored, 201)
    response.headers["Location"] = path
    return response


def merged(target: Mapping[str, Any], patch: Mapping[str, Any]) -> dict[str, Any]:
    """Return ``target`` with a merge patch (RFC 7396) done to it."""
    found = dict(target)
    for name, value in patch.items():
        if value is None:
            found.pop(name, None)
        elif isinstance(value, Mapping):
            before = found.get(name)
            found[name] = merged(before if isinstance(before, Mapping) else {}, value)
        else:
            found[name] = value
    return found
