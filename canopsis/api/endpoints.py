"""Endpoints as data: one declaration routes, checks, and documents a call."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Concatenate, ParamSpec, TypeVar

import msgspec
from flask import Blueprint, Response, current_app, request

from canopsis.api import auth, limits
from canopsis.api.arguments import check_encoding, parameters_of
from canopsis.api.arguments import read as read_query
from canopsis.api.auth import Identity, Parts, Provider
from canopsis.api.auth.logins import Logins
from canopsis.api.auth.proxies import client_address
from canopsis.api.auth.same_site import demand_same_site
from canopsis.api.body import Body, Content, object_in, read, read_struct
from canopsis.api.counting import RuleCounting
from canopsis.api.etags import tagged
from canopsis.api.limits import Lease, Pool
from canopsis.api.ports import Backend
from canopsis.api.readiness import Readiness
from canopsis.api.responses import page_of
from canopsis.api.settings import WebSettings
from canopsis.core.parameters import Parameter
from canopsis.core.rules.kernel import Kind, RuleSet
from canopsis.core.rules.rule import Rule
from canopsis.errors import RequestError
from canopsis.store.client import Store
from canopsis.store.live_rules import LiveKinds
from canopsis.store.operations import Document
from canopsis.store.query import Page, Query, Weigh, free
from canopsis.store.rules import Counts
from canopsis.store.users import Role

P = ParamSpec("P")
T = TypeVar("T")
Q = TypeVar("Q", bound=Query)
R = TypeVar("R", bound=Rule)
A = TypeVar("A")

PREFIX = "/api/v1"
EXTENSION = "canopsis"

_SMALL_ANSWER = 64 << 10
_DOCUMENT_COST = 8
"""Bytes of memory for a byte of a document that is read, decoded, and written as JSON."""


@dataclass(frozen=True, slots=True)
class Site:
    """What an application is made of."""

    settings: WebSettings
    backend: Backend
    providers: tuple[Provider, ...]
    readiness: Readiness
    endpoints: tuple[Endpoint, ...]
    slots: Pool = field(default_factory=limits.slots)
    memory: Pool = field(default_factory=limits.memory)
    rules: LiveKinds = field(default_factory=LiveKinds)
    counting: RuleCounting = field(default_factory=RuleCounting)
    pages: dict[str, str] = field(default_factory=dict)
    """Texts that are made once."""


@dataclass(frozen=True, slots=True)
class Call:
    """A request that may go ahead: who asks, and what they ask, read and checked.

    ``query`` is of the struct that its endpoint declares.
    """

    site: Site
    endpoint: Endpoint
    identity: Identity | None
    query: Any
    path: Mapping[str, str]
    content: Content
    weigh: Weigh = free

    def ask(self, function: Callable[Concatenate[Store, P], T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Return what ``function`` of ``store`` answers. Raises what it raises, StoreError."""
        return self.backend.database.ask(function, *args, **kwargs)

    def rules(self, kind: Kind[R, A]) -> RuleSet[R, A]:
        """Return the rules of ``kind`` that are in force. Raises StoreError."""
        return self.site.rules.current(kind, self)

    def count(self, counts: Counts) -> None:
        """Count what rules did. It is written later, and lost with a process that ends before."""
        self.site.counting.add(counts, self.backend.database)

    @property
    def body(self) -> Any:  # noqa: ANN401 - of the struct that the endpoint declares
        """What was sent, of the struct that its endpoint declares. Raises InputError naming the field."""
        if self.endpoint.body is None or self.endpoint.body.kind is None:
            return None
        return read_struct(object_in(self.content), self.endpoint.body.kind)

    @property
    def backend(self) -> Backend:
        """The database and the broker."""
        return self.site.backend

    @property
    def now(self) -> float:
        """Seconds since the epoch."""
        return self.backend.now()

    @property
    def user(self) -> str:
        """The name of who asks."""
        return self.identity.name if self.identity else ""


Handler = Callable[[Call], Response]


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One call. ``role`` None is open to anybody; ``service`` is its name in ``[webservices]``.

    ``light`` needs no slot of work: it is answered however busy we are.
    ``query`` is the struct of its parameters. ``answers`` are the statuses beside those that every call of its kind may
    have, ``answer`` the type of what stands in ``data`` when it went well, unless ``bare``: then of the whole answer.
    ``media`` is its media type where it is not JSON; then the answer is a text.
    ``shown`` is the path as it is documented, where it differs from the route.
    """

    method: str
    path: str
    summary: str
    handler: Handler
    role: Role | None = "reader"
    service: str | None = None
    light: bool = False
    query: type[msgspec.Struct] | None = None
    segments: Mapping[str, str] = field(default_factory=dict)
    body: Body | None = None
    answers: Mapping[int, str] = field(default_factory=dict)
    answer: Any = Any
    bare: bool = False
    media: str = ""
    shown: str = ""

    @property
    def parameters(self) -> tuple[Parameter, ...]:
        """The parameters of its query."""
        return tuple(parameters_of(self.query).values())

    @property
    def shown_path(self) -> str:
        """The path as OpenAPI writes it."""
        return self.shown or self.path.replace("<", "{").replace(">", "}")


@dataclass(frozen=True, slots=True)
class Thing:
    """What a resource has many of. ``segment`` is the name of its id in a path.

    ``get`` is the function of ``store`` that reads one by its id; ``weighed`` says that it is told who pays for it.
    """

    noun: str
    segment: str
    get: Callable[..., Document | None]
    weighed: bool = False

    @property
    def segments(self) -> Mapping[str, str]:
        """The segment of a path, and what it is."""
        return {self.segment: f"Id of the {self.noun}."}

    @property
    def none(self) -> str:
        """What 404 means."""
        return f"There is no such {self.noun}."

    def find(self, call: Call) -> Document:
        """Return the one that a path names. Raises RequestError (404), StoreError."""
        key = call.path[self.segment]
        found = call.ask(self.get, key, call.weigh) if self.weighed else call.ask(self.get, key)
        if found is None:
            raise RequestError(404, f"there is no {self.noun} {key}", {"field": self.segment, "value": key})
        return found


class Resource:
    """A blueprint that takes endpoints."""

    def __init__(self, name: str, service: str | None = None, prefix: str = PREFIX) -> None:
        self.blueprint = Blueprint(name, __name__, url_prefix=prefix)
        self.endpoints: list[Endpoint] = []
        self._service = service
        self._prefix = prefix

    def get(self, path: str, summary: str, **facts: Any) -> Callable[[Handler], Handler]:  # noqa: ANN401 - Endpoint's
        """Declare a call that reads; ``facts`` are fields of ``Endpoint``."""
        return self._declare("GET", path, summary, facts)

    def post(self, path: str, summary: str, **facts: Any) -> Callable[[Handler], Handler]:  # noqa: ANN401 - Endpoint's
        """Declare a call that writes; ``facts`` are fields of ``Endpoint``."""
        return self._declare("POST", path, summary, facts)

    def listing(
        self,
        path: str,
        summary: str,
        function: Callable[[Store, Q], Page],
        query: type[Q],
        **facts: Any,  # noqa: ANN401 - Endpoint's
    ) -> None:
        """Declare the list that ``function`` of ``store`` answers to a ``query``."""

        def listing(call: Call) -> Response:
            return page_of(call.ask(function, call.query))

        self.get(path, summary, query=query, **facts)(listing)

    def item(
        self,
        path: str,
        summary: str,
        thing: Thing,
        shown: Callable[[Document], Document] = dict,
        **facts: Any,  # noqa: ANN401 - Endpoint's
    ) -> None:
        """Declare the call that shows one ``thing``: ``shown`` makes of what is stored what is answered."""

        def show(call: Call) -> Response:
            return tagged(request, shown(thing.find(call)))

        answers = {304: "The client has it, as `If-None-Match` says.", 404: thing.none}
        self.get(path, summary, segments=thing.segments, answers=answers, **facts)(show)

    def put(self, path: str, summary: str, **facts: Any) -> Callable[[Handler], Handler]:  # noqa: ANN401 - Endpoint's
        """Declare a call that makes or replaces; ``facts`` are fields of ``Endpoint``."""
        return self._declare("PUT", path, summary, facts)

    def patch(self, path: str, summary: str, **facts: Any) -> Callable[[Handler], Handler]:  # noqa: ANN401 - Endpoint's
        """Declare a call that changes a part; ``facts`` are fields of ``Endpoint``."""
        return self._declare("PATCH", path, summary, facts)

    def delete(self, path: str, summary: str, **facts: Any) -> Callable[[Handler], Handler]:  # noqa: ANN401 - Endpoint's
        """Declare a call that deletes; ``facts`` are fields of ``Endpoint``."""
        return self._declare("DELETE", path, summary, facts)

    def _declare(self, method: str, path: str, summary: str, facts: dict[str, Any]) -> Callable[[Handler], Handler]:
        def declare(handler: Handler) -> Handler:
            endpoint = Endpoint(method, self._prefix + path, summary, handler, **{"service": self._service} | facts)
            parameters_of(endpoint.query)  # what is wrong with it shows at once, and not in a thread
            self.endpoints.append(endpoint)
            self.blueprint.add_url_rule(
                path,
                re.sub(r"\W+", "_", f"{method} {path}"),
                _view(endpoint),
                methods=[method],
                strict_slashes=False,
                provide_automatic_options=False,
            )
            return handler

        return declare


def attach(settings: WebSettings, backend: Backend, endpoints: Sequence[Endpoint]) -> Site:
    """Return the site of an application, with the providers that its settings name, in their order."""
    providers = auth.made(Parts(settings, backend.database, Logins(backend.database), backend.now))
    return Site(settings, backend, providers, Readiness(backend, settings.chain), tuple(endpoints))


def current_site() -> Site:
    """Return the site of the application that serves now."""
    site: Site = current_app.extensions[EXTENSION]
    return site


def _view(endpoint: Endpoint) -> Callable[..., Response]:
    def view(**path: str) -> Response:
        site = current_site()
        if endpoint.light:
            return endpoint.handler(_call(endpoint, site, None, path, None))
        address = client_address(request, site.settings.trusted_proxies)
        with site.slots.held(address):
            identity = _admit(endpoint, site)
        holder = identity.name if identity else address
        lease = Lease(site.memory, holder)
        try:
            call = _call(endpoint, site, identity, path, lease)
            with site.slots.held(holder):
                response = endpoint.handler(call)
        finally:
            lease.end()
        return _leased(response, Lease(site.memory, holder))

    return view


def _admit(endpoint: Endpoint, site: Site) -> Identity | None:
    identity = None
    if endpoint.role is not None:
        identity = auth.identify(site.providers, request)
        auth.demand(identity, endpoint.role)
        demand_same_site(request, identity, site.settings.trusted_proxies)
    if endpoint.service is not None and endpoint.service not in site.settings.services:
        detail = f"the web service {endpoint.service} is turned off in etc/webserver.conf, section [webservices]"
        raise RequestError(404, detail, {"field": "path", "value": request.path})
    return identity


def _call(
    endpoint: Endpoint, site: Site, identity: Identity | None, path: Mapping[str, str], lease: Lease | None
) -> Call:
    check_encoding(request.query_string)
    weigh = _weigher(lease)
    query = read_query(endpoint.query, request.args, site.backend.now(), weigh)
    content = read(request, endpoint.body, lease) if endpoint.body and lease else Content()
    return Call(site, endpoint, identity, query, path, content, weigh)


def _weigher(lease: Lease | None) -> Weigh:
    """Return what takes the memory that bytes of documents of the database need. Raises RequestError (503)."""
    return free if lease is None else lambda size: lease.grow(size * _DOCUMENT_COST)


def _leased(response: Response, lease: Lease) -> Response:
    """Return ``response``; while it is on its way, its bytes are accounted for."""
    length = response.content_length or 0
    if length > _SMALL_ANSWER:
        lease.grow(length)
        response.call_on_close(lease.end)
    return response
