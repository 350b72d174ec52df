"""What the roles write when brokers and databases are ours, and when URLs name somebody else's."""

from __future__ import annotations

import re
import subprocess
from configparser import ConfigParser
from pathlib import Path
from typing import Any

import pytest
import tables
from ansible.module_utils.canopsis_endpoint import one_line
from ansible.parsing.dataloader import DataLoader
from ansible.template import Templar, trust_as_template

from canopsis.ops import ini, model

AMQP = "amqps://site:am%40qp@b1:5671,b2:5671/their%2Fhost"
MONGODB = "mongodb://people:mongo@d1,d2:27018/alarms?replicaSet=theirs&authSource=staff&tls=true"
OWN: dict[str, Any] = {
    "groups": {"rabbitmq": ["n1", "n2"], "mongodb": ["n1", "n2"]},
    "group_names": ["engines", "webserver", "collectd"],
    "hostvars": {"n1": {}, "n2": {"canopsis_address": "10.0.0.2"}},
    "inventory_hostname": "n1",
    "ansible_facts": {"canopsis_host": {"nodename": "n1"}},
    "ansible_connection": "ssh",
    "playbook_dir": "/site/playbooks",
    "environment_releases": {},
    "collectd_fingerprint": "",
    **{
        f"{server}_{user}_password": f"{server}-{user}"
        for server in ("rabbitmq", "mongodb")
        for user in ("engines", "webserver")
    },
    "rabbitmq_collectd_password": "rabbitmq-collectd",
}
THEIRS = {**OWN, "groups": {}, "canopsis_amqp_url": AMQP, "canopsis_mongodb_url": MONGODB}
NO_PASSWORD = {**OWN, "groups": {}, "canopsis_amqp_url": "amqp://b1", "canopsis_mongodb_url": "mongodb://d1"}


def written(role: str, template: str, given: dict[str, Any]) -> str:
    """Return what a template of a role becomes with its defaults and the variables ``given``."""
    return rendered(role, (tables.ROLES / role / "templates" / template).read_text(), given)


def rendered(role: str, text: str, given: dict[str, Any]) -> str:
    """Return what ``text`` becomes with the defaults of a role and the variables ``given``."""
    loader = DataLoader()
    loader.set_basedir(str(tables.ROLES.parent))
    defaults = loader.load_from_file(str(tables.ROLES / role / "defaults" / "main.yml"), trusted_as_template=True)
    return str(Templar(loader, variables={**defaults, **given}).template(trust_as_template(text)))


def sections(role: str, template: str, given: dict[str, Any]) -> dict[str, dict[str, str]]:
    """Return the sections of a file."""
    parser = ConfigParser(interpolation=None)
    parser.read_string(written(role, template, given))
    return {name: dict(parser[name]) for name in parser.sections()}


AWKWARD = [
    'a"b',
    "a'b",
    "'ab'",
    '"ab"',
    "%(a)s%%",
    "${HOME}$x",
    "a;b#c",
    ";a",
    "#a",
    "a\\",
    "\\n\\",
    "a = b",
    "a  b",
    "[a]",
    "é",
]
"""Passwords with what one file or the other gives a meaning of its own."""


@pytest.mark.parametrize("password", AWKWARD)
def test_d6_awkward_passwords_are_read_back_as_they_are(tmp_path: Path, password: str) -> None:
    assert one_line(password)
    secrets = {name: password for name in OWN if name.endswith("_password")}
    for file in (model.AMQP, model.STORAGE):
        path = tmp_path / file.name
        path.write_text(written("environment", f"{file.name}.j2", {**OWN, **secrets}))
        found = ini.demand(ini.read(path, file, file.name)).section("engines", file.name)
        assert found["password"] == password


@pytest.mark.parametrize("password", AWKWARD)
def test_d6_collectd_reads_awkward_passwords_back(password: str) -> None:
    text = written("collectd", "collectd.conf.j2", {**OWN, "rabbitmq_collectd_password": password})
    (value,) = re.findall(r"(?m)^ *Password (.*)$", text)
    # What its scanner takes for a text in quotes, and how it takes the quotes away.
    assert re.fullmatch(r'"(?:[^"\\]|\\.)*"', value)
    assert re.sub(r"\\(.)", r"\1", value[1:-1]) == password


@pytest.mark.parametrize(("limit", "expected"), [(1000, "700"), (500, "500")])
def test_g9_the_open_files_of_the_broker_are_bounded(tmp_path: Path, limit: int, expected: str) -> None:
    given = {**OWN, "rabbitmq_open_files": limit if limit == 500 else 1000}
    path = tmp_path / "rabbitmq-env.conf"
    path.write_text(written("rabbitmq", "rabbitmq-env.conf.j2", given))
    script = f"ulimit -Sn 700; set -a; . {path}; ulimit -Sn"
    done = subprocess.run(["sh", "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == expected


def test_our_brokers_are_those_of_the_group() -> None:
    found = sections("environment", "amqp.conf.j2", OWN)
    assert found["master"] == {"hosts": "n1:5672,10.0.0.2:5672", "virtual_host": "canopsis"}
    assert found["engines"] == {"userid": "engines", "password": "rabbitmq-engines"}
    assert found["webserver"] == {"userid": "webserver", "password": "rabbitmq-webserver"}


def test_their_brokers_are_those_of_the_url() -> None:
    found = sections("environment", "amqp.conf.j2", THEIRS)
    assert found["master"] == {"hosts": "b1:5671,b2:5671", "virtual_host": "their/host", "tls": "true"}
    assert found["engines"] == found["webserver"] == {"userid": "site", "password": "am@qp"}


def test_our_database_is_that_of_the_group() -> None:
    found = sections("environment", "storage.conf.j2", OWN)
    expected = {"hosts": "n1:27017,10.0.0.2:27017", "replica_set": "canopsis", "database": "canopsis"}
    assert found["master"] == expected
    assert found["engines"] == {"username": "engines", "password": "mongodb-engines"}


def test_their_database_is_that_of_the_url() -> None:
    found = sections("environment", "storage.conf.j2", THEIRS)
    assert found["master"] == {
        "hosts": "d1:27017,d2:27018",
        "replica_set": "theirs",
        "database": "alarms",
        "tls": "true",
        "auth_source": "staff",
    }
    assert found["engines"] == found["webserver"] == {"username": "people", "password": "mongo"}


@pytest.mark.parametrize(
    ("template", "service"),
    [
        ("amqp.conf.j2", {"userid": "engines", "password": "rabbitmq-engines"}),
        ("storage.conf.j2", {"username": "engines", "password": "mongodb-engines"}),
    ],
)
def test_a_url_without_password_leaves_each_service_its_own(template: str, service: dict[str, str]) -> None:
    assert sections("environment", template, NO_PASSWORD)["engines"] == service


@pytest.mark.parametrize(
    ("given", "lines"),
    [
        (OWN, ['Host "n1"', 'Host "10.0.0.2"', 'Port "5672"', 'VHost "canopsis"', 'User "collectd"',
               'Password "rabbitmq-collectd"']),
        (THEIRS, ['Host "b1"', 'Host "b2"', 'Port "5671"', 'VHost "their/host"', 'User "site"', 'Password "am@qp"',
                  "TLSEnabled true"]),
        (NO_PASSWORD, ['Host "b1"', 'Port "5672"', 'User "collectd"', 'Password "rabbitmq-collectd"']),
    ],
)  # fmt: skip
def test_collectd_has_every_broker(given: dict[str, Any], lines: list[str]) -> None:
    text = written("collectd", "collectd.conf.j2", given)
    said = [line.strip() for line in text.splitlines()]
    assert [line for line in lines if line not in said] == []
    assert ("TLSEnabled true" in said) is ("TLSEnabled true" in lines)


def test_the_unit_runs_as_the_user_of_the_site() -> None:
    given = {**OWN, "canopsis_prefix": "/srv/site", "canopsis_user": "watcher", "supervisor_open_files": 65536}
    text = written("supervisor", "canopsis.service.j2", given)
    for line in ("User=watcher", "ExecStart=/srv/site/bin/hypcontrol start", "ExecStop=/srv/site/bin/hypcontrol stop"):
        assert line in text.splitlines()
    assert "LimitNOFILE=65536" in text


@pytest.mark.parametrize(
    ("own", "expected"),
    [
        (["engines"], {"backend": "", "middleware": "amqp2engines", "frontend": ""}),
        (["mongodb", "rabbitmq"], {"backend": "mongodb,rabbitmq-server", "middleware": "", "frontend": ""}),
        (["webserver", "collectd"], {"backend": "", "middleware": "collectd", "frontend": "webserver"}),
    ],
)
def test_hypcontrol_names_what_runs_on_the_host(own: list[str], expected: dict[str, str]) -> None:
    found = sections("environment", "hypcontrol.conf.j2", {**OWN, "group_names": own})
    assert {name: section["services"] for name, section in found.items()} == expected


def test_g4_every_host_finds_the_web_servers_its_own_first() -> None:
    key = {"webserver_admin_authkey": "key"}
    hosts = {"w1": {}, "w2": {"canopsis_address": "10.0.0.2"}, "e1": {}}
    site = OWN | key | {"groups": {"webserver": ["w1", "w2"], "engines": ["e1"]}, "hostvars": hosts}
    urls = {
        host: sections("environment", "client.conf.j2", site | {"inventory_hostname": host})["api"]["url"]
        for host in hosts
    }
    assert urls == {
        "w1": "http://w1:8082,http://10.0.0.2:8082",
        "w2": "http://10.0.0.2:8082,http://w1:8082",
        "e1": "http://w1:8082,http://10.0.0.2:8082",
    }


@pytest.mark.parametrize(
    ("own", "is_admin"),
    [
        (["webserver"], True),
        (["engines", "collectd"], True),
        (["mongodb"], True),
        (["rabbitmq", "collectd"], False),
        (["collectd"], False),
    ],
)
def test_g4_the_key_of_a_host_may_no_more_than_the_host(own: list[str], is_admin: bool) -> None:
    site = {"canopsis": ["w1", "e1", "d1", "b1"], "webserver": ["w1"], "engines": ["e1"], "mongodb": ["d1"]}
    given = OWN | {"groups": site, "hostvars": {"w1": {}}, "group_names": own, "webserver_admin_authkey": "key"}
    found = sections("environment", "client.conf.j2", given)["api"]["authkey"]
    operator = rendered("webserver", "{{ webserver_commands_authkey }}", given)
    assert found == ("key" if is_admin else operator)
    assert re.fullmatch("[0-9a-f]{64}", operator)
    assert (
        rendered("webserver", "{{ webserver_commands_authkey }}", given | {"groups": site | {"canopsis": ["w1"]}}) == ""
    )


OWN_TYPES = [{"name": name, "content": f"{name} value:GAUGE:0:U\n"} for name in ("ups", "switches")]


def test_e2_own_types_reach_collectd_and_its_gateway() -> None:
    given = OWN | {"collectd_types_db": OWN_TYPES, "canopsis_prefix": "/srv/site"}
    paths = [f"/srv/site/etc/types.db.d/{name}.db" for name in ("ups", "switches")]
    lines = written("collectd", "collectd.conf.j2", given).splitlines()
    assert [line for line in lines if line.startswith("TypesDB")][1:] == [f'TypesDB "{path}"' for path in paths]
    chain = {"engines_running": [{"name": "collectdgw", "next": ["alarm"]}, {"name": "alarm"}]}
    found = sections("engines", "amqp2engines.conf.j2", given | chain)
    assert [found[f"engine:{name}"].get("types_db") for name in ("collectdgw", "alarm")] == [",".join(paths), None]
    files = rendered("environment", "{{ environment_types_db | map(attribute='content') | join }}", given)
    assert files == "ups value:GAUGE:0:U\nswitches value:GAUGE:0:U\n"
    assert "types.db.d" not in written("collectd", "collectd.conf.j2", OWN)
    assert "types_db" not in written("engines", "amqp2engines.conf.j2", OWN | chain)


def test_e2_only_the_program_of_the_gateway_restarts_for_own_types() -> None:
    def fingerprint(name: str, types: list[dict[str, str]]) -> str:
        program = {"program": "engine-p", "process": "p", "instance": 1, "engines": [{"name": name}]}
        told = {"engines_program": program, "environment_fingerprints": {"engines": "f"}, "collectd_types_db": types}
        return written("engines", "program.conf.j2", OWN | told)

    assert fingerprint("alarm", []) == fingerprint("alarm", OWN_TYPES)
    assert fingerprint("collectdgw", []) != fingerprint("collectdgw", OWN_TYPES)
