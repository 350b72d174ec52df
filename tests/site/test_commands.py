"""The commands of an operator on a site that runs, twice in a row too."""

from __future__ import annotations

import json

import pytest
from local_site import LocalSite, eventually, status_of

from canopsis.ops.supervisor import RUNNING

SERVICES = ("mongodb", "rabbitmq-server", "collectd", "amqp2engines", "webserver")
PROGRAMS = {
    "amqp2engines": {"engine-cleaner", "engine-sender", "engine-worker"},
    **{name: {name} for name in SERVICES if name != "amqp2engines"},
}


def pids(site: LocalSite, service: str) -> dict[str, int]:
    return {name: program.pid for name, program in site.programs().items() if name in PROGRAMS[service]}


def test_hypcontrol_status_names_every_program(site: LocalSite) -> None:
    for _ in range(2):
        said = site.good("hypcontrol", "status")
        assert not [name for names in PROGRAMS.values() for name in names if name not in said], said


def test_hypcontrol_start_leaves_alone_what_runs(site: LocalSite) -> None:
    before = {name: program.pid for name, program in site.programs().items()}
    for _ in range(2):
        site.good("hypcontrol", "start")
    assert {name: program.pid for name, program in site.programs().items()} == before


def test_hypcontrol_stop_and_start_twice(site: LocalSite) -> None:
    for _ in range(2):
        site.good("hypcontrol", "stop")
    assert status_of(site.port, "/api/v1/healthz") == 0
    stopped = site.command("hypcontrol", "status")
    assert stopped.code == 1, stopped.text
    for _ in range(2):
        site.good("hypcontrol", "start")
    site.ready()
    assert site.command("hypcontrol", "status").code == 0


def test_hypcontrol_restart_twice(site: LocalSite) -> None:
    for _ in range(2):
        before = {service: pids(site, service) for service in SERVICES}
        site.good("hypcontrol", "restart")
        site.ready()
        for service in SERVICES:
            now = pids(site, service)
            assert now.keys() == before[service].keys() == PROGRAMS[service]
            assert not set(now.values()) & set(before[service].values()), f"{service} was not restarted"


@pytest.mark.parametrize("service", SERVICES)
def test_a_service_by_name_twice(site: LocalSite, service: str) -> None:
    for _ in range(2):
        site.good("service", service, "status")
    for _ in range(2):
        site.good("service", service, "stop")
    assert site.command("service", service, "status").code != 0
    for _ in range(2):
        site.good("service", service, "start")
    before = pids(site, service)
    for _ in range(2):
        site.good("service", service, "restart")
    assert not set(pids(site, service).values()) & set(before.values())
    assert all(site.programs()[name].state == RUNNING for name in PROGRAMS[service])
    site.ready()


def test_service_status_all(site: LocalSite) -> None:
    said = site.good("service", "--status-all")
    assert not [name for names in PROGRAMS.values() for name in names if name not in said], said


def test_an_unknown_service_is_a_usage_error_that_names_those_there_are(site: LocalSite) -> None:
    done = site.command("service", "mongdb", "status")
    assert done.code == 2
    assert "mongodb" in done.err


def test_the_status_of_the_site(site: LocalSite) -> None:
    site.ready()
    found = site.good_json("canopsis", "status", "--json")
    assert json.dumps(found).count("engine") > 0
    assert "webserver" in json.dumps(found)
    # Whoever was not heard of for ten seconds counts as gone: a busy disk can take as long.
    eventually(lambda: site.command("canopsis", "status").code == 0, 60, "the status is good")


def test_the_configuration_is_without_a_problem_and_shows_no_secret(site: LocalSite) -> None:
    site.good("canopsis", "config", "check")
    secrets = site.prefix.etc("secrets.yml").read_text()
    shown = site.good("canopsis", "config", "show")
    words = {word.strip("\"'") for word in secrets.split() if len(word) >= 16}
    assert words, "no secrets were found to look for"
    assert not [word for word in words if word in shown]


def test_secrets_are_for_their_owner(site: LocalSite) -> None:
    for name in ("secrets.yml", "client.conf"):
        assert site.prefix.etc(name).stat().st_mode & 0o077 == 0, name
    for name in ("amqp.conf", "storage.conf", "webserver.conf"):
        assert site.prefix.etc(name).stat().st_mode & 0o007 == 0, name


def test_d5_logs_are_not_for_everybody(site: LocalSite) -> None:
    files = [path for path in site.prefix.log.rglob("*") if path.is_file()]
    assert {"supervisord.log", "webserver.log", "webserver-access.log", "mongodb.log"} <= {path.name for path in files}
    assert [str(path) for path in files if path.stat().st_mode & 0o007] == []
    assert site.prefix.log.stat().st_mode & 0o007 == 0
