"""Whatever its shape, a deployed site is whole."""

from __future__ import annotations

from typing import Any

import site_hosts as site


def test_every_program_runs(host: Any) -> None:
    states = site.programs(host)
    assert states and set(states.values()) == {"RUNNING"}, states


def test_the_api_is_well(host: Any, place: site.Place) -> None:
    assert site.health(host, place.name) == ("200" if place.has("webserver") else "")


def test_the_brokers_are_one_cluster(host: Any, place: site.Place) -> None:
    assert host.file(f"{site.PREFIX}/bin/rabbitmqctl").exists == place.has("rabbitmq")
    if place.has("rabbitmq"):
        assert site.broker_hosts(host) == place.groups["rabbitmq"]


def test_the_databases_are_one_replica_set(host: Any, place: site.Place) -> None:
    assert host.file(f"{site.PREFIX}/etc/mongodb.conf").exists == place.has("mongodb")
    if place.has("mongodb"):
        states = site.members(host, place.variables["mongodb_admin_password"])
        assert sorted(states.values()) == ["PRIMARY"] + ["SECONDARY"] * (len(place.groups["mongodb"]) - 1)
