"""The helper that looks for secrets in logs finds them, and cannot pass for want of secrets."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

PATH = Path(__file__).resolve().parents[2] / "site" / "log_secrets.py"
SECRETS = {"a_password": "abcdefgh12345678", "a_keyfile": "firstlineofkey\nsecondlineofkey", "b": "{{ a_password }}"}


@pytest.fixture
def scan() -> ModuleType:
    """Return the helper."""
    spec = importlib.util.spec_from_file_location("log_secrets", PATH)
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize(
    ("log", "expected"),
    [
        ("all is masked: ********\n", []),
        ("ok\npassword=abcdefgh12345678\n", ["line 2: a_password"]),
        ('"key": "secondlineofkey"', ["line 1: a_keyfile"]),
        ("abcdefgh12345678 firstlineofkey", ["line 1: a_password", "line 1: a_keyfile"]),
        ("a_password is missing", []),
    ],
)
def test_a_secret_is_found_wherever_it_stands(scan: ModuleType, log: str, expected: list[str]) -> None:
    assert scan.shown(log, SECRETS) == expected


@pytest.mark.parametrize("secrets", [{}, {"short": "abc"}, {"number": 1}, {"reference": "{{ vault_password }}"}])
def test_without_secrets_nothing_passes(scan: ModuleType, secrets: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="no secret to look for"):
        scan.shown("whatever", secrets)


@pytest.mark.parametrize(("text", "said"), [("fine", "no secret is shown"), ("abcdefgh12345678", "line 1: a_password")])
def test_as_a_command(tmp_path: Path, text: str, said: str) -> None:
    (tmp_path / "log").write_text(text)
    (tmp_path / "secrets.yml").write_text('---\na_password: "abcdefgh12345678"\n')
    command = [sys.executable, str(PATH), str(tmp_path / "log"), str(tmp_path / "secrets.yml")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.stdout == f"{said}\n"
    assert done.returncode == int(text != "fine")
