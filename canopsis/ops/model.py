"""The model of every configuration file: each section and key, its kind, default and meaning.

Files are read, checked, explained, sampled and documented from here; there is no second list.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any, Literal, get_args, get_origin, get_type_hints

import msgspec

from canopsis.api.resources import SERVICES
from canopsis.api.settings import DEFAULT_PROVIDERS, PROVIDERS
from canopsis.core.chain import WORKER
from canopsis.engines.registry import registry
from canopsis.ops import kinds
from canopsis.ops.kinds import Kind
from canopsis.runtime.manifest import Options

ENGINE = "engine:"
"""What the name of an engine's section begins with."""


@dataclass(frozen=True, slots=True)
class Key:
    """One key. ``default`` is text as in a file; None means that the key must be given."""

    name: str
    kind: Kind
    default: str | None
    doc: str
    secret: bool = False
    since: str = "1.0"


@dataclass(frozen=True, slots=True)
class Section:
    """One section. A name that ends in ``:`` stands for any number of sections ``NAME:x``."""

    name: str
    doc: str
    keys: tuple[Key, ...]
    required: bool = True

    @property
    def many(self) -> bool:
        """Whether this is the pattern of several sections."""
        return self.name.endswith(":")

    def title(self) -> str:
        """Return the name as shown to people (``engine:NAME``)."""
        return f"{self.name}NAME" if self.many else self.name


@dataclass(frozen=True, slots=True)
class File:
    """One file of ``etc/``. ``mode`` is the widest it may be; ``readers`` are the services that need it."""

    name: str
    doc: str
    sections: tuple[Section, ...]
    mode: int = 0o644
    readers: tuple[str, ...] = ()


def _user_of_broker(service: str) -> Section:
    return Section(
        service,
        f"The broker's user of the {service}.",
        (
            Key("userid", kinds.word(), None, "Name of the user."),
            Key("password", kinds.word(), None, "Its password.", secret=True),
        ),
        required=False,
    )


def _user_of_database(service: str) -> Section:
    return Section(
        service,
        f"The database's user of the {service}.",
        (
            Key("username", kinds.word(), None, "Name of the user."),
            Key("password", kinds.word(), None, "Its password.", secret=True),
        ),
        required=False,
    )


_TIMEOUT = kinds.duration(0.1, 600)

AMQP = File(
    "amqp.conf",
    "Where the brokers (RabbitMQ) are, and who each service is to them.",
    (
        Section(
            "master",
            "The brokers of the site.",
            (
                Key("hosts", kinds.hosts(), None, "The brokers; any of them will do, another is tried when one fails."),
                Key("virtual_host", kinds.word(), "canopsis", "The virtual host of the site."),
                Key(
                    "queue_type",
                    kinds.choice("quorum", "classic"),
                    "quorum",
                    "What queues are made as; classic ones are mirrored by a policy of the broker (RabbitMQ 3 only).",
                ),
                Key("heartbeat", kinds.duration(5, 600), "30s", "A connection silent for twice this is given up."),
                Key("connect_timeout", _TIMEOUT, "5s", "How long one broker may take to answer."),
                Key("write_timeout", _TIMEOUT, "30s", "How long a broker that is short of memory may hold a writer."),
                Key("tls", kinds.boolean(), "false", "Whether connections are encrypted and names checked."),
                Key("ca_file", kinds.text(), "", "Certificates that are trusted; empty: those of the host."),
                Key("certificate_file", kinds.text(), "", "Our own certificate, when brokers ask for one."),
                Key("key_file", kinds.text(), "", "The key of our own certificate."),
            ),
        ),
        _user_of_broker("engines"),
        _user_of_broker("webserver"),
    ),
    mode=0o640,
    readers=("amqp2engines", "webserver"),
)

STORAGE = File(
    "storage.conf",
    "Where the database (MongoDB) is, who each service is to it, and how long documents are kept.",
    (
        Section(
            "master",
            "The replica set of the site.",
            (
                Key("hosts", kinds.hosts(), None, "Members of the replica set; the others are found through them."),
                Key("replica_set", kinds.word(), "canopsis", "Name of the replica set."),
                Key("database", kinds.word(), "canopsis", "Name of the database."),
                Key("auth_source", kinds.word(), "admin", "The database that knows the users."),
                Key("timeout", _TIMEOUT, "10s", "How long one operation may take, with all its retries."),
                Key("selection_timeout", _TIMEOUT, "5s", "How long a primary is looked for within that."),
                Key("connect_timeout", _TIMEOUT, "3s", "How long one member may take to answer."),
                Key("pool_size", kinds.integer(1, 1000), "20", "Most connections of one process."),
                Key("tls", kinds.boolean(), "false", "Whether connections are encrypted and names checked."),
                Key("ca_file", kinds.text(), "", "Certificates that are trusted; empty: those of the host."),
                Key("certificate_key_file", kinds.text(), "", "Our own certificate and key in one file."),
            ),
        ),
        _user_of_database("engines"),
        _user_of_database("webserver"),
        Section(
            "retention",
            "How long documents are kept. A change takes effect at the next `canopsis migrate`.",
            (
                Key(
                    "events",
                    kinds.duration(10800, 3.2e8),
                    "30d",
                    "Events as they came; their values live on by the hour.",
                ),
                Key("metrics_hourly", kinds.duration(86400, 3.2e8), "400d", "The points of one hour in one document."),
                Key("dead_letters", kinds.duration(3600, 3.2e8), "30d", "What could not be processed."),
            ),
            required=False,
        ),
    ),
    mode=0o640,
    readers=("amqp2engines", "webserver"),
)

CLIENT = File(
    "client.conf",
    "How the commands `canopsis api`, `alarms`, `check`, `status` and `send-event` reach the API.",
    (
        Section(
            "api",
            "The API and our key.",
            (
                Key(
                    "url",
                    kinds.urls(),
                    "http://127.0.0.1:8082",
                    "Where the web servers are; another is asked when one does not answer.",
                ),
                Key("authkey", kinds.token(), None, "A key of a user; `canopsis user key` makes one.", secret=True),
                Key("timeout", _TIMEOUT, "30s", "How long one answer may take."),
                Key("ca_file", kinds.text(), "", "Certificates that are trusted with https; empty: those of the host."),
            ),
        ),
    ),
    mode=0o600,
)

WEBSERVER = File(
    "webserver.conf",
    "The WSGI application under gunicorn. The port is in the command of etc/supervisord.d/webserver.conf.",
    (
        Section(
            "server",
            "The application as a whole.",
            (
                Key("debug", kinds.boolean(), "false", "Whether every request is logged with its details."),
                Key(
                    "trusted_proxies",
                    kinds.networks(),
                    "",
                    "Reverse proxies whose X-Forwarded-For and X-Forwarded-Proto are believed.",
                ),
                Key(
                    "allowed_origins",
                    kinds.origins(),
                    "",
                    "Sites whose pages may call the API from a browser, with a key (CORS).",
                ),
            ),
            required=False,
        ),
        Section(
            "auth",
            "Who may come in.",
            (
                Key(
                    "providers",
                    kinds.choices(*PROVIDERS),
                    ",".join(DEFAULT_PROVIDERS),
                    "Ways to log in, tried in this order: users with passwords, keys, HTTP Basic.",
                ),
            ),
            required=False,
        ),
        Section(
            "session",
            "Sessions of logged in users.",
            (
                Key("secret", kinds.word(), None, "Signs the cookies; the same on every web server.", secret=True),
                Key("lifetime", kinds.duration(60, 3.2e7), "8h", "A session ends after this."),
            ),
        ),
        Section(
            "webservices",
            "Which web services are on.",
            tuple(
                Key(service, kinds.boolean(), "true", f"Whether /api/v1/{service.replace('_', '-')} answers.")
                for service in SERVICES
            ),
            required=False,
        ),
    ),
    mode=0o640,
    readers=("webserver",),
)


def _services(section: str, default: str, doc: str) -> Section:
    return Section(section, doc, (Key("services", kinds.names(), default, "Services, started in parallel."),), False)


HYPCONTROL = File(
    "hypcontrol.conf",
    "The services of this host. `hypcontrol` starts the sections in this order and stops them in reverse.",
    (
        _services("backend", "", "Databases and brokers. A full host: mongodb,rabbitmq-server."),
        _services("middleware", "", "What works on events. A full host: amqp2engines,collectd."),
        _services("frontend", "", "What people and programs talk to. A full host: webserver."),
    ),
)

_ENGINE_KEYS = (
    Key("next", kinds.names(), "", "Engines that get what this one lets through; empty: the chain ends here."),
    Key("process", kinds.name(), WORKER, "Engines of one process pass events in memory; another process, a queue."),
    Key("beat_interval", kinds.duration(1, 86400), "60s", "Time between two beats (periodic work, own metrics)."),
    Key("instances", kinds.integer(1, 64), "1", "Processes on each host; all engines of a process say the same."),
)


@cache
def engine_options() -> dict[str, tuple[Key, ...]]:
    """Return the options of each engine that has some, as its manifest declares them: keys beside those of all."""
    options = {name: keys_of_options(manifest.options) for name, manifest in sorted(registry().items())}
    return {name: keys for name, keys in options.items() if keys}


def keys_of_options(options: type[Options]) -> tuple[Key, ...]:
    """Return the options of an engine as keys of its section."""
    hints = get_type_hints(options, include_extras=True)
    fields = msgspec.structs.fields(options)
    return tuple(_key_of(field.name, hints[field.name], field.default) for field in fields)


def _key_of(name: str, annotated: object, default: object) -> Key:
    type_, meta = get_args(annotated)
    kind = _kind_of(type_, meta)
    shown = kinds.seconds(float(str(default))) if kind.name == "time" else kinds.show(default)
    return Key(name, kind, shown, meta.description or "")


def _kind_of(type_: Any, meta: msgspec.Meta) -> Kind:  # noqa: ANN401 - any type
    wanted = (meta.extra or {}).get("kind")
    if wanted == "files":
        return kinds.files()
    if type_ is float and wanted == "time" and meta.ge is not None and meta.le is not None:
        return kinds.duration(meta.ge, meta.le)
    if type_ is int and meta.ge is not None and meta.le is not None:
        return kinds.integer(int(meta.ge), int(meta.le))
    if get_origin(type_) is Literal:
        return kinds.choice(*get_args(type_))
    return _PLAIN_KINDS[type_]()


_PLAIN_KINDS: dict[object, Callable[[], Kind]] = {bool: kinds.boolean, str: kinds.text, tuple[str, ...]: kinds.names}

CHAIN = File(
    "amqp2engines.conf",
    "The chain of engines: what follows what, and what runs in which process.",
    (
        Section(
            "chain",
            "The chain as a whole.",
            (
                Key(
                    "partitions",
                    kinds.integer(1, 256),
                    "8",
                    "Queues that entities are spread over; fixed when a site is made.",
                ),
            ),
            required=False,
        ),
        Section(ENGINE, "One engine; NAME is its name.", _ENGINE_KEYS, required=False),
    ),
    readers=("amqp2engines",),
)

FILES: dict[str, File] = {file.name: file for file in (AMQP, STORAGE, CLIENT, WEBSERVER, HYPCONTROL, CHAIN)}


def keys_of(section: Section, name: str) -> dict[str, Key]:
    """Return the keys that the section called ``name`` may have, by their names."""
    options = engine_options().get(name.removeprefix(ENGINE), ()) if section.name == ENGINE else ()
    return {key.name: key for key in (*section.keys, *options)}


def section_of(file: File, name: str) -> Section | None:
    """Return the model of the section called ``name``, or None when ``file`` has no such section."""
    return next((s for s in file.sections if s.name == name or (s.many and _is_one_of(s, name))), None)


def _is_one_of(section: Section, name: str) -> bool:
    return name.startswith(section.name) and len(name) > len(section.name)
