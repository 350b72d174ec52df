"""The role tls: an authority on the controller, a certificate on the host, and a server that shows it."""

from __future__ import annotations

from typing import Any

import pytest
import site_hosts as site

CERTIFICATES = f"{site.PREFIX}/etc/ssl"
HELLO = """
import sys
from pymongo import MongoClient
from pymongo.errors import ConnectionFailure
options = {'tls': True, 'tlsCAFile': sys.argv[1]} if sys.argv[1] else {}
client = MongoClient('site1', 27017, directConnection=True, serverSelectionTimeoutMS=3000, **options)
try:
    print('ok' if client.admin.command('hello')['ok'] else 'not ok')
except ConnectionFailure:
    print('refused')
"""


@pytest.mark.parametrize(
    ("name", "mode"), [("ca.pem", 0o644), ("host.pem", 0o644), ("host.key", 0o600), ("host-and-key.pem", 0o600)]
)
def test_only_its_user_reads_the_key(host: Any, name: str, mode: int) -> None:
    file = host.file(f"{CERTIFICATES}/{name}")
    assert (file.user, file.mode) == ("canopsis", mode)


def test_the_certificate_is_the_hosts_and_the_authoritys(host: Any) -> None:
    done = host.run(f"openssl verify -CAfile {CERTIFICATES}/ca.pem -verify_hostname site1 {CERTIFICATES}/host.pem")
    assert done.rc == 0, done.stdout + done.stderr


def test_the_key_of_the_authority_is_not_on_the_host(host: Any) -> None:
    assert "KEY" not in host.file(f"{CERTIFICATES}/ca.pem").content_string
    assert host.run(f"ls {CERTIFICATES}").stdout.split() == [
        "ca.pem",
        "distribution.config",
        "host-and-key.pem",
        "host.key",
        "host.pem",
    ]


@pytest.mark.parametrize(("authorities", "answer"), [(f"{CERTIFICATES}/ca.pem", "ok"), ("", "refused")])
def test_the_server_answers_encrypted_alone(host: Any, authorities: str, answer: str) -> None:
    done = host.run(f"{site.PYTHON} - %s <<'END'\n{HELLO}END\n", authorities)
    assert done.stdout.strip() == answer, done.stdout + done.stderr
