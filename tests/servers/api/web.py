"""The web server as supervisord runs it, gunicorn and all, over a prefix of the test."""

from __future__ import annotations

import hashlib
import http.client
import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml
from jsonschema import Draft202012Validator
from servers import HOST, MongoDB, RabbitMQ, eventually, free_port

from canopsis.api import openapi
from canopsis.api.app import RESOURCES
from canopsis.api.auth.passwords import hash_password
from canopsis.api.readiness import ENTRY
from canopsis.store import users
from canopsis.store.client import Store
from canopsis.store.users import AuthKey, Role, User
from canopsis.transport.connection import Connection, connect
from canopsis.transport.topology import EVENTS, Topology, declare

ROLES: tuple[Role, ...] = ("reader", "operator", "admin")
PASSWORD = "correct horse"
DATABASE = "web"
WORKERS = 2
TAP = "tap"
"""A queue that gets whatever comes to the exchange of events."""

_USERS = Path(__file__).parents[3] / "roles" / "rabbitmq" / "tasks" / "users.yml"
FILES = {
    "amqp.conf": """
[master]
hosts = {host}:{amqp}
virtual_host = canopsis
[engines]
userid = guest
password = guest
[webserver]
userid = {user}
password = {user}
""",
    "storage.conf": """
[master]
hosts = {host}:{mongodb}
replica_set = canopsis
database = {database}
[engines]
username = webserver
password = a password
[webserver]
username = webserver
password = a password
""",
    "webserver.conf": """
[server]
trusted_proxies = 127.0.0.1
[auth]
providers = local,authkey
[session]
secret = the secret of the test
lifetime = 60
[webservices]
status = 1
""",
}
"""Those of a host that does not know the chain: no engine is missed there."""


@dataclass(frozen=True)
class Answer:
    """What came back."""

    status: int
    headers: Mapping[str, str]
    data: bytes = field(repr=False)

    @property
    def json(self) -> Any:
        return json.loads(self.data)


@dataclass
class Web:
    """A running web server. ``call`` asks it with the key of a role (None: as nobody)."""

    prefix: Path
    port: int = field(default_factory=free_port)
    user: str = "guest"
    """Its user of the broker, whose password is the name."""
    process: subprocess.Popen[bytes] | None = field(default=None, repr=False)

    def start(self, broker: RabbitMQ, database: MongoDB) -> None:
        """Write the files, start gunicorn, wait until it answers."""
        write_files(self.prefix, broker, database, FILES, self.user)
        command = [sys.executable, "-m", "gunicorn", "-c", "python:canopsis.api.gunicorn_conf", "-w", str(WORKERS)]
        command += ["-b", f"{HOST}:{self.port}", "--access-logfile", str(self.prefix / "access.log")]
        with (self.prefix / "web.log").open("ab") as log:
            self.process = subprocess.Popen(
                [*command, "canopsis.cli.webserver:application()"],
                env=os.environ | {"CANOPSIS_PREFIX": str(self.prefix)},
                stdout=log,
                stderr=log,
                stdin=subprocess.DEVNULL,
            )
        process = self.process
        eventually(lambda: process.poll() is not None or self.is_alive())
        assert process.poll() is None, (self.prefix / "web.log").read_text()[-2000:]

    def stop(self) -> None:
        """End gunicorn; it must do so in order."""
        assert self.process is not None
        self.process.send_signal(signal.SIGTERM)
        assert self.process.wait(30) == 0

    def is_alive(self) -> bool:
        """Tell whether it answers."""
        try:
            return self.call("GET", "/api/v1/healthz", None).status == 200
        except OSError:
            return False

    def call(
        self,
        method: str,
        path: str,
        role: str | None = "admin",
        body: bytes | object | None = None,
        *,
        kind: str = "application/json",
        headers: Mapping[str, str] | None = None,
    ) -> Answer:
        """Send a request; ``body`` that is not bytes is sent as JSON."""
        sent = dict(headers or {})
        if role is not None:
            sent["X-Canopsis-Authkey"] = key_of(role)
        data = body if isinstance(body, bytes) or body is None else json.dumps(body).encode()
        if data is not None:
            sent.setdefault("Content-Type", kind)
        connection = http.client.HTTPConnection(HOST, self.port, timeout=30)
        try:
            connection.request(method, path, data, sent)
            answer = connection.getresponse()
            found = Answer(answer.status, dict(answer.getheaders()), answer.read())
        finally:
            connection.close()
        assert violations(method, path, found) == []
        return found

    def get(self, path: str, role: str | None = "reader") -> Answer:
        return self.call("GET", path, role)

    def post(self, path: str, body: bytes | object | None = None, role: str | None = "operator") -> Answer:
        return self.call("POST", path, role, body)


DOCUMENT = openapi.document([endpoint for each in RESOURCES for endpoint in each.endpoints], {})


def violations(method: str, path: str, answer: Answer) -> list[str]:
    """Return what of a good answer the OpenAPI document does not tell."""
    told = next((calls for shown, calls in DOCUMENT["paths"].items() if _fits(path.partition("?")[0], shown)), {})
    if answer.status >= 400 or not answer.data or method.lower() not in told:
        return []
    media = answer.headers["Content-Type"].partition(";")[0]
    schema = told[method.lower()]["responses"][str(answer.status)]["content"][media]["schema"]
    validator = Draft202012Validator({**schema, "components": DOCUMENT["components"]})
    said = answer.json if media.endswith("json") else answer.data.decode()
    return [f"{method} {path}: {error.json_path}: {error.message}" for error in validator.iter_errors(said)]


def _fits(path: str, shown: str) -> bool:
    return re.fullmatch(re.sub(r"\{[^}]*\}", "[^/]+", shown).replace("[^/]+/[^/]+", "[^/]+/.+"), path) is not None


def write_files(
    prefix: Path, broker: RabbitMQ, database: MongoDB, files: Mapping[str, str], user: str = "guest"
) -> None:
    """Write configuration files; their text names the servers by ``{host}``, ``{amqp}``, ``{mongodb}``."""
    (prefix / "etc").mkdir(parents=True, exist_ok=True)
    facts = {"user": user, "host": HOST, "amqp": broker.port, "mongodb": database.port, "database": DATABASE}
    for name, content in files.items():
        (prefix / "etc" / name).write_text(content.format(**facts))


def key_of(role: str) -> str:
    """Return the key of the user of ``role``."""
    return f"key-of-{role}-0123456789"


def add_users(db: Store) -> None:
    """Make a user of each role, with a key and a password."""
    password = hash_password(PASSWORD)
    for role in ROLES:
        key = AuthKey("main", hashlib.sha256(key_of(role).encode()).hexdigest())
        users.save(db, User(name=f"some-{role}", role=role, password=password, authkeys=[key]))


def add_server_user(db: Store) -> None:
    """Make the user that the web server is to the database; a module whose servers failed it may have left its own."""
    db.client.admin.command("dropAllUsersFromDatabase")
    role = {"role": "readWrite", "db": db.name}
    db.client.admin.command("createUser", "webserver", pwd="a password", roles=[role])


def bytes_of(body: bytes | str) -> bytes:
    """Return a body as it was sent; py-amqp decodes what says that it is UTF-8."""
    return body if isinstance(body, bytes) else body.encode()


def rights_of(user: str) -> dict[str, str]:
    """Return the rights that a site gives a user of the broker."""
    (task,) = yaml.safe_load(_USERS.read_text())
    (rights,) = [each for each in task["canopsis_rabbitmq"]["users"] if each["name"] == user]
    return {name: rights.get(name, "^$") for name in ("configure", "write", "read")}


class Tap:
    """Reads what comes to the exchange of events."""

    def __init__(self, broker: RabbitMQ) -> None:
        self._broker = broker

    def open(self) -> None:
        """Make the exchanges and the queue; empty it."""
        connection = self._connect()
        declare(connection, Topology())
        channel = connection.channel()
        # Not a quorum queue: RabbitMQ 3.10 forgets one that was made in the seconds before it is killed.
        channel.queue_declare(TAP, durable=True, auto_delete=False)
        channel.queue_bind(TAP, EVENTS, "#")
        channel.queue_purge(TAP)
        connection.close()

    def close(self) -> None:
        """Take the queue away: then no queue takes events.

        Nor does one that engines of another test left on the broker of the run: here, none run.
        """
        connection = self._connect()
        for queue in (TAP, ENTRY):
            connection.channel().queue_delete(queue)
        connection.close()

    def bind(self, exchange: str, key: str) -> None:
        """Let the queue also get what comes to another exchange."""
        connection = self._connect()
        connection.channel().queue_bind(TAP, exchange, key)
        connection.close()

    def delete_exchange(self, name: str) -> None:
        """Take an exchange away; ``open`` makes it again."""
        connection = self._connect()
        connection.channel().exchange_delete(name)
        connection.close()

    def raw(self) -> list[Any]:
        """Return all messages as kombu gives them, and forget them."""
        connection = self._connect()
        channel = connection.channel()
        found = []
        while (message := channel.basic_get(TAP, no_ack=True)) is not None:
            found.append(channel.message_to_python(message))
        connection.close()
        return found

    def messages(self) -> list[tuple[str, bytes]]:
        """Return routing key and body of all messages, and forget them."""
        return [(message.delivery_info["routing_key"], bytes_of(message.body)) for message in self.raw()]

    def events(self) -> list[dict[str, Any]]:
        """Return the events of all messages, and forget them."""
        found: list[dict[str, Any]] = []
        for _, body in self.messages():
            decoded = json.loads(body)
            found += decoded if isinstance(decoded, list) else [decoded]
        return found

    def _connect(self) -> Connection:
        return connect(self._broker.settings(), "tap of the test")
