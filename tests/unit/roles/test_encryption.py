"""What the roles write with ``canopsis_tls``, and that they write nothing of it without."""

from __future__ import annotations

from typing import Any

import pytest
import tables
import yaml
from test_clusters_of_others import OWN, THEIRS, sections, written

CA = "/opt/canopsis/etc/ssl/ca.pem"
SERVERS: dict[str, Any] = {
    **OWN,
    "groups": {**OWN["groups"], "webserver": ["n1"]},
    "mongodb_keyfile": "k",
    "mongodb_admin_password": "a",
    "rabbitmq_erlang_cookie": "c",
    "rabbitmq_seed_password": "s",
    "webserver_fingerprint": "f",
    "webserver_admin_authkey": "key",
    "mongodb_cache_gb": 1,
}
ENCRYPTED = {**SERVERS, "canopsis_tls": True}
TEMPLATES = [
    ("environment", "amqp.conf.j2"),
    ("environment", "storage.conf.j2"),
    ("mongodb", "mongodb.conf.j2"),
    ("rabbitmq", "rabbitmq.conf.j2"),
    ("rabbitmq", "rabbitmq-env.conf.j2"),
    ("collectd", "collectd.conf.j2"),
    ("environment", "client.conf.j2"),
    ("webserver", "program.conf.j2"),
]


@pytest.mark.parametrize(("role", "template"), TEMPLATES)
@pytest.mark.parametrize("off", [SERVERS, {**SERVERS, "canopsis_tls": False}, {**SERVERS, "canopsis_tls": "no"}])
def test_nothing_of_it_unless_it_is_switched_on(role: str, template: str, off: dict[str, Any]) -> None:
    found = written(role, template, off)
    assert "etc/ssl" not in found
    assert "https" not in found


@pytest.mark.parametrize(("role", "template"), TEMPLATES)
def test_all_of_it_when_it_is_switched_on(role: str, template: str) -> None:
    found = written(role, template, ENCRYPTED)
    assert "/opt/canopsis/etc/ssl/" in found


@pytest.mark.parametrize("template", ["amqp.conf.j2", "storage.conf.j2"])
def test_services_trust_the_authority(template: str) -> None:
    master = sections("environment", template, ENCRYPTED)["master"]
    assert (master["tls"], master["ca_file"]) == ("true", CA)


@pytest.mark.parametrize("template", ["amqp.conf.j2", "storage.conf.j2"])
def test_somebody_elses_cluster_says_itself_whether_it_encrypts(template: str) -> None:
    own = {**THEIRS, "canopsis_tls": True}
    assert "ca_file" not in sections("environment", template, own)["master"]
    plain = {**own, "canopsis_amqp_url": "amqp://u:p@b1", "canopsis_mongodb_url": "mongodb://u:p@d1"}
    assert "tls" not in sections("environment", template, plain)["master"]


def test_mongod_refuses_who_does_not_encrypt() -> None:
    tls = yaml.safe_load(written("mongodb", "mongodb.conf.j2", ENCRYPTED))["net"]["tls"]
    assert tls["mode"] == "requireTLS"
    assert (tls["CAFile"], tls["certificateKeyFile"]) == (CA, "/opt/canopsis/etc/ssl/host-and-key.pem")
    assert tls["disabledProtocols"] == "TLS1_0,TLS1_1"


def test_the_broker_has_no_plain_listener() -> None:
    lines = written("rabbitmq", "rabbitmq.conf.j2", ENCRYPTED).splitlines()
    assert "listeners.tcp = none" in lines
    assert [line for line in lines if line.startswith("listeners.")] == [
        "listeners.tcp = none",
        "listeners.ssl.1 = 0.0.0.0:5672",
    ]
    assert {line.rpartition(" ")[2] for line in lines if line.startswith("ssl_options.versions")} == {
        "tlsv1.2",
        "tlsv1.3",
    }


def test_nodes_and_tools_encrypt_too() -> None:
    lines = written("rabbitmq", "rabbitmq-env.conf.j2", ENCRYPTED).splitlines()
    (node,) = (line for line in lines if line.startswith("SERVER_ADDITIONAL_ERL_ARGS"))
    (tools,) = (line for line in lines if line.startswith("CTL_ERL_ARGS"))
    assert "$DISTRIBUTION" in node
    assert "$DISTRIBUTION" in tools
    assert any("-proto_dist inet_tls" in line for line in lines)


def test_nodes_show_each_other_certificates() -> None:
    text = written("tls", "distribution.config.j2", {**ENCRYPTED, "inventory_dir": "/site"})
    terms = [line for line in text.splitlines() if not line.startswith("%")]
    assert "".join(terms).replace(" ", "") == (
        '[{server,[{cacertfile,"/opt/canopsis/etc/ssl/ca.pem"},{certfile,"/opt/canopsis/etc/ssl/host.pem"},'
        '{keyfile,"/opt/canopsis/etc/ssl/host.key"},{verify,verify_peer},{fail_if_no_peer_cert,true}]},'
        '{client,[{cacertfile,"/opt/canopsis/etc/ssl/ca.pem"},{certfile,"/opt/canopsis/etc/ssl/host.pem"},'
        '{keyfile,"/opt/canopsis/etc/ssl/host.key"},{verify,verify_peer}]}].'
    )


def test_the_api_is_called_over_https() -> None:
    assert sections("environment", "client.conf.j2", ENCRYPTED)["api"]["url"] == "https://n1:8082"
    assert "url=http://n1:8082" in written("environment", "client.conf.j2", SERVERS).splitlines()


def test_no_template_names_the_authoritys_key() -> None:
    assert not [path for path in tables.ROLES.rglob("*.j2") if "authority.pem" in path.read_text()]
