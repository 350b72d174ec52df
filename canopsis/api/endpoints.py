"""Endpoints as data: one declaration routes, checks, and documents a call."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Concatenate, ParamSpec, TypeVar

from flask import Blueprint, Response, current_app, request

from canopsis.api import auth, limits
from canopsis.api.auth import Identity, Provider
from canopsis.api.auth.authkey import AuthKeys
from canopsis.api.auth.local import LocalUsers, demand_same_site
from canopsis.api.auth.proxies import client_address
from canopsis.api.body import Body, Content, read
from canopsis.api.limits import Lease, Pool
from canopsis.api.parameters import Parameter, check_encoding, read_all
from canopsis.api.ports import Backend
from canopsis.api.readiness import Readiness
from canopsis.api.settings import WebSettings
from canopsis.errors import RequestError
from canopsis.store.client import Store
from canopsis.store.users import Role

P = ParamSpec("P")
T = TypeVar("T")

PREFIX = "/api/v1"
EXTENSION = "canopsis"

_SMALL_ANSWER = 64 << 10
_DOCUMENT_COST = 8
"""Bytes of memory for a byte of a document that is read, decoded, and written as JSON."""


@dataclass(frozen=True, slots=True)
class Site:
    """What an application is made of. ``local`` is None when nobody can log in."""

    settings: WebSettings
    backend: Backend
    providers: tuple[Provider, ...]
    local: LocalUsers | None
    readiness: Readiness
    endpoints: tuple[Endpoint, ...]
    slots: Pool = field(default_factory=limits.slots)
    memory: Pool = field(default_factory=limits.memory)


@dataclass(frozen=True, slots=True)
class Call:
    """A request that may go ahead: who asks, and what they ask, read and checked."""

    site: Site
    identity: Identity | None
    arguments: Mapping[str, Any]
    path: Mapping[str, str]
    content: Content
    lease: Lease | None = None

    def weigh(self, size: int) -> None:
        """Take the memory that ``size`` bytes of documents of the database need. Raises RequestError (503)."""
        if self.lease is not None:
            self.lease.grow(size * _DOCUMENT_COST)

    def ask(self, function: Callable[Concatenate[Store, P], T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Return what ``function`` of ``store`` answers. Raises what it raises, StoreError."""
        return self.backend.database.ask(function, *args, **kwargs)

    @property
    def backend(self) -> Backend:
        """The database and the broker."""
        return self.site.backend

    @property
    def user(self) -> str:
        """The name of who asks."""
        return self.identity.name if self.identity else ""


Handler = Callable[[Call], Response]


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One call. ``role`` None is open to anybody; ``service`` is its name in ``[webservices]``.

    ``light`` needs no slot of work: it is answered however busy we are.
    ``answers`` are the statuses beside those that every call of its kind may have, ``answer`` the name of the schema
    of what went well; ``shown`` is the path as it is documented, where it differs from the route.
    """

    method: str
    path: str
    summary: str
    handler: Handler
    role: Role | None = "reader"
    service: str | None = None
    light: bool = False
    parameters: tuple[Parameter, ...] = ()
    segments: Mapping[str, str] = field(default_factory=dict)
    body: Body | None = None
    answers: Mapping[int, str] = field(default_factory=dict)
    answer: str = "Envelope"
    shown: str = ""

    @property
    def shown_path(self) -> str:
        """The path as OpenAPI writes it."""
        return self.shown or self.path.replace("<", "{").replace(">", "}")


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

    def _declare(self, method: str, path: str, summary: str, facts: dict[str, Any]) -> Callable[[Handler], Handler]:
        def declare(handler: Handler) -> Handler:
            endpoint = Endpoint(method, self._prefix + path, summary, handler, **{"service": self._service} | facts)
            self.endpoints.append(endpoint)
            self.blueprint.add_url_rule(
                path,
                handler.__name__,
                _view(endpoint),
                methods=[method],
                strict_slashes=False,
                provide_automatic_options=False,
            )
            return handler

        return declare


def attach(settings: WebSettings, backend: Backend, endpoints: Sequence[Endpoint]) -> Site:
    """Return the site of an application, with the providers that its settings name, in their order."""
    local = LocalUsers(backend.database, settings.secret, settings.lifetime) if "local" in settings.providers else None
    known: dict[str, Provider] = {"authkey": AuthKeys(backend.database)}
    if local is not None:
        known["local"] = local
    providers = tuple(known[name] for name in settings.providers)
    return Site(settings, backend, providers, local, Readiness(backend, settings.chain), tuple(endpoints))


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
    arguments = read_all(endpoint.parameters, request.args, site.backend.now())
    content = read(request, endpoint.body, lease) if endpoint.body and lease else Content()
    return Call(site, identity, arguments, path, content, lease)


def _leased(response: Response, lease: Lease) -> Response:
    """Return ``response``; while it is on its way, its bytes are accounted for."""
    length = response.content_length or 0
    if length > _SMALL_ANSWER:
        lease.grow(length)
        response.call_on_close(lease.end)
    return response
