"""Whatever its shape, a deployed site is whole."""

from __future__ import annotations

from typing import Any

import site_hosts as site

MODES = {
    "etc/amqp.conf": 0o640,
    "etc/storage.conf": 0o640,
    "etc/webserver.conf": 0o640,
    "etc/client.conf": 0o600,
    "etc/collectd.conf": 0o640,
    "etc/mongodb.key": 0o400,
    "var/lib/rabbitmq/.erlang.cookie": 0o400,
    "var/run/supervisor.sock": 0o700,
}


def test_every_program_runs(host: Any) -> None:
    site.eventually(lambda: set(site.programs(host).values()), {"RUNNING"})


def test_the_api_is_well(host: Any, place: site.Place) -> None:
    site.eventually(lambda: site.health(host, place.name), "200" if place.has("webserver") else "")


def test_the_brokers_are_one_cluster(host: Any, place: site.Place) -> None:
    assert host.file(f"{site.PREFIX}/bin/rabbitmqctl").exists == place.has("rabbitmq")
    if place.has("rabbitmq"):
        site.eventually(lambda: site.broker_hosts(host), place.groups["rabbitmq"])


def test_the_databases_are_one_replica_set(host: Any, place: site.Place) -> None:
    assert host.file(f"{site.PREFIX}/etc/mongodb.conf").exists == place.has("mongodb")
    if place.has("mongodb"):
        password = place.variables["mongodb_admin_password"]
        wanted = ["PRIMARY"] + ["SECONDARY"] * (len(place.groups["mongodb"]) - 1)
        site.eventually(lambda: sorted(site.members(host, password).values()), wanted)


def test_what_holds_a_secret_is_for_its_user_alone(host: Any, place: site.Place) -> None:
    found = {name: host.file(f"{site.PREFIX}/{name}") for name in MODES}
    modes = {name: file.mode for name, file in found.items() if file.exists}
    assert modes == {name: MODES[name] for name in modes}
    assert {"etc/amqp.conf", "etc/storage.conf", "etc/client.conf", "var/run/supervisor.sock"} <= modes.keys()
    assert {found[name].user for name in modes} == {"canopsis"}
    secrets = site.secrets_of(place.variables)
    assert len(secrets) > 8
    assert site.readable_with(host, secrets) == []
