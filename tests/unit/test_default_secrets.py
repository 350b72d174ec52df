"""No secret has a default: none stands in a file of the repository, and no variable that is one has a literal value."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]

# Written in parts, so that this file is not found by its own tests.
DEFAULT, GUEST, KEY = "change" + "me", "guest" + ":guest", "PRIVATE" + " KEY"
TEXTS = {
    "a private key": re.compile(rf"-----BEGIN [A-Z ]*{KEY}"),
    "a password to change": re.compile(DEFAULT, re.IGNORECASE),
    "the user of every broker": re.compile(GUEST, re.IGNORECASE),
}
REFUSES = "plugins/module_utils/canopsis_values.py"
"""It names the words that preflight refuses as secrets."""

SECRET = re.compile(r"(^|_)(passwords?|passwd|secrets?|cookies?|tokens?|keys?|keyfile|authkeys?)(_|$)", re.IGNORECASE)
LITERAL = re.compile(r"""(default\(|\{\{|else)\s*(['"])[^'"]*\w[^'"]*\2""")
"""A text inside an expression that becomes the value: its default, its beginning or its other branch."""
VARIABLES = re.compile(r"(roles/[^/]+/(defaults|vars)|inventories|molecule|playbooks)/.*\.ya?ml$")
SPECS = re.compile(r"roles/[^/]+/meta/argument_specs\.yml$")


def tracked() -> list[str]:
    """Return the files of the repository, those too that are not added yet."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    return sorted(name for name in set(done.stdout.split("\0")) if name and (ROOT / name).is_file())


def findings(root: Path, names: list[str]) -> list[str]:
    """Return ``file: what`` of each default secret in the files ``names`` below ``root``."""
    return [f"{name}: {what}" for name in names for what in _of_file(name, (root / name).read_bytes())]


def _of_file(name: str, content: bytes) -> Iterator[str]:
    text = content.decode("utf-8", errors="replace")
    if name != REFUSES:
        yield from (what for what, pattern in TEXTS.items() if pattern.search(text))
    if VARIABLES.match(name):
        yield from (key for key, value in _entries(_load(text)) if SECRET.search(key) and _is_literal(value))
    if SPECS.match(name):
        yield from (key for key, said in _entries(_load(text)) if SECRET.search(key) and _has_default(said))


def _load(text: str) -> list[Any]:
    return list(yaml.load_all(text, Loader=_Loader))


class _Loader(yaml.SafeLoader):
    """Takes what is in a vault as no value, since nobody reads it there."""


_Loader.add_constructor("!vault", lambda *_: None)


def _entries(node: object) -> Iterator[tuple[str, object]]:
    """Yield every key with its value, at any depth."""
    if isinstance(node, Mapping):
        for key, value in node.items():
            yield str(key), value
            yield from _entries(value)
    elif isinstance(node, list):
        for each in node:
            yield from _entries(each)


def _is_literal(value: object) -> bool:
    """Whether a value is a secret by itself; a switch, nothing and an expression over other variables are none."""
    if isinstance(value, str):
        return bool(LITERAL.search(value) if "{{" in value else re.search(r"\w", value))
    return isinstance(value, int | float) and not isinstance(value, bool)


def _has_default(said: object) -> bool:
    return isinstance(said, Mapping) and _is_literal(said.get("default"))


def test_no_secret_has_a_default() -> None:
    assert findings(ROOT, tracked()) == []


def test_the_files_that_could_have_one_are_looked_at() -> None:
    names = tracked()
    roles = {path.name for path in (ROOT / "roles").iterdir() if path.is_dir()}
    assert {name.split("/")[1] for name in names if SPECS.match(name)} == roles
    assert {"inventories/local/group_vars/canopsis/secrets.yml", "roles/smoke/defaults/main.yml"} <= {
        name for name in names if VARIABLES.match(name)
    }


@pytest.mark.parametrize(
    ("name", "text", "found"),
    [
        ("docs/notes.md", f"-----BEGIN {KEY}-----\nQQ==\n", "a private key"),
        ("roles/tls/files/ca.pem", f"-----BEGIN RSA {KEY}-----\nQQ==\n", "a private key"),
        ("packages/canopsis/control", f"login --password {DEFAULT.title()}\n", "a password to change"),
        ("canopsis/transport/settings.py", f'URL = "amqp://{GUEST}@127.0.0.1/"\n', "the user of every broker"),
        ("roles/mongodb/defaults/main.yml", "mongodb_admin_password: hunter2\n", "mongodb_admin_password"),
        ("roles/mongodb/vars/main.yml", "mongodb_keyfile: QQ==\n", "mongodb_keyfile"),
        ("roles/smoke/defaults/main.yml", "smoke_authkey: 1234\n", "smoke_authkey"),
        ("roles/tls/defaults/main.yml", "tls_key: \"{{ other | default('abc') }}\"\n", "tls_key"),
        ("roles/tls/defaults/main.yml", "tls_key: \"{{ 'abc' }}\"\n", "tls_key"),
        ("inventories/small/hosts.yml", "all:\n  vars:\n    rabbitmq_erlang_cookie: ABC\n", "rabbitmq_erlang_cookie"),
        ("inventories/large/group_vars/all.yml", "users: [{session_secret: abc}]\n", "session_secret"),
        (
            "roles/smoke/meta/argument_specs.yml",
            "argument_specs:\n  main:\n    options:\n      smoke_authkey: {type: str, default: abc}\n",
            "smoke_authkey",
        ),
    ],
)
def test_a_planted_one_is_found(tmp_path: Path, name: str, text: str, found: str) -> None:
    assert planted(tmp_path, name, text) == [f"{name}: {found}"]


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("docs/notes.md", "-----BEGIN CERTIFICATE-----\nQQ==\n"),
        ("inventories/small/group_vars/all.yml", "a_password: !vault |\n  $ANSIBLE_VAULT\n"),
        ("inventories/small/group_vars/all.yml", "a_password: \"{{ other.password | default('') or another }}\"\n"),
        ("roles/tls/defaults/main.yml", 'tls_key: ""\nsecrets_generate: true\nkeyboard: de\n'),
        ("roles/tls/meta/argument_specs.yml", "tls_key: {type: str, description: A key.}\n"),
        ("docs/example.yml", "a_password: hunter2\n"),
    ],
)
def test_what_is_no_default_passes(tmp_path: Path, name: str, text: str) -> None:
    assert planted(tmp_path, name, text) == []


def planted(folder: Path, name: str, text: str) -> list[str]:
    """Return what is found in one file with ``text``."""
    path = folder / name
    path.parent.mkdir(parents=True)
    path.write_text(text)
    return findings(folder, [name])
