"""The role rabbitmq: a broker with its virtual host, users and rights, and no guest."""

from __future__ import annotations

import json
from typing import Any

import pytest
import site_hosts as site

CONTROL = f"{site.AS_USER} {site.PREFIX}/bin/rabbitmqctl --silent"


def control(host: Any, command: str) -> Any:
    """Return what rabbitmqctl says as JSON."""
    done = host.run(f"{CONTROL} {command} --formatter json")
    assert done.rc == 0, done.stderr
    return json.loads(done.stdout)


def test_the_users_are_ours(host: Any) -> None:
    users = {user["user"]: user["tags"] for user in control(host, "list_users")}
    assert users == {"admin": ["administrator"], "engines": [], "webserver": [], "collectd": []}


def test_each_service_may_do_what_it_needs(host: Any) -> None:
    rights = {each["user"]: each for each in control(host, "list_permissions -p canopsis")}
    assert rights["collectd"] == {"user": "collectd", "configure": "^$", "write": "^amq\\.topic$", "read": "^$"}
    assert rights["webserver"]["configure"] == rights["webserver"]["read"] == "^$"
    assert "amq\\.topic" not in rights["engines"]["write"]


@pytest.mark.parametrize("name", ["engines", "webserver", "collectd"])
def test_passwords_are_those_of_the_inventory(host: Any, place: site.Place, name: str) -> None:
    secret = place.variables[f"rabbitmq_{name}_password"]
    assert host.run(f"{CONTROL} authenticate_user {name} %s", secret).rc == 0
    assert host.run(f"{CONTROL} authenticate_user {name} %s", f"{secret}x").rc != 0


def test_its_management_listens_on_loopback_alone(host: Any) -> None:
    assert host.socket("tcp://127.0.0.1:15672").is_listening
    assert not host.socket("tcp://0.0.0.0:15672").is_listening
    assert host.socket("tcp://0.0.0.0:5672").is_listening


def test_the_cookie_is_its_own(host: Any) -> None:
    cookie = host.file(f"{site.PREFIX}/var/lib/rabbitmq/.erlang.cookie")
    assert (cookie.user, cookie.mode) == ("canopsis", 0o400)


def test_it_is_well(host: Any) -> None:
    assert site.programs(host) == {"rabbitmq-server": "RUNNING"}
    assert site.brokers(host) == {"rabbit@site1"}
    done = host.run(
        f"{site.AS_USER} {site.PREFIX}/opt/rabbitmq-server/current/sbin/rabbitmq-diagnostics -q check_local_alarms"
    )
    assert done.rc == 0, done.stdout + done.stderr
