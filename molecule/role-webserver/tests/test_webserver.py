"""The role webserver: an API for those whom it knows."""

from __future__ import annotations

from typing import Any

import pytest
import site_hosts as site

SCRIPT = """
import json, sys, urllib.error, urllib.request
path, headers, body = sys.argv[1], json.loads(sys.argv[2]), sys.argv[3].encode() or None
request = urllib.request.Request('http://127.0.0.1:8082/api/v1/' + path, data=body, headers=headers)
try:
    print(urllib.request.urlopen(request, timeout=10).status)
except urllib.error.HTTPError as error:
    print(error.code)
"""


def status(host: Any, path: str, key: str = "", body: str = "") -> int:
    """Return the status code of an answer to a request with ``key``; with a body it is a POST."""
    headers = f'{{"X-Canopsis-Authkey": "{key}"}}' if key else '{"Content-Type": "application/json"}'
    done = host.run(f"python3 - %s %s %s <<'END'\n{SCRIPT}END\n", path, headers, body)
    assert done.rc == 0, done.stderr
    return int(done.stdout)


def test_it_runs(host: Any) -> None:
    states = site.programs(host)
    assert states == {"mongodb": "RUNNING", "rabbitmq-server": "RUNNING", "webserver": "RUNNING"}


def test_it_is_alive_and_takes_no_event_before_engines_were_there(host: Any) -> None:
    assert (status(host, "healthz"), status(host, "readyz")) == (200, 503)


@pytest.mark.parametrize("path", ["alarms", "entities", "status", "me", "dead-letters"])
def test_only_who_has_the_key_sees_anything(host: Any, place: site.Place, path: str) -> None:
    key = place.variables["webserver_admin_authkey"]
    assert [status(host, path), status(host, path, f"{key}x"), status(host, path, key)] == [401, 401, 200]


def test_the_administrator_logs_in_with_his_password_alone(host: Any, place: site.Place) -> None:
    secret = place.variables["webserver_admin_login_password"]
    login = '{{"username": "admin", "password": "{}"}}'
    assert status(host, "login", body=login.format(secret)) == 200
    assert status(host, "login", body=login.format(f"{secret}x")) == 401


@pytest.mark.parametrize(("path", "mode"), [("webserver.conf", 0o640), ("client.conf", 0o600)])
def test_what_holds_secrets_only_its_user_reads(host: Any, path: str, mode: int) -> None:
    file = host.file(f"{site.PREFIX}/etc/{path}")
    assert (file.user, file.mode) == ("canopsis", mode)


def test_the_command_line_knows_the_api(host: Any) -> None:
    done = host.run(f"{site.AS_USER} {site.PREFIX}/bin/canopsis api GET /api/v1/me")
    assert done.rc == 0 and "admin" in done.stdout, done.stdout + done.stderr
