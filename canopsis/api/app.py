"""The application factory."""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from http import HTTPStatus
from importlib import import_module

from flask import Flask, Response, request
from werkzeug.exceptions import NotFound

from canopsis.api import account, cors, endpoints, health, index, openapi, reader
from canopsis.api.body import drain
from canopsis.api.broker import AmqpBroker
from canopsis.api.database import MongoDatabase
from canopsis.api.endpoints import Resource
from canopsis.api.ports import Backend
from canopsis.api.problems import install
from canopsis.api.resources import SERVICES
from canopsis.api.settings import WebSettings
from canopsis.ids import new_id
from canopsis.store.settings import StoreSettings
from canopsis.transport.settings import AmqpSettings


def declared(service: str) -> list[Resource]:
    """Return what the module of a web service declares."""
    module = import_module(f"canopsis.api.resources.{service}")
    return [each for each in vars(module).values() if isinstance(each, Resource)]


RESOURCES = (
    index.root,
    index.resource,
    health.resource,
    account.resource,
    *(resource for service in SERVICES for resource in declared(service)),
    openapi.resource,
    reader.resource,
)

_LOG = logging.getLogger(__name__)

_HEADERS = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}


def create_app(web: WebSettings, store: StoreSettings, amqp: AmqpSettings) -> Flask:
    """Return the application over the servers of a site; it connects when first used."""
    return build(web, Backend(MongoDatabase(store), AmqpBroker(amqp), time.time, new_id=new_id))


def build(web: WebSettings, backend: Backend, resources: Sequence[Resource] = RESOURCES) -> Flask:
    """Return the application over ``backend``."""
    app = Flask("canopsis.api", static_folder=None)
    # A metric may be called "/": two slashes in a path are two slashes.
    app.url_map.merge_slashes = False
    install(app)
    app.register_error_handler(NotFound, index.missing)
    for resource in resources:
        app.register_blueprint(resource.blueprint)
    known = [endpoint for resource in resources for endpoint in resource.endpoints]
    app.extensions[endpoints.EXTENSION] = endpoints.attach(web, backend, known)
    cors.allow(app, web.allowed_origins)
    app.after_request(_add_headers)
    app.after_request(_drain)
    if web.debug:
        app.after_request(_log)
    return app


def _add_headers(response: Response) -> Response:
    given = {name.lower() for name, _ in response.headers}
    for name, value in _HEADERS.items():
        if name.lower() not in given:
            response.headers.add(name, value)
    return response


def _drain(response: Response) -> Response:
    if response.status_code >= HTTPStatus.BAD_REQUEST and request.method not in ("GET", "HEAD"):
        drain(request)
    return response


def _log(response: Response) -> Response:
    # Never the query: it may hold a key.
    _LOG.info("%s %s %s from %s", request.method, request.path, response.status_code, request.remote_addr)
    return response
