"""Secrets are made once, kept for ever and never shown."""

from __future__ import annotations

import base64
import string
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import yaml
from ansible.module_utils.canopsis_secrets import KINDS, SECRETS, complete, missing, names_for, parse, render

NAMES = {"mongodb_keyfile": "keyfile", "rabbitmq_erlang_cookie": "cookie", "webserver_admin_authkey": "password"}


def zeros(count: int) -> bytes:
    """Return the least random bytes."""
    return bytes(count)


def test_only_missing_ones_are_made() -> None:
    secrets = complete({"mongodb_keyfile": "old"}, NAMES, zeros)
    assert secrets["mongodb_keyfile"] == "old"
    assert set(secrets) == set(NAMES)


@pytest.mark.parametrize(("value", "expected"), [("", ["a"]), ("x", [])])
def test_an_empty_value_is_missing(value: str, expected: list[str]) -> None:
    assert missing({"a": value}, {"a": "password"}) == expected


def test_an_unknown_kind_is_refused() -> None:
    with pytest.raises(ValueError, match="'token' is refused; allowed: password, keyfile, cookie"):
        complete({}, {"a": "token"}, zeros)


def test_what_is_not_asked_for_is_kept() -> None:
    assert complete({"of_mine": "x"}, {}, zeros) == {"of_mine": "x"}


@pytest.mark.parametrize(
    ("kind", "letters", "least", "most"),
    [
        ("password", string.ascii_letters + string.digits + "-_=", 32, 64),
        ("keyfile", string.ascii_letters + string.digits + "+/=", 6, 1024),
        ("cookie", string.ascii_uppercase + string.digits, 20, 255),
    ],
)
def test_kinds_fit_the_servers(kind: str, letters: str, least: int, most: int) -> None:
    for fill in (0, 77, 255):
        value = KINDS[kind](lambda count, fill=fill: bytes([fill]) * count)
        assert set(value) <= set(letters)
        assert least <= len(value) <= most


def test_the_keyfile_is_base64() -> None:
    assert len(base64.b64decode(KINDS["keyfile"](zeros), validate=True)) == 567


@pytest.mark.parametrize("value", ["plain", 'with "quotes"', "back\\slash", "unicode é", "colon: and # hash"])
def test_the_file_is_yaml_and_reads_back(value: str) -> None:
    text = render({"name": value})
    assert parse(text) == {"name": value}
    assert yaml.safe_load(text) == {"name": value}


@pytest.mark.parametrize("line", ["name: plain", "name", ' indented: "x"', 'Name: "x"', 'name: "x'])
def test_a_line_that_is_no_secret_is_refused_without_its_value(line: str) -> None:
    with pytest.raises(ValueError, match=r"line 1 is refused"):
        parse(line)


def test_hosts_have_the_secrets_of_their_groups() -> None:
    assert names_for(["collectd"]) == {"rabbitmq_collectd_password": "password"}
    assert names_for(["canopsis", "elsewhere"]) == {}
    assert names_for(SECRETS)["mongodb_keyfile"] == "keyfile"
    assert {kind for names in SECRETS.values() for kind in names.values()} <= set(KINDS)


class Module:
    """As much of AnsibleModule as the module's run() needs."""

    def __init__(self, path: Path, *, check_mode: bool = False) -> None:
        self.check_mode = check_mode
        self.params: dict[str, Any] = {"path": str(path), "names": NAMES}


def test_run_makes_a_private_file_once(module_of: Callable[[str], ModuleType], tmp_path: Path) -> None:
    run, path = module_of("canopsis_secrets").run, tmp_path / "etc" / "secrets.yml"
    assert run(Module(path)) == {"changed": True, "added": sorted(NAMES)}
    assert path.stat().st_mode & 0o777 == 0o600
    text = path.read_text()
    assert run(Module(path)) == {"changed": False, "added": []}
    assert path.read_text() == text


def test_run_narrows_the_mode(module_of: Callable[[str], ModuleType], tmp_path: Path) -> None:
    run, path = module_of("canopsis_secrets").run, tmp_path / "secrets.yml"
    run(Module(path))
    path.chmod(0o644)
    assert run(Module(path))["changed"]
    assert path.stat().st_mode & 0o777 == 0o600


def test_check_mode_makes_nothing(module_of: Callable[[str], ModuleType], tmp_path: Path) -> None:
    path = tmp_path / "secrets.yml"
    assert module_of("canopsis_secrets").run(Module(path, check_mode=True))["changed"]
    assert not path.exists()


def test_values_differ_from_each_other_and_between_sites(
    module_of: Callable[[str], ModuleType], tmp_path: Path
) -> None:
    values: list[str] = []
    for site in ("a", "b"):
        module_of("canopsis_secrets").run(Module(tmp_path / site))
        values += parse((tmp_path / site).read_text()).values()
    assert len(set(values)) == 2 * len(NAMES)
