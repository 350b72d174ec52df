"""No output of a run may hold a secret. As a command: ``python tests/site/log_secrets.py LOG secrets.yml``."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import yaml

SHORTEST = 8
"""Characters from which on a value cannot stand in a log by chance."""


def values(secrets: Mapping[str, Any]) -> dict[str, str]:
    """Return the secrets that can be looked for; a keyfile is one text without its line ends.

    Raises ValueError when there is none: then a scan would always pass.
    """
    found = {name: value for name, value in secrets.items() if isinstance(value, str) and "{{" not in value}
    found = {name: value for name, value in found.items() if len(value) >= SHORTEST}
    if not found:
        raise ValueError("no secret to look for")
    return found


def shown(log: str, secrets: Mapping[str, Any]) -> list[str]:
    """Return ``line N: NAME`` for each line of ``log`` that has the value of a secret, or a long part of one."""
    return [
        f"line {number}: {name}"
        for number, line in enumerate(log.splitlines(), 1)
        for name, value in values(secrets).items()
        if any(part in line for part in parts(value))
    ]


def parts(value: str) -> Iterable[str]:
    """Return what betrays ``value``: all of it, and each line of a text of several."""
    return [part for part in value.splitlines() if len(part) >= SHORTEST]


def main() -> int:
    """Scan the file named first for the values in the second; return 1 when there is one."""
    log, secrets = (Path(name).read_text(errors="replace") for name in sys.argv[1:3])
    found = shown(log, yaml.safe_load(secrets))
    sys.stdout.write("\n".join(found or ["no secret is shown"]) + "\n")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
