"""The configuration files as the settings of each room."""

from __future__ import annotations

from canopsis.api.settings import WebSettings
from canopsis.ops.config import load
from canopsis.ops.ini import SectionValues, Values
from canopsis.ops.model import AMQP, CHAIN, ENGINE, STORAGE, WEBSERVER, engine_options
from canopsis.ops.prefix import Prefix
from canopsis.runtime.settings import ChainSettings, EngineSettings, ProcessSettings
from canopsis.store.settings import Retention, StoreSettings
from canopsis.transport.settings import AmqpSettings


def amqp(prefix: Prefix, service: str) -> AmqpSettings:
    """Return the brokers as ``service`` (``engines``, ``webserver``) uses them. Raises ConfigError."""
    master, user = _with_user(prefix, load(prefix, AMQP), service)
    return AmqpSettings(vhost=master.pop("virtual_host"), user=user["userid"], password=user["password"], **master)


def storage(prefix: Prefix, service: str) -> StoreSettings:
    """Return the database as ``service`` (``engines``, ``webserver``) uses it. Raises ConfigError."""
    master, user = _with_user(prefix, load(prefix, STORAGE), service)
    return StoreSettings(user=user["username"], password=user["password"], **master)


def retention(prefix: Prefix) -> Retention:
    """Return how long documents are kept. Raises ConfigError."""
    kept = load(prefix, STORAGE).sections["retention"]
    return Retention(**{name: int(value) for name, value in kept.items()})


def chain(prefix: Prefix) -> ChainSettings:
    """Return the chain. Raises ConfigError."""
    values = load(prefix, CHAIN)
    return chain_of(values)


def chain_of(values: Values) -> ChainSettings:
    """Return the chain of ``amqp2engines.conf`` in the order of the file, but sections without a right place."""
    found = {name: keys for name, keys in values.sections.items() if name.startswith(ENGINE) and keys.keys() >= _PLACE}
    engines = tuple(_engine(name.removeprefix(ENGINE), keys) for name, keys in found.items())
    return ChainSettings(engines, values.sections.get("chain", {}).get("partitions", 1))


_PLACE = {"next", "process", "instances"}


def process(prefix: Prefix, name: str, instance: int) -> ProcessSettings:
    """Return everything the engine process ``name`` is told. Raises ConfigError."""
    return ProcessSettings(name, chain(prefix), amqp(prefix, "engines"), storage(prefix, "engines"), instance)


def webserver(prefix: Prefix) -> WebSettings:
    """Return the web application. Raises ConfigError."""
    values = load(prefix, WEBSERVER).sections
    return WebSettings(
        secret=values["session"]["secret"],
        lifetime=values["session"]["lifetime"],
        debug=values["server"]["debug"],
        trusted_proxies=values["server"]["trusted_proxies"],
        allowed_origins=values["server"]["allowed_origins"],
        providers=values["auth"]["providers"],
        services=frozenset(name for name, on in values["webservices"].items() if on),
    )


def _engine(name: str, values: SectionValues) -> EngineSettings:
    own = {key.name for key in engine_options().get(name, ())}
    options = {key: value for key, value in values.items() if key in own}
    return EngineSettings(name=name, options=options, **{key: values[key] for key in values.keys() - own})


def _with_user(prefix: Prefix, values: Values, service: str) -> tuple[SectionValues, SectionValues]:
    shown = prefix.shown(prefix.etc(values.file.name))
    return dict(values.section("master", shown)), values.section(service, shown)
