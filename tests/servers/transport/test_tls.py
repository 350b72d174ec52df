"""The transport over TLS: a broker with a certificate of a test authority."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from servers import HOST, RabbitMQ, eventually, free_port, listening

from canopsis.errors import TransportError
from canopsis.transport.connection import connect
from canopsis.transport.consumer import Consumer
from canopsis.transport.publisher import ConfirmingPublisher
from canopsis.transport.settings import AmqpSettings
from canopsis.transport.topology import DEAD, declare, depth, site_topology

OTHER_NAME = "127.0.0.2"
TLS_CONF = """
listeners.ssl.default = 127.0.0.1:{port}
listeners.ssl.other = 127.0.0.2:{port}
ssl_options.cacertfile = {folder}/ca.pem
ssl_options.certfile = {folder}/server.pem
ssl_options.keyfile = {folder}/server.key
ssl_options.verify = verify_none
"""


def make_certificates(folder: Path) -> None:
    """Write ``ca.pem``, ``server.pem`` and ``server.key`` for 127.0.0.1 into ``folder``."""
    authority, key = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    root = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "test authority")])
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "broker")])
    names = x509.SubjectAlternativeName([x509.IPAddress(ip_address(HOST))])
    now = datetime.now(UTC)

    def signed(owner: x509.Name, public: ec.EllipticCurvePublicKey, extension: x509.ExtensionType) -> bytes:
        builder = x509.CertificateBuilder(root, owner, public, x509.random_serial_number())
        builder = builder.not_valid_before(now - timedelta(1)).not_valid_after(now + timedelta(1))
        builder = builder.add_extension(extension, critical=False)
        return builder.sign(authority, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)

    ca = x509.BasicConstraints(ca=True, path_length=None)
    folder.joinpath("ca.pem").write_bytes(signed(root, authority.public_key(), ca))
    folder.joinpath("server.pem").write_bytes(signed(subject, key.public_key(), names))
    secret = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    folder.joinpath("server.key").write_bytes(secret)


@dataclass
class TlsRabbitMQ(RabbitMQ):
    """A broker that listens for TLS too."""

    tls_port: int = field(default_factory=free_port)

    def environment(self) -> dict[str, str]:
        environment = super().environment()
        if not (self.folder / "ca.pem").exists():
            make_certificates(self.folder)
        with (self.folder / "rabbitmq.conf").open("a") as conf:
            conf.write(TLS_CONF.format(port=self.tls_port, folder=self.folder))
        return environment

    def tls_settings(self) -> AmqpSettings:
        """Return how to reach the broker over TLS."""
        return replace(
            self.settings(),
            hosts=((HOST, self.tls_port),),
            tls=True,
            ca_file=str(self.folder / "ca.pem"),
            heartbeat=3.0,
        )


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TlsRabbitMQ]:
    with TlsRabbitMQ(tmp_path_factory.mktemp("tls")).running() as server:
        eventually(lambda: listening(server.tls_port))
        yield server


def test_messages_of_every_size_both_ways(broker: TlsRabbitMQ) -> None:
    connection = connect(broker.tls_settings())
    declare(connection, site_topology({"dead_letters": (DEAD, "#")}, ["tls"], 1))
    publisher, consumer = ConfirmingPublisher(connection), Consumer(connect(broker.tls_settings()))
    sizes = [0, 1, 700, 16_384, 131_072, 1_000_000] * 6
    for size in sizes:
        publisher.send("", "Engine_tls.00", bytes(size), message_id=str(size))
    publisher.flush()
    consumer.add("Engine_tls.00")
    got: list[int] = []

    def all_came() -> bool:
        batch = consumer.gather(50, 0.2)
        got.extend(len(delivery.body) for delivery in batch)
        consumer.ack(batch)
        return len(got) == len(sizes)

    eventually(all_came)
    assert got == sizes
    consumer.close()
    assert depth(connection, "Engine_tls.00") == 0
    connection.close()


def test_heartbeats_beside_traffic(broker: TlsRabbitMQ) -> None:
    """Two threads on one TLS connection: reads and writes never meet in OpenSSL."""
    connection = connect(broker.tls_settings())
    declare(connection, site_topology({"dead_letters": (DEAD, "#")}, ["tls"], 1))
    publisher = ConfirmingPublisher(connection)
    for _ in range(8):
        for _ in range(500):
            publisher.send("", "Engine_tls.00", bytes(700))
        publisher.flush()
        connection.serve(0.5)
    assert connection.is_open
    connection.close()


def test_an_unknown_authority_is_refused(broker: TlsRabbitMQ, tmp_path: Path) -> None:
    make_certificates(tmp_path)
    settings = replace(broker.tls_settings(), ca_file=str(tmp_path / "ca.pem"))
    with pytest.raises(TransportError, match="CERTIFICATE_VERIFY_FAILED"):
        connect(settings)


def test_another_name_is_refused(broker: TlsRabbitMQ) -> None:
    settings = replace(broker.tls_settings(), hosts=((OTHER_NAME, broker.tls_port),))
    with pytest.raises(TransportError, match=r"CERTIFICATE_VERIFY_FAILED.*127\.0\.0\.2"):
        connect(settings)


def test_plain_text_to_a_tls_port_is_an_error_in_time(broker: TlsRabbitMQ) -> None:
    settings = replace(broker.settings(), hosts=((HOST, broker.tls_port),), connect_timeout=2.0)
    with pytest.raises(TransportError, match=str(broker.tls_port)):
        connect(settings)
