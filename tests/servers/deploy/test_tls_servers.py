"""mongod and a broker with the TLS settings that the roles write, and certificates of the controller's module."""

from __future__ import annotations

import os
import socket
import ssl
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pymongo
import pytest
import yaml
from ansible.parsing.dataloader import DataLoader
from ansible.plugins.loader import init_plugin_loader
from ansible.template import Templar, trust_as_template
from plugin_loader import load
from pymongo.errors import PyMongoError
from servers import HOST, MongoDB, RabbitMQ

from canopsis.errors import StoreError, TransportError
from canopsis.store.client import opened, store_errors
from canopsis.store.settings import StoreSettings
from canopsis.transport.connection import connect
from canopsis.transport.settings import AmqpSettings

ROOT = Path(__file__).resolve().parents[3]
os.environ.setdefault("ANSIBLE_FILTER_PLUGINS", str(ROOT / "plugins" / "filter"))
init_plugin_loader()


MODULE = load("modules", "canopsis_certificates")
PEM = load("filter", "canopsis").pem_part


def written(role: str, template: str, prefix: Path, port: int) -> str:
    """Return what a template of a role becomes with TLS, for a server of one host."""
    loader = DataLoader()
    loader.set_basedir(str(ROOT))
    defaults = loader.load_from_file(str(ROOT / "roles" / role / "defaults" / "main.yml"), trusted_as_template=True)
    known = {f"{role}_prefix": str(prefix), f"{role}_port": port, f"{role}_listen": HOST, "canopsis_tls": True}
    more: dict[str, Any] = {
        "groups": {role: ["n1"]},
        "hostvars": {"n1": {}},
        "inventory_hostname": "n1",
        "mongodb_cache_gb": 0.25,
        "rabbitmq_seed_password": "s",
    }
    text = trust_as_template((ROOT / "roles" / role / "templates" / template).read_text())
    return str(Templar(loader, variables={**defaults, **known, **more}).template(text))


def lay(prefix: Path, names: list[str]) -> Path:
    """Make a certificate with ``names`` and lay it in ``prefix`` as the role does; return the trusted authorities."""
    made, laid = prefix / "made", prefix / "etc" / "ssl"
    params = {name: option.get("default") for name, option in MODULE.ARGUMENTS.items()}
    params |= {"folder": str(made), "hosts": {"n1": names}}
    MODULE.ours(params, datetime.now(UTC), check_mode=False)
    laid.mkdir(parents=True)
    certificate, key = (PEM(str(made / "n1.pem"), part) for part in ("certificates", "key"))
    files = {"ca.pem": (made / "ca.pem").read_text(), "host.pem": certificate, "host.key": key}
    for name, text in {**files, "host-and-key.pem": certificate + key}.items():
        (laid / name).write_text(text)
        (laid / name).chmod(0o600)
    return laid / "ca.pem"


@dataclass
class Mongod(MongoDB):
    """A database as the role has it encrypt."""

    def command(self) -> list[str]:
        if not (self.folder / "etc").exists():
            lay(self.folder, ["n1", HOST])
        net = yaml.safe_load(written("mongodb", "mongodb.conf.j2", self.folder, self.port))["net"]
        (self.folder / "mongod.conf").write_text(yaml.safe_dump({"net": {"tls": net["tls"]}}))
        return [*super().command(), "--config", str(self.folder / "mongod.conf")]

    def settings(self) -> StoreSettings:
        """Return how to reach it over TLS."""
        return replace(super().settings(), tls=True, ca_file=str(self.folder / "etc" / "ssl" / "ca.pem"))

    def answers(self) -> bool:
        trusted = str(self.folder / "etc" / "ssl" / "ca.pem")
        client = pymongo.MongoClient[dict[str, Any]](
            HOST, self.port, directConnection=True, serverSelectionTimeoutMS=1000, tls=True, tlsCAFile=trusted
        )
        with client:
            try:
                hello = client.admin.command("hello")
                if not hello.get("setName"):
                    members = [{"_id": 0, "host": f"{HOST}:{self.port}"}]
                    client.admin.command("replSetInitiate", {"_id": "canopsis", "members": members})
                return bool(hello.get("isWritablePrimary"))
            except PyMongoError:
                return False


@dataclass
class Broker(RabbitMQ):
    """A broker as the role has it encrypt."""

    def environment(self) -> dict[str, str]:
        environment = super().environment()
        if not (self.folder / "etc").exists():
            lay(self.folder, ["n1", HOST])
        role = written("rabbitmq", "rabbitmq.conf.j2", self.folder, self.port).splitlines()
        lines = [line for line in role if line.startswith(("listeners.", "ssl_options."))]
        own = (self.folder / "rabbitmq.conf").read_text().splitlines()
        kept = [line for line in own if not line.startswith("listeners.")]
        (self.folder / "rabbitmq.conf").write_text("\n".join([*kept, *lines, ""]))
        # It would add a plain listener.
        return {name: value for name, value in environment.items() if name != "RABBITMQ_NODE_PORT"}

    def settings(self) -> AmqpSettings:
        """Return how to reach it over TLS."""
        return replace(super().settings(), tls=True, ca_file=str(self.folder / "etc" / "ssl" / "ca.pem"))


@pytest.fixture(scope="module")
def mongod(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mongod]:
    with Mongod(tmp_path_factory.mktemp("mongod-tls")).running() as server:
        yield server


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Broker]:
    with Broker(tmp_path_factory.mktemp("broker-tls")).running() as server:
        yield server


@pytest.fixture
def stranger(tmp_path: Path) -> str:
    """Another authority than that of the servers."""
    return str(lay(tmp_path / "stranger", ["n1", HOST]))


def asked(settings: StoreSettings) -> None:
    """Ask the database for anything. Raises StoreError."""
    with store_errors("asking"), opened(settings) as db:
        db.command("ping")


def old_protocol(port: int) -> None:
    """Shake hands in TLS 1.1. Raises OSError when the server does not."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.set_ciphers("ALL:@SECLEVEL=0")
    context.minimum_version = ssl.TLSVersion.TLSv1
    context.maximum_version = ssl.TLSVersion.TLSv1_1
    with socket.create_connection((HOST, port), timeout=10) as plain:
        context.wrap_socket(plain).close()


def test_the_database_answers_over_tls(mongod: Mongod) -> None:
    asked(mongod.settings())


def test_the_database_refuses_plain_text(mongod: Mongod) -> None:
    with pytest.raises(StoreError, match="does not answer"):
        asked(replace(mongod.settings(), tls=False, ca_file=""))


def test_another_authority_of_the_database_is_refused(mongod: Mongod, stranger: str) -> None:
    with pytest.raises(StoreError, match=r"see ca_file in etc/storage\.conf"):
        asked(replace(mongod.settings(), ca_file=stranger))


def test_the_broker_answers_over_tls(broker: Broker) -> None:
    connect(broker.settings()).close()


def test_the_broker_refuses_plain_text(broker: Broker) -> None:
    with pytest.raises(TransportError, match=f"{HOST}:{broker.port}"):
        connect(replace(broker.settings(), tls=False, ca_file="", connect_timeout=3.0))


def test_another_authority_of_the_broker_is_refused(broker: Broker, stranger: str) -> None:
    with pytest.raises(TransportError, match=f"over TLS, trusting {stranger}"):
        connect(replace(broker.settings(), ca_file=stranger))


def test_the_broker_listens_for_nothing_else(broker: Broker) -> None:
    listeners = broker.ctl("status", "--formatter", "json")
    assert '"protocol":"amqp/ssl"' in listeners
    assert '"protocol":"amqp"' not in listeners


@pytest.mark.parametrize("server", ["mongod", "broker"])
def test_old_protocols_are_refused(request: pytest.FixtureRequest, server: str) -> None:
    with pytest.raises(OSError, match=r"alert|reset|EOF|version|cipher"):
        old_protocol(request.getfixturevalue(server).port)
