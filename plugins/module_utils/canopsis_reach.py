"""Why a host could not be looked at, and what an operator does about it. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from ansible.module_utils.canopsis_capacity import Finding

LONGEST = 100
NOISE = re.compile(r"Task failed: |Failed to connect to the host via ssh: |Warning: Permanently added [^.]*[.] ")
SSH = (
    (
        r"permission denied|authentication fail|too many authentication|no more authentication",
        "SSH has to let {user} in: give ansible_user in group_vars/canopsis/main.yml, or bring its key (ssh-copy-id)",
        "ansible_user",
    ),
    (
        r"host key for (?P<name>\S+) has changed",
        "the key that is known here. Where the host was made anew: ssh-keygen -R '{name}', then log in by ssh once",
        "known_hosts",
    ),
    (r"host key verification", "its key known here: log in by ssh once", "known_hosts"),
    (
        r"could not resolve|name or service not known|nodename nor servname",
        "an address that this controller knows",
        "ansible_host",
    ),
    (r"", "a host that is up and takes SSH from here", "ansible_host"),
)
ROOT = (
    r"sudo|\bsu\b|become|privilege|a password is required|not allowed to execute",
    "{user} has to become root without a password: NOPASSWD in its sudoers, or --ask-become-pass",
    "ansible_become_method",
)
FAILED = (
    ROOT,
    (r"python|interpreter", "Python 3 on the host: apt-get install python3", "ansible_python_interpreter"),
    (r"", "a host where Ansible's modules run", "ansible_host"),
)
"""Patterns of what is said, what is needed then, and by which variable."""


def unseen(host: str, result: Mapping[str, Any], user: str) -> list[Finding]:
    """Return why ``result``, of looking at ``host``, holds nothing; ``user`` is who logs in, empty for one's own."""
    if "findings" in result:
        return []
    said = " ".join(str(result.get(part, "")) for part in ("module_stderr", "module_stdout", "msg"))
    text = NOISE.sub("", " ".join(said.split())) or "it does not say why"
    cases = SSH if result.get("unreachable") else FAILED
    matches = ((re.search(case[0], text, re.IGNORECASE), case[1], case[2]) for case in cases)
    names, needed, variable = next((each[0].groupdict(), each[1], each[2]) for each in matches if each[0])
    check = "reach" if result.get("unreachable") else "look"
    who = user or "your own user name here (no ansible_user is set)"
    return [Finding(host, check, _end(text), needed.format(user=who, **names), variable)]


def _end(text: str) -> str:
    """Return the end of what was said: programs say last what is wrong."""
    return text if len(text) <= LONGEST else f"… {text[-LONGEST:]}"
