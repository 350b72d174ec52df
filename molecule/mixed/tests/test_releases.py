"""Hosts of two Debian releases are one site, but their brokers are not one cluster."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import plays
import pytest
import site_hosts as site

TWO_RELEASES = Path(__file__).resolve().parents[1] / "two-releases"


def release(host: Any) -> str:
    """Return the number of a host's Debian release."""
    return str(host.file("/etc/os-release").content_string.partition('VERSION_ID="')[2].partition('"')[0])


def test_the_hosts_are_of_two_releases(host: Any, place: site.Place) -> None:
    assert release(host) == {"trixie": "13"}.get(place.variables.get("test_release", ""), "12")


def test_every_database_is_of_one_version(host: Any, place: site.Place) -> None:
    said = host.run(f"{site.PREFIX}/opt/mongodb/current/bin/mongod --version").stdout
    assert ("db version v6.0" in said) == place.has("mongodb")


@pytest.fixture(scope="module")
def refusal() -> str:
    """Return what site.yml says when the host of the newer release becomes a broker too."""
    done = plays.play("site.yml", "-i", str(TWO_RELEASES), "-e", "preflight_even_members=true")
    assert done.returncode != 0, done.stdout
    return done.stdout + done.stderr


def test_a_broker_of_another_release_is_refused_before_any_change(host: Any, place: site.Place, refusal: str) -> None:
    assert "Nothing was changed." in refusal, refusal
    assert f"{'4.0' if release(host) == '13' else '3.10'} on {place.name}" in refusal, refusal
    assert "take site4 out of the group, or have RabbitMQ 3.10 there" in refusal
    assert "group rabbitmq" in refusal
    assert re.search(r"changed=[1-9]", refusal) is None
    assert place.has("rabbitmq") == host.file(f"{site.PREFIX}/etc/rabbitmq").exists
