"""What gunicorn calls: ``gunicorn -c python:canopsis.api.gunicorn_conf 'canopsis.cli.webserver:application()'``."""

from __future__ import annotations

import logging
import sys
from dataclasses import replace

from flask import Flask

from canopsis.api.access_log import Masking
from canopsis.api.app import create_app
from canopsis.core.health import Process, processes
from canopsis.engines import registry
from canopsis.errors import CanopsisError, ConfigError
from canopsis.ops import settings
from canopsis.ops.prefix import Prefix

SERVICE = "webserver"
"""Our section in ``amqp.conf`` and ``storage.conf``."""

_LOG = logging.getLogger(__name__)


def application() -> Flask:
    """Return the application of this site; a configuration that is wrong ends the process with its reason."""
    try:
        return make(Prefix.find())
    except CanopsisError as error:
        sys.exit(f"error: {error}")


def make(prefix: Prefix) -> Flask:
    """Return the application of the site in ``prefix``. Raises ConfigError."""
    web = settings.webserver(prefix)
    handler = logging.StreamHandler()
    handler.setFormatter(Masking("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    logging.basicConfig(level=logging.INFO if web.debug else logging.WARNING, handlers=[handler])
    web = replace(web, chain=chain(prefix))
    return create_app(web, settings.storage(prefix, SERVICE), settings.amqp(prefix, SERVICE))


def chain(prefix: Prefix) -> tuple[Process, ...]:
    """Return the engine processes of the site; none on a host that does not know the chain."""
    try:
        found = settings.chain(prefix)
        found.check(registry.registry())
    except ConfigError as error:
        _LOG.info("the chain is taken as the engines noted it: %s", error)
        return ()
    return processes(found.documents(registry.registry()))
