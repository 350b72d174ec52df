"""Three hosts that encrypt: nothing answers in the clear, the authority is replaced, TLS is switched off and on."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from functools import partial
from typing import Any

import plays
import pytest
import site_hosts as site
from posting import Posting

ALL = ("site1", "site2", "site3")
PORTS = {"API": 8082, "broker": 5672, "database": 27017}
RAW = "import socket; s = socket.create_connection(('site2', {port}), 10); s.sendall(b'{words}'); print(s.recv(5))"
CLEAR = {
    "API": RAW.format(port=8082, words="GET /api/v1/healthz HTTP/1.0\\r\\n\\r\\n"),
    "broker": RAW.format(port=5672, words="AMQP\\0\\0\\t\\1"),
    "database": "import pymongo; print(pymongo.MongoClient('site2', directConnection=True, "
    "serverSelectionTimeoutMS=3000).admin.command('hello'))",
}
"""What a client does that does not encrypt."""
OLD = "/tmp/authority-before.pem"  # noqa: S108  on a test host


def handshake(host: Any, name: str, port: int, authorities: str = site.AUTHORITIES) -> str:
    """Return what OpenSSL says of the certificate that ``port`` of the host ``name`` shows."""
    command = f"openssl s_client -connect {name}:{port} -verify_hostname {name} -CAfile {authorities} </dev/null"
    lines = str(host.run(command).stdout).splitlines()
    return next((line.partition(": ")[2] for line in lines if line.startswith("Verify return code")), "no handshake")


def certificates(hosts: dict[str, Any], name: str) -> dict[str, str]:
    """Return the digest of a file of certificates on each host."""
    return {host: hosts[host].file(f"{site.PREFIX}/etc/ssl/{name}").sha256sum for host in ALL}


@pytest.mark.parametrize("port", PORTS.values(), ids=PORTS)
def test_who_knows_the_authority_can_check_every_server(hosts: dict[str, Any], port: int) -> None:
    assert [handshake(hosts["site1"], name, port) for name in ALL] == ["0 (ok)"] * 3
    assert handshake(hosts["site1"], "site2", port, "/etc/ssl/certs/ca-certificates.crt") != "0 (ok)"


@pytest.mark.parametrize("server", CLEAR)
def test_nothing_answers_in_the_clear(hosts: dict[str, Any], server: str) -> None:
    done = hosts["site1"].run(f"timeout 20 {site.PYTHON} - <<'END'\n{CLEAR[server]}\nEND\n")
    # An alert of TLS (record type 21), an end, or an error: no answer.
    assert done.rc != 0 or done.stdout.startswith(("b''", "b'\\x15")), done.stdout


def test_an_event_goes_through_and_reaches_every_host(hosts: dict[str, Any]) -> None:
    site.send(hosts["site1"], 50, "encrypted")
    for name in ALL:
        site.eventually(lambda name=name: site.alarms(hosts[name], "encrypted"), 50)


def test_a_rebuilt_host_has_a_certificate_and_changes_nobody(hosts: dict[str, Any]) -> None:
    before = {name: site.fingerprint(hosts[name]) for name in ALL[1:]}
    authorities = certificates(hosts, "ca.pem")
    site.wipe(hosts["site1"], f"{site.PREFIX}/*")
    plays.succeed("site.yml")
    assert [site.difference(before[name], site.fingerprint(hosts[name])) for name in ALL[1:]] == [[], []]
    assert certificates(hosts, "ca.pem") == authorities
    assert handshake(hosts["site2"], "site1", PORTS["API"]) == "0 (ok)"


def test_a_step_too_early_is_refused(hosts: dict[str, Any]) -> None:
    assert "trust" in plays.refuse("site.yml", "-e", "tls_ca_step=sign")
    assert site.health(hosts["site1"], "site1") == "200"


def posted_meanwhile(hosts: dict[str, Any], key: str, run: str, work: Callable[[], object]) -> None:
    """Do the work while events are posted through all hosts in turn: none waits for a minute, each becomes visible."""
    posting = Posting(hosts["site1"], run, key, ALL, every=0.5)
    said = posting.during(work)
    sys.stdout.write(f"while {run}: {said}\n")
    assert said["sent"] > 0
    posting.becomes_visible(hosts["site2"], said["sent"])


@pytest.mark.parametrize("step", ["trust", "sign", "retire"])
def test_the_authority_is_replaced_in_steps(
    hosts: dict[str, Any], secrets: dict[str, Any], secret: str, step: str
) -> None:
    key = secrets["webserver_admin_authkey"]
    if step == "trust":
        assert hosts["site1"].run(f"cp {site.AUTHORITIES} {OLD}").rc == 0
    before = certificates(hosts, "host.pem")
    posted_meanwhile(hosts, key, step, lambda: plays.succeed("site.yml", "-e", f"tls_ca_step={step}"))
    changed = {name for name, digest in certificates(hosts, "host.pem").items() if digest != before[name]}
    assert changed == (set(ALL) if step == "sign" else set())
    for name in ALL:
        assert site.health(hosts[name], name) == "200"
        assert site.broker_hosts(hosts[name]) == set(ALL)
        assert sorted(site.members(hosts[name], secret).values()) == ["PRIMARY", "SECONDARY", "SECONDARY"]


@pytest.mark.parametrize("port", PORTS.values(), ids=PORTS)
def test_the_old_authority_is_trusted_no_longer(hosts: dict[str, Any], port: int) -> None:
    assert [handshake(hosts["site1"], name, port) for name in ALL] == ["0 (ok)"] * 3
    assert "0 (ok)" not in [handshake(hosts["site1"], name, port, OLD) for name in ALL]


def by_command(host: Any, path: str) -> int:
    """Return the total of a list as the site's own command sees it, whatever the API speaks."""
    return int(json.loads(site.as_user(host, f"{site.PREFIX}/bin/canopsis api GET '/api/v1/{path}'"))["total"])


@pytest.mark.parametrize(("wanted", "clear"), [("false", True), ("true", False)], ids=["off", "on again"])
def test_the_whole_site_is_switched_over(hosts: dict[str, Any], wanted: str, clear: bool) -> None:
    given = ("site.yml", "-e", f"canopsis_tls={wanted}")
    assert "site3 would no longer understand it" in plays.refuse(*given, "--limit", "site1,site2")
    plays.succeed(*given)
    answers = [
        hosts["site1"].run(f"{site.PYTHON} - <<'END'\n{CLEAR[name]}\nEND\n").stdout for name in ("API", "broker")
    ]
    assert [answer.startswith(("b'HTTP/'", "b'\\x01")) for answer in answers] == [clear, clear], answers
    site.send(hosts["site1"], 50, f"switched-{wanted}")
    for name in ALL:
        site.as_user(hosts[name], f"{site.PREFIX}/bin/canopsis status")
        total = partial(by_command, hosts[name])
        site.eventually(lambda total=total: total(f"alarms?search=switched-{wanted}&limit=0"), 50)
        assert total("alarms?search=encrypted&limit=0") == 50


def test_a_run_after_all_that_changes_nothing(hosts: dict[str, Any]) -> None:
    assert set(plays.changes(plays.succeed("site.yml")).values()) == {0}
    assert site.alarms(hosts["site3"], "encrypted") == 50
