"""The filters that inventories, roles and templates use."""

from __future__ import annotations

import os
import pwd
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from ansible.errors import AnsibleFilterError
from jinja2 import Undefined

Filters = dict[str, Callable[..., Any]]

CHAIN: list[dict[str, Any]] = [
    {"name": "cleaner_events", "process": "cleaner", "next": ["alarm"]},
    {"name": "alarm", "instances": 3},
    {"name": "perfdata"},
    {"name": "dead_letters", "process": "cleaner"},
]


def test_engine_programs_follow_the_chain(filters: Filters) -> None:
    programs = filters["canopsis_engine_programs"](CHAIN)
    assert [(p["program"], p["process"], p["instance"]) for p in programs] == [
        ("engine-cleaner", "cleaner", 1),
        ("engine-worker", "worker", 1),
        ("engine-worker-2", "worker", 2),
        ("engine-worker-3", "worker", 3),
    ]
    assert [e["name"] for e in programs[0]["engines"]] == ["cleaner_events", "dead_letters"]


def test_g11_instances_alone_make_programs(filters: Filters) -> None:
    programs = filters["canopsis_engine_programs"](filters["canopsis_chain"](CHAIN, {"cleaner": 2, "worker": 1}, {}))
    assert [p["program"] for p in programs] == ["engine-cleaner", "engine-cleaner-2", "engine-worker"]


def test_g5_a_host_known_by_its_address_names_its_broker_by_it(filters: Filters) -> None:
    hosts = ["192.0.2.11", "198.51.100.12", "203.0.113.13"]
    assert filters["canopsis_nodes"](hosts, {host: {} for host in hosts}) == [f"rabbit@{host}" for host in hosts]
    assert filters["canopsis_nodes"](["192.0.2.11"], {"192.0.2.11": {"canopsis_address": "b1"}}) == ["rabbit@b1"]


def test_no_engines_no_programs(filters: Filters) -> None:
    assert filters["canopsis_engine_programs"]([]) == []


@pytest.mark.parametrize(
    ("known", "address"),
    [
        ({}, "n1:27017"),
        ({"ansible_host": "10.0.0.1"}, "10.0.0.1:27017"),
        ({"ansible_host": "10.0.0.1", "canopsis_address": "192.0.2.7"}, "192.0.2.7:27017"),
        ({"canopsis_address": ""}, "n1:27017"),
    ],
)
def test_members_are_known_by_their_address(filters: Filters, known: dict[str, str], address: str) -> None:
    assert filters["canopsis_members"](["n1"], {"n1": known}, 27017) == [address]


@pytest.mark.parametrize(
    ("known", "variables"),
    [
        ({"rabbitmq_collectd_password": "x", "mongodb_keyfile": "y"}, []),
        ({"rabbitmq_collectd_password": ""}, ["mongodb_keyfile", "rabbitmq_collectd_password"]),
        ({"rabbitmq_collectd_password": None, "mongodb_keyfile": "y"}, ["rabbitmq_collectd_password"]),
        ({"mongodb_keyfile": Undefined()}, ["mongodb_keyfile", "rabbitmq_collectd_password"]),
        ({}, ["mongodb_keyfile", "rabbitmq_collectd_password"]),
    ],
)
def test_all_missing_secrets_are_found_at_once(filters: Filters, known: dict[str, Any], variables: list[str]) -> None:
    rows = filters["canopsis_secret_findings"]("n1", ["rabbitmq_collectd_password", "mongodb_keyfile"], known)
    assert [row["variable"] for row in rows] == variables


@pytest.mark.parametrize(
    ("urls", "names"),
    [
        (("", ""), ["mongodb_engines_password", "rabbitmq_engines_password"]),
        (("amqp://b", "mongodb://d"), ["mongodb_engines_password", "rabbitmq_engines_password"]),
        (("amqp://u:p@b", ""), ["mongodb_engines_password"]),
        (("amqp://u:p@b", "mongodb://u:p@d"), []),
    ],
)
def test_a_url_with_a_password_needs_no_other(filters: Filters, urls: tuple[str, str], names: list[str]) -> None:
    assert filters["canopsis_secret_names"](["engines"], *urls) == names


def test_names_are_addresses_and_hosts_of_node_names(filters: Filters) -> None:
    hostvars = {"a.example": {}, "b": {"canopsis_address": "10.0.0.2", "rabbitmq_nodename": "rabbit@bee"}}
    groups = {"canopsis": ["a.example", "b"], "rabbitmq": ["a.example", "b"]}
    assert filters["canopsis_names"](groups, hostvars) == ["10.0.0.2", "a", "a.example", "bee"]


def test_what_a_host_saw_gets_the_offset_of_its_clock(filters: Filters) -> None:
    seen = {"names": {"a": ["10.0.0.1"]}, "asked_at": 100.0, "clock": 90.0, "system": "debian 12", "broker": ""}
    seen |= {"hostname": "a", "nodes": ["rabbit@a"], "known": []}
    assert filters["canopsis_seen"](seen, 101.0) == {
        "names": {"a": ("10.0.0.1",)}, "offset": 10.0, "system": "debian 12", "broker": "",
        "hostname": "a", "nodes": ("rabbit@a",), "known": (),
    }  # fmt: skip


def test_hosts_are_held_against_each_other(filters: Filters) -> None:
    hostvars = {
        name: {"preflight_seen": {"names": {}, "offset": 0.0, "system": "debian 13", "broker": "4.0"}} for name in "ab"
    }
    limits = {"clock_seconds": 5, "systems": ["debian 13"], "ha_mode": "classic"}
    rows = filters["canopsis_host_findings"](["a", "b"], hostvars, limits)
    assert [(row["host"], row["variable"]) for row in rows] == [("a", "rabbitmq_ha_mode"), ("b", "rabbitmq_ha_mode")]


def test_g7_names_of_the_inventory_are_held_against_those_of_the_running_site(filters: Filters) -> None:
    seen = {"names": {"Canopsis1": ["127.0.1.1"]}, "nodes": ("rabbit@canopsis1",), "known": ("canopsis1",)}
    hostvars = {"Canopsis1": {"preflight_seen": seen, "canopsis_listen": "192.0.2.11"}, "away": {"preflight_seen": {}}}
    limits = {"clock_seconds": 5, "systems": [], "ha_mode": "quorum", "brokers": ["Canopsis1", "away"]}
    rows = filters["canopsis_host_findings"](list(hostvars), hostvars, limits | {"servers": ["Canopsis1"]})
    assert [(row["check"], row["variable"]) for row in rows] == [
        ("name Canopsis1", "canopsis_listen or /etc/hosts"),
        ("node name", "rabbitmq_nodename, or the name of the host"),
        ("name", "name of the host"),
    ]


def test_g2_a_host_that_cannot_be_reached_is_a_finding_like_others(filters: Filters) -> None:
    found = {"host": "b", "level": "error"}
    assert filters["canopsis_reach_findings"]({"findings": [found]}, "b", {}) == [found]
    (row,) = filters["canopsis_reach_findings"]({"unreachable": True, "msg": "timed out"}, "b", {})
    assert (row["host"], row["level"], row["variable"]) == ("b", "error", "ansible_host")


def test_the_variables_that_a_run_makes_are_no_mistakes_of_the_inventory(filters: Filters) -> None:
    hostvars = {"a": {"preflight_seen": {}, "preflight_disk_gp": 2, "unused": 1}}
    tiers = {key: ["a"] for key in ("canopsis", "mongodb", "rabbitmq", "engines")}
    rows = filters["canopsis_inventory_findings"](tiers, hostvars, False)
    assert [(row["variable"], row["needed"]) for row in rows] == [
        ("preflight_disk_gp", "did you mean preflight_disk_gb?")
    ]


def test_a_bundle_that_is_not_on_the_controller_is_told_before_anything_changes(
    filters: Filters, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "good.tar").touch()
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    bundles = {"a": f"{tmp_path}/good.tar", "b": "~/good.tar", "c": "", "d": f"{tmp_path}/bad.tar", "e": "good.tar"}
    tiers = {key: list(bundles) for key in ("canopsis", "engines")}
    hostvars = {host: {"canopsis_bundle": path} for host, path in bundles.items()}
    rows = filters["canopsis_inventory_findings"](tiers, hostvars, False)
    assert [(row["host"], row["found"], row["level"]) for row in rows if row["variable"] == "canopsis_bundle"] == [
        ("d", f"no file {tmp_path}/bad.tar", "error"),
        ("e", "no file good.tar", "error"),
    ]


def test_a_folder_of_own_packages_that_is_not_on_the_controller_is_told(filters: Filters, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    folders = {"a": str(tmp_path), "b": "", "c": f"{tmp_path}/file", "d": "wheels"}
    hostvars = {host: {"environment_own_packages": path} for host, path in folders.items()}
    rows = filters["canopsis_inventory_findings"]({"canopsis": list(folders)}, hostvars, False)
    told = [(row["host"], row["found"]) for row in rows if row["variable"] == "environment_own_packages"]
    assert told == [("c", f"no folder {tmp_path}/file"), ("d", "no folder wheels")]


def test_a_bad_url_is_told_by_its_variable(filters: Filters) -> None:
    with pytest.raises(AnsibleFilterError, match="canopsis_amqp_url begins otherwise than allowed: amqp://"):
        filters["canopsis_endpoint"]("http://x", "amqp")


def test_findings_of_all_hosts_come_together(filters: Filters) -> None:
    hostvars = {"a": {"preflight_findings": [{"host": "a"}]}, "b": {}, "c": {"preflight_findings": [{"host": "c"}]}}
    assert filters["canopsis_findings_of"](["a", "b", "c"], hostvars) == [{"host": "a"}, {"host": "c"}]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("  current   mongodb 6.0.5-ab\n  installed erlang 25.2\n  fetched   x 1 (2 s)\n",
         {"mongodb": "6.0.5-ab", "erlang": "25.2"}),
        ("", {}),
        ('[{"name":"mongodb","installed":true,"version":"6"},{"name":"erlang","installed":false,"version":""}]',
         {"mongodb": "6"}),
    ],
)  # fmt: skip
def test_releases_are_read_from_the_build_system(filters: Filters, text: str, expected: dict[str, str]) -> None:
    assert filters["canopsis_releases"](text) == expected


@pytest.mark.parametrize("uid", [0, os.geteuid()])
def test_a_local_site_never_runs_as_root(filters: Filters, monkeypatch: pytest.MonkeyPatch, uid: int) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: uid)
    expected = "canopsis" if uid == 0 else pwd.getpwuid(uid).pw_name
    assert filters["canopsis_site_user"]("canopsis") == expected


@pytest.mark.parametrize(
    ("host", "known", "names"),
    [
        ("n1", {}, ["n1", "localhost", "127.0.0.1"]),
        ("n1.example.com", {}, ["n1.example.com", "n1", "localhost", "127.0.0.1"]),
        ("n1", {"ansible_host": "10.0.0.1"}, ["10.0.0.1", "n1", "localhost", "127.0.0.1"]),
        (
            "n1",
            {"canopsis_address": "N1.Example.com", "ansible_host": "10.0.0.1"},
            ["n1.example.com", "n1", "10.0.0.1", "localhost", "127.0.0.1"],
        ),
        ("n1", {"rabbitmq_nodename": "rabbit@b1"}, ["n1", "localhost", "127.0.0.1", "b1"]),
        ("n1", {"tls_names": ["lb", "n1"]}, ["n1", "localhost", "127.0.0.1", "lb"]),
    ],
)
def test_a_certificate_names_all_that_anybody_calls_its_host(
    filters: Filters, host: str, known: dict[str, Any], names: list[str]
) -> None:
    assert filters["canopsis_certificate_names"]([host], {host: known}) == {host: names}


@pytest.mark.parametrize(
    ("known", "files"),
    [
        ({}, {}),
        ({"tls_certificate": "", "tls_key": None}, {}),
        ({"tls_certificate": "/c.pem"}, {"n1": {"certificate": "/c.pem", "key": ""}}),
        ({"tls_certificate": "/c.pem", "tls_key": "/k"}, {"n1": {"certificate": "/c.pem", "key": "/k"}}),
    ],
)
def test_given_certificates(filters: Filters, known: dict[str, Any], files: dict[str, Any]) -> None:
    assert filters["canopsis_certificate_files"](["n1"], {"n1": known}) == files


def test_parts_of_a_pem_file(filters: Filters, tmp_path: Path) -> None:
    key, certificate = (
        f"-----BEGIN {kind}-----\nQQ==\n-----END {kind}-----\n" for kind in ("PRIVATE KEY", "CERTIFICATE")
    )
    path = tmp_path / "n1.pem"
    path.write_text(certificate + key)
    assert filters["canopsis_pem"](str(path), "key") == key
    assert filters["canopsis_pem"](str(path), "certificates") == certificate


def test_a_pem_file_that_check_mode_did_not_make_is_empty(filters: Filters, tmp_path: Path) -> None:
    assert filters["canopsis_pem"](str(tmp_path / "none.pem"), "key") == ""
