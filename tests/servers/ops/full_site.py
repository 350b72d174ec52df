"""A site in a scratch prefix: engines and web server under supervisord, over the servers of the run."""

from __future__ import annotations

import json
import os
import sys
from dataclasses import dataclass
from typing import Any

from scratch_host import Host
from servers import HOST, SHORT_CHAIN, MongoDB, RabbitMQ, free_port

from canopsis.engines.registry import registry
from canopsis.ops.wait import until
from canopsis.store.client import opened
from canopsis.store.settings import StoreSettings
from canopsis.transport.connection import connect
from canopsis.transport.topology import depth

DATABASE = "site"
USER, PASSWORD = "engines", "a password of the test"
KEY = "a-key-of-the-test-that-is-long"


@dataclass
class Site:
    """The commands of a site and what they need."""

    host: Host
    web_port: int

    def run(self, command: str, *argv: str, fine: tuple[int, ...] = (0,)) -> str:
        """Run a command; return its output. Fails the test for any other exit code."""
        done = self.host.command(command, *argv)
        assert done.returncode in fine, f"{command} {argv}: {done.returncode}\n{done.stdout}\n{done.stderr}"
        return done.stdout

    def json(self, command: str, *argv: str, fine: tuple[int, ...] = (0,)) -> Any:
        """Run a command with ``--json``; return what it prints."""
        return json.loads(self.run(command, *argv, "--json", fine=fine))

    def alarms(self, *argv: str) -> list[dict[str, Any]]:
        """Return alarms as the command gives them."""
        found: list[dict[str, Any]] = self.json("main", "alarms", *argv)
        return found

    def alarms_of(self, component: str, *argv: str) -> list[dict[str, Any]]:
        """Return the alarms of one component."""
        return self.alarms("--component", component, *argv)

    def json_of_api(self, *argv: str) -> Any:
        """Call the API; return its answer."""
        return json.loads(self.run("main", "api", *argv))


def lay(host: Host, rabbitmq: RabbitMQ, mongodb: MongoDB) -> Site:
    """Write the files of a site, as the roles would."""
    web_port = free_port()
    add_user(mongodb)
    purge(rabbitmq)
    host.write(
        "etc/amqp.conf",
        f"[master]\nhosts={HOST}:{rabbitmq.port}\n"
        + "".join(f"[{name}]\nuserid=guest\npassword=guest\n" for name in ("engines", "webserver")),
    )
    host.write(
        "etc/storage.conf",
        f"[master]\nhosts={HOST}:{mongodb.port}\ndatabase={DATABASE}\n"
        + "".join(f"[{name}]\nusername={USER}\npassword={PASSWORD}\n" for name in ("engines", "webserver")),
    )
    host.write("etc/client.conf", f"[api]\nurl=http://{HOST}:{web_port}\nauthkey={KEY}\n")
    host.write("etc/webserver.conf", "[session]\nsecret=a secret of the test\n")
    host.write("etc/hypcontrol.conf", "[middleware]\nservices=amqp2engines\n[frontend]\nservices=webserver\n")
    host.write("etc/amqp2engines.conf", SHORT_CHAIN)
    for name in ("amqp.conf", "storage.conf", "webserver.conf"):
        (host.prefix.path / "etc" / name).chmod(0o640)
    (host.prefix.path / "etc/client.conf").chmod(0o600)
    for process in ("cleaner", "worker"):
        code = f"import sys; from canopsis.cli.main import main; sys.exit(main(['engine', 'run', '{process}']))"
        host.program(f"engine-{process}", code, autostart=False, environment=environment(host))
    gunicorn = f"{sys.executable} -m gunicorn -w 1 -c python:canopsis.api.gunicorn_conf -b {HOST}:{web_port}"
    command = f"{gunicorn} canopsis.cli.webserver:application()"
    host.program("webserver", autostart=False, command=command, environment=environment(host))
    return Site(host, web_port)


def environment(host: Host) -> str:
    """Return the environment of a program: the site, and where Canopsis is imported from."""
    return f'CANOPSIS_PREFIX="{host.prefix.path}",PYTHONPATH="{os.pathsep.join(filter(None, sys.path))}"'


def purge(rabbitmq: RabbitMQ) -> None:
    """Empty the queues that engines of other tests have left."""
    connection = connect(rabbitmq.settings())
    for name in registry():
        for queue in (f"Engine_{name}", *(f"Engine_{name}.{number:02d}" for number in range(4))):
            if depth(connection, queue) is not None:
                connection.channel().queue_purge(queue)
    connection.close()


def add_user(mongodb: MongoDB) -> None:
    """Make the user of the database, once."""
    with opened(StoreSettings(hosts=((HOST, mongodb.port),))) as db:
        known = {user["user"] for user in db.client.admin.command("usersInfo")["users"]}
        if USER not in known:
            role = {"role": "readWrite", "db": DATABASE}
            db.client.admin.command("createUser", USER, pwd=PASSWORD, roles=[role])
        db.client.drop_database(DATABASE)


def prepare(site: Site) -> None:
    """Migrate, make the user of the key, start everything and wait until it works."""
    site.run("main", "migrate")
    key = site.host.write("key", f"{KEY}\n")
    site.run("main", "user", "ensure", "admin", "--role", "admin", "--authkey-file", str(key))
    site.run("hypcontrol", "start", "--timeout", "120")
    assert until(lambda: site.host.command("main", "status").returncode == 0, 120), site.run(
        "main", "status", fine=(0, 1)
    )
