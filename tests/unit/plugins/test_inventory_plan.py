"""Inventories: the samples pass, and each broken variant is told by its own message."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible.module_utils.canopsis_inventory import BROUGHT_MONGODB, PORTS, Inventory, check, is_ours, options_of
from ansible.module_utils.canopsis_values import Option, is_address

from canopsis.api.settings import PROVIDERS

ROOT = Path(__file__).resolve().parents[3]
TIERS = ("mongodb", "rabbitmq", "engines", "webserver", "collectd")
SPECS = {
    "argument_specs": {
        "main": {
            "options": {
                "webserver_debug": {"type": "bool"},
                "webserver_workers": {"type": "int"},
                "webserver_providers": {"type": "list"},
                "webserver_services": {"type": "dict"},
                "mongodb_cache_gb": {"type": "float"},
                "mongodb_data_path": {"type": "path"},
                "mongodb_port": {"type": "int"},
                "mongodb_source": {"type": "str", "choices": ["wheel", "archive", "system"]},
                "mongodb_keyfile": {"type": "str", "no_log": True},
                "rabbitmq_epmd_port": {"type": "int"},
                "rabbitmq_nodename": {"type": "str"},
                "rabbitmq_ha_mode": {"type": "str", "choices": ["quorum", "classic"]},
                "engines_chain": {"type": "list"},
                "engines_own": {"type": "list"},
            }
        }
    }
}
OPTIONS = options_of([SPECS])
CHAIN = [{"name": "cleaner", "process": "cleaner", "next": ["alarm"]}, {"name": "alarm", "instances": 2}]
LOCAL = ["localhost"]
SMALL = ["n1", "n2", "n3"]
LARGE = {
    "mongodb": ["d1", "d2", "d3"],
    "rabbitmq": ["b1", "b2", "b3"],
    "engines": ["e1", "e2"],
    "webserver": ["w1", "w2"],
    "collectd": ["d1", "d2", "d3", "b1", "b2", "b3", "e1", "e2", "w1", "w2"],
}


def inventory(
    tiers: Mapping[str, list[str]],
    every: Mapping[str, Any] | None = None,
    one: Mapping[str, Mapping[str, Any]] | None = None,
    even: bool = False,
    **groups: list[str],
) -> Inventory:
    """Return an inventory: ``every`` are variables of all hosts, ``one`` of some, ``groups`` further groups.

    Its MongoDB is the host's own: that which comes along is warned of.
    """
    hosts = sorted({host for members in tiers.values() for host in members})
    variables = {host: {"mongodb_source": "system", **(every or {}), **(one or {}).get(host, {})} for host in hosts}
    return Inventory({"canopsis": hosts, **tiers, **groups}, variables, OPTIONS, even=even, chain=CHAIN)


def all_on(hosts: list[str], **variables: Any) -> Inventory:
    """Return an inventory with every tier on ``hosts`` and ``variables`` for all."""
    return inventory(dict.fromkeys(TIERS, hosts), variables)


def without(*tiers: str, **variables: Any) -> Inventory:
    """Return the small inventory without some tiers."""
    return inventory({tier: SMALL for tier in TIERS if tier not in tiers}, variables)


@pytest.mark.parametrize(
    "good",
    [
        all_on(LOCAL, canopsis_address="127.0.0.1"),
        all_on(["192.0.2.11"]),
        all_on(["192.0.2.11", "198.51.100.12", "203.0.113.13"]),
        all_on(SMALL),
        inventory(LARGE),
        all_on(SMALL, engines_chain=[*CHAIN, {"name": "ours", "process": "ours"}], engines_own=["ours"]),
        all_on(SMALL, webserver_debug="true", webserver_workers="3", mongodb_cache_gb=1, engines_chain=CHAIN),
        inventory(dict.fromkeys(TIERS, SMALL), rack1=["n1"], bookworm=SMALL),
        without("rabbitmq", canopsis_amqp_url="amqp://b1,b2/canopsis"),
        without("mongodb", canopsis_mongodb_url="mongodb://d1/canopsis"),
        without("mongodb", "engines", "webserver"),
        without("webserver"),
        all_on(LOCAL, canopsis_listen="127.0.0.1", ansible_connection="local", mongodb_port=27017),
        all_on(SMALL, canopsis_listen="127.0.0.1,10.0.0.1", mongodb_port="27018", canopsis_mongodb_port=27018),
        inventory(LARGE, {"canopsis_web_port": 5672}),
        inventory({key: ["a", "b"] for key in TIERS}, even=True),
    ],
)
def test_sound_inventories_pass(good: Inventory) -> None:
    assert check(good) == []


@pytest.mark.parametrize(
    "site",
    [
        all_on(SMALL, mongodb_source="wheel"),
        inventory(LARGE, one={"d2": {"mongodb_source": "wheel"}}),
        inventory({**LARGE, "mongodb": ["d1"]}, {"mongodb_source": "wheel"}),
    ],
)
def test_f9_several_hosts_on_a_mongodb_that_gets_no_more_updates_are_warned(site: Inventory) -> None:
    (finding,) = check(site)
    assert (finding.level, finding.variable) == ("warning", "mongodb_source")
    assert finding.found == "6.0.5, which comes with Canopsis: no security updates since July 2025"


@pytest.mark.parametrize(
    "site",
    [
        all_on(["n1"], mongodb_source="wheel"),
        all_on(SMALL, mongodb_source="archive", mongodb_archive="/srv/mongodb-linux-x86_64-debian12-8.0.4.tgz"),
        without("mongodb", canopsis_mongodb_url="mongodb://d1/canopsis", mongodb_source="wheel"),
    ],
)
def test_f9_a_trial_and_a_mongodb_of_one_s_own_are_not_warned(site: Inventory) -> None:
    assert [finding for finding in check(site) if finding.check == "version of mongodb"] == []


def test_f9_the_version_that_is_warned_of_is_the_one_that_is_brought() -> None:
    assert f"\nVERSION={BROUGHT_MONGODB}\n" in (ROOT / "packages/mongodb/control").read_text()


BROKEN = [
    ("unknown group", inventory(dict.fromkeys(TIERS, SMALL), engine=["n1"]), "unknown group engine", "engines?"),
    ("old group", inventory(dict.fromkeys(TIERS, SMALL), api=["n1"]), "unknown group api", "webserver?"),
    ("no tier", Inventory({"canopsis": ["n1"]}, {"n1": {}}, OPTIONS), "in canopsis and in no tier", "one of mongodb"),
    ("outside", Inventory({"mongodb": ["n1"]}, {"n1": {}}, OPTIONS), "in a tier and not in canopsis", "children"),
    (
        "twice",
        inventory(
            dict.fromkeys(TIERS, SMALL), one={"n1": {"ansible_host": "10.0.0.9"}, "n2": {"ansible_host": "10.0.0.9"}}
        ),
        "10.0.0.9, as n2",
        "an address of its own",
    ),
    (
        "loopback",
        inventory(dict.fromkeys(TIERS, SMALL), one={"n1": {"canopsis_address": "127.0.0.1"}}),
        "127.0.0.1",
        "an address that other hosts reach",
    ),
    ("text for bool", all_on(SMALL, webserver_debug="maybe"), "'maybe'", "true or false"),
    ("text for number", all_on(SMALL, webserver_workers="many"), "'many'", "a whole number"),
    ("fraction for number", all_on(SMALL, webserver_workers=1.5), "1.5", "a whole number"),
    ("bool for fraction", all_on(SMALL, mongodb_cache_gb=True), "True", "a number"),
    ("text for list", all_on(SMALL, webserver_providers="local"), "'local'", "a list"),
    ("list for dictionary", all_on(SMALL, webserver_services=["events"]), "['events']", "a dictionary"),
    ("list for text", all_on(SMALL, canopsis_user=["a"]), "['a']", "a text"),
    ("port too high", all_on(SMALL, canopsis_web_port=70000), "70000", "a port from 1024 to 65535"),
    ("port of root", all_on(SMALL, canopsis_web_port=80), "80", "nothing runs as root"),
    ("choice", all_on(SMALL, rabbitmq_ha_mode="mirrored"), "'mirrored'", "one of quorum, classic"),
    ("relative prefix", all_on(SMALL, canopsis_prefix="opt/canopsis"), "'opt/canopsis'", "an absolute path"),
    ("no folder", all_on(SMALL, mongodb_data_path="/"), "'/'", "an absolute path"),
    ("root", all_on(SMALL, canopsis_user="root"), "root", "an ordinary user"),
    ("one port twice", all_on(LOCAL, canopsis_web_port=9000, canopsis_amqp_port=9000), "9000 for", "a port each"),
    ("no engines", without("engines"), "webserver without engines", "a host in group engines"),
    ("no brokers", without("rabbitmq"), "no rabbitmq, which engines", "or canopsis_amqp_url"),
    ("no database", without("mongodb"), "no mongodb, which engines", "or canopsis_mongodb_url"),
    ("both", all_on(SMALL, canopsis_amqp_url="amqp://b1"), "hosts in group rabbitmq and canopsis_amqp_url", "one of"),
    ("bad URL", without("rabbitmq", canopsis_amqp_url="b1:5672"), "it begins otherwise", "amqp://host:port"),
    (
        "ports of brokers",
        without("rabbitmq", canopsis_amqp_url="amqp://b1:5672,b2:5673"),
        "5672, 5673",
        "one port for all brokers",
    ),
    ("a pair", all_on(["a", "b"]), "2", "an odd number"),
    ("unknown variable", all_on(SMALL, webserver_worker=3), "unknown variable webserver_worker", "webserver_workers?"),
    (
        "differs",
        inventory(dict.fromkeys(TIERS, SMALL), {"canopsis_amqp_port": 5672}, {"n3": {"canopsis_amqp_port": 5673}}),
        "differs between n1, n2 / n3",
        "one value for all hosts",
    ),
    (
        "secret differs",
        inventory(dict.fromkeys(TIERS, SMALL), {"mongodb_keyfile": "a" * 9}, {"n3": {"mongodb_keyfile": "b" * 9}}),
        "differs between n1, n2 / n3",
        "one value for all hosts",
    ),
    (
        "one node name",
        all_on(["n1.a", "n1.b", "n1.c"]),
        "n1, as another broker's",
        "its own",
    ),
    ("no such engine", all_on(SMALL, engines_chain=[{"name": "alarm", "next": ["alrm"]}]), "followed by alrm", "alarm"),
    (
        "engine twice",
        all_on(SMALL, engines_chain=[{"name": "alarm"}, {"name": "alarm"}]),
        "alarm stands 2 times",
        "once",
    ),
    (
        "no instances",
        all_on(SMALL, engines_chain=[{"name": "alarm", "instances": 0}]),
        "instances of alarm: 0",
        "from 1",
    ),
    (
        "cannot be computed",
        Inventory(
            {key: ["a"] for key in ("canopsis", *TIERS)}, {"a": {}}, OPTIONS, {"a": {"canopsis_user": "no file"}}
        ),
        "cannot be computed: no file",
        "a value",
    ),
]


@pytest.mark.parametrize(("broken", "found", "needed"), [case[1:] for case in BROKEN], ids=[case[0] for case in BROKEN])
def test_each_broken_inventory_is_told_by_its_own_message(broken: Inventory, found: str, needed: str) -> None:
    messages = [(each.found, each.needed) for each in check(broken) if each.level == "error"]
    assert messages
    assert any(found in said and needed in wanted for said, wanted in messages), messages


def test_no_two_variants_have_the_same_message() -> None:
    messages = [frozenset((each.found, each.needed) for each in check(case[1])) for case in BROKEN]
    # The value that differs may be a secret: nothing but the variable tells the two apart.
    assert len(set(messages)) == len(BROKEN) - 1


def test_secrets_are_not_shown() -> None:
    findings = check(all_on(SMALL, mongodb_keyfile=["hidden"]))
    assert findings
    assert not [each for each in findings if "hidden" in each.found]


def test_four_members_only_warn() -> None:
    levels = {each.level for each in check(all_on(["a", "b", "c", "d"]))}
    assert levels == {"warning"}


def test_a_variable_far_from_all_of_ours_only_warns() -> None:
    (finding,) = check(all_on(LOCAL, webserver_zzzzzzzzzzzz=1))
    assert finding.level == "warning"
    assert finding.variable == "webserver_zzzzzzzzzzzz"


@pytest.mark.parametrize(
    ("text", "does"),
    [
        *((address, True) for address in ("n1", "n1.lan.", "10.0.0.1", "db_1")),
        *((text, False) for text in ("10.0.0.256", "10.1", "n1:27017", "http://n1", "fd00::1", "", "-n1", "a b")),
    ],
)
def test_what_an_address_is(text: str, does: bool) -> None:
    assert is_address(text) is does


@pytest.mark.parametrize(
    ("name", "ours"),
    [("webserver_x", True), ("canopsis_x", True), ("webservr_workers", True), ("ansible_host", False), ("ntp", False)],
)
def test_which_variables_are_looked_at(name: str, ours: bool) -> None:
    assert is_ours(name, OPTIONS) is ours


def test_the_ports_are_those_of_the_role() -> None:
    defaults = (ROOT / "roles/preflight/defaults/main.yml").read_text()
    said = {name: int(port) for name, port in re.findall(r"'(\w+_port)': \w+ \| default\((\d+)\)", defaults)}
    assert said == {name: port for ports in PORTS.values() for name, port in ports.items()}


def test_providers_are_those_there_are() -> None:
    options = options_of(yaml.safe_load(path.read_text()) for path in ROOT.glob("roles/*/meta/argument_specs.yml"))
    assert options["webserver_providers"].choices == PROVIDERS


def test_options_come_from_the_specs() -> None:
    assert OPTIONS["rabbitmq_ha_mode"] == Option("str", ("quorum", "classic"))
    assert OPTIONS["mongodb_keyfile"].secret
